"""TS-LLaVA: tokens sampled evenly over all frames, and thumbnails, pictures of several frames each.

tingyu215/TS-LLaVA at 03cdeaee. Its names, which `TSLLaVA.released` reads; 1, 2, 3 at the end: 4, 6, 8 frames in a
thumbnail; of U and W 1, 2, 3, 4: thumbnails of 2 x 4, 3 x 4, 2 x 6, 3 x 6 frames:

    V2   sampled, then one thumbnail     Y2   thumbnail, then sampled     X2   one thumbnail alone
    U4   sampled, then thumbnails        W4a  thumbnails, then sampled    Z2   thumbnails of all frames alone
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, TypeVar

import numpy as np
import torch
from einops import rearrange, repeat
from jaxtyping import Float, Int64, UInt8
from torch import Tensor
from torch.nn import functional as F

from sfllava_core.answering.choices import parse_choice
from sfllava_core.features import resize_frames
from sfllava_core.methods.base import NO_SCALING, Grid, Method, SpecError, positive_int
from sfllava_core.methods.pooling import MOST_FRAMES, MOST_PATCHES
from sfllava_core.methods.slowfast import PAPER_GRID
from sfllava_core.prompts import ALL_PARTS, INPUT_DATA, PromptParts, option_letters

PATTERNS = ((2, 4), (3, 4), (2, 6), (3, 6))  # thumbnails x frames in each, of U and W
Part = TypeVar("Part")
PROMPTS = {"choice": ("v4", "v5"), "open": ("v3", "v2")}  # the default of each first
EXPERT = "You are a helpful expert in video analysis. "
GRID_TOO = (
    "The input consists of an image arranging key frames from a video in a grid view, "
    "along with a sequence of key frames from the video."
)


@dataclass(frozen=True)
class TSLLaVA(Method):
    """`sampled_tokens` of all frames' tokens, and `thumbnails` of `cells` frames each; the defaults are "V2".

    sampled_tokens: 0 leaves the thumbnails alone.
    thumbnails: how many; None makes one of every `cells` frames, and goes without sampled tokens.
    thumbnails_first: they stand before the sampled tokens.
    choice, open: the prompts, SlowFast-LLaVA's by default; choice "v5" tells of the thumbnail, open "v2" has the
        expert's sentence.
    """

    published: ClassVar[dict[str, str]] = {
        "code": "tingyu215/TS-LLaVA at 03cdeaee",
        "checkpoint": "llava-v1.6-vicuna-7b and llava-v1.6-34b",
        "settings": "50 frames, greedy, 128 new tokens (MVBench 256, Video-MME 16), no RoPE scaling",
    }
    differs = "no shuffled thumbnails (names in z); 'In the image' stays as written; an empty answer is no choice"
    own_features = True  # thumbnails are among them
    rope = NO_SCALING

    num_frames: int = 50
    sampled_tokens: int = 2880
    thumbnails: int | None = 1
    cells: int = 6
    thumbnails_first: bool = False
    choice: str = "v4"
    open: str = "v3"

    def __post_init__(self) -> None:
        most = {"num_frames": MOST_FRAMES, "sampled_tokens": MOST_FRAMES * MOST_PATCHES, "cells": MOST_FRAMES}
        most |= {} if self.thumbnails is None else {"thumbnails": MOST_FRAMES}
        for name, limit in most.items():
            if (name, getattr(self, name)) != ("sampled_tokens", 0):
                object.__setattr__(self, name, positive_int(f"TSLLaVA {name}", getattr(self, name), limit))
        for name, known in PROMPTS.items():
            if getattr(self, name) not in known:
                raise SpecError(f"TSLLaVA {name}={getattr(self, name)!r}: choose one of {', '.join(known)}")
        object.__setattr__(self, "thumbnails_first", bool(self.sampled_tokens and self.thumbnails_first))
        if self.thumbnails is None and self.sampled_tokens:
            raise SpecError("thumbnails of all frames stand alone: give sampled_tokens=0, or how many thumbnails")
        self.count_thumbnails(self.num_frames)

    @classmethod
    def released(cls, name: str, sampled_tokens: int = 2880, num_frames: int = 50) -> "TSLLaVA":
        """The method of a released name such as "V2", "U4", "W4a". Raises SpecError where there is no such name."""
        match = re.fullmatch(r"([VXYZ])([123])|([UW])([1234])([ab]?)", name)
        if match is None or (match[3] == "W") != bool(match[5]):
            raise SpecError(f"TS-LLaVA method {name!r}: give V1 to V3, or X, Y, Z; U1 to U4; W1a to W4a, W1b to W4b")
        if kind := match[1]:
            thumbnails, cells = None if kind == "Z" else 1, (4, 6, 8)[int(match[2]) - 1]
        else:
            thumbnails, cells = PATTERNS[int(match[4]) - 1]
        sampled = 0 if kind in ("X", "Z") else {"a": 1728, "b": 2304}.get(match[5], sampled_tokens)
        return cls(num_frames, sampled, thumbnails, cells, thumbnails_first=(kind or match[3]) in ("Y", "W"))

    def count_thumbnails(self, num_frames: int) -> int:
        """How many thumbnails are made of so many sampled frames. Raises SpecError where they are too few."""
        least = self.cells * (self.thumbnails or 1)
        if num_frames < least:
            raise SpecError(
                f"{num_frames} frames for {self}: its thumbnails show {least} frames, take at least as many"
            )
        return self.thumbnails or num_frames // self.cells

    def sample(self, total: int) -> list[int]:
        """The paper's rule. Raises SpecError for a video with fewer frames than the thumbnails show."""
        indices = super().sample(total)
        self.count_thumbnails(len(indices))
        return indices

    def thumbnail_frames(self, num_frames: int) -> Int64[Tensor, "thumbnails cells"]:
        """Which of the sampled frames each thumbnail shows: spread over all of them, or one after the other."""
        count = self.count_thumbnails(num_frames) * self.cells
        shown = spread(num_frames, count) if self.thumbnails else torch.arange(count)
        return rearrange(shown, "(n k) -> n k", k=self.cells)

    def arrange(
        self, pixels: UInt8[np.ndarray, "frames h w 3"], size: Grid
    ) -> Float[np.ndarray, "views height width 3"]:
        """The frames, if tokens are sampled of them, then the thumbnails: all of `size`, float32 from 0 to 255.

        Frames are resized by Pillow, whatever the rest is resized by. The released code makes thumbnails of normalised
        frames: normalising is affine for each colour, so a mean of pixels normalised is the mean of normalised ones.

        Raises:
            SpecError: too few frames, or a size that the thumbnail's rows and columns do not divide.
        """
        shown, (rows, columns) = self.thumbnail_frames(len(pixels)), thumbnail_grid(self.cells)
        if size[0] % rows or size[1] % columns:  # the released thumbnail is then smaller than the tower takes
            raise SpecError(f"{self}: {rows} x {columns} frames do not fill a picture of {size[0]} x {size[1]} pixels")
        frames = resize_frames(pixels, (size[0], size[1])).astype(np.float32)
        thumbnails = [thumbnail(torch.from_numpy(frames[cells]), size).numpy() for cells in shown.numpy()]
        return np.stack([*(frames if self.sampled_tokens else ()), *thumbnails])

    def encoded_pictures(self, num_frames: int) -> int:
        """All frames, if tokens are sampled of them, and the thumbnails."""
        return num_frames * bool(self.sampled_tokens) + self.count_thumbnails(num_frames)

    def token_counts(self, num_frames: int | None = None, grid: Grid = PAPER_GRID) -> dict[str, int]:
        """Sampled tokens and the thumbnails': 2880 and 576. Raises SpecError for too few frames or tokens of them."""
        frames = positive_int("num_frames", self.num_frames if num_frames is None else num_frames, MOST_FRAMES)
        patches = grid[0] * grid[1]
        if frames * patches < self.sampled_tokens:
            raise SpecError(
                f"{self}: {frames} frames of {grid[0]} x {grid[1]} patches have only {frames * patches} tokens"
            )
        return self.ordered(self.sampled_tokens, self.count_thumbnails(frames) * patches)

    def ordered(self, sampled: Part, thumbnails: Part) -> dict[str, Part]:
        """What there is of the two, in the order of their tokens."""
        if not self.sampled_tokens:
            return {"thumbnails": thumbnails}
        both = {"sampled": sampled, "thumbnails": thumbnails}
        return dict(reversed(both.items())) if self.thumbnails_first else both

    def visual_tokens(
        self, features: Float[Tensor, "views rows columns dim"], newline: Float[Tensor, "dim"] | None = None
    ) -> Float[Tensor, "tokens dim"]:
        """Features of the views that `arrange` gave, to tokens. Raises SpecError for views that are not those."""
        frames = len(features) - (self.thumbnails or 0) if self.sampled_tokens else 0
        if self.sampled_tokens:
            self.token_counts(max(frames, 1), features.shape[1:3])
        elif self.thumbnails not in (None, len(features)):
            raise SpecError(f"{len(features)} views for {self}: it needs its {self.thumbnails} thumbnails alone")
        of_frames = rearrange(features[:frames], "t h w d -> (t h w) d")
        sampled = of_frames[spread(len(of_frames), self.sampled_tokens).to(features.device)]
        thumbnails = rearrange(features[frames:], "n h w d -> (n h w) d")
        return torch.cat([*self.ordered(sampled, thumbnails).values()])

    def token_frames(self, num_frames: int, grid: Grid) -> Int64[Tensor, "tokens"]:
        """Which sampled frame each token is of; -1 for thumbnails whose frames the grid does not keep apart."""
        sampled = spread(num_frames * grid[0] * grid[1], self.sampled_tokens) // (grid[0] * grid[1])
        rows, columns = thumbnail_grid(self.cells)
        shown = rearrange(self.thumbnail_frames(num_frames), "n (r c) -> n r c", r=rows)
        if grid[0] % rows or grid[1] % columns:
            rows, columns, shown = 1, 1, torch.full((len(shown), 1, 1), -1)
        cells = repeat(shown, "n r c -> (n r h c w)", h=grid[0] // rows, w=grid[1] // columns)
        return torch.cat([*self.ordered(sampled, cells).values()])

    def scaled(self, grid: Grid) -> "TSLLaVA":
        """Sampled tokens in proportion to a frame's patches: 720 of 12 x 12 for 2,880 of 24 x 24."""
        share = grid[0] * grid[1] / (PAPER_GRID[0] * PAPER_GRID[1])
        return replace(self, sampled_tokens=max(min(1, self.sampled_tokens), round(self.sampled_tokens * share)))

    def open_ended(self, question: str, style: str, parts: PromptParts = ALL_PARTS) -> tuple[str, str]:
        """The paper's prompt, with "v2" the expert's sentence where its prompt for choices has it."""
        shared, own = super().open_ended(question, style, parts)
        if self.open == "v2":
            before = {"vicuna": "", "mistral": "[INST] ", "chatml": "<|im_start|>system\n "}[style]
            shared = before + EXPERT + shared.removeprefix(before)
        return shared, own

    def multiple_choice(
        self, question: str, options: Sequence[str], style: str, parts: PromptParts = ALL_PARTS
    ) -> tuple[str, str]:
        """The paper's prompt, with "v5" another sentence on the input."""
        shared, own = super().multiple_choice(question, options, style, parts)
        return (shared.replace(INPUT_DATA, GRID_TOO) if self.choice == "v5" else shared), own

    def read_choice(self, text: str, options: Sequence[str]) -> int | None:
        """SlowFast-LLaVA's rule with the letter F; a letter that no option has is no choice."""
        place = option_letters(options).find((parse_choice(text, letters="abcdef") or "?").upper())
        return place if place >= 0 else None

    def __str__(self) -> str:
        """ "tsllava50-sampled2880-thumbs1x6": parts in the order of their tokens, then prompts other than v4, v3."""
        parts = self.ordered(f"sampled{self.sampled_tokens}", f"thumbs{self.thumbnails or 'all'}x{self.cells}").values()
        prompts = [getattr(self, name) for name, known in PROMPTS.items() if getattr(self, name) != known[0]]
        return "-".join([f"tsllava{self.num_frames}", *parts, *prompts])

    @classmethod
    def parse(cls, text: str, num_frames: int = 50) -> "TSLLaVA | None":
        """Read what `str` writes; "tsllava" is the released default, "tsllava-W4a" another of the released names."""
        if re.fullmatch(r"tsllava(-[U-Z]\w*)?", text):
            return cls.released(text.partition("-")[2] or "V2", num_frames=num_frames)
        number, sampled, thumbs = r"tsllava(\d+)", r"(?:-sampled(?P<{}>\d+))?", r"-thumbs(?P<n>all|\d+)x(?P<k>\d+)"
        match = re.fullmatch(
            number + sampled.format("first") + thumbs + sampled.format("last") + r"(?P<v5>-v5)?(?P<v2>-v2)?", text
        )
        if match is None or (match["first"] and match["last"]):
            return None
        return cls(
            int(match[1]),
            int(match["first"] or match["last"] or 0),
            None if match["n"] == "all" else int(match["n"]),
            int(match["k"]),
            match["last"] is not None,
            "v5" if match["v5"] else "v4",
            "v2" if match["v2"] else "v3",
        )


def spread(total: int, count: int) -> Int64[Tensor, "count"]:
    """`count` of `total` places, evenly, first and last among them.

    float32 `torch.linspace`, rounded half to even, as in the released code: its rounding decides some places, and in
    float64 or numpy some come out as their neighbours.
    """
    return torch.linspace(0, total - 1, count, dtype=torch.float32).round().long()


def thumbnail_grid(cells: int) -> tuple[int, int]:
    """(rows, columns) of frames in a thumbnail: the squarest that holds them all, never wider than high."""
    columns = max(number for number in range(1, cells + 1) if cells % number == 0 and number**2 <= cells)
    return cells // columns, columns


def thumbnail(frames: Float[Tensor, "cells h w colours"], size: Grid) -> Float[Tensor, "height width colours"]:
    """One picture of several frames, row by row, each squashed to its cell; nothing is rounded to grey levels.

    Where a side of the frames shrinks, pixels are averaged, else interpolated between neighbours. A `size` that rows
    and columns do not divide is not filled.
    """
    rows, columns = thumbnail_grid(len(frames))
    cell = size[0] // rows, size[1] // columns
    shrinks = frames.shape[1] > cell[0] or frames.shape[2] > cell[1]
    cells = F.interpolate(rearrange(frames, "n h w x -> n x h w"), size=cell, mode="area" if shrinks else "bilinear")
    return rearrange(cells, "(r c) x h w -> (r h) (c w) x", r=rows)
