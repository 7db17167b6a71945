"""Comics with cached panel features: what the frozen tower sees of a comic's panels, each encoded on its own.

Comic `index` of a kind is the same in every run of a seed; it is drawn and encoded when first asked for, then kept in
half precision. Next in the data's way: `packing` turns comics and their questions into training sequences.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float16, UInt8
from torch import Tensor, nn

from pocket.library import shrunk_page
from pocket2.stories import comic
from pocket2.tower import frame_features, photograph, pixels
from pocket2.world import Story

Kind = tuple[int, bool, bool]  # panels, one scene a panel, as one AnyRes page
Comic = tuple[Story, list[float], Float16[Tensor, "pictures 144 dim"]]


class Library:
    """Lazily drawn comics. `get(kind, indices)` gives stories, times and features (panels, 144, dim); of a page the
    first feature is that of the whole page."""

    def __init__(self, tower: nn.Module, seed: int) -> None:
        self.tower, self.seed = tower, seed
        self.shelf: dict[tuple[Kind, int], Comic] = {}

    def get(self, kind: Kind, indices: list[int]) -> list[Comic]:
        """The comics of the given indices."""
        for index in indices:
            if (kind, index) not in self.shelf:
                story, times, pictures = self._draw(kind, index)
                with torch.inference_mode():
                    parts = [frame_features(self.tower, part).half() for part in pixels(pictures).split(16)]
                self.shelf[kind, index] = story, times, torch.cat(parts).clone()
        return [self.shelf[kind, index] for index in indices]

    def _draw(self, kind: Kind, index: int) -> tuple[Story, list[float], UInt8[np.ndarray, "pictures 96 96 3"]]:
        panels, scenes, as_page = kind
        rng = np.random.default_rng([self.seed, 2, panels, scenes, index])
        story, times = comic(rng, panels, scenes)
        pictures = np.stack([photograph(rng, story, t) for t in times])
        return story, times, np.concatenate([shrunk_page(pictures)[None], pictures]) if as_page else pictures
