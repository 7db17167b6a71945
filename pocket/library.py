"""Comics with cached panel features: what the frozen tower sees of a comic's panels, each encoded on its own.

Comic `index` of `panels` panels is the same in every run of a seed; it is drawn and encoded when first asked for,
then kept in half precision.
Next in the data's way: `packing` turns comics and their questions into training sequences.
"""

from __future__ import annotations

import numpy as np
import torch
from einops import rearrange, reduce
from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn

from pocket.stories import comic
from pocket.tower import GRID, frame_features, photograph, pixels
from pocket.world import PICTURE, Story

POOLS = ("none", "max 1x2", "mean 2x2", "to 4x4", "to 2x2")  # 144, 72, 36, 16 and 4 tokens a panel
POOLED = {"none": 144, "max 1x2": 72, "mean 2x2": 36, "to 4x4": 16, "to 2x2": 4, "page": 744}


def pool(features: Float[Tensor, "pictures 144 dim"], how: str) -> Float[Tensor, "pictures tokens dim"]:
    """Projected picture features pooled as the paper's pathways pool frames."""
    grid = rearrange(features, "b (h w) d -> b d h w", h=GRID)
    if how == "max 1x2":
        grid = nn.functional.max_pool2d(grid, (1, 2))
    elif how == "mean 2x2":
        grid = nn.functional.avg_pool2d(grid, 2)
    elif how.startswith("to "):
        grid = nn.functional.adaptive_avg_pool2d(grid, tuple(int(side) for side in how[3:].split("x")))
    elif how != "none":
        raise ValueError(f"pooling {how!r}: choose one of {', '.join(POOLS)}")
    return rearrange(grid, "b d h w -> b (h w) d")


def page(features: Float[Tensor, "5 144 dim"], newline: Float[Tensor, " dim"]) -> Float[Tensor, "744 dim"]:
    """One big picture in LLaVA-NeXT's AnyRes layout: its small whole view, then 2 x 2 tiles row by row with a
    newline after each row."""
    whole, tiles = features[0], rearrange(features[1:], "(r c) (h w) d -> (r h) (c w) d", r=2, h=GRID)
    ends = newline.expand(len(tiles), 1, -1)
    return torch.cat([whole, rearrange(torch.cat([tiles, ends], dim=1), "h w d -> (h w) d")])


def shrunk_page(panels: np.ndarray) -> np.ndarray:
    """The whole view of a page of four panels (2 x 2 in reading order)."""
    big = rearrange(panels, "(r c) h w x -> (r h) (c w) x", r=2)
    return np.asarray(Image.fromarray(big).resize((PICTURE, PICTURE), Image.Resampling.BICUBIC))


class Library:
    """Lazily drawn comics. `get(panels, indices)` gives stories, times and features (panels, 144, dim); four-panel
    ones may come as a page."""

    def __init__(self, tower: nn.Module, seed: int) -> None:
        self.tower, self.seed = tower, seed
        self.shelf: dict[tuple[int, int, bool], tuple[Story, list[float], Tensor]] = {}

    def get(self, panels: int, indices: list[int], as_page: bool = False) -> list[tuple[Story, list[float], Tensor]]:
        """The comics of the given indices; with `as_page` the first feature is that of the whole page."""
        missing = [i for i in dict.fromkeys(indices) if (panels, i, as_page) not in self.shelf]
        drawn = [self._draw(panels, i, as_page) for i in missing]
        if drawn:
            values = pixels(np.concatenate([pictures for *_, pictures in drawn]))
            with torch.inference_mode():
                features = torch.cat([frame_features(self.tower, part).half() for part in values.split(32)])
            each = rearrange(features, "(b p) t d -> b p t d", b=len(drawn)).clone()
            for i, (story, times, _), feature in zip(missing, drawn, each, strict=True):
                self.shelf[panels, i, as_page] = story, times, feature
        return [self.shelf[panels, i, as_page] for i in indices]

    def _draw(self, panels: int, index: int, as_page: bool) -> tuple[Story, list[float], np.ndarray]:
        rng = np.random.default_rng([self.seed, 2, panels, index])
        story, times = comic(rng, panels)
        pictures = np.stack([photograph(rng, story, t) for t in times])
        return story, times, np.concatenate([shrunk_page(pictures)[None], pictures]) if as_page else pictures


def mean_window(features: Float[Tensor, "b 144 d"], window: int) -> Float[Tensor, "b h w d"]:
    """Average over windows of `window` x `window` patches."""
    return reduce(features, "b (h i w j) d -> b h w d", "mean", h=GRID // window, i=window, w=GRID // window, j=window)
