"""Frame features -> visual tokens: the slow and the fast pathway, and every other way that the paper compares with.

Third step of the way: frames -> features -> **pathways** -> prompt -> answer.

A spec is a value (frozen, hashable, printable, JSON-able): it says how many frames are sampled, which of them a
pathway takes, and how it pools them. `spec.visual_tokens(features)` does it; `spec.token_count(T, grid)` prices it.

    SlowFast()                      slow 10 x (24 x 12) max-pooled + fast 50 x (4 x 4) average-pooled = 3680 tokens
    slow_only(12), fast_only(100)   one eye alone                 (table 4, and "no fast pathway" in section 4.4)
    uniform(32, (12, 12))           LLaVA-NeXT-Image              (every frame pooled alike)
    ImageGrid(3, 2)                 IG-VLM                        (frames laid out as one picture; image_grid.py)
    Blind()                         no visual token at all        (a control: what the questions alone give away)
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import SupportsIndex

import numpy as np
import torch
from einops import rearrange, repeat
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from sfllava_core.methods.pooling import MOST_FRAMES, NO_POOL, Pool, SpecError, whole

Grid = Sequence[int]  # (rows, columns)


def slow_frame_indices(T: SupportsIndex, n: SupportsIndex) -> list[int]:
    """Which of T sampled frames the slow pathway takes: n of them, uniformly, the first always.

    float32 `linspace` cut to whole numbers, as in the released code: for T = 2, 4, 8, 16, 32, 64 and 14 slow frames
    its rounding gives one less than i * T // n would. With T < n indices repeat.

    Returns:
        n indices in 0 .. T - 1, never decreasing.

    Raises:
        SpecError: a number below 1, or n above MOST_FRAMES.

    Source: section 3.2 ("uniformly sample N_slow frame features"); the rounding is the released code's.
    """
    T, n = whole("T, the number of sampled frames", T), whole("n, the number of slow frames", n, MOST_FRAMES)
    return torch.linspace(0, T, n + 1, dtype=torch.float32).long()[:-1].tolist()


@dataclass(frozen=True)
class PathwaySpec(ABC):
    """What every spec can do; a kind of spec adds the abstract part. `num_frames` is how many frames are sampled."""

    @property
    @abstractmethod
    def num_frames(self) -> int: ...

    @abstractmethod
    def token_counts(self, num_frames: int | None = None, grid: Grid = (24, 24)) -> dict[str, int]: ...

    @abstractmethod
    def visual_tokens(
        self, features: Float[Tensor, "frames rows columns dim"], newline: Float[Tensor, "dim"] | None = None
    ) -> Float[Tensor, "tokens dim"]: ...

    @abstractmethod
    def token_frames(self, num_frames: int, grid: Grid) -> Int64[Tensor, "tokens"]: ...

    def token_count(self, num_frames: int | None = None, grid: Grid = (24, 24)) -> int:
        """Visual tokens in all for `num_frames` sampled frames (default: the spec's) of `grid` (rows, columns) patches.

        Raises:
            SpecError: a pool that does not fit the grid.
        """
        return sum(self.token_counts(num_frames, grid).values())

    def encoded_pictures(self, num_frames: int) -> int:
        """How many pictures the vision tower encodes for `num_frames` sampled frames."""
        return num_frames

    def arrange(self, pixels: UInt8[np.ndarray, "frames h w 3"], size: Grid) -> UInt8[np.ndarray, "views h2 w2 3"]:
        """The pictures that the vision tower encodes: here each frame is one. `size` is the tower's (height, width)."""
        return pixels

    def decoded_size(self, size: tuple[int, int], resize: str = "pillow") -> tuple[int, int] | None:
        """(height, width) to shrink frames to while they are decoded; None keeps the video's own size.

        The tower's own `size`, wherever that gives the very pixels that shrinking later would.
        """
        return size if resize == "pillow" else None

    def to_json(self) -> str:
        """The spec as JSON with its method's name; `parse_spec` gives the same value back."""
        return json.dumps({"method": type(self).__name__, **asdict(self)})


@dataclass(frozen=True)
class Pathway:
    """One stream of visual tokens: `frames` of the sampled frames (None: all of them), each pooled by `pool`."""

    frames: SupportsIndex | None = None
    pool: Pool = NO_POOL

    def __post_init__(self) -> None:
        if self.frames is not None:
            object.__setattr__(self, "frames", whole("frames of a pathway (None takes all)", self.frames, MOST_FRAMES))

    def frame_indices(self, num_frames: int) -> list[int]:
        """The sampled frames this pathway takes, out of `num_frames`."""
        return list(range(num_frames)) if self.frames is None else slow_frame_indices(num_frames, self.frames)

    def token_count(self, num_frames: int, grid: Grid) -> int:
        """Tokens this pathway makes of `num_frames` frames of `grid` (rows, columns) patches."""
        sampled = whole("num_frames", num_frames, MOST_FRAMES)
        taken = sampled if self.frames is None else self.frames
        frames, rows, columns = self.pool.output_shape((taken, *grid))
        return frames * rows * columns

    def tokens(self, features: Float[Tensor, "frames rows columns dim"]) -> Float[Tensor, "tokens dim"]:
        """Pick, pool and flatten in reading order: frame by frame, row by row."""
        picked = features[self.frame_indices(len(features))]
        return rearrange(self.pool(picked), "t h w d -> (t h w) d")

    def __str__(self) -> str:
        return f"{self.frames or 'all'}-{self.pool}"


@dataclass(frozen=True)
class SlowFast(PathwaySpec):
    """N sampled frames seen by a slow pathway (few frames, many tokens) and a fast one (all frames, few tokens).

    The defaults are the paper's (section 4.1): N = 50, slow 10 frames pooled 1 x 2 by maximum, fast all frames pooled
    to 4 x 4 by average. `slow=None` or `fast=None` leaves one eye closed; both None is refused.
    """

    num_frames: SupportsIndex = 50
    slow: Pathway | None = Pathway(10, Pool.window("max", 1, 2))
    fast: Pathway | None = Pathway(None, Pool.to(4, 4))

    def __post_init__(self) -> None:
        object.__setattr__(self, "num_frames", whole("num_frames", self.num_frames, MOST_FRAMES))
        if self.slow is None and self.fast is None:
            raise SpecError("slow and fast are both None: at least one pathway must give tokens")

    @property
    def pathways(self) -> dict[str, Pathway]:
        """The pathways that are there, in the order of their tokens: slow, then fast."""
        return {name: pathway for name, pathway in (("slow", self.slow), ("fast", self.fast)) if pathway is not None}

    def token_counts(self, num_frames: int | None = None, grid: Grid = (24, 24)) -> dict[str, int]:
        """Tokens of each pathway: slow 10 * 288, fast 16 * T for the defaults and LLaVA-NeXT's 24 x 24 grid.

        Raises:
            SpecError: a pool that does not fit the grid.
        """
        frames = self.num_frames if num_frames is None else num_frames
        return {name: pathway.token_count(frames, grid) for name, pathway in self.pathways.items()}

    def visual_tokens(
        self, features: Float[Tensor, "frames rows columns dim"], newline: Float[Tensor, "dim"] | None = None
    ) -> Float[Tensor, "tokens dim"]:
        """Frame features to visual tokens: slow then fast, no separators (equation 3, and section 3.2).

        `newline` is for layouts that end their rows with LLaVA-NeXT's image_newline (`ImageGrid`); not used here.

        Raises:
            SpecError: a pool that does not fit the features' grid.
        """
        return torch.cat([pathway.tokens(features) for pathway in self.pathways.values()])

    def token_frames(self, num_frames: int, grid: Grid) -> Int64[Tensor, "tokens"]:
        """Which sampled frame each visual token comes from (for figures; -1 where a pool mixes frames)."""
        owners = []
        for pathway in self.pathways.values():
            frames, rows, columns = pathway.pool.output_shape((pathway.frames or num_frames, *grid))
            picked = torch.tensor(pathway.frame_indices(num_frames))
            owner = picked if pathway.pool.per_frame else torch.full((frames,), -1)
            owners.append(repeat(owner, "t -> (t n)", n=rows * columns))
        return torch.cat(owners)

    def __str__(self) -> str:
        """A short name, safe in a shell and in a file name, that `parse_spec` reads back."""
        return "_".join([f"frames{self.num_frames}", *(f"{name}{pathway}" for name, pathway in self.pathways.items())])


def slow_only(
    slow_frames: SupportsIndex = 12, pool: Pool = Pool.window("max", 1, 2), num_frames: SupportsIndex = 50
) -> SlowFast:
    """The slow pathway alone (section 4.4 compares 12 slow frames with the default)."""
    return SlowFast(num_frames, slow=Pathway(slow_frames, pool), fast=None)


def fast_only(num_frames: SupportsIndex = 50, grid: Grid = (4, 4)) -> SlowFast:
    """The fast pathway alone (table 4: 100 to 225 frames of 4 x 4 tokens)."""
    return SlowFast(num_frames, slow=None, fast=Pathway(None, Pool.to(*grid)))


def uniform(num_frames: SupportsIndex = 32, grid: Grid = (12, 12)) -> SlowFast:
    """Every sampled frame pooled alike to `grid`: LLaVA-NeXT-Image takes 32 frames at 12 x 12."""
    return fast_only(num_frames, grid)


@dataclass(frozen=True)
class Blind(PathwaySpec):
    """Nothing is seen: the prompt without any visual token. What a model scores so, it has from the questions alone."""

    num_frames = 1  # frames are sampled all the same, and dropped

    def token_counts(self, num_frames: int | None = None, grid: Grid = (24, 24)) -> dict[str, int]:
        """No pathway, no token."""
        return {}

    def visual_tokens(
        self, features: Float[Tensor, "frames rows columns dim"], newline: Float[Tensor, "dim"] | None = None
    ) -> Float[Tensor, "tokens dim"]:
        """Features to no token."""
        return features.new_zeros(0, features.shape[-1])

    def token_frames(self, num_frames: int, grid: Grid) -> Int64[Tensor, "tokens"]:
        """No token, no frame."""
        return torch.zeros(0, dtype=torch.long)

    def __str__(self) -> str:
        return "blind"
