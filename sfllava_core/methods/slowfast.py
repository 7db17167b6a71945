"""The slow and the fast pathway: which of the sampled frames each takes, and how it pools them (section 3.2).

SlowFast()                      slow 10 x (24 x 12) max-pooled + fast 50 x (4 x 4) average-pooled = 3680 tokens
slow_only(12), fast_only(100)   one eye alone                 (table 4, and "no fast pathway" in section 4.4)
uniform(32, (12, 12))           every frame pooled alike      (LLaVA-NeXT-Image, pooled after the projector)
"""

import re
from dataclasses import dataclass, replace
from math import floor
from typing import Any, ClassVar, SupportsIndex

import torch
from einops import rearrange, repeat
from jaxtyping import Float, Int64
from torch import Tensor

from sfllava_core.methods.base import Grid, Method, SpecError, Whole, positive_int
from sfllava_core.methods.pooling import MOST_FRAMES, NO_POOL, RELEASED_POOLS, Pool

PAPER_GRID = (24, 24)
RELEASED_NAME = re.compile(r"slowfast-slow_(\d+)frms_(\w+)-fast_(\d+)x(\d+)")
OWN_PATHWAY = re.compile(r"(slow|fast)(all|\d+)-((?:none|max|avg|to|time)[\dx]*)")


def slow_frame_indices(T: SupportsIndex, n: SupportsIndex) -> list[int]:
    """Which of T sampled frames the slow pathway takes: n of them, uniformly, the first always.

    float32 `linspace` cut to whole numbers, as in the released code: for T = 2, 4, 8, 16, 32, 64 and 14 slow frames
    its rounding gives one less than i * T // n would. With T < n indices repeat.

    Returns:
        n indices in 0 .. T - 1, never decreasing.

    Raises:
        SpecError: a number below 1, or n above MOST_FRAMES.

    Source: section 3.2 ("uniformly sample N_slow frame features"); the rounding is the released code's.

    >>> slow_frame_indices(T=50, n=10)
    [0, 5, 10, 15, 20, 25, 30, 35, 40, 45]
    """
    T = positive_int("T, the number of sampled frames", T)
    n = positive_int("n, the number of slow frames", n, MOST_FRAMES)
    return torch.linspace(0, T, n + 1, dtype=torch.float32).long()[:-1].tolist()


@dataclass(frozen=True)
class Pathway:
    """One stream of visual tokens: `frames` of the sampled frames (None: all of them), each pooled by `pool`."""

    frames: Whole | None = None
    pool: Pool = NO_POOL

    def __post_init__(self) -> None:
        if self.frames is not None:
            object.__setattr__(
                self, "frames", positive_int("frames of a pathway (None takes all)", self.frames, MOST_FRAMES)
            )

    def frame_indices(self, num_frames: int) -> list[int]:
        """The sampled frames this pathway takes, out of `num_frames`."""
        return list(range(num_frames)) if self.frames is None else slow_frame_indices(num_frames, self.frames)

    def token_count(self, num_frames: int, grid: Grid) -> int:
        """Tokens this pathway makes of `num_frames` frames of `grid` (rows, columns) patches."""
        sampled = positive_int("num_frames", num_frames, MOST_FRAMES)
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
class SlowFast(Method):
    """N sampled frames seen by a slow pathway (few frames, many tokens) and a fast one (all frames, few tokens).

    The defaults are the paper's (section 4.2): N = 50, slow 10 frames pooled 1 x 2 by maximum, fast all frames pooled
    to 4 x 4 by average. `slow=None` or `fast=None` leaves one eye closed; both None is refused.
    """

    num_frames: Whole = 50
    slow: Pathway | None = Pathway(10, Pool.window("max", 1, 2))
    fast: Pathway | None = Pathway(None, Pool.to(4, 4))
    published: ClassVar[dict[str, str]] = {
        "checkpoint": "llava-v1.6-vicuna-7b, llava-v1.6-34b",
        "RoPE": "dynamic, factor 2",
        "decoding": "greedy",
        "NExT-QA/EgoSchema/IntentQA, MSVD/MSRVTT/TGIF/ActivityNet": (
            "7B 64.2/47.2/60.1, 79.1/65.8/78.7/55.5; 34B 72.0/55.8/66.5, 79.9/67.4/80.6/59.2"
        ),
    }
    differs = "a sequence past the context is refused (released: its end, the question, is cut off)"

    def __post_init__(self) -> None:
        object.__setattr__(self, "num_frames", positive_int("num_frames", self.num_frames, MOST_FRAMES))
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
        """Frame features to visual tokens: slow then fast, no separators (section 3.2; equations 2 and 3).

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

    @classmethod
    def parse(cls, text: str, num_frames: Whole = 50) -> "SlowFast | None":
        """Read "frames50_slow10-max1x2_fastall-to4x4", or a name of the released code, such as
        "slowfast-slow_10frms_spatial_1d_max_pool-fast_4x4" and "concat", which is checked against 24 x 24 patches.
        """
        released = cls.parse_released(text, num_frames)
        if released is not None:
            released.token_count(grid=PAPER_GRID)
            return released
        head, *parts = text.split("_")
        matches = [match for part in parts if (match := OWN_PATHWAY.fullmatch(part))]
        if not re.fullmatch(r"frames\d+", head) or not parts or len(matches) < len(parts):
            return None
        if [match[1] for match in matches] not in (["slow"], ["fast"], ["slow", "fast"]):
            raise SpecError(f"spec {text!r}: give slow, fast, or slow then fast")
        try:
            eyes = {m[1]: Pathway(None if m[2] == "all" else int(m[2]), Pool.parse(m[3])) for m in matches}
        except SpecError as error:
            raise SpecError(f"spec {text!r}: {error}") from None
        return cls(int(head.removeprefix("frames")), eyes.get("slow"), eyes.get("fast"))

    @classmethod
    def parse_released(cls, text: str, num_frames: Whole) -> "SlowFast | None":
        """Read a name of the released code; None if it is none."""
        if text in RELEASED_POOLS:
            return cls(num_frames, slow=Pathway(None, RELEASED_POOLS[text]), fast=None)
        match = RELEASED_NAME.fullmatch(text)
        if match is None:
            return None
        frames, mode, rows, columns = match.groups()
        if mode not in RELEASED_POOLS:
            raise SpecError(f"spec {text!r}: slow pooling {mode!r} is none of {', '.join(RELEASED_POOLS)}")
        slow = Pathway(int(frames), RELEASED_POOLS[mode])
        return cls(num_frames, slow, Pathway(None, Pool.to(int(rows), int(columns))))

    @classmethod
    def from_fields(cls, fields: dict[str, Any]) -> "SlowFast":
        """The pathways are objects with fields of their own."""
        for name in ("slow", "fast"):
            if fields.get(name) is not None:
                pool = fields[name]["pool"]
                fields[name] = Pathway(fields[name]["frames"], Pool(pool["kind"], tuple(pool["size"])))
        return cls(**fields)

    def scaled(self, grid: Grid) -> "SlowFast":
        """The same for another grid: 4 x 4 tokens of 24 x 24 patches are 2 x 2 of 12 x 12.

        Windows stay as they are where they divide the grid, else become the nearest that do: 1 x 2 on 27 x 27 is 1 x 3.
        Output sizes change in proportion, to the nearest and at least 1.
        """

        def shrink(pathway: Pathway | None) -> Pathway | None:
            if pathway is None or not pathway.pool.size:
                return pathway
            if pathway.pool.kind != "to":
                return replace(
                    pathway, pool=Pool(pathway.pool.kind, tuple(map(nearest_divisor, pathway.pool.size, grid)))
                )
            *frames, rows, columns = pathway.pool.size
            sides = [max(1, floor(n * own / paper + 0.5)) for n, own, paper in zip((rows, columns), grid, PAPER_GRID)]
            return replace(pathway, pool=Pool("to", (*frames, *sides)))

        return replace(self, slow=shrink(self.slow), fast=shrink(self.fast))


def nearest_divisor(window: int, side: int) -> int:
    """Of the windows that divide a side, the one nearest to `window` in proportion, the smaller of two."""
    return min((n for n in range(1, side + 1) if side % n == 0), key=lambda n: max(n / window, window / n))


def slow_only(slow_frames: Whole = 12, pool: Pool = Pool.window("max", 1, 2), num_frames: Whole = 50) -> SlowFast:
    """The slow pathway alone (section 4.4 compares 12 slow frames with the default)."""
    return SlowFast(num_frames, slow=Pathway(slow_frames, pool), fast=None)


def fast_only(num_frames: Whole = 50, grid: Grid = (4, 4)) -> SlowFast:
    """The fast pathway alone (table 4: 100 to 225 frames of 4 x 4 tokens)."""
    return SlowFast(num_frames, slow=None, fast=Pathway(None, Pool.to(*grid)))


def uniform(num_frames: Whole = 32, grid: Grid = (12, 12)) -> SlowFast:
    """Every sampled frame pooled alike to `grid`: 32 frames at 12 x 12 are a variant of `LlavaNextImage`, which pools
    before the projector (llava_next_image.py).
    """
    return fast_only(num_frames, grid)
