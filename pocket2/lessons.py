"""What stage 3 practises on: the comics of a step, how they are pooled, and how often each family is asked.

There is one lesson: with the wires laid (`structure.py`), nothing has to wait for something else. Next in the data's
way: `packing`.
"""

from __future__ import annotations

import numpy as np

from pocket.library import POOLED
from pocket2.library import Kind

LONGEST = 1600  # visual tokens of a comic
SHELF = 120  # comics kept of each kind
PANELS = (1, 2, 3, 4, 6, 9, 12)
POOLS = ("none", "max 1x2", "max 1x2", "mean 2x2", "to 4x4", "to 2x2", "to 2x2")
PAGES, SCENES, CHOICES = 0.15, 0.35, 0.4  # shares of the steps: AnyRes pages, a scene a panel, multiple choice
OFTEN = {"plate": 1.0, "scene": 1.5, "brief": 1.0, "order": 1.5, "hop": 1.5, "key": 1.5, "long": 1.0}
COARSE = {"plate": 0.05, "scene": 0.05, "key": 0.05}  # how often where a panel is 16 tokens or fewer


def draw_step(rng: np.random.Generator) -> tuple[Kind, str, bool]:
    """(kind of comic, pooling, multiple choice) of one step; the pooling "page" is four panels in the AnyRes layout."""
    choice, scenes = bool(rng.random() < CHOICES), bool(rng.random() < SCENES)
    if rng.random() < PAGES:
        return (4, scenes, True), "page", choice
    panels = int(rng.choice(PANELS[1:] if scenes else PANELS))
    return (panels, scenes, False), str(rng.choice([how for how in POOLS if panels * POOLED[how] <= LONGEST])), choice


def often(how: str) -> dict[str, float]:
    """How often each family is asked of comics pooled so."""
    return OFTEN | (COARSE if POOLED[how] <= 16 else {})
