"""Figures of chapter 7: where words look, by kind of token, over the film, over a frame, and over other words."""

import matplotlib.pyplot as plt
import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from sfllava_course.attention import Looks
from sfllava_course.figures.described import described
from sfllava_course.figures.features import EVENT, square
from sfllava_course.figures.style import COLOURS, HATCHES

KINDS = {"slow": "slow", "fast": "fast", "after": "text", "before": "text"}  # segment -> whose colour it has
NAMES = {"slow": "slow", "fast": "fast", "after": "text: question, answer", "before": "text: the first tokens"}
MARKS = {**HATCHES, "before": "xxxx", "after": HATCHES["text"]}


def plot_shares(shares: dict[str, Float[Tensor, " layers"]]) -> Figure:
    """Where the attention goes, layer by layer, in percent: one bar a layer, a piece for each kind of token."""
    figure, axis = plt.subplots(figsize=(9, 2.8))
    layers = len(next(iter(shares.values())))
    bottom = np.zeros(layers)
    for name, share in shares.items():
        values = 100 * share.numpy()
        axis.bar(range(layers), values, 0.6, bottom=bottom, color=COLOURS[KINDS[name]], hatch=MARKS[name],
                 edgecolor="white", linewidth=0.5, label=NAMES[name])  # fmt: skip
        for layer, (value, below) in enumerate(zip(values, bottom)):
            if value > 6:
                box = {"facecolor": "white", "edgecolor": "none", "pad": 1}
                axis.text(layer, below + value / 2, f"{value:.0f}", ha="center", va="center", fontsize=8, bbox=box)
        bottom += values
    axis.set(xticks=range(layers), xlabel="layer of the language model", ylabel="share of attention (%)")
    finish(figure, axis, len(shares))
    return described(
        figure,
        "Where the attention goes, in per cent, first and last layer: "
        + "; ".join(f"{NAMES[name]}: {100 * share[0]:.0f} and {100 * share[-1]:.0f}" for name, share in shares.items()),
    )


def plot_fairness(times: dict[str, Float[Tensor, " layers"]]) -> Figure:
    """How many times its fair share (1: as if attention were spread evenly) a token of each kind gets, by layer."""
    figure, axis = plt.subplots(figsize=(9, 2.8))
    width = 0.8 / len(times)
    for place, (name, values) in enumerate(times.items()):
        left = np.arange(len(values)) + (place - (len(times) - 1) / 2) * width
        axis.bar(left, values, width * 0.94, color=COLOURS[KINDS[name]], hatch=MARKS[name], edgecolor="white",
                 linewidth=0.5, label=NAMES[name])  # fmt: skip
        for x, value in zip(left, values.tolist()):
            axis.text(x, value * 1.05, f"{value:.2g}", ha="center", va="bottom", fontsize=7)
    axis.axhline(1, color="black", linestyle=":", linewidth=1)
    axis.set(yscale="log", xticks=range(len(values)), xlabel="layer of the language model (dotted: the fair share)",
             ylabel="times the fair share")  # fmt: skip
    finish(figure, axis, len(times))
    return described(
        figure,
        "How many times its fair share of attention a token gets, on a logarithmic axis, layer by layer. "
        + "; ".join(f"{NAMES[name]}: " + ", ".join(f"{v:.2g}" for v in row.tolist()) for name, row in times.items()),
    )


def plot_strips(strips: dict[str, Float[Tensor, " frames"]], event: list[int], title: str = "") -> Figure:
    """Attention that each frame gets, in percent of all attention: a strip for each pathway, the event shaded."""
    figure, axes = plt.subplots(len(strips), 1, figsize=(9, 1.45 * len(strips) + 0.5), sharex=True, squeeze=False)
    for axis, (name, values) in zip(axes.flat, strips.items()):
        axis.bar(range(len(values)), 100 * values, 0.85, color=COLOURS[name], hatch=HATCHES[name], edgecolor="white",
                 linewidth=0.3)  # fmt: skip
        axis.axvspan(min(event) - 0.5, max(event) + 0.5, facecolor=EVENT, alpha=0.35, zorder=0)
        axis.set_ylabel(f"{name} (%)")
        axis.spines[["top", "right"]].set_visible(False)
    axes[0, 0].set_title(title, fontsize=9, loc="left")
    axes[-1, 0].set_xlabel("sampled frame (shaded: the bubble is there)")
    figure.tight_layout()
    return described(
        figure,
        f"{title}. Attention to each sampled frame, in per cent of all, frames {min(event)} to {max(event)}, where "
        f"the bubble is, "
        "shaded. "
        + "; ".join(
            f"{name}: most at frame {int(values.argmax())} ({100 * float(values.max()):.1f} %), all frames of the "
            f"event "
            f"{100 * float(values[event].sum()):.1f} %"
            for name, values in strips.items()
        ),
    )


def plot_words(tables: dict[str, Float[Tensor, "layers words"]], words: list[str]) -> Figure:
    """A number for each layer and word, in percent, as a heat map for each name; the larger ones are written in."""
    figure, axes = plt.subplots(len(tables), 1, figsize=(9, 1.7 * len(tables) + 0.5), squeeze=False, sharex=True)
    for axis, (name, table) in zip(axes.flat, tables.items()):
        values = 100 * table.numpy()
        axis.imshow(values, cmap="Greys", vmin=0, vmax=max(values.max(), 1e-6), aspect="auto")
        for (layer, place), value in np.ndenumerate(values):
            if value >= max(1, values.max() / 8):
                colour = "white" if value > 0.6 * values.max() else "black"
                axis.text(place, layer, f"{value:.0f}", ha="center", va="center", fontsize=7, color=colour)
        axis.set(yticks=range(len(values)), ylabel="layer")
        axis.set_title(name, fontsize=9, loc="left")
    axes[-1, 0].set_xticks(range(len(words)))
    axes[-1, 0].set_xticklabels([word.strip() or "␣" for word in words], rotation=60, ha="right", fontsize=8)
    figure.tight_layout()
    return described(
        figure,
        f"Heat maps over {len(words)} words and the layers, in per cent. "
        + "; ".join(
            f"{name}: largest {100 * float(table.max()):.0f}, at "
            f"{words[int(table.max(dim=0).values.argmax())].strip()!r} in layer {int(table.max(dim=1).values.argmax())}"
            for name, table in tables.items()
        ),
    )


def plot_frame_map(
    picture: UInt8[np.ndarray, "h w 3"],
    maps: dict[str, Float[Tensor, "rows columns"]],
    cells: Bool[Tensor, "r c"] | None = None,
) -> Figure:
    """A frame, and where on it the attention lies, in percent of all; `cells` of what was asked for are outlined."""
    figure, axes = plt.subplots(1, len(maps) + 1, figsize=(2.7 * (len(maps) + 1), 2.7))
    axes[0].imshow(square(picture), extent=(0, 1, 1, 0))
    for axis, (name, values) in zip(axes[1:], maps.items()):
        shown = axis.imshow(100 * values, cmap="Greys", vmin=0, extent=(0, 1, 1, 0), aspect="equal")
        figure.colorbar(shown, ax=axis, fraction=0.046, label="%")
        axis.set_title(f"{name}: {values.shape[0]} x {values.shape[1]}", fontsize=9)
    for axis in axes:
        axis.set(xticks=[], yticks=[])
        if cells is not None and cells.any():
            (top, left), (bottom, right) = (f(cells.nonzero(), dim=0).values for f in (torch.min, torch.max))
            rows, columns = cells.shape
            box = (float(left) / columns, float(top) / rows)
            size = (float(right - left + 1) / columns, float(bottom - top + 1) / rows)
            axis.add_patch(Rectangle(box, *size, fill=False, edgecolor=EVENT, linewidth=2))
    figure.tight_layout()
    return described(
        figure,
        "A frame, and maps of the attention on it"
        + (", the cells that were asked for outlined. " if cells is not None and cells.any() else ". ")
        + "; ".join(
            f"{name}, {values.shape[0]} x {values.shape[1]}: {100 * float(values.sum()):.1f} % of all attention, "
            f"at most {100 * float(values.max()):.2f} % in a cell"
            for name, values in maps.items()
        ),
    )


def frame_map(
    looks: Looks, name: str, frame: int, shape: tuple[int, int], layer: int, words: list[int] | None = None
) -> Float[Tensor, "rows columns"]:
    """Attention to one sampled frame's tokens of a pathway, as they lie on the picture; zeros if it has none there."""
    segment, first = looks.segment(name), looks.segment("before").stop
    mine = looks.owners[segment.start - first : segment.stop - first] == frame
    row = looks.rows(words)[layer, segment.start : segment.stop][mine]
    return row[: shape[0] * shape[1]].reshape(shape) if len(row) else torch.zeros(shape)


def finish(figure: Figure, axis, columns: int) -> None:
    """A legend above, no frame."""
    axis.legend(fontsize=8, frameon=False, ncols=columns, loc="lower left", bbox_to_anchor=(0, 1))
    axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()


def share_interval(hits: int, total: int) -> tuple[float, float, float]:
    """hits of total in percent, with the exact 95 % interval (Clopper-Pearson); all three NaN for none of none."""
    if not total:
        return (float("nan"),) * 3
    from scipy.stats import binomtest

    between = binomtest(hits, total).proportion_ci()
    return 100 * hits / total, 100 * between.low, 100 * between.high


def plot_counts(counts: dict[str, dict[str, tuple[int, int]]], label: str, chance: float | None = None) -> Figure:
    """(hits, total) by group and kind as bars in percent, with the count above and the exact 95 % interval.

    A kind that begins with "slow" or "fast" has that eye's colour and hatching; `chance` is a dotted line.
    """
    figure, axis = plt.subplots(figsize=(9, 2.8))
    kinds = list(dict.fromkeys(kind for bars in counts.values() for kind in bars))
    greys = [("#777777", ""), ("#CCCCCC", "xx"), ("#FFFFFF", "..")]
    looks = {kind: (COLOURS.get(kind.split()[0]), HATCHES.get(kind.split()[0])) for kind in kinds}
    looks |= dict(zip([kind for kind in kinds if looks[kind][0] is None], greys))
    width = 0.8 / max(len(kinds), 2)
    for place, bars in enumerate(counts.values()):
        for kind, (hits, total) in bars.items():
            left = place + (kinds.index(kind) - (len(kinds) - 1) / 2) * width
            value, low, high = share_interval(hits, total)
            colour, hatch = looks[kind]
            axis.bar(left, value, width * 0.94, color=colour, hatch=hatch, edgecolor="white", linewidth=0.5,
                     label=kind if place == 0 else None)  # fmt: skip
            axis.plot([left, left], [low, high], color="black", linewidth=1.2)
            axis.text(left + 0.02, 104, f"{hits} of {total}", ha="center", va="bottom", fontsize=8)
    if chance is not None:
        axis.axhline(chance, color="black", linestyle=":", linewidth=1, label="knowing nothing")
    axis.set(xticks=range(len(counts)), xticklabels=list(counts), ylabel=label, ylim=(0, 116), yticks=range(0, 101, 25))
    finish(figure, axis, len(kinds) + 1)
    told = [
        f"{name}, {kind}: {hits} of {total}" for name, bars in counts.items() for kind, (hits, total) in bars.items()
    ]
    return described(figure, f"Bars with exact intervals, {label}. {'; '.join(told)}")
