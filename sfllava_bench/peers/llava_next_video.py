"""LLaVA-NeXT-Video and -DPO: LLaVA-NeXT tuned on videos, 32 frames averaged 2 x 2 before the projector.

Rules read off the released evaluation (branch video_inference), which samples at temperature 0.2; here as everywhere
the likeliest token is taken. The 32 x 144 tokens do not fit the 4096 positions of the language model, so its RoPE is
scaled linearly, by 2.0 in the evaluation; the published config says 2.5, early revisions of it nothing.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F
from transformers import LlavaNextVideoConfig, LlavaNextVideoForConditionalGeneration, PretrainedConfig

from sfllava_bench.peers.base import Source
from sfllava_core.answering import rope
from sfllava_core.backbones.base import ModelError
from sfllava_core.backbones.llava_next import LlavaNext
from sfllava_core.checkpoints import check_complete, loading
from sfllava_core.methods.base import SpecError
from sfllava_core.methods.llava_next_image import LlavaNextImage, first_to_last
from sfllava_core.model import VideoLLM

STOPS = {"vicuna": "</s>", "chatml": "<|im_end|>"}  # what ends an answer, by prompt style
MODES = ("average", "max")


@dataclass(frozen=True)
class LlavaNextVideo(LlavaNextImage):
    """Frames, pictures, pooling and prompts of LLaVA-NeXT-Video: its evaluation is that of the image checkpoint too.

    mode: how stride x stride patches become one: "average" as published, or "max", which its class knows too.
    """

    mode: str = "average"
    published: ClassVar[dict[str, str]] = {
        "checkpoint": "LLaVA-NeXT-Video-7B, -7B-DPO, -34B, -34B-DPO",
        "RoPE": "linear, factor 2",
        "decoding": "sampled, temperature 0.2",
        "ActivityNet, VCGBench": "7B 53.5, 3.26; 34B 58.8, 3.34; 7B-DPO 60.2, 3.66; 34B-DPO 64.4, 3.77",
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.mode not in MODES:
            raise SpecError(f"LlavaNextVideo mode={self.mode!r}: choose {' or '.join(MODES)}; published is 'average'")

    def pool_patches(
        self, patches: Float[Tensor, "views rows columns width"]
    ) -> Float[Tensor, "views rows2 columns2 width"]:
        """The mean, or the largest, of each stride x stride patches; what is left over is dropped."""
        if self.mode == "average":
            return super().pool_patches(patches)
        return rearrange(F.max_pool2d(rearrange(patches, "t h w d -> t d h w"), self.stride), "t d h w -> t h w d")

    def __str__(self) -> str:
        sizes = super().__str__().removeprefix("llavanextimage")
        return f"llavanextvideo{sizes}" + ("_max" if self.mode == "max" else "")

    @classmethod
    def parse(cls, text: str, num_frames: int = 50) -> "LlavaNextVideo | None":
        """Read "llavanextvideo32", "llavanextvideo32_stride4", "llavanextvideo32_max", or "llavanextvideo"."""
        match = re.fullmatch(r"llavanextvideo(\d*)(?:_stride(\d+))?(_max)?", text)
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
    return found if 0 < len(found) <= count else first_to_last(total, count)


def scale_rope(config: PretrainedConfig, factor: float) -> None:
    """Set linear RoPE scaling, 1 for none, in place of the config's own. Raises ValueError for a factor below 1."""
    theta = config.text_config.rope_parameters["rope_theta"]
    config.text_config.rope_parameters = {"rope_theta": theta, "rope_type": "default"}
    rope.scale_rope(config.text_config, factor, "linear")


def load_llava_next_video(
    path: str | Path,
    device: str | torch.device = "auto",
    dtype: str | torch.dtype = "auto",
    *,
    rope_scaling: float | None = 2.0,
    device_map: str | dict | None = None,
) -> VideoLLM:
    """LLaVA-NeXT-Video, or -DPO, 7B or 34B, from a checkpoint of transformers' own class (safetensors only).

    Args:
        path, device, dtype, device_map: as of `VideoLLM.from_pretrained`.
        rope_scaling: factor of linear RoPE scaling: 2 as published, 1 for none, None for the config's own.

    Raises:
        ModelError: no such checkpoint, or not one that can be used here.  ValueError: rope_scaling below 1.
    """
    source = Source(path, device, dtype)
    config = source.config(LlavaNextVideoConfig)
    if config.spatial_pool_mode not in MODES:
        raise ModelError(
            f"{source.name}: patches are pooled by {config.spatial_pool_mode!r}; this kit knows {' and '.join(MODES)}"
        )
    LlavaNextVideoBackbone.check(config, source.name)
    if rope_scaling is not None:
        scale_rope(config, rope_scaling)
    with loading(source.name):
        model, found = LlavaNextVideoForConditionalGeneration.from_pretrained(
            source.name, **source.options(config, device_map)
        )
    check_complete(found, source.name)
    method = LlavaNextVideo(stride=config.spatial_pool_stride, mode=config.spatial_pool_mode)
    return source.peer(model, method, STOPS, device_map)
