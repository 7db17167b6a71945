"""Figures of chapter 2: frame features as colours over the picture, and what is alike, over space and over time."""

import matplotlib.pyplot as plt
import numpy as np
import torch
from jaxtyping import Float, UInt8
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from sfllava_core.features import resize_frames
from sfllava_course.figures.described import courses, described, listed

DARK, EVENT = "#333333", "#CC79A7"
SIDE = 336  # pixels at which a picture is drawn, squeezed to a square as the vision tower gets it


def pca_basis(features: Float[Tensor, "*places dim"]) -> tuple[Float[Tensor, " dim"], Float[Tensor, "dim 3"]]:
    """Mean, and the three directions in which the features vary most, each with its largest number positive."""
    flat = features.reshape(-1, features.shape[-1])
    mean = flat.mean(dim=0)
    _, vectors = torch.linalg.eigh((flat - mean).T @ (flat - mean))
    directions = vectors[:, -3:].flip(1)
    largest = directions.gather(0, directions.abs().argmax(dim=0, keepdim=True))
    return mean, directions * largest.sign()


def pca_colours(
    features: Float[Tensor, "*places dim"], fitted_to: Float[Tensor, "*other dim"] | None = None
) -> Float[Tensor, "*places 3"]:
    """The three strongest directions of `fitted_to` (default: of the features themselves) as red, green and blue.

    Each colour is stretched so that the middle 96 % of `fitted_to` fill 0 to 1.
    """
    fitted_to = features if fitted_to is None else fitted_to
    mean, directions = pca_basis(fitted_to)
    spread = ((fitted_to - mean) @ directions).reshape(-1, 3)
    low, high = (torch.tensor(np.percentile(spread.numpy(), q, axis=0), dtype=features.dtype) for q in (2, 98))
    return (((features - mean) @ directions - low) / (high - low).clamp(min=1e-6)).clamp(0, 1)


def shared_variance(features: Float[Tensor, "*places dim"]) -> float:
    """Share of the features' variance that lies in their three strongest directions: what the colours show, 0 to 1."""
    mean, directions = pca_basis(features)
    centred = features.reshape(-1, features.shape[-1]) - mean
    return float(((centred @ directions) ** 2).sum() / (centred**2).sum())


def plot_pca(picture: UInt8[np.ndarray, "h w 3"], maps: dict[str, Float[Tensor, "rows columns 3"]]) -> Figure:
    """A frame, and the colours of its features beside it."""
    figure, axes = plt.subplots(1, len(maps) + 1, figsize=(1.65 * (len(maps) + 1), 2.1))
    axes[0].imshow(square(picture))
    axes[0].set_title("the frame", fontsize=9)
    for axis, (name, colours) in zip(axes[1:], maps.items()):
        axis.imshow(colours, aspect=colours.shape[1] / colours.shape[0])
        axis.set_title(name, fontsize=9)
    for axis in axes:
        axis.set(xticks=[], yticks=[])
    figure.tight_layout(pad=0.4)
    return described(
        figure,
        "The frame, and beside it maps of its features, whose three strongest directions are red, green and blue: "
        + "; ".join(f"{name} ({colours.shape[0]} x {colours.shape[1]})" for name, colours in maps.items()),
    )


def plot_cells_like(
    picture: UInt8[np.ndarray, "h w 3"], features: Float[Tensor, "rows columns dim"], row: int, column: int
) -> Figure:
    """A frame with one cell framed, and how alike (cosine) each cell's feature is to that cell's."""
    rows, columns, _ = features.shape
    unit = torch.nn.functional.normalize(features, dim=-1)
    alike = unit @ unit[row, column]
    figure, axes = plt.subplots(1, 2, figsize=(6.6, 2.9))
    axes[0].imshow(square(picture), extent=(-0.5, columns - 0.5, rows - 0.5, -0.5), aspect="auto")
    shown = axes[1].imshow(alike, cmap="RdBu", vmin=-1, vmax=1, aspect="auto")
    for axis in axes:
        axis.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor="black", linewidth=3))
        axis.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor="white", linewidth=1.2))
        axis.set(xlabel="column", ylabel="row", xticks=range(0, columns, 3), yticks=range(0, rows, 3))
    axes[0].set_title(f"cell ({row}, {column})", fontsize=9)
    axes[1].set_title("how alike the other cells are", fontsize=9)
    figure.colorbar(shown, ax=axes[1], label="cosine")
    figure.tight_layout()
    return described(
        figure,
        f"A frame with the cell in row {row}, column {column} marked, and a map of how alike the {rows} x {columns} "
        f"cells are "
        f"to it: cosines from {float(alike.min()):.2f} to {float(alike.max()):.2f}, {float(alike.mean()):.2f} on "
        f"average.",
    )


def plot_similarity(similarities: dict[str, Float[Tensor, "frames frames"]], events: dict[str, list[int]]) -> Figure:
    """How alike each frame is to each other one, a square for each film; a brief event is marked at its edges."""
    figure, axes = plt.subplots(1, len(similarities), figsize=(4.3 * len(similarities), 3.5), squeeze=False)
    for axis, (name, alike) in zip(axes.flat, similarities.items()):
        shown = axis.imshow(alike, cmap="viridis", vmin=0, vmax=1)
        last = len(alike) - 0.5
        for place in events.get(name, []):
            axis.plot([place, -0.5], [last, place], "^", color=EVENT, markeredgecolor="black", markersize=9,
                      clip_on=False, zorder=5)  # fmt: skip
        axis.set(xlabel="frame", ylabel="frame")
        axis.set_title(name, fontsize=9)
        figure.colorbar(shown, ax=axis, label="cosine")
    figure.tight_layout()
    return described(
        figure,
        "How alike each frame is to each other one, as a square map for each film. "
        + "; ".join(
            f"{name}: cosines from {float(alike.min()):.2f} to 1, {float(alike.mean()):.2f} on average"
            + (f", the event at frames {min(events[name])} to {max(events[name])} marked" if events.get(name) else "")
            for name, alike in similarities.items()
        ),
    )


def plot_over_time(curves: dict[str, Float[Tensor, " frames"]], label: str, event: list[int]) -> Figure:
    """A number for each frame, one line for each name; the frames of the event are shaded."""
    figure, axis = plt.subplots(figsize=(9, 2.6))
    for (name, values), line in zip(curves.items(), ["-", "--", ":", "-."]):
        axis.plot(np.arange(len(values)), values, line, color=DARK, linewidth=1.4, label=name)
    axis.axvspan(min(event) - 0.5, max(event) + 0.5, facecolor=EVENT, alpha=0.5, hatch="xx", edgecolor="white")
    axis.set(xlabel="sampled frame (shaded: the bubble is there)", ylabel=label)
    axis.legend(fontsize=8, frameon=False, ncols=len(curves), loc="lower left", bbox_to_anchor=(0, 1))
    axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    return described(
        figure,
        f"{label}, frame by frame; frames {min(event)} to {max(event)}, where the bubble is, are shaded. "
        f"{courses(axis)}",
    )


def plot_bars(groups: dict[str, dict[str, float]], label: str, chance: float | None = None, digits: int = 1) -> Figure:
    """Bars in groups, a group for each name along the axis; `chance` is a dotted line."""
    figure, axis = plt.subplots(figsize=(9, 2.6))
    kinds = list(dict.fromkeys(kind for bars in groups.values() for kind in bars))
    looks = dict(zip(kinds, [("#555555", ""), ("#BBBBBB", "////"), ("#FFFFFF", "..")]))
    width = 0.8 / len(kinds)
    for place, bars in enumerate(groups.values()):
        for kind, value in bars.items():
            colour, hatch = looks[kind]
            left = place + (kinds.index(kind) - (len(kinds) - 1) / 2) * width
            first = kind if place == 0 else None
            axis.bar(left, value, width * 0.94, color=colour, hatch=hatch, edgecolor=DARK, linewidth=0.5, label=first)
            axis.text(left, value, f"{value:.{digits}f}", ha="center", va="bottom", fontsize=7)
    if chance is not None:
        axis.axhline(chance, color="black", linestyle=":", linewidth=1, label="knowing nothing")
    axis.set(xticks=range(len(groups)), ylabel=label)
    axis.set_xticklabels(list(groups), fontsize=8)
    axis.legend(fontsize=8, frameon=False, ncols=4, loc="lower left", bbox_to_anchor=(0, 1))
    axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    return described(
        figure,
        f"Bars: {label}. "
        + "; ".join(f"{name}: {listed(bars, f'.{digits}f')}" for name, bars in groups.items())
        + (f". Knowing nothing gives {chance:.{digits}f}." if chance is not None else "."),
    )


def square(picture: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "side side 3"]:
    """The picture as the tower gets it: squeezed to a square, aspect ignored."""
    return resize_frames(picture[None], (SIDE, SIDE))[0]
