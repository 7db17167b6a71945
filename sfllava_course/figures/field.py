"""Figures of chapter 9: what each method keeps of a film, and what it costs.

What is kept is measured, not drawn by hand: the *share* of a patch is how much the visual tokens move, all of them
together, when the patch does. 1: the patch is a token of its own; 1/2: two share a token; 0: nobody ever hears of it.
All shares of a film together are its visual tokens (those that stand for a row's end apart).
"""

from dataclasses import dataclass, replace

import matplotlib.pyplot as plt
import numpy as np
from einops import rearrange, repeat
from jaxtyping import Float, UInt8
from matplotlib.figure import Figure

from sfllava_core.budget.arithmetic import Budget
from sfllava_core.features import resize_frames
from sfllava_core.methods.base import Method
from sfllava_core.model import VideoLLM
from sfllava_core.video.frames import Frames
from sfllava_course.figures.described import described
from sfllava_course.figures.style import COLOURS, HATCHES

SIDE = 48  # pixels of a view in the figure: a multiple of the pocket model's grid
FAINTEST = 0.3  # how much of a picture is seen where its share is smallest, but not 0
SMALLEST = 1 / 36  # a share of the fast pathway; what is below is drawn like it


@dataclass(frozen=True, eq=False)
class Kept:
    """What a method keeps of a film: the views that the tower gets, and the share of each of their patches."""

    views: UInt8[np.ndarray, "views side side 3"]
    shares: Float[np.ndarray, "views rows columns"]
    tokens: int

    @property
    def seen(self) -> float:
        """Share of all patches that the tower saw of which something is left."""
        return float((self.shares > 0).mean())


def kept(llm: VideoLLM, method: Method, film: Frames) -> Kept:
    """What a method keeps of a film's frames, of which it takes those that it samples.

    Works for every method whose tokens follow from features without a jump: pools, choices, means.
    """
    frames = film.sampled(method.sample)
    views = method.arrange(frames.pixels, llm.image_size)
    seen = llm.look(views, method)
    features = seen.features.clone().requires_grad_()
    seen = replace(seen, features=features, frame_size=frames.pixels.shape[1:3], image_size=llm.image_size)
    tokens = method.tokens_of(seen)
    tokens.sum().backward()
    share = features.grad.float().mean(dim=-1).cpu()
    # Patches that were averaged before the projector (one feature for several of them) share it.
    down, across = llm.grid[0] // share.shape[1], llm.grid[1] // share.shape[2]
    share = repeat(share, "t h w -> t (h a) (w b)", a=down, b=across) / (down * across)
    pictures = resize_frames(np.asarray(views).round().astype(np.uint8), (SIDE, SIDE))
    return Kept(pictures, share.numpy().round(6), len(tokens))


def shown(one: Kept) -> Float[np.ndarray, "views side side 3"]:
    """The views, the paler the smaller a patch's share is, from 0 to 1; white where nothing is left of it."""
    strength = 1 + (1 - FAINTEST) * np.log(one.shares.clip(SMALLEST, 1)) / -np.log(SMALLEST)
    strength = np.where(one.shares > 0, strength, 0.0)
    rows, columns = strength.shape[1:]
    strength = strength.repeat(SIDE // rows, axis=1).repeat(SIDE // columns, axis=2)[..., None]
    return 1 - strength * (1 - one.views / 255)


def plot_kept(methods: dict[str, Kept], columns: int = 18) -> Figure:
    """A strip of views for each method, in reading order; what is pale is pooled, what is white is dropped."""
    rows = [-(-len(one.views) // columns) for one in methods.values()]
    figure, axes = plt.subplots(
        len(methods), 1, figsize=(10, 0.56 * sum(rows) + 0.35 * len(methods)), squeeze=False, height_ratios=rows
    )
    for axis, count, (name, one) in zip(axes.flat, rows, methods.items()):
        pictures = np.pad(shown(one), [(0, 0), (1, 1), (1, 1), (0, 0)], constant_values=0.75)  # frames of grey
        empty = np.ones((count * columns - len(pictures), *pictures.shape[1:]))
        sheet = rearrange(np.concatenate([pictures, empty]), "(r c) h w x -> (r h) (c w) x", r=count)
        axis.imshow(sheet)
        axis.axis("off")
        axis.set_title(
            f"{name}: {len(one.views)} views, {one.tokens:,} tokens; "
            f"something is left of {100 * one.seen:.0f} % of the patches",
            fontsize=9, loc="left", pad=3,
        )  # fmt: skip
    figure.tight_layout(pad=0.4)
    return described(
        figure,
        "What each method keeps of one film, as a strip of its views; pale is pooled, white is dropped. "
        + "; ".join(
            f"{name}: {len(one.views)} views, {one.tokens:,} tokens, something left of {100 * one.seen:.0f} % of "
            f"the patches"
            for name, one in methods.items()
        ),
    )


def plot_costs(budgets: dict[str, Budget], limit: int) -> Figure:
    """Visual tokens, and operations of the vision tower and of the prefill, once a video; a row for each method."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 0.34 * len(budgets) + 1.0), sharey=True)
    names, found = list(budgets), list(budgets.values())
    left.barh(names, [one.visual_tokens for one in found], color=COLOURS["text"])
    left.axvline(limit, color="black", linestyle="--", linewidth=1)
    left.set_xlabel(f"visual tokens; dashed: {limit:,} positions", fontsize=8)
    start = np.zeros(len(found))
    for name, looks in (("vision", "slow"), ("prefill", "fast")):
        work = np.array([getattr(one, f"{name}_flops") / 1e12 for one in found])
        right.barh(names, work, left=start, color=COLOURS[looks], hatch=HATCHES[looks], edgecolor="white", label=name)
        start += work
    right.set_xlabel("operations once a video (10^12)", fontsize=8)
    right.legend(fontsize=8, frameon=False, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1))
    left.invert_yaxis()
    for axis in (left, right):
        axis.tick_params(labelsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    return described(
        figure,
        f"Bars for each method; the model has {limit:,} positions. "
        + "; ".join(
            f"{name}: {one.visual_tokens:,} visual tokens, vision {one.vision_flops / 1e12:.3g}, prefill "
            f"{one.prefill_flops / 1e12:.3g} TFLOP"
            for name, one in budgets.items()
        ),
    )
