"""LLaVA-NeXT-Video and -DPO: LLaVA-NeXT tuned on videos, 32 frames averaged 2 x 2 before the projector.

Rules read off the released evaluation (branch video_inference), which samples at temperature 0.2; here as everywhere
the likeliest token is taken. The 32 x 144 tokens do not fit the 4096 positions of the language model, so its RoPE is
scaled linearly, by 2.0 in the evaluation; the published config says 2.5, early revisions of it nothing.
"""

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, Int64, UInt8
from torch import Tensor
from torch.nn import functional as F
from transformers import LlavaNextVideoConfig, LlavaNextVideoForConditionalGeneration, PretrainedConfig

from sfllava_bench.peers.base import PeerMethod, Source, chat, crop_to_square, frames_of_tokens, spread_frames
from sfllava_core.backbones.base import ModelError
from sfllava_core.backbones.llava_next import LlavaNext
from sfllava_core.checkpoints import check_complete, loading
from sfllava_core.methods.base import Grid, SpecError, positive_int
from sfllava_core.methods.pooling import MOST_FRAMES
from sfllava_core.model import VideoLLM
from sfllava_core.prompts import IMAGE

SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, detailed, "
    "and polite answers to the user's questions."
)
PATCHES, POSITIONS, TEXT = 24, 4096, 1000  # a side of the published grid, the language model's context, room for words
POOLS = {"average": F.avg_pool2d, "max": F.max_pool2d}


@dataclass(frozen=True)
class LlavaNextVideo(PeerMethod):
    """LLaVA-NeXT-Video's frames, pictures, pooling and prompts.

    num_frames: frames sampled.
    stride: patches a side that become one token, before the projector.
    mode: how they do: "average" as published, or "max".
    """

    num_frames: int = 32
    stride: int = 2
    mode: str = "average"
    max_new_tokens = 1024
    own_features = True
    chats: ClassVar = {
        "vicuna": chat(SYSTEM),
        # No line break after <|im_end|>: as released.
        "chatml": (
            f"<|im_start|>system\nAnswer the questions.<|im_end|><|im_start|>user\n{IMAGE}\n",
            "<|im_end|><|im_start|>assistant\n",
        ),
    }
    stops: ClassVar = {"vicuna": "</s>", "chatml": "<|im_end|>"}

    def __post_init__(self) -> None:
        for name in ("num_frames", "stride"):
            object.__setattr__(self, name, positive_int(f"LlavaNextVideo {name}", getattr(self, name), MOST_FRAMES))
        if self.mode not in POOLS:
            raise SpecError(f"LlavaNextVideo mode={self.mode!r}: choose {' or '.join(POOLS)}; published is 'average'")

    def sample(self, total: int) -> list[int]:
        """From the first frame to the last; a short video repeats some."""
        return spread_frames(total, self.num_frames)

    def arrange(
        self, pixels: UInt8[np.ndarray, "frames h w 3"], size: Grid
    ) -> UInt8[np.ndarray, "frames height width 3"]:
        """Frames as CLIP's preparation makes them."""
        return crop_to_square(pixels, size)

    def pool_patches(
        self, patches: Float[Tensor, "views rows columns width"]
    ) -> Float[Tensor, "views rows2 columns2 width"]:
        """The mean (or largest) of stride x stride patches; of an odd grid the last row and column are left out."""
        pooled = POOLS[self.mode](rearrange(patches, "t h w d -> t d h w"), self.stride)
        return rearrange(pooled, "t d h w -> t h w d")

    def feature_grid(self, grid: Grid) -> Grid:
        """Raises SpecError where the stride does not divide the grid: transformers counts other tokens there."""
        if any(side % self.stride for side in grid):
            raise SpecError(f"{self} does not fit a grid of {grid[0]} x {grid[1]} patches: its stride must divide it")
        return grid[0] // self.stride, grid[1] // self.stride

    def token_counts(self, num_frames: int | None = None, grid: Grid = (24, 24)) -> dict[str, int]:
        """4608 for 32 frames of 24 x 24 patches."""
        rows, columns = self.feature_grid(grid)
        return {"frames": (num_frames or self.num_frames) * rows * columns}

    def visual_tokens(
        self, features: Float[Tensor, "views rows columns dim"], newline: Float[Tensor, "dim"] | None = None
    ) -> Float[Tensor, "tokens dim"]:
        """All tokens, frame by frame; no row is ended by a newline."""
        return rearrange(features, "t h w d -> (t h w) d")

    def token_frames(self, num_frames: int, grid: Grid) -> Int64[Tensor, "tokens"]:
        """Each token is of one frame."""
        rows, columns = self.feature_grid(grid)
        return frames_of_tokens(range(num_frames), rows * columns)

    def __str__(self) -> str:
        return f"llavanextvideo{self.num_frames}_stride{self.stride}" + ("_max" if self.mode == "max" else "")

    @classmethod
    def parse(cls, text: str, num_frames: int = 50) -> "LlavaNextVideo | None":
        """Read "llavanextvideo32_stride2", or "llavanextvideo"."""
        match = re.fullmatch(r"llavanextvideo(?:(\d+)_stride(\d+))?(_max)?", text)
        if match is None:
            return None
        return cls(int(match[1] or 32), int(match[2] or 2), "max" if match[3] else "average")


class LlavaNextVideoBackbone(LlavaNext):
    """transformers' `LlavaNextVideoForConditionalGeneration`: its parts are those of LLaVA-NeXT."""

    model_type = "llava_next_video"
    model_class = LlavaNextVideoForConditionalGeneration


def later_demo_frames(total: int, fps: float, count: int = 32) -> list[int]:
    """The rule of the later demo, which this kit does not run by: one frame a second, or `count` if those are more.

    Raises:
        ValueError: a video without frames, or less than half a frame a second.
    """
    if round(fps) < 1:
        raise ValueError(f"fps={fps}: the rule steps by whole frames a second")
    found = list(range(0, total, round(fps)))
    return found if 0 < len(found) <= count else spread_frames(total, count)


def rope_factor(frames: int, stride: int) -> int:
    """How far the released evaluation stretches the positions, for so many frames and 1000 tokens of text.

    Source: ceil((frames (24 // stride)^2 + 1000) / 4096), where that is at least 2.
    """
    return max(1, math.ceil((frames * (PATCHES // stride) ** 2 + TEXT) / POSITIONS))


def scale_rope(config: PretrainedConfig, factor: float) -> None:
    """Set linear RoPE scaling, 1 for none, before the weights are loaded. Raises ValueError for a factor below 1."""
    if factor < 1:
        raise ValueError(f"rope_factor={factor}: give 1 (off) or more (the published evaluation's is 2)")
    theta = {"rope_theta": config.text_config.rope_parameters["rope_theta"]}
    linear = {"rope_type": "linear", "factor": float(factor)}
    config.text_config.rope_parameters = {**theta, **linear} if factor > 1 else {**theta, "rope_type": "default"}


def load_llava_next_video(
    path: str | Path,
    device: str | torch.device = "auto",
    dtype: str | torch.dtype = "auto",
    *,
    rope: float | None = 2.0,
    device_map: str | dict | None = None,
) -> VideoLLM:
    """LLaVA-NeXT-Video, or -DPO, 7B or 34B, from a checkpoint of transformers' own class (safetensors only).

    Args:
        path, device, dtype, device_map: as of `VideoLLM.from_pretrained`.
        rope: factor of linear RoPE scaling: 2 as in the published evaluation, 1 for none, None for the config's own.

    Raises:
        ModelError: no such checkpoint, or not one that can be used here.  ValueError: rope below 1.
    """
    source = Source(path, device, dtype)
    config = source.config(LlavaNextVideoConfig)
    if config.spatial_pool_mode not in POOLS:
        raise ModelError(
            f"{source.name}: patches are pooled by {config.spatial_pool_mode!r}; this kit knows {' and '.join(POOLS)}"
        )
    LlavaNextVideoBackbone.check(config, source.name)
    if rope is not None:
        scale_rope(config, rope)
    with loading(source.name):
        model, found = LlavaNextVideoForConditionalGeneration.from_pretrained(
            source.name, **source.options(config, device_map)
        )
    check_complete(found, source.name)
    return source.peer(
        model, LlavaNextVideo(stride=config.spatial_pool_stride, mode=config.spatial_pool_mode), device_map
    )
