"""Video-LLaVA: 8 frames of 224 pixels, all 257 tokens of each.

Rules read off the released evaluation. **The checkpoint of transformers' class is not the published model**: the
original video tower attends over time in every layer, the conversion dropped that and keeps a plain CLIP tower. A
number of these weights must say so: `TIME_ATTENTION` goes into every report. `OriginalVideoTower`
(video_llava_tower.py) is the arithmetic of the tower that was published.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, Int64, UInt8
from torch import Tensor
from transformers import VideoLlavaConfig, VideoLlavaForConditionalGeneration

from sfllava_bench.peers.base import Source, frames_of_tokens, question_with_options
from sfllava_core.backbones.base import ModelError
from sfllava_core.backbones.llava_next import LlavaNext
from sfllava_core.checkpoints import check_complete, loading
from sfllava_core.methods.base import NO_SCALING, Grid, Method, Seen, SpecError, positive_int
from sfllava_core.methods.llava_next_image import first_to_last, middle_square
from sfllava_core.methods.pooling import MOST_FRAMES
from sfllava_core.model import VideoLLM
from sfllava_core.prompts import ALL_PARTS, IMAGE, PromptError, PromptParts, checked_text

SYSTEM = (
    "A chat between a curious human and an artificial intelligence assistant. The assistant gives helpful, detailed, "
    "and polite answers to the human's questions."
)
TIME_ATTENTION = (
    "converted weights: the published video tower attends over time in every layer, the conversion dropped that, so "
    "this is not the model that was published"
)
CLASS_TOKEN = "class_token"


@dataclass(frozen=True)
class VideoLlava(Method):
    """Video-LLaVA's frames, pictures, tokens and prompt. num_frames: frames sampled."""

    num_frames: int = 8
    max_new_tokens = 1024
    rope = NO_SCALING
    wants = (CLASS_TOKEN,)
    caveat = TIME_ATTENTION
    published: ClassVar[dict[str, str]] = {
        "checkpoint": "Video-LLaVA-7B",
        "tokens": "2056: 16 x 16 patches and the class token of each frame",
        "decoding": "meant as greedy",
        "MSVD, MSR-VTT, TGIF, ActivityNet": "7B 70.7, 59.2, 70.0, 45.3",
        "NExT-QA, EgoSchema": "7B 60.5, 37.0",
    }
    differs = f"{TIME_ATTENTION}; no video is flipped at random; how options are asked is ours"

    def __post_init__(self) -> None:
        object.__setattr__(self, "num_frames", positive_int("VideoLlava num_frames", self.num_frames, MOST_FRAMES))

    def sample(self, total: int) -> list[int]:
        """From the first frame to the last; a short video repeats some."""
        return first_to_last(total, self.num_frames)

    def arrange(
        self, pixels: UInt8[np.ndarray, "frames h w 3"], size: Grid
    ) -> UInt8[np.ndarray, "frames height width 3"]:
        """The middle square of each frame, as CLIP's preparation makes it; the release's is another, and flips some."""
        if size[0] != size[1]:
            raise SpecError(f"pictures of {size[0]} x {size[1]} for {self}: it makes squares")
        return middle_square(pixels, size[0])

    def decoded_size(self, size: tuple[int, int], resize: str = "pillow") -> None:
        """Frames keep their size: they are cropped, not stretched."""

    def token_counts(self, num_frames: int | None = None, grid: Grid = (16, 16)) -> dict[str, int]:
        """2056 for 8 frames of 16 x 16 patches: the class token of each frame is kept."""
        return {"frames": (num_frames or self.num_frames) * (1 + grid[0] * grid[1])}

    def tokens_of(self, seen: Seen) -> Float[Tensor, "tokens dim"]:
        """The class token and all patches of each frame, in reading order.

        Raises:
            SpecError: features without their class tokens.
        """
        if CLASS_TOKEN not in seen.more:
            raise SpecError(f"{self} needs each frame's class token beside its patches: use watch or watch_frames")
        first = seen.more[CLASS_TOKEN].to(seen.features)
        tokens = torch.cat([first[:, None], rearrange(seen.features, "t h w d -> t (h w) d")], dim=1)
        return rearrange(tokens, "t n d -> (t n) d")

    def visual_tokens(
        self, features: Float[Tensor, "views rows columns dim"], newline: Float[Tensor, "dim"] | None = None
    ) -> Float[Tensor, "tokens dim"]:
        """Features alone are not enough: see `tokens_of`. Raises SpecError."""
        return self.tokens_of(Seen(features, newline))

    def token_frames(self, num_frames: int, grid: Grid) -> Int64[Tensor, "tokens"]:
        """Each token is of one frame."""
        return frames_of_tokens(range(num_frames), 1 + grid[0] * grid[1])

    def open_ended(self, question: str, style: str, parts: PromptParts = ALL_PARTS) -> tuple[str, str]:
        """The published prompt; it has no parts to leave out. Raises PromptError for another style than "vicuna"."""
        checked_text(question, "question")
        return self.before(style), f"{question} ASSISTANT:"

    def multiple_choice(
        self, question: str, options: Sequence[str], style: str, parts: PromptParts = ALL_PARTS
    ) -> tuple[str, str]:
        """The published prompt around question and options; how options are asked is ours (the evaluation has none)."""
        asked = question_with_options(question, options)
        return self.before(style), f"{asked}\nOnly give the best option. ASSISTANT: Best option:("

    def before(self, style: str) -> str:
        """What stands before a question."""
        if style != "vicuna":
            raise PromptError(f"Video-LLaVA has no prompt in style {style!r}, only in 'vicuna'")
        return f"{SYSTEM} USER: {IMAGE}\n"

    def __str__(self) -> str:
        return f"videollava{self.num_frames}"

    @classmethod
    def parse(cls, text: str, num_frames: int = 50) -> "VideoLlava | None":
        """Read "videollava8", or "videollava"."""
        match = re.fullmatch(r"videollava(\d*)", text)
        return None if match is None else cls(int(match[1] or 8))


class VideoLlavaBackbone(LlavaNext):
    """transformers' `VideoLlavaForConditionalGeneration`, of which the video tower is used."""

    model_type = "video_llava"
    model_class = VideoLlavaForConditionalGeneration

    @classmethod
    def check(cls, config, name: str) -> None:
        tower = config.vision_config.model_type
        if tower != "clip_vision_model":
            raise ModelError(f"{name}: its vision tower is {tower!r}; this kit needs a CLIP tower")
        if not isinstance(config.vision_feature_layer, int):
            raise ModelError(f"{name}: vision_feature_layer {config.vision_feature_layer}; this kit needs one layer")

    @classmethod
    def prompt_style(cls, config, tokenizer) -> str:
        return "vicuna"

    @property
    def vision_device(self) -> torch.device:
        return self.model.model.video_tower.device

    @property
    def newline(self) -> None:
        return None

    def look(self, pixel_values: Float[Tensor, "views 3 height width"], method: Method | None = None) -> Seen:
        """Layer -2 through the projector; the class token beside the patches where the method wants it."""
        wants = method.wants if method is not None else ()
        if lacking := [name for name in wants if name != CLASS_TOKEN]:
            raise ModelError(f"{method} wants {', '.join(lacking)}, which this kit does not read of Video-LLaVA")
        tower, projector = self.model.model.video_tower, self.model.model.multi_modal_projector
        with torch.inference_mode():
            states = tower(pixel_values.to(tower.device, tower.dtype), output_hidden_states=True).hidden_states
            seen = states[self.model.config.vision_feature_layer]
            patches = rearrange(seen[:, 1:], "t (h w) d -> t h w d", h=self.grid[0])
            features = projector(patches if method is None else method.pool_patches(patches))
            more = {CLASS_TOKEN: projector(seen[:, 0])} if wants else {}
        return Seen(features, more=more)


def card_frames(total: int, count: int = 8) -> list[int]:
    """The rule of the checkpoint's card, which the published evaluation does not go by: arange(0, total, total / 8)."""
    return np.arange(0, total, total / count).astype(int).tolist()


def load_video_llava(
    path: str | Path,
    device: str | torch.device = "auto",
    dtype: str | torch.dtype = "auto",
    *,
    device_map: str | dict | None = None,
) -> VideoLLM:
    """Video-LLaVA from a checkpoint of transformers' own class (safetensors only); see the module on its weights.

    Args:
        path, device, dtype, device_map: as of `VideoLLM.from_pretrained`.

    Raises:
        ModelError: no such checkpoint, or not one that can be used here.
    """
    source = Source(path, device, dtype)
    config = source.config(VideoLlavaConfig)
    VideoLlavaBackbone.check(config, source.name)
    with loading(source.name):
        model, found = VideoLlavaForConditionalGeneration.from_pretrained(
            source.name, **source.options(config, device_map)
        )
    check_complete(found, source.name)
    return source.peer(model, VideoLlava(), {"vicuna": "</s>"}, device_map)
