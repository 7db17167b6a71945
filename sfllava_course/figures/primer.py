"""Figures of chapter P: attention as one table of weights, and what a cache saves."""

import matplotlib.pyplot as plt
import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from sfllava_course.figures.described import courses, described
from sfllava_course.figures.style import COLOURS


def looking_back(
    queries: Float[Tensor, "words width"], keys: Float[Tensor, "words width"], sharpness: float = 1.0
) -> Float[Tensor, "words words"]:
    """Attention weights of words that see themselves and what is before them; each row adds up to 1."""
    products = sharpness * queries @ keys.T
    later = torch.ones_like(products, dtype=torch.bool).triu(diagonal=1)
    return products.masked_fill(later, float("-inf")).softmax(dim=1)


def plot_attention(words: list[str], weights: Float[Tensor, "words words"]) -> Figure:
    """Who reads from whom: a row for each word that looks, a column for each that is looked at, in percent."""
    figure, axis = plt.subplots(figsize=(4.8, 3.9))
    axis.imshow(weights, cmap="Greys", vmin=0, vmax=1)
    for row, shares in enumerate(weights.tolist()):
        for column, share in enumerate(shares[: row + 1]):
            axis.text(column, row, f"{100 * share:.0f}", ha="center", va="center", fontsize=9,
                      color="white" if share > 0.5 else "black")  # fmt: skip
    axis.set(xticks=range(len(words)), xticklabels=words, yticks=range(len(words)), yticklabels=words)
    axis.set(xlabel="is looked at (empty: comes later)", ylabel="looks, and spends 100 %")
    figure.tight_layout()
    told = [
        f"{word} reads most from {words[int(row.argmax())]}, {100 * row.max():.0f} %"
        for word, row in zip(words, weights)
    ]
    return described(figure, f"Attention of {len(words)} words to themselves and those before: {'; '.join(told)}")


def plot_cache(prompt: int, answers: list[int]) -> Figure:
    """Positions that a language model works through for an answer of so many tokens, with a KV cache and without."""
    figure, axis = plt.subplots(figsize=(9, 2.6))
    without = [sum(prompt + step for step in range(length)) for length in answers]
    axis.plot(answers, without, "--s", color="#333333", label="without a cache", markersize=4)
    axis.plot(answers, [prompt + n - 1 for n in answers], "-o", color=COLOURS["text"], label="with", markersize=4)
    axis.set(xlabel="tokens of the answer", ylabel="positions", yscale="log")
    axis.legend(fontsize=8, frameon=False)
    axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    return described(figure, f"Positions worked through, over tokens of the answer. {courses(axis)}")
