"""TS-LLaVA: tokens sampled evenly over all frames, and thumbnails, pictures of several frames each.

tingyu215/TS-LLaVA at 03cdeaee. Its names of methods and what they are here (`TSLLaVA.released` reads them; 1, 2, 3
at the end: 4, 6, 8 frames a thumbnail, of U and W: 2 x 4, 3 x 4, 2 x 6, 3 x 6):

    V2   sampled, then one thumbnail     Y2   thumbnail, then sampled     X2   one thumbnail alone
    U4   sampled, then thumbnails        W4a  thumbnails, then sampled    Z2   thumbnails of all frames alone
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from einops import rearrange, repeat
from jaxtyping import Float, Int64, UInt8
from torch import Tensor
from torch.nn import functional as F

from sfllava_core.answering.choices import parse_choice
from sfllava_core.features import resize_frames
from sfllava_core.methods.base import Grid, Method, SpecError, positive_int
from sfllava_core.methods.pooling import MOST_FRAMES
from sfllava_core.methods.tsllava_prompts import CHOICE_PROMPTS, OPEN_PROMPTS, choice_pieces, open_pieces
from sfllava_core.prompts import ALL_PARTS, PromptParts, option_letters

MOST_TOKENS = 1_000_000
RELEASED = re.compile(r"([VXYZ])([123])|(U)([1234])|(W)([1234])([ab])")


@dataclass(frozen=True)
class TSLLaVA(Method):
    """`sampled_tokens` of all frames' tokens, and `thumbnails` of `cells` frames each; the defaults are "V2".

    thumbnails: how many; None makes one of every `cells` frames, and goes without sampled tokens.
    thumbnails_first: they stand before the sampled tokens.
    choice, open: which of the released prompts (tsllava_prompts.py).
    """

    own_features = True  # thumbnails are among them
    published = {
        "code": "tingyu215/TS-LLaVA at 03cdeaee",
        "checkpoint": "llava-v1.6-vicuna-7b and llava-v1.6-34b",
        "settings": "50 frames, greedy, 128 new tokens (MVBench 256, Video-MME 16), no RoPE scaling",
    }
    differs = (
        "shuffled thumbnails (names ending in z) are not here; 'In the image' stays as the model wrote it; "
        "an empty answer is no choice and no crash"
    )

    num_frames: int = 50
    sampled_tokens: int = 2880
    thumbnails: int | None = 1
    cells: int = 6
    thumbnails_first: bool = False
    choice: str = "v4"
    open: str = "v3"

    def __post_init__(self) -> None:
        for name, most in (("num_frames", MOST_FRAMES), ("cells", MOST_FRAMES)):
            object.__setattr__(self, name, positive_int(f"TSLLaVA {name}", getattr(self, name), most))
        for name, most in (("sampled_tokens", MOST_TOKENS), ("thumbnails", MOST_FRAMES)):
            if getattr(self, name) not in (0, None):
                object.__setattr__(self, name, positive_int(f"TSLLaVA {name}", getattr(self, name), most))
        if self.thumbnails is None and self.sampled_tokens:
            raise SpecError("thumbnails of all frames stand alone: give sampled_tokens=0, or their number")
        if not self.sampled_tokens and self.thumbnails == 0:
            raise SpecError("TSLLaVA without sampled tokens and without thumbnails has no tokens")
        if self.least_frames > self.num_frames:
            raise SpecError(f"{self}: its thumbnails show {self.least_frames} frames; sample at least as many")
        for name, known in (("choice", CHOICE_PROMPTS), ("open", OPEN_PROMPTS)):
            if getattr(self, name) not in known:
                raise SpecError(f"TSLLaVA {name} prompt {getattr(self, name)!r}: choose one of {', '.join(known)}")
        both = bool(self.sampled_tokens and self.thumbnails)
        object.__setattr__(self, "thumbnails_first", both and bool(self.thumbnails_first))

    @classmethod
    def released(cls, name: str, sampled_tokens: int = 2880, num_frames: int = 50) -> "TSLLaVA":
        """The method of a released name such as "V2", "U4", "W4a".

        Raises:
            SpecError: no such name.
        """
        match = RELEASED.fullmatch(name)
        if match is None:
            raise SpecError(f"TS-LLaVA method {name!r}: give V, X, Y or Z with 1 to 3, U with 1 to 4, W1a to W4b")
        kind, number, letter = *(group for group in match.groups()[:6] if group), match[7]
        if kind in "UW":
            thumbnails, cells = ((2, 4), (3, 4), (2, 6), (3, 6))[int(number) - 1]
        else:
            thumbnails, cells = None if kind == "Z" else 1, (4, 6, 8)[int(number) - 1]
        sampled = {"X": 0, "Z": 0, "W": {"a": 1728, "b": 2304}.get(letter)}.get(kind, sampled_tokens)
        return cls(num_frames, sampled, thumbnails, cells, thumbnails_first=kind in "YW")

    @property
    def least_frames(self) -> int:
        """Frames that the thumbnails show, or with thumbnails of all frames those of the first."""
        return self.cells * (1 if self.thumbnails is None else self.thumbnails)

    def sample(self, total: int) -> list[int]:
        """The paper's rule. Raises SpecError for a video with fewer frames than the thumbnails show."""
        indices = super().sample(total)
        self.count_thumbnails(len(indices))
        return indices

    def count_thumbnails(self, num_frames: int) -> int:
        """How many thumbnails are made of so many sampled frames. Raises SpecError where they are too few."""
        if num_frames < self.least_frames:
            raise SpecError(f"{num_frames} frames for {self}: its thumbnails need {self.least_frames}")
        return num_frames // self.cells if self.thumbnails is None else self.thumbnails

    def encoded_pictures(self, num_frames: int) -> int:
        """All frames, if tokens are sampled of them, and the thumbnails."""
        return num_frames * bool(self.sampled_tokens) + self.count_thumbnails(num_frames)

    def thumbnail_frames(self, num_frames: int) -> Int64[Tensor, "thumbnails cells"]:
        """Which of the sampled frames each thumbnail shows: spread over all of them, or one after the other."""
        count = self.count_thumbnails(num_frames) * self.cells
        shown = torch.arange(count) if self.thumbnails is None else spread(num_frames, count)
        return rearrange(shown, "(n k) -> n k", k=self.cells)

    def arrange(
        self, pixels: UInt8[np.ndarray, "frames h w 3"], size: Grid
    ) -> UInt8[np.ndarray, "views height width 3"] | Float[np.ndarray, "views height width 3"]:
        """The frames, if tokens are sampled of them, then the thumbnails: all of `size`, float32 from 0 to 255.

        Frames are resized by Pillow, whatever the rest is resized by. The released code makes thumbnails of normalised
        frames: normalising is affine for each colour, so a mean of pixels normalised is the mean of normalised ones.

        Raises:
            SpecError: too few frames, or a size that the thumbnail's rows and columns do not divide.
        """
        shown = self.thumbnail_frames(len(pixels))
        rows, columns = thumbnail_grid(self.cells)
        if len(shown) and (size[0] % rows or size[1] % columns):
            # The released code makes the thumbnail smaller; its vision tower then fails.
            raise SpecError(
                f"{self}: thumbnails of {rows} x {columns} frames do not divide {size[0]} x {size[1]} pixels"
            )
        if not len(shown):
            return pixels
        frames = resize_frames(pixels, size).astype(np.float32)
        thumbnails = [thumbnail(torch.from_numpy(frames[cells.numpy()]), size).numpy() for cells in shown]
        return np.stack([*(frames if self.sampled_tokens else ()), *thumbnails])

    def token_counts(self, num_frames: int | None = None, grid: Grid = (24, 24)) -> dict[str, int]:
        """Sampled tokens and the thumbnails': 2880 and 576. Raises SpecError for too few frames or tokens of them."""
        frames = positive_int("num_frames", self.num_frames if num_frames is None else num_frames, MOST_FRAMES)
        patches = grid[0] * grid[1]
        if frames * patches < self.sampled_tokens:
            raise SpecError(
                f"{self}: {frames} frames of {patches} patches have fewer than {self.sampled_tokens} tokens"
            )
        return self.ordered(self.sampled_tokens, self.count_thumbnails(frames) * patches)

    def ordered(self, sampled: object, thumbnails: object) -> dict[str, object]:
        """The parts that there are, in the order of their tokens."""
        parts = {"sampled": sampled} if self.sampled_tokens else {}
        if self.thumbnails != 0:
            parts = (
                {"thumbnails": thumbnails, **parts} if self.thumbnails_first else {**parts, "thumbnails": thumbnails}
            )
        return parts

    def visual_tokens(
        self, features: Float[Tensor, "views rows columns dim"], newline: Float[Tensor, "dim"] | None = None
    ) -> Float[Tensor, "tokens dim"]:
        """Features of the views that `arrange` gave, to tokens. Raises SpecError for a wrong number of views."""
        frames = len(features) - (self.thumbnails or 0) if self.sampled_tokens else 0
        if frames < 0 or not self.sampled_tokens and self.thumbnails not in (None, len(features)):
            raise SpecError(f"{len(features)} views for {self}: give those that it arranges")
        if self.sampled_tokens:
            self.token_counts(frames, features.shape[1:3])
        tokens = rearrange(features[:frames], "t h w d -> (t h w) d")
        sampled = tokens[spread(len(tokens), self.sampled_tokens).to(tokens.device)]
        thumbnails = rearrange(features[frames:], "n h w d -> (n h w) d")
        return torch.cat([*self.ordered(sampled, thumbnails).values()])

    def token_frames(self, num_frames: int, grid: Grid) -> Int64[Tensor, "tokens"]:
        """Which sampled frame each token is of; -1 for thumbnails on a grid that their rows and columns do not divide."""
        sampled = spread(num_frames * grid[0] * grid[1], self.sampled_tokens) // (grid[0] * grid[1])
        rows, columns = thumbnail_grid(self.cells)
        shown = rearrange(self.thumbnail_frames(num_frames), "n (r c) -> n r c", r=rows)
        if grid[0] % rows or grid[1] % columns:
            shown = torch.full((len(shown), grid[0], grid[1]), -1)
        cells = repeat(shown, "n r c -> (n r h c w)", h=grid[0] // shown.shape[1], w=grid[1] // shown.shape[2])
        return torch.cat([*self.ordered(sampled, cells).values()])

    def scaled(self, grid: Grid) -> "TSLLaVA":
        """Sampled tokens in proportion to the patches of a frame: 720 of 12 x 12 for 2,880 of 24 x 24."""
        return replace(self, sampled_tokens=round(self.sampled_tokens * grid[0] * grid[1] / 576))

    def open_ended(self, question: str, style: str, parts: PromptParts = ALL_PARTS) -> tuple[str, str]:
        return open_pieces(question, style, parts, self.open)

    def multiple_choice(
        self, question: str, options: Sequence[str], style: str, parts: PromptParts = ALL_PARTS
    ) -> tuple[str, str]:
        return choice_pieces(question, options, style, parts, self.choice)

    def read_choice(self, text: str, options: Sequence[str]) -> int | None:
        """The released rule, which is SlowFast-LLaVA's with the letter F; a letter that no option has is no choice."""
        letter = (parse_choice(text, letters="abcdef") or "?").upper()
        place = option_letters(options).find(letter)
        return place if place >= 0 else None

    def __str__(self) -> str:
        """ "tsllava50-sampled2880-thumbs1x6": parts in the order of their tokens, then prompts other than v4, v3."""
        thumbs = f"thumbs{'all' if self.thumbnails is None else self.thumbnails}x{self.cells}"
        prompts = [text for text, own in ((self.choice, "v4"), (self.open, "v3")) if text != own]
        return "-".join(
            [f"tsllava{self.num_frames}", *self.ordered(f"sampled{self.sampled_tokens}", thumbs).values(), *prompts]
        )

    @classmethod
    def parse(cls, text: str, num_frames: int = 50) -> "TSLLaVA | None":
        """Read what `str` writes; "tsllava" is the released default, "tsllava-W4a" another of the released names."""
        head, *parts = text.split("-")
        match = re.fullmatch(r"tsllava(\d*)", head)
        if match is None:
            return None
        frames = int(match[1] or num_frames)
        if len(parts) < 2 and not re.match("sampled|thumbs", "".join(parts)):
            return cls.released(*(parts or ["V2"]), num_frames=frames)
        fields: dict[str, object] = {"sampled_tokens": 0, "thumbnails": 0, "cells": 6}
        for part in parts:
            if found := re.fullmatch(r"sampled(\d+)", part):
                fields |= {"sampled_tokens": int(found[1])}
            elif found := re.fullmatch(r"thumbs(all|\d+)x(\d+)", part):
                number = None if found[1] == "all" else int(found[1])
                fields |= {
                    "thumbnails": number,
                    "cells": int(found[2]),
                    "thumbnails_first": not fields["sampled_tokens"],
                }
            elif part in OPEN_PROMPTS or part in CHOICE_PROMPTS:
                fields["open" if part in OPEN_PROMPTS else "choice"] = part
            else:
                raise SpecError(f"spec {text!r}: {part!r} is not understood; write for instance '{cls()}'")
        return cls(frames, **fields)


def spread(total: int, count: int) -> Int64[Tensor, "count"]:
    """`count` of `total` places, evenly, first and last among them.

    float32 `torch.linspace`, rounded half to even, as in the released code: its rounding decides some places, and in
    float64 or numpy some come out as their neighbours.
    """
    return torch.linspace(0, total - 1, count, dtype=torch.float32).round().long()


def thumbnail_grid(cells: int) -> tuple[int, int]:
    """(rows, columns) of frames in a thumbnail: as square as divides, and no wider than high."""
    columns = max(number for number in range(1, cells + 1) if cells % number == 0 and number**2 <= cells)
    return cells // columns, columns


def thumbnail(frames: Float[Tensor, "cells h w colours"], size: Grid) -> Float[Tensor, "height width colours"]:
    """One picture of several frames, row by row, each squashed to its cell; nothing is rounded to grey levels.

    Where frames shrink, pixels are averaged, else interpolated between neighbours. A `size` that rows and columns do
    not divide is not filled, as in the released code.
    """
    rows, columns = thumbnail_grid(len(frames))
    cell = size[0] // rows, size[1] // columns
    shrinks = frames.shape[1] > cell[0] or frames.shape[2] > cell[1]
    cells = F.interpolate(rearrange(frames, "n h w x -> n x h w"), size=cell, mode="area" if shrinks else "bilinear")
    return rearrange(cells, "(r c) x h w -> (r h) (c w) x", r=rows)


def mvbench_frames(
    total: int, num_frames: int, fps: float, bounds: Sequence[float] | None = None, first: int = 0
) -> list[int]:
    """Frame numbers by the rule that the released code has for MVBench, which asks about a part of a video.

    Args:
        total: frames of the video, or files of a folder, whose first is 1 and which has 3 a second.
        bounds: (start, end) in seconds; None is all of it.
    """
    start, end = (first, total) if bounds is None else (max(first, round(bounds[0] * fps)), round(bounds[1] * fps))
    count = min(total, num_frames)
    length = (min(end, total) - start) / count
    return [int(start + length / 2 + np.round(length * k)) for k in range(count)]
