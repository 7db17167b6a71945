"""LLaVA-NeXT-Image: the image checkpoint as its authors' own video evaluation runs it.

frames, first to last -> squares from their middle -> patches averaged 2 x 2 *before* the projector -> one after another

Pooled after the projector it is `uniform(32, (12, 12))` (slowfast.py), this kit's earlier reading.
The language model wants linear RoPE: `VideoLLM.from_pretrained(folder, rope_type="linear")`; benchmarks load it so.

Source: LLaVA-VL/LLaVA-NeXT, branch video_inference, at e789bd4.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import ClassVar

import numpy as np
import torch
from einops import rearrange, reduce
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from sfllava_core.methods.base import Grid, Method, Rope, SpecError, positive_int
from sfllava_core.methods.pooling import MOST_FRAMES
from sfllava_core.prompts import ALL_PARTS, IMAGE, PromptError, PromptParts, checked_text, option_letters
from sfllava_core.video.frames import resize_picture

MOST_STRIDE = 100
NATIVE_POSITIONS = 4096  # of Vicuna-1.5 and of the 34B's Yi
ROOM_FOR_TEXT = 1000  # tokens that the released rule of the RoPE factor leaves for prompt and answer

# What stands before and after a question, by prompt style.
CHATS = {
    "vicuna": (
        "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, "
        f"detailed, and polite answers to the user's questions. USER: {IMAGE}\n",
        " ASSISTANT:",
    ),
    "chatml": (
        f"<|im_start|>system\nAnswer the questions.<|im_end|><|im_start|>user\n{IMAGE}\n",
        "<|im_end|><|im_start|>assistant\n",
    ),
}


def first_to_last(total: int, num_frames: int) -> list[int]:
    """Always `num_frames` frames, from the first to the last, cut to whole numbers: a short video repeats some.

    Raises:
        ValueError: a video without frames.
    """
    if total < 1:
        raise ValueError(f"total={total}: a video needs at least 1 frame to sample from")
    return np.linspace(0, total - 1, num_frames, dtype=int).tolist()


def middle_square(pixels: UInt8[np.ndarray, "frames h w 3"], side: int) -> UInt8[np.ndarray, "frames side side 3"]:
    """CLIP's own preparation: the short side resized to `side` (bicubic), the middle of the long one kept."""
    height, width = pixels.shape[1:3]
    short = min(height, width)
    rows, columns = int(side * height / short), int(side * width / short)
    top, left = (rows - side) // 2, (columns - side) // 2
    return np.stack([resize_picture(one, (rows, columns))[top : top + side, left : left + side] for one in pixels])


def chat_of(style: str) -> tuple[str, str]:
    """What stands before and after a question. Raises PromptError for a style that was not published."""
    if style not in CHATS:
        raise PromptError(f"LLaVA-NeXT-Image has no prompt in style {style!r}: choose {' or '.join(CHATS)}")
    return CHATS[style]


@dataclass(frozen=True)
class LlavaNextImage(Method):
    """Frames from first to last, each stride x stride patches averaged to one before the projector.

    32 frames of 12 x 12 tokens are 4,608 on LLaVA-NeXT. An odd grid loses its last row and column, as released.
    """

    num_frames: int = 32
    stride: int = 2
    max_new_tokens = 1024
    own_features = True
    published: ClassVar[dict[str, str]] = {
        "checkpoint": "llava-v1.6-vicuna-7b, llava-v1.6-34b",
        "RoPE": "linear, factor 2",
        "decoding": "sampled, temperature 0.2",
        "ActivityNet, VCGBench": "7B 53.8, 3.07; 34B 55.6, 3.27",
    }
    differs = "greedy in place of sampled; how options are asked is ours: none were asked there"

    def __post_init__(self) -> None:
        object.__setattr__(self, "num_frames", positive_int("LlavaNextImage num_frames", self.num_frames, MOST_FRAMES))
        object.__setattr__(self, "stride", positive_int("LlavaNextImage stride", self.stride, MOST_STRIDE))

    @property
    def rope(self) -> Rope:
        """Linear, by the released rule of the factor."""
        return "linear", float(self.rope_factor())

    def rope_factor(self, side: int = 24) -> int:
        """The factor of linear RoPE scaling that the released evaluation sets; 1 is off. 2 for 32 frames of 24 x 24."""
        tokens = self.num_frames * (side // self.stride) ** 2
        return ceil((tokens + ROOM_FOR_TEXT) / NATIVE_POSITIONS)

    def sample(self, total: int) -> list[int]:
        """First to last, always `num_frames`. Raises ValueError for a video without frames."""
        return first_to_last(total, self.num_frames)

    def decoded_size(self, size: tuple[int, int], resize: str = "pillow") -> None:
        """Frames keep their size: they are cropped, not stretched."""

    def arrange(
        self, pixels: UInt8[np.ndarray, "frames h w 3"], size: Grid
    ) -> UInt8[np.ndarray, "frames height width 3"]:
        """The middle square of each frame. Raises SpecError for a tower that takes no squares."""
        if size[0] != size[1]:
            raise SpecError(f"pictures of {size[0]} x {size[1]} for {self}: it makes squares")
        return middle_square(pixels, size[0])

    def pool_patches(
        self, patches: Float[Tensor, "views rows columns width"]
    ) -> Float[Tensor, "views rows2 columns2 width"]:
        """The mean of each stride x stride patches; what is left over at the right and below is dropped."""
        rows, columns = (side * self.stride for side in self.feature_grid(patches.shape[1:3]))
        whole = patches[:, :rows, :columns]
        return reduce(whole, "t (h a) (w b) d -> t h w d", "mean", a=self.stride, b=self.stride)

    def feature_grid(self, grid: Grid) -> tuple[int, int]:
        """(rows, columns) of a frame's tokens: 12 x 12 of 24 x 24. Raises SpecError where none is left."""
        rows, columns = grid[0] // self.stride, grid[1] // self.stride
        if min(rows, columns) < 1:
            raise SpecError(f"{self}: stride {self.stride} leaves nothing of a grid of {grid[0]} x {grid[1]}")
        return rows, columns

    def token_counts(self, num_frames: int | None = None, grid: Grid = (24, 24)) -> dict[str, int]:
        """12 x 12 tokens for each frame of 24 x 24."""
        rows, columns = self.feature_grid(grid)
        frames = self.num_frames if num_frames is None else positive_int("num_frames", num_frames, MOST_FRAMES)
        return {"frames": frames * rows * columns}

    def visual_tokens(
        self, features: Float[Tensor, "views rows columns dim"], newline: Float[Tensor, "dim"] | None = None
    ) -> Float[Tensor, "tokens dim"]:
        """Pooled features, frame by frame and row by row; no newline."""
        return rearrange(features, "t h w d -> (t h w) d")

    def token_frames(self, num_frames: int, grid: Grid) -> Int64[Tensor, "tokens"]:
        """Each frame's tokens stand together."""
        rows, columns = self.feature_grid(grid)
        return torch.arange(num_frames).repeat_interleave(rows * columns)

    def open_ended(self, question: str, style: str, parts: PromptParts = ALL_PARTS) -> tuple[str, str]:
        """The published prompt; it has no parts to leave out."""
        before, after = chat_of(style)
        checked_text(question, "question")
        return before, f"{question}{after}"

    def multiple_choice(
        self, question: str, options: Sequence[str], style: str, parts: PromptParts = ALL_PARTS
    ) -> tuple[str, str]:
        """The published prompt around question and options; how options are asked is ours (the evaluation has none)."""
        (before, after), letters = chat_of(style), option_letters(options)
        checked_text(question, "question")
        for letter, option in zip(letters, options):
            checked_text(option, f"option {letter}")
        lines = "".join(f"\n({letter}) {option}" for letter, option in zip(letters, options))
        gap = "" if after.endswith("\n") else " "
        return before, f"{question}\nOptions:{lines}\nOnly give the best option.{after}{gap}Best option:("

    def __str__(self) -> str:
        return f"llavanextimage{self.num_frames}" + ("" if self.stride == 2 else f"_stride{self.stride}")

    @classmethod
    def parse(cls, text: str, num_frames: int = 50) -> "LlavaNextImage | None":
        """Read "llavanextimage32", "llavanextimage32_stride4"; "llavanextimage" is the published one."""
        match = re.fullmatch(r"llavanextimage(\d*)(?:_stride(\d+))?", text)
        return cls(int(match[1] or 32), int(match[2] or 2)) if match else None
