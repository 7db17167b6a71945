"""The image grid of IG-VLM as a method: frames laid out as one big picture, read with LLaVA-NeXT's AnyRes layout.

A comparison of the paper (tables 1 to 3). The picture of rows x columns frames is encoded as a small whole view and
as tiles; the tiles' patches are put back in the picture's reading order, each row ended by the `image_newline` vector.
"""

import re
from dataclasses import dataclass

import numpy as np
import torch
from einops import rearrange, repeat
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from sfllava_core.features import resize_frames
from sfllava_core.methods.base import Grid, Method, SpecError, positive_int

MOST_SIDE = 32  # frames or tiles a side: the picture of 32 x 32 tiles takes 350 MB already


@dataclass(frozen=True)
class ImageGrid(Method):
    """rows x columns sampled frames as one picture, cut into tile_rows x tile_columns tiles, after one whole view.

    The defaults are IG-VLM's six frames (3 x 2) on LLaVA-NeXT's 2 x 2 tiles. As everywhere in this kit the picture is
    stretched to the tiles (the reference's "resize" mode), so nothing is padded and nothing has to be unpadded.
    IG-VLM as it was released is `IgVlm` (igvlm.py).
    """

    needs_newline = True
    own_features = True  # its views show several frames

    rows: int = 3
    columns: int = 2
    tile_rows: int = 2
    tile_columns: int = 2
    differs = "ours, after IG-VLM: the picture is stretched to the tiles; the paper's frames and prompts; see igvlm"

    def __post_init__(self) -> None:
        for name, number in vars(self).items():
            object.__setattr__(self, name, positive_int(f"ImageGrid {name}", number, MOST_SIDE))

    @property  # read as a field is, and never written
    def num_frames(self) -> int:  # type: ignore[override]
        """Frames to sample: one for each place in the picture."""
        return self.rows * self.columns

    def encoded_pictures(self, num_frames: int) -> int:
        """One whole view, and the tiles."""
        return 1 + self.tile_rows * self.tile_columns

    def decoded_size(self, size: tuple[int, int], resize: str = "pillow") -> None:
        """Frames keep their size: the picture is shrunk as a whole."""

    def arrange(
        self, pixels: UInt8[np.ndarray, "frames h w 3"], size: Grid
    ) -> UInt8[np.ndarray, "views height width 3"]:
        """The pictures that the vision tower gets: the whole view, then the tiles in reading order, each of `size`.

        A video with fewer frames than places leaves the last places black.
        """
        missing = self.num_frames - len(pixels)
        if missing < 0:
            raise SpecError(
                f"{len(pixels)} frames for a grid of {self.rows} x {self.columns}: sample {self.num_frames}"
            )
        pixels = np.concatenate([pixels, np.zeros((missing, *pixels.shape[1:]), dtype=np.uint8)])
        picture = rearrange(pixels, "(r c) h w x -> 1 (r h) (c w) x", r=self.rows)
        view = resize_frames(picture, size)
        large = resize_frames(picture, (self.tile_rows * size[0], self.tile_columns * size[1]))
        tiles = rearrange(large, "1 (r h) (c w) x -> (r c) h w x", r=self.tile_rows, c=self.tile_columns)
        return np.concatenate([view, tiles])

    def token_counts(self, num_frames: int | None = None, grid: Grid = (24, 24)) -> dict[str, int]:
        """Tokens of the whole view and of the tiles with their row ends: 576 and 48 * 49 on LLaVA-NeXT."""
        rows, columns = self.tile_rows * grid[0], self.tile_columns * grid[1]
        return {"whole": grid[0] * grid[1], "tiles": rows * (columns + 1)}

    def visual_tokens(
        self, features: Float[Tensor, "views rows columns dim"], newline: Float[Tensor, "dim"] | None = None
    ) -> Float[Tensor, "tokens dim"]:
        """Features of the views that `arrange` gave, to tokens: the whole view, then the tiles row by row.

        Raises:
            SpecError: a wrong number of views, or no `newline` (the model's `image_newline`).
        """
        if len(features) != 1 + self.tile_rows * self.tile_columns:
            raise SpecError(
                f"{len(features)} views for {self}: it needs 1 whole and {self.tile_rows * self.tile_columns} tiles"
            )
        if newline is None:
            raise SpecError(f"{self} needs the model's image_newline vector")
        view = rearrange(features[0], "h w d -> (h w) d")
        picture = rearrange(features[1:], "(r c) h w d -> (r h) (c w) d", r=self.tile_rows)
        row_ends = repeat(newline.to(picture), "d -> h 1 d", h=len(picture))
        return torch.cat([view, rearrange(torch.cat([picture, row_ends], dim=1), "h w d -> (h w) d")])

    def token_frames(self, num_frames: int, grid: Grid) -> Int64[Tensor, "tokens"]:
        """-1 for every token: a patch of the picture may show two frames."""
        return torch.full((self.token_count(num_frames, grid),), -1)

    def __str__(self) -> str:
        return f"grid{self.rows}x{self.columns}_tiles{self.tile_rows}x{self.tile_columns}"

    @classmethod
    def parse(cls, text: str, num_frames: int = 50) -> "ImageGrid | None":
        """Read "grid3x2_tiles2x2"."""
        match = re.fullmatch(r"grid(\d+)x(\d+)_tiles(\d+)x(\d+)", text)
        return cls(*map(int, match.groups())) if match else None
