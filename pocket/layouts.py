"""Token layouts that PocketBench compares, written without sfllava_core: sampled frames -> visual tokens.

A layout is a list of streams; a stream samples frames of the video, may take a few of them, and pools each. Next in
the data's way: `evaluate`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Protocol, runtime_checkable

import av
import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor
from transformers import LlavaNextForConditionalGeneration

from pocket.library import POOLED, page, pool, shrunk_page
from pocket.tower import pixels
from pocket.world import PICTURE


@dataclass(frozen=True)
class Stream:
    """`sampled` frames taken uniformly from the video, `taken` of those (None: all), pooled by `how`."""

    sampled: int
    how: str
    taken: int | None = None

    def frames(self, total: int) -> list[int]:
        """Frame numbers in a video of `total` frames, by the released code's rules."""
        sampled = uniform(total, self.sampled)
        if self.taken is None:
            return sampled
        picks = torch.linspace(0, len(sampled), self.taken + 1, dtype=torch.float32).long()[:-1]
        return [sampled[int(i)] for i in picks]


SLOW, FAST = Stream(50, "max 1x2", 8), Stream(50, "to 2x2")
LAYOUTS: dict[str, tuple[Stream, ...]] = {
    "slowfast 8x72 + 50x4": (SLOW, FAST),
    "slow 8x72": (SLOW,),
    "fast 50x4": (FAST,),
    "slow 11x72, equal tokens": (Stream(11, "max 1x2"),),
    "fast 150x4, every frame": (Stream(150, "to 2x2"),),
    "fast 48x16, equal tokens": (Stream(48, "to 4x4"),),
    "uniform 22x36, equal tokens": (Stream(22, "mean 2x2"),),
    "whole frames 5x144, equal tokens": (Stream(5, "none"),),
    "image grid 2x2, AnyRes": (Stream(4, "page"),),
    "fast first: 50x4 + 8x72": (FAST, SLOW),
}
CONTROLS = ("no visual tokens", "another film")


def uniform(total: int, wanted: int) -> list[int]:
    """The released code's uniform frame numbers."""
    n = min(total, wanted)
    segment = (total - 1) / n
    edges = [int(np.round(segment * i)) for i in range(n + 1)]
    return [(a + b) // 2 for a, b in pairwise(edges)]


def tokens_of(streams: tuple[Stream, ...]) -> int:
    """How many visual tokens a layout makes of a long enough video."""
    return sum((1 if s.how == "page" else s.taken or s.sampled) * POOLED[s.how] for s in streams)


def read_video(file: Path) -> UInt8[np.ndarray, "frames 96 96 3"]:
    """Every frame, shrunk bicubically to what the model sees."""
    with av.open(str(file)) as container:
        images = (frame.to_image() for frame in container.decode(video=0))
        return np.stack([np.asarray(i.resize((PICTURE, PICTURE), Image.Resampling.BICUBIC)) for i in images])


@runtime_checkable
class Frames(Protocol):
    """Frames by their numbers: an array, or what draws them when asked for."""

    def __len__(self) -> int: ...

    def __getitem__(self, numbers: list[int], /) -> UInt8[np.ndarray, "n 96 96 3"]: ...


class Film:
    """A video's projected frame features, encoded when first needed."""

    def __init__(self, model: LlavaNextForConditionalGeneration, frames: Frames) -> None:
        self.model, self.frames = model, frames
        self.encoded: dict[int, Tensor] = {}

    def encode(self, pictures: UInt8[np.ndarray, "n 96 96 3"]) -> Float[Tensor, "n 144 dim"]:
        """Vision tower (hidden layer -2 without CLS) and projector."""
        core = self.model.model
        with torch.inference_mode():
            hidden = core.vision_tower(pixels(pictures), output_hidden_states=True).hidden_states[-2][:, 1:]
            return core.multi_modal_projector(hidden)

    def features(self, numbers: list[int]) -> Float[Tensor, "n 144 dim"]:
        """Features of the frames of these numbers."""
        missing = sorted(set(numbers) - self.encoded.keys())
        for start in range(0, len(missing), 32):
            part = missing[start : start + 32]
            self.encoded.update(zip(part, self.encode(self.frames[part]), strict=True))
        return torch.stack([self.encoded[n] for n in numbers])

    def visual_tokens(self, streams: tuple[Stream, ...]) -> Float[Tensor, "tokens dim"]:
        """The layout's visual tokens, stream after stream."""
        return torch.cat([self._stream(stream) for stream in streams])

    def _stream(self, stream: Stream) -> Float[Tensor, "tokens dim"]:
        numbers = stream.frames(len(self.frames))
        if stream.how == "page":
            views = self.encode(np.concatenate([shrunk_page(self.frames[numbers])[None], self.frames[numbers]]))
            return page(views, self.model.model.image_newline)
        return rearrange(pool(self.features(numbers), stream.how), "t n d -> (t n) d")
