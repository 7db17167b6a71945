"""Figures of chapter 1: what is in a video file, and which of its frames are looked at."""

import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import Float, Int
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from sfllava_core.video.frames import sample_frame_indices
from sfllava_course.figures.described import courses, described
from sfllava_course.figures.style import COLOURS

DARK, LIGHT, EVENT = "#333333", "#BBBBBB", "#CC79A7"


def plot_packets(
    seconds: Float[np.ndarray, " packets"], sizes: Int[np.ndarray, " packets"], keys: np.ndarray
) -> Figure:
    """Kilobytes of each frame in the file over time; keyframes, which need no other frame, are dark and hatched."""
    figure, axis = plt.subplots(figsize=(9, 2.5))
    width = float(np.median(np.diff(np.sort(seconds)))) * 0.9
    axis.bar(seconds[~keys], sizes[~keys] / 1000, width, color=LIGHT)
    axis.bar(seconds[keys], sizes[keys] / 1000, 3 * width, color=DARK, hatch="////", edgecolor="white")
    axis.set(xlabel="time (seconds)", ylabel="size (kB)")
    named = [Patch(facecolor=DARK, hatch="////", edgecolor="white", label="keyframe (drawn wider)"),
             Patch(facecolor=LIGHT, label="difference to other frames")]  # fmt: skip
    axis.legend(handles=named, fontsize=8, frameon=False, ncols=2, loc="upper left", bbox_to_anchor=(0, 1.18))
    axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    return described(
        figure,
        f"Bars over {seconds.max():.0f} seconds, one for each of {len(sizes)} frames in the file. {keys.sum()} "
        f"keyframes take "
        f"{sizes[keys].mean() / 1000:.1f} kB on average, the other frames {sizes[~keys].mean() / 1000:.1f} kB.",
    )


def plot_intervals(clips: dict[str, Float[np.ndarray, " frames"]]) -> Figure:
    """Milliseconds from each frame to the next, for each clip's timestamps."""
    figure, axes = plt.subplots(1, len(clips), figsize=(9, 2.2), squeeze=False)
    for axis, (name, seconds) in zip(axes.flat, clips.items()):
        gaps = 1000 * np.diff(seconds)
        axis.plot(gaps, ".", color=DARK, markersize=4)
        axis.set(title=name, xlabel="frame", ylim=(0, gaps.max() * 1.15))
        axis.title.set_fontsize(10)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0, 0].set_ylabel("time to the next\nframe (ms)")
    figure.tight_layout()
    return described(
        figure,
        "Time from each frame to the next, in milliseconds. "
        + "; ".join(
            f"{name}: {1000 * np.diff(seconds).min():.0f} to {1000 * np.diff(seconds).max():.0f}"
            for name, seconds in clips.items()
        ),
    )


def plot_sampling(total: int, n: int, event: tuple[int, int] | None = None) -> Figure:
    """A film of `total` frames cut into n pieces, the frame taken of each, and a brief event (first frame, length)."""
    taken = sample_frame_indices(total, n)
    edges = np.rint(np.arange(len(taken) + 1) * ((total - 1) / len(taken)))
    figure, axis = plt.subplots(figsize=(9, 1.5))
    axis.vlines(edges, -0.5, 0.5, color=LIGHT, linewidth=1)
    axis.plot(taken, np.zeros(len(taken)), "|", color="black", markersize=16, markeredgewidth=1.6)
    title = f"{len(taken)} of {total} frames"
    if event is not None:
        start, length = event
        hits = sum(start <= frame < start + length for frame in taken)
        axis.axvspan(start - 0.5, start + length - 0.5, facecolor=EVENT, alpha=0.6, hatch="xx", edgecolor="white")
        title += (
            f"; the event of {length} frames is seen {hits} times" if hits else f"; the event of {length} is MISSED"
        )
    axis.set(yticks=[], xlim=(-1, total), ylim=(-0.7, 0.7), xlabel="frame number (grey: edges of the pieces)")
    axis.set_title(title, fontsize=10, loc="left")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.spines[["top", "right", "left"]].set_visible(False)
    figure.tight_layout()
    return described(
        figure,
        f"A line of {total} frame numbers, cut into equal pieces; of each piece one frame is taken. {title}.",
    )


def plot_catch_curves(total: int, numbers: list[int], longest: int) -> Figure:
    """Chance that a sampled frame falls into an event, for each length up to `longest`; one line for each N."""
    figure, axis = plt.subplots(figsize=(9, 2.6))
    lengths = np.arange(1, longest + 1)
    for n, line in zip(numbers, ["-", "--", "-.", ":"]):
        taken = np.zeros(total, bool)
        taken[sample_frame_indices(total, n)] = True
        before = np.concatenate([[0], np.cumsum(taken)])
        chances = [np.mean(before[length:] > before[: total + 1 - length]) for length in lengths]
        axis.plot(lengths, chances, line, color=DARK, label=f"N = {n}", linewidth=1.5)
    axis.set(xlabel="length of the event (frames)", ylabel="chance to be seen", ylim=(0, 1.05))
    axis.legend(fontsize=8, frameon=False)
    axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    return described(
        figure,
        f"Chance that an event is seen, over its length from 1 to {longest} frames. {courses(axis)}",
    )


def plot_clock(seconds: Float[np.ndarray, " frames"], choices: dict[str, list[int]]) -> Figure:
    """Sampled frames on the clock: one row for each way of choosing; all frames of the file are the small dots."""
    figure, axis = plt.subplots(figsize=(9, 0.5 * len(choices) + 1))
    marks = dict(zip(choices, ["|", "x", "o"]))
    for row, (name, indices) in enumerate(choices.items()):
        axis.plot(seconds, np.full(len(seconds), row), ".", color=LIGHT, markersize=3)
        axis.plot(seconds[indices], np.full(len(indices), row), marks[name], color="black", markersize=10)
    axis.set(
        yticks=range(len(choices)), yticklabels=list(choices), xlabel="time (seconds)", ylim=(len(choices) - 0.5, -0.5)
    )
    axis.spines[["top", "right", "left"]].set_visible(False)
    figure.tight_layout()
    return described(
        figure,
        f"Sampled frames on the clock, above the {len(seconds)} frames of the file. "
        + "; ".join(
            f"{name}: {len(indices)} frames from {seconds[indices].min():.1f} to {seconds[indices].max():.1f} s, "
            f"at most {np.diff(np.sort(seconds[indices])).max():.2f} s apart"
            for name, indices in choices.items()
        ),
    )


def plot_decode_work(work: dict[str, list[int]], numbers: list[int], total: int) -> Figure:
    """Frames that must be decoded to get N of them, by way of getting them; the dotted line is the whole file."""
    figure, axis = plt.subplots(figsize=(9, 2.5))
    for (name, counts), line in zip(work.items(), ["-o", "--s"]):
        axis.plot(numbers, counts, line, label=name, color=COLOURS["text"] if line == "-o" else DARK, markersize=4)
    axis.axhline(total, color="black", linestyle=":", linewidth=1)
    axis.text(numbers[-1], total, "frames in the file", fontsize=8, ha="right", va="bottom")
    axis.set(xlabel="frames wanted (N)", ylabel="frames decoded", yscale="log")
    axis.legend(fontsize=8, frameon=False)
    axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    return described(
        figure,
        f"Frames decoded, on a logarithmic axis, over frames wanted, from {min(numbers)} to {max(numbers)}; the "
        f"file has {total}. "
        f"{courses(axis)}",
    )


def plot_readings(readings: dict[str, list[np.ndarray]], asked: list[int], got: dict[str, list[int]]) -> Figure:
    """One row of pictures for each decoder; above each the number of its frame, bold where another was asked for."""
    figure, axes = plt.subplots(len(readings), len(asked), figsize=(9, 1.25 * len(readings)), squeeze=False)
    for row, (name, pictures) in zip(axes, readings.items()):
        for axis, picture, wanted, number in zip(row, pictures, asked, got[name]):
            axis.imshow(picture)
            axis.set(xticks=[], yticks=[])
            right = number == wanted
            axis.set_title(
                f"{number}" if right else f"{number}, not {wanted}", fontsize=8, color=DARK if right else EVENT
            )
            axis.title.set_fontweight("normal" if right else "bold")
        row[0].set_ylabel(name, fontsize=9)
    figure.tight_layout(pad=0.4)
    return described(
        figure,
        "Pictures that each decoder gave for the frame numbers asked for. "
        + "; ".join(
            f"{name}: " + ", ".join(f"{number} for {wanted}" for wanted, number in zip(asked, got[name]))
            for name in readings
        ),
    )
