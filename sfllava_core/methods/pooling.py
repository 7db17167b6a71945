"""Pooling of frame features, as values: a window that slides, an output size that is met, or nothing at all.

`RELEASED_POOLS` are the released code's modes; its "fast_4x4" and the like are `Pool.to(4, 4)`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from einops import rearrange, reduce
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from sfllava_core.methods.base import SpecError, Whole, positive_int

Shape = tuple[int, int, int]
MOST_FRAMES = 10_000  # sampled of one video: a token of each is more than any context holds
MOST_PATCHES = 1_000  # a side of a grid


@dataclass(frozen=True)
class Pool:
    """One pooling operation on (frames, rows, columns, dim).

    kind "none": tokens stay as they are.
    kind "max" or "avg": non-overlapping windows of `size` = (rows, columns).
    kind "to": adaptive average to `size` = (rows, columns), or over time too with (frames, rows, columns).
    kind "time": mean over all frames.
    """

    kind: str = "none"
    size: Sequence[Whole] = ()

    def __post_init__(self) -> None:
        lengths = {"none": (0,), "time": (0,), "max": (2,), "avg": (2,), "to": (2, 3)}
        if self.kind not in lengths:
            raise SpecError(f"pool kind {self.kind!r}: choose one of {', '.join(lengths)}")
        if len(self.size) not in lengths[self.kind]:
            raise SpecError(
                f"pool {self.kind!r} with size {self.size}: "
                f"it takes {' or '.join(map(str, lengths[self.kind]))} numbers"
            )
        limits = (MOST_FRAMES, MOST_PATCHES, MOST_PATCHES)[-len(self.size) :]
        sides = [positive_int(f"a side of pool {self.kind}", side, most) for side, most in zip(self.size, limits)]
        object.__setattr__(self, "size", tuple(sides))

    @classmethod
    def window(cls, kind: str, rows: int, columns: int) -> "Pool":
        """Windows of rows x columns patches, kind "max" or "avg"."""
        return cls(kind, (rows, columns))

    @classmethod
    def to(cls, rows: int, columns: int, frames: int | None = None) -> "Pool":
        """Adaptive average to rows x columns tokens a frame; with `frames`, to that many frames too."""
        return cls("to", (rows, columns) if frames is None else (frames, rows, columns))

    @classmethod
    def parse(cls, text: str) -> "Pool":
        """The pool that `str(pool)` names: "max1x2", "to4x4", "none".

        Raises:
            SpecError: no kind of pool, or a size that is none.
        """
        kind = re.split("[^a-z]", text, maxsplit=1)[0]
        size = text.removeprefix(kind)
        try:
            return cls(kind, tuple(int(side) for side in size.split("x")) if size else ())
        except ValueError as error:
            raise error if isinstance(error, SpecError) else SpecError(f"{size!r} is not a size such as 4x4") from None

    @property
    def per_frame(self) -> bool:
        """Whether each pooled token comes from one frame alone."""
        return self.kind != "time" and len(self.size) < 3

    def output_shape(self, shape: Sequence[int]) -> Shape:
        """(frames, rows, columns) after pooling.

        Raises:
            SpecError: windows that do not divide the grid, or an output larger than the grid.

        >>> Pool.window("max", 1, 2).output_shape((10, 24, 24)), Pool.to(4, 4).output_shape((50, 24, 24))
        ((10, 24, 12), (50, 4, 4))
        """
        frames, rows, columns = shape
        for name, side, most in zip(("frames", "rows", "columns"), shape, (MOST_FRAMES, MOST_PATCHES, MOST_PATCHES)):
            positive_int(name, side, most)
        if self.kind in ("max", "avg"):
            if rows % self.size[0] or columns % self.size[1]:
                raise SpecError(
                    f"pool {self} does not fit a grid of {rows} x {columns} patches: its windows must divide the grid "
                    "(the released code would pair patches across the ends of rows, or drop the last ones)"
                )
            return frames, rows // self.size[0], columns // self.size[1]
        if self.kind == "to":
            if self.size[-2] > rows or self.size[-1] > columns:
                raise SpecError(
                    f"pool {self} does not fit a grid of {rows} x {columns} patches: "
                    "it would invent tokens by repeating patches"
                )
            return (self.size[0] if len(self.size) == 3 else frames), self.size[-2], self.size[-1]
        return (1 if self.kind == "time" else frames), rows, columns

    def __call__(
        self, features: Float[Tensor, "frames rows columns dim"]
    ) -> Float[Tensor, "out_frames out_rows out_columns dim"]:
        """Pool (T, H, W, D). Raises SpecError where the pool does not fit the grid."""
        self.output_shape(tuple(features.shape[:3]))
        if self.kind in ("max", "avg"):
            reduction = {"max": "max", "avg": "mean"}[self.kind]
            return reduce(features, "t (h a) (w b) d -> t h w d", reduction, a=self.size[0], b=self.size[1])
        if self.kind == "to" and len(self.size) == 2:
            pooled = F.adaptive_avg_pool2d(rearrange(features, "t h w d -> t d h w"), self.size)
            return rearrange(pooled, "t d h w -> t h w d")
        if self.kind == "to":
            pooled = F.adaptive_avg_pool3d(rearrange(features, "t h w d -> d t h w"), self.size)
            return rearrange(pooled, "d t h w -> t h w d")
        return features.mean(dim=0, keepdim=True) if self.kind == "time" else features

    def __str__(self) -> str:
        return self.kind + "x".join(map(str, self.size))


NO_POOL = Pool()
RELEASED_POOLS = {
    "concat": NO_POOL,
    "spatial_1d_max_pool": Pool.window("max", 1, 2),
    "spatial_1d_avg_pool": Pool.window("avg", 1, 2),
    "spatial_2d_max_pool": Pool.window("max", 2, 2),
    "spatial_2d_avg_pool": Pool.window("avg", 2, 2),
    "spatial_temporal_pool": Pool.to(12, 12, frames=16),
    "temporal_global_pool": Pool("time"),
}
