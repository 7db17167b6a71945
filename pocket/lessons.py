"""The curriculum of stage 3: what its comics look like, and what is asked about them, lesson by lesson.

Each family is learned where it is easiest: cards on single fine pictures, presence and order on two coarse panels,
letters on short comics, movement on two to four panels; at the end everything on 1 to 9 panels. In the one run with
all of it mixed from the beginning (its places were aligned more strongly too), 2,200 steps taught the bubble only.
Next in the data's way: `packing`.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from pocket.library import POOLED, POOLS

LONGEST = 700  # visual tokens of a comic
ABLATIONS = ("curriculum", "pooling", "offsets")  # what `train --without` leaves out, to see what each is worth


@dataclass(frozen=True)
class Scene:
    """A kind of training step.

    Attributes: panels and pools, one of each drawn for a step; families, how often each is asked; choices and pages,
    the shares of steps that ask multiple-choice questions, and that show a page of four panels as AnyRes does.
    """

    panels: tuple[int, ...]
    pools: tuple[str, ...]
    families: dict[str, float]
    choices: float = 0.0
    pages: float = 0.0


@dataclass(frozen=True)
class Lesson:
    """A share of the stage's steps, each of which draws one of the scenes."""

    share: float
    scenes: tuple[Scene, ...]


def _asked(detail: float, brief: float, order: float, presence: float, motion: float, where: float) -> dict:
    often = {"detail": detail, "brief": brief, "order": order, "presence": presence, "motion": motion}
    return often | {"where": where, "list": 0.02}


COARSE = ("to 2x2", "to 2x2", "to 2x2", "to 4x4", "max 1x2")
MIDDLE = ("to 2x2", "to 4x4", "to 4x4", "max 1x2", "mean 2x2")
CARDS = Scene((1, 1, 2), ("none", "max 1x2", "max 1x2", "mean 2x2"), _asked(4, 1, 0.3, 1.5, 0.1, 0.6))
PAIRS = Scene((2,), ("to 2x2",), _asked(0.2, 1, 4, 2, 0.01, 1))
LETTERS = Scene((1, 2, 2, 3), COARSE, _asked(1.5, 1.5, 0.7, 1.5, 0.2, 0.2), choices=0.95)
MOVES = Scene((2, 3, 4), MIDDLE, _asked(0.6, 0.4, 1, 0.5, 4, 2), choices=0.25)
EVERYTHING = Scene(tuple(range(1, 10)), (*POOLS, *COARSE), _asked(1.5, 0.8, 2, 1, 2.5, 0.8), choices=0.4, pages=0.04)
LESSONS = (
    Lesson(0.18, (CARDS, PAIRS)),
    Lesson(0.18, (CARDS, PAIRS, PAIRS, PAIRS)),
    Lesson(0.16, (LETTERS, LETTERS, LETTERS, CARDS, PAIRS)),
    Lesson(0.14, (MOVES, MOVES, MOVES, LETTERS, LETTERS, CARDS, PAIRS)),
    Lesson(0.34, (EVERYTHING,)),
)


def scene_at(rng: np.random.Generator, progress: float, without: Collection[str] = ()) -> Scene:
    """A scene of the lesson at `progress`, from 0 to 1 over the stage; without the curriculum, of the last one."""
    if "curriculum" in without:
        return EVERYTHING
    ends = np.cumsum([lesson.share for lesson in LESSONS])
    lesson = LESSONS[min(int(np.searchsorted(ends, progress, side="right")), len(LESSONS) - 1)]
    return lesson.scenes[int(rng.integers(len(lesson.scenes)))]


def draw_step(rng: np.random.Generator, scene: Scene, without: Collection[str] = ()) -> tuple[int, str, bool]:
    """(panels, pooling, multiple choice) of one step; the pooling "page" is four panels in the AnyRes layout.

    Without pooling at random, every panel is pooled as the slow pathway pools frames.
    """
    choice = bool(rng.random() < scene.choices)
    if rng.random() < scene.pages:
        return 4, "page", choice
    panels = int(rng.choice(scene.panels))
    pools = ("max 1x2",) if "pooling" in without else scene.pools
    return panels, str(rng.choice([how for how in pools if panels * POOLED[how] <= LONGEST])), choice
