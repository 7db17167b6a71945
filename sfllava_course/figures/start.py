"""Figures of chapter 0: the whole idea as one picture, answers by eye, and what each eye of a film had to go by."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import UInt8
from matplotlib.figure import Figure
from matplotlib.patches import ConnectionPatch, Patch, Rectangle

from sfllava_core.methods.base import Grid
from sfllava_core.methods.pooling import NO_POOL
from sfllava_core.methods.slowfast import SlowFast
from sfllava_core.video.frames import Frames
from sfllava_course.figures.described import described, listed
from sfllava_course.figures.pooling import as_picture, mosaic, patch_colours
from sfllava_course.figures.style import COLOURS, HATCHES

MARKS = {True: ("✓", "#D9EAD3"), False: ("✗", "#F4CCCC")}


def plot_idea(frames: Frames, spec: SlowFast, question: str, answer: str, grid: Grid) -> Figure:
    """film -> frames -> slow (few frames, many tokens) and fast (all frames, few tokens) -> prompt -> answer.

    The pictures are those of `frames`; pooled ones are drawn by mean colour. `grid` is the model's (rows, columns).

    Raises:
        ValueError: one eye of `spec` is closed.
    """
    if spec.slow is None or spec.fast is None:
        raise ValueError(f"{spec}: the picture shows both eyes; give a spec with slow and fast")
    figure = plt.figure(figsize=(10, 4.4))
    boxes = {"film": (0.01, 0.40, 0.15, 0.32), "slow": (0.24, 0.60, 0.30, 0.32), "fast": (0.24, 0.07, 0.30, 0.38),
             "prompt": (0.63, 0.44, 0.24, 0.16), "answer": (0.90, 0.44, 0.09, 0.16)}  # fmt: skip
    axes = {name: figure.add_axes(box) for name, box in boxes.items()}
    counts = spec.token_counts(len(frames), grid)
    few = spec.slow.frame_indices(len(frames))
    show(axes["film"], mosaic(patch_colours(frames.pixels[:: len(frames) // 9][:9], 48), 3), "black",
         f"film: {frames.total} frames,\n{len(frames)} of them sampled")  # fmt: skip
    close = patch_colours(frames.pixels[[few[1], few[len(few) // 2], few[-1]]], 48)
    show(
        axes["slow"],
        mosaic(close, 3),
        COLOURS["slow"],
        f"slow: few frames, many tokens\n{words(spec.slow, frames, grid)}",
    )
    glance = spec.fast.pool(patch_colours(frames.pixels, grid[0]))
    show(
        axes["fast"],
        mosaic(glance, 15),
        COLOURS["fast"],
        f"fast: all frames, few tokens\n{words(spec.fast, frames, grid)}",
    )
    draw_prompt(axes["prompt"], counts, question)
    axes["answer"].text(0.5, 0.5, answer, ha="center", va="center", fontsize=12, weight="bold")
    axes["answer"].set(xticks=[], yticks=[], title="answer")
    for start, end, colour in (("film", "slow", "slow"), ("film", "fast", "fast"), ("slow", "prompt", "slow"),
                               ("fast", "prompt", "fast"), ("prompt", "answer", "text")):  # fmt: skip
        arrow: dict[str, Any] = {"color": COLOURS[colour], "arrowstyle": "-|>", "linewidth": 2, "mutation_scale": 16}
        figure.add_artist(ConnectionPatch((1.02, 0.5), (-0.03, 0.5), "axes fraction", "axes fraction",
                                          axesA=axes[start], axesB=axes[end], **arrow))  # fmt: skip
    return described(
        figure,
        f"The whole method as one picture. A film of {frames.total} frames, {len(frames)} of them sampled, goes two "
        f"ways. "
        f"Slow, few frames and many tokens: {words(spec.slow, frames, grid)}. Fast, all frames and few tokens: "
        f"{words(spec.fast, frames, grid)}. Both meet in one prompt that ends in {question!r}; the answer is "
        f"{answer!r}.",
    )


def words(pathway, frames: Frames, grid: Grid) -> str:
    """ "8 x (12 x 6) = 576 tokens"."""
    taken = len(pathway.frame_indices(len(frames)))
    _, rows, columns = pathway.pool.output_shape((taken, *grid))
    return f"{taken} x ({rows} x {columns}) = {taken * rows * columns:,} tokens"


def show(axis, picture: np.ndarray, colour: str, title: str) -> None:
    """A picture in a coloured frame."""
    axis.imshow(picture, interpolation="nearest", aspect="auto")
    axis.set(xticks=[], yticks=[])
    axis.spines[:].set(color=colour, linewidth=3)
    axis.set_title(title, fontsize=9)


def draw_prompt(axis, counts: dict[str, int], question: str) -> None:
    """The prompt as a bar: text, slow, fast, text, with the question under it."""
    parts, start = [("text", 30), *counts.items(), ("text", 60)], 0
    for name, length in parts:
        axis.barh(0, length, left=start, color=COLOURS[name], hatch=HATCHES[name], edgecolor="white")
        start += length
    axis.set(xticks=[], yticks=[], xlim=(0, start), ylim=(-0.45, 0.45), title="one prompt, one language model")
    axis.set_xlabel(f"... {question}", fontsize=9)


def plot_answer_table(questions: list[str], wanted: list[str], answers: dict[str, list[str]]) -> Figure:
    """What was answered: a row for each question, a column for each eye; right ones green with a tick."""
    figure, axis = plt.subplots(figsize=(10, 0.36 * len(questions) + 0.7))
    columns = {"right answer": wanted, **answers}
    for place, (name, column) in enumerate(columns.items()):
        axis.text(4.3 + 2 * place, -0.75, name, ha="center", va="center", fontsize=10, weight="bold")
        for row, (said, truth) in enumerate(zip(column, wanted)):
            mark, colour = MARKS[said == truth]
            axis.add_patch(Rectangle((3.35 + 2 * place, row - 0.42), 1.9, 0.84, color=colour if place else "#EEEEEE"))
            text = f"{mark} {said}" if place else said
            axis.text(4.3 + 2 * place, row, text, ha="center", va="center", fontsize=9)
    for row, question in enumerate(questions):
        axis.text(3.25, row, question, ha="right", va="center", fontsize=9)
    axis.set(xlim=(-1.2, 3.4 + 2 * len(columns)), ylim=(len(questions) - 0.5, -1.1))
    axis.axis("off")
    figure.tight_layout(pad=0.2)
    return described(
        figure,
        "A table of answers. "
        + " ".join(
            f"{question} Right is {wanted[row]}; "
            + ", ".join(f"{eye}: {said[row]} {MARKS[said[row] == wanted[row]][0]}" for eye, said in answers.items())
            + "."
            for row, question in enumerate(questions)
        ),
    )


def plot_watching(frames: Frames, spec: SlowFast, title: str, grid: Grid, across: int = 10) -> Figure:
    """What a spec leaves of a film: its slow frames above, every frame at the fast pathway's grain below.

    Either eye may be closed. Frames are drawn at the model's own pixels, pooled tokens by their mean colour.
    """
    looks = {}
    for name, pathway in spec.pathways.items():
        picked = frames.pixels[pathway.frame_indices(len(frames))]
        sharp = name == "slow" or pathway.pool == NO_POOL
        pooled = patch_colours(picked, 48) if sharp else pathway.pool(patch_colours(picked, grid[0]))
        looks[name] = mosaic(pooled, across if sharp else 25)
    heights = [8.8 * look.shape[0] / look.shape[1] for look in looks.values()]
    figure, axes = plt.subplots(len(looks), 1, figsize=(9, sum(heights) + 0.5 + 0.4 * len(looks)),
                                height_ratios=heights, squeeze=False)  # fmt: skip
    for axis, (name, look) in zip(axes.flat, looks.items()):
        show(axis, look, COLOURS[name], "")
        axis.set_title(f"{name}: {words(spec.pathways[name], frames, grid)}", fontsize=9, loc="left")
    figure.suptitle(title, fontsize=11, weight="bold")
    figure.tight_layout()
    return described(
        figure,
        f"{title}: what is left of the film's frames, as mosaics. "
        + "; ".join(f"{name}: {words(pathway, frames, grid)}" for name, pathway in spec.pathways.items()),
    )


def plot_moment(picture: UInt8[np.ndarray, "h w 3"], spec: SlowFast, grid: Grid) -> Figure:
    """One frame as it is, as the slow pathway's tokens keep it, and as the fast pathway's do, by mean colour."""
    features = patch_colours(picture[None], grid[0])
    views = {"the frame": patch_colours(picture[None], 96)[0]}
    views |= {f"{name}: {len(pooled[0])} x {pooled.shape[2]} tokens": pooled[0]
              for name, pathway in spec.pathways.items() for pooled in [pathway.pool(features)]}  # fmt: skip
    figure, axes = plt.subplots(1, len(views), figsize=(2.6 * len(views), 2.9))
    for axis, (name, view), colour in zip(axes, views.items(), ["black", COLOURS["slow"], COLOURS["fast"]]):
        show(axis, as_picture(view, 96), colour, name)
        axis.set_aspect("equal")
    figure.tight_layout()
    return described(
        figure,
        f"One moment of the film, side by side in mean colours: {', '.join(views)}.",
    )


def plot_right_by_eye(right: dict[str, dict[str, float]]) -> Figure:
    """Share of right answers: groups of bars by kind of question, one bar for each eye (slow, fast, both)."""
    looks = {"both eyes": ("#333333", ""), "slow only": (COLOURS["slow"], HATCHES["slow"]),
             "fast only": (COLOURS["fast"], HATCHES["fast"])}  # fmt: skip
    kinds = list(next(iter(right.values())))
    figure, axis = plt.subplots(figsize=(9, 2.4))
    for place, (eye, shares) in enumerate(right.items()):
        colour, hatch = looks[eye]
        axis.bar(np.arange(len(kinds)) + 0.26 * (place - 1), [100 * shares[kind] for kind in kinds], 0.24,
                 color=colour, hatch=hatch, edgecolor="white")  # fmt: skip
    axis.set(xticks=range(len(kinds)), xticklabels=kinds, ylabel="right answers (%)", ylim=(0, 105))
    handles = [Patch(facecolor=looks[eye][0], hatch=looks[eye][1], edgecolor="white", label=eye) for eye in right]
    axis.legend(handles=handles, fontsize=8, frameon=False, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1))
    axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    return described(
        figure,
        "Bars of right answers in per cent. "
        + "; ".join(
            f"{kind}: " + listed({eye: 100 * shares[kind] for eye, shares in right.items()}, ".0f") for kind in kinds
        ),
    )
