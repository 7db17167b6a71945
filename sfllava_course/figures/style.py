"""The course's figures: one colour for slow, one for fast, one for text, the same everywhere.

Each function draws and returns a matplotlib figure; a notebook calls it once by itself and once behind a widget.
The pathways differ in hatching too, so that a figure can be read without colour.
"""

import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import UInt8
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from sfllava_core.methods.slowfast import SlowFast
from sfllava_core.video.frames import Frames
from sfllava_course.figures.described import described, listed

COLOURS = {"slow": "#0072B2", "fast": "#E69F00", "text": "#8C8C8C"}
HATCHES = {"slow": "", "fast": "////", "text": ".."}


def plot_film_strip(frames: Frames, spec: SlowFast, columns: int = 10) -> Figure:
    """All sampled frames in reading order; those of the slow pathway are framed in its colour."""
    rows = -(-len(frames) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(columns * 0.95, rows * 0.95), squeeze=False)
    chosen = set(spec.slow.frame_indices(len(frames))) if spec.slow else set()
    for axis in axes.flat:
        axis.axis("off")
    for place, (axis, picture) in enumerate(zip(axes.flat, frames.pixels)):
        draw_frame(axis, picture, place in chosen)
        axis.set_title(clock(frames, place), fontsize=8, pad=2)
    figure.suptitle(f"{len(frames)} sampled frames; {len(chosen)} framed ones go to the slow pathway", fontsize=9)
    figure.tight_layout(pad=0.3, rect=(0, 0, 1, 0.98))
    return described(
        figure,
        f"{len(frames)} sampled frames in reading order, {clock(frames, 0)} to {clock(frames, len(frames) - 1)}; "
        f"framed, for the "
        f"slow pathway: {', '.join(clock(frames, place) for place in sorted(chosen)) or 'none'}.",
    )


def draw_frame(axis, picture: UInt8[np.ndarray, "height width 3"], is_slow: bool) -> None:
    """One frame, with a border if the slow pathway takes it."""
    axis.imshow(picture)
    if is_slow:
        axis.axis("on")
        axis.set(xticks=[], yticks=[])
        for spine in axis.spines.values():
            spine.set(color=COLOURS["slow"], linewidth=2.5)


def clock(frames: Frames, place: int) -> str:
    """A frame's time, or its number where there is no clock."""
    seconds = frames.timestamps[place]
    return f"#{frames.indices[place]}" if np.isnan(seconds) else f"{seconds:.1f} s"


def plot_token_sequence(text_before: int, pathway_tokens: dict[str, int], text_after: int, limit: int) -> Figure:
    """The prompt as the language model sees it: text, slow tokens, fast tokens, text, against the context's length."""
    parts = [("text", text_before), *pathway_tokens.items(), ("text", text_after)]
    figure, axis = plt.subplots(figsize=(9, 1.5))
    start = 0
    for name, length in parts:
        axis.barh(0, length, left=start, color=COLOURS[name], hatch=HATCHES[name], edgecolor="white", linewidth=0.5)
        if length > limit / 20:
            axis.text(start + length / 2, 0, f"{name} {length}", ha="center", va="center", fontsize=9, color="black",
                      bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5})  # fmt: skip
        start += length
    axis.axvline(limit, color="black", linestyle="--", linewidth=1)
    axis.text(limit, 0.55, f" {limit} positions", fontsize=8, ha="right")
    axis.set(xlim=(0, max(limit, start) * 1.02), yticks=[], xlabel="position in the prompt (tokens)", ylim=(-0.5, 0.75))
    names = dict.fromkeys(name for name, _ in parts)
    handles = [Patch(facecolor=COLOURS[n], hatch=HATCHES[n], edgecolor="white", label=n) for n in names]
    axis.legend(handles=handles, ncols=3, fontsize=8, loc="upper left", bbox_to_anchor=(0, 1.3), frameon=False)
    axis.spines[["top", "right", "left"]].set_visible(False)
    figure.tight_layout()
    return described(
        figure,
        f"The prompt as a bar of {start} tokens in order, against {limit} positions: "
        + ", ".join(f"{name} {length}" for name, length in parts),
    )


def plot_seconds(seconds: dict[str, list[float]], stages: list[str]) -> Figure:
    """Seconds of each stage, one bar for each name, stages stacked in the order given."""
    figure, axis = plt.subplots(figsize=(9, 0.55 * len(seconds) + 1))
    greys = plt.get_cmap("Greys")(np.linspace(0.25, 0.8, len(stages)))
    for row, values in enumerate(seconds.values()):
        starts = np.concatenate([[0], np.cumsum(values)[:-1]])
        for stage, (start, value) in enumerate(zip(starts, values)):
            axis.barh(row, value, left=start, color=greys[stage], edgecolor="white")
    axis.set(yticks=range(len(seconds)), yticklabels=list(seconds), xlabel="time (seconds)")
    axis.invert_yaxis()
    axis.legend(handles=[Patch(facecolor=grey, label=stage) for grey, stage in zip(greys, stages)], fontsize=8, ncols=5,
                loc="lower center", bbox_to_anchor=(0.5, 1), frameon=False)  # fmt: skip
    axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    return described(
        figure,
        "Seconds of each stage, stacked. "
        + "; ".join(f"{name}: {listed(dict(zip(stages, values)))}" for name, values in seconds.items()),
    )
