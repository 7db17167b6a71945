"""Figures of chapter 3: what a picture, or a film, looks like after each pathway's pooling.

A patch's mean colour stands for its feature, so that the library's own pools can be *seen*: the pooled tokens are
drawn as pixels over the place that they came from.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch
from einops import rearrange, reduce
from jaxtyping import Float, UInt8
from matplotlib.figure import Figure
from torch import Tensor

from sfllava_core.features import resize_frames
from sfllava_core.methods.pooling import NO_POOL, Pool
from sfllava_core.methods.slowfast import Pathway, SlowFast
from sfllava_core.video.frames import Frames
from sfllava_course.figures.described import courses, described, titles_of
from sfllava_course.figures.style import COLOURS, HATCHES

PATCHES = 24  # rows and columns of LLaVA-NeXT's grid
POOLS = {
    "max 1 x 2": Pool.window("max", 1, 2),
    "average 1 x 2": Pool.window("avg", 1, 2),
    "max 2 x 2": Pool.window("max", 2, 2),
    "average 2 x 2": Pool.window("avg", 2, 2),
    "none": NO_POOL,
}


def patch_colours(pixels: UInt8[np.ndarray, "frames h w 3"], patches: int = PATCHES) -> Float[Tensor, "frames p p 3"]:
    """Each patch's mean colour, 0 to 1: features of width 3 that can be looked at. Squeezed to a square, as in CLIP."""
    squares = torch.from_numpy(resize_frames(pixels, (patches * 7, patches * 7))).float() / 255
    return reduce(squares, "t (p a) (q b) c -> t p q c", "mean", p=patches, q=patches)


def as_picture(features: Float[Tensor, "rows columns dim"], side: int = PATCHES * 2) -> np.ndarray:
    """Tokens as a square picture: each fills the place it came from. One channel is drawn as grey."""
    rows, columns, channels = features.shape
    down, across = (torch.arange(side) * size // side for size in (rows, columns))
    picture = features[down][:, across].clamp(0, 1)
    return picture.expand(-1, -1, 3).numpy() if channels == 1 else picture.numpy()


def plot_survivors(picture: UInt8[np.ndarray, "h w 3"], pools: dict[str, Pool]) -> Figure:
    """A frame, and what each pool leaves of it; titles count the tokens."""
    features = patch_colours(picture[None])
    figure, axes = plt.subplots(1, len(pools) + 1, figsize=(2.1 * (len(pools) + 1), 2.5))
    axes[0].imshow(resize_frames(picture[None], (336, 336))[0])
    axes[0].set_title("the frame\n336 x 336 pixels", fontsize=9)
    for axis, (name, pool) in zip(axes[1:], pools.items()):
        pooled = pool(features)[0]
        axis.imshow(as_picture(pooled), interpolation="nearest")
        rows, columns = pooled.shape[:2]
        axis.set_title(f"{name}\n{rows} x {columns} = {rows * columns} tokens", fontsize=9)
    for axis in axes:
        axis.axis("off")
    figure.tight_layout(pad=0.4)
    return described(
        figure,
        f"A frame, and what is left of it, token by token in mean colours: {titles_of(axes[1:])}.",
    )


def plot_spot(sizes: dict[str, Pool], patches: int = 12) -> Figure:
    """One bright patch on grey after each pool: where it goes, and how bright it still is."""
    features = torch.zeros(1, patches, patches, 1)
    features[0, 4, 5] = 1.0
    figure, axes = plt.subplots(1, len(sizes) + 1, figsize=(1.9 * (len(sizes) + 1), 2.3))
    for axis, (name, pool) in zip(axes, {"one bright patch": NO_POOL, **sizes}.items()):
        pooled = pool(features)[0, :, :, 0]
        axis.imshow(pooled, cmap="gray", vmin=0, vmax=1, aspect=pooled.shape[1] / pooled.shape[0])
        axis.set(xticks=[], yticks=[])
        axis.set_title(f"{name}\nbrightest {float(pooled.max()):.2f}", fontsize=9)
    figure.tight_layout(pad=0.4)
    return described(
        figure,
        f"One bright patch on grey, and what is left of it: {titles_of(axes)}.",
    )


def plot_two_eyes(frames: Frames, slow_frames: int = 10, slow_pool: str = "max 1 x 2", fast_side: int = 4) -> Figure:
    """What both pathways leave of a film: the slow frames above, all frames of the fast one below, and the count."""
    spec = SlowFast(slow=Pathway(slow_frames, POOLS[slow_pool]), fast=Pathway(None, Pool.to(fast_side, fast_side)))
    features = patch_colours(frames.pixels)
    counts = spec.token_counts(len(frames), (PATCHES, PATCHES))
    pooled = {n: pathway.pool(features[pathway.frame_indices(len(frames))]) for n, pathway in spec.pathways.items()}
    pictures = {
        name: mosaic(tokens, max(10, min(len(tokens), 20)) if name == "slow" else 25) for name, tokens in pooled.items()
    }
    heights = [0.45 + 8.8 * picture.shape[0] / picture.shape[1] for picture in pictures.values()]
    figure, axes = plt.subplots(3, 1, figsize=(9, sum(heights) + 0.9), height_ratios=[*heights, 0.7])
    for axis, (name, picture) in zip(axes, pictures.items()):
        axis.imshow(picture, interpolation="nearest", aspect="auto")
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set(color=COLOURS[name], linewidth=3)
        frames_, rows, columns, _ = pooled[name].shape
        title = f"{name}: {frames_} frames x ({rows} x {columns}) tokens = {counts[name]:,}"
        axis.set_title(title, fontsize=10, loc="left")
    draw_counts(axes[-1], counts)
    figure.tight_layout()
    return described(
        figure,
        f"The film as each pathway keeps it, as mosaics in mean colours: {titles_of(axes[:-1])}; "
        f"{sum(counts.values()):,} tokens.",
    )


def mosaic(features: Float[Tensor, "frames rows columns 3"], across: int) -> np.ndarray:
    """Frames in reading order, `across` in a row, with white gaps."""
    side = 48 if across <= 20 else 24
    pictures = [np.pad(as_picture(one, side), ((0, 3), (0, 3), (0, 0)), constant_values=1) for one in features]
    pictures += [np.ones_like(pictures[0])] * (-len(pictures) % across)
    return rearrange(np.stack(pictures), "(r c) h w k -> (r h) (c w) k", c=across)


def draw_counts(axis, counts: dict[str, int], limit: int = 4096) -> None:
    """Tokens of each pathway as one bar against the positions of the language model."""
    start = 0
    for name, length in counts.items():
        axis.barh(0, length, left=start, color=COLOURS[name], hatch=HATCHES[name], edgecolor="white")
        start += length
    axis.axvline(limit, color="black", linestyle="--", linewidth=1)
    axis.set(yticks=[], xlim=(0, max(start, limit) * 1.05), xlabel=f"{start:,} tokens; dashed: {limit:,} positions")
    axis.spines[["top", "right", "left"]].set_visible(False)


def plot_motion(times: Float[np.ndarray, "frames"], steps: dict[str, Float[Tensor, " steps"]]) -> Figure:
    """How much changes from each frame to the next, each curve against its own mean; slow blue, fast orange."""
    figure, axis = plt.subplots(figsize=(9, 2.6))
    styles = {"all patches": ("#000000", ":"), "slow": (COLOURS["slow"], "-"), "fast": (COLOURS["fast"], "-")}
    for name, change in steps.items():
        colour, line = styles[name]
        axis.plot(times[1:], change / change.mean(), line, color=colour, label=name, linewidth=1.6)
    axis.set(xlabel="time (seconds)", ylabel="change since last frame\n(its mean = 1)", ylim=(0, None))
    axis.legend(fontsize=8, ncols=3, frameon=False)
    axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    return described(
        figure,
        f"Change from each frame to the next over {float(times.max()):.1f} seconds, each curve against its own "
        f"mean. {courses(axis)}",
    )


def plot_pooled_spread(values: dict[str, Float[Tensor, "..."]]) -> Figure:
    """Histograms of features before and after pools: what a language model that never saw pooled tokens meets."""
    figure, axis = plt.subplots(figsize=(9, 2.4))
    looks = [("#000000", ":"), (COLOURS["slow"], "-"), (COLOURS["fast"], "--"), ("#CC79A7", "-.")]
    for (name, numbers), (colour, line) in zip(values.items(), looks):
        heights, edges = np.histogram(numbers.flatten().numpy(), bins=80, range=(-3.5, 3.5), density=True)
        axis.plot((edges[1:] + edges[:-1]) / 2, heights, line, color=colour, label=name)
    axis.set(xlabel="feature value", ylabel="density")
    axis.legend(fontsize=8, frameon=False)
    axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    return described(
        figure,
        "Histograms of feature values. "
        + "; ".join(
            f"{name}: mean {float(numbers.mean()):.2f}, spread {float(numbers.std()):.2f}"
            for name, numbers in values.items()
        ),
    )
