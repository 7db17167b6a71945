"""FreeVA: few frames, whole or put together in one simple way, and LLaVA's own conversation.

whwu95/FreeVA at ddc838db. Its base model is LLaVA-1.5; for LLaVA-1.6 it keeps the base view of each frame, that is the
frame squashed to the tower's square, which is what all methods of this kit see.
"""

import re
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from einops import rearrange, repeat
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from sfllava_core.features import CLIP_MEAN
from sfllava_core.methods.base import NO_SCALING, Grid, Method, SpecError, positive_int
from sfllava_core.methods.pooling import MOST_FRAMES, NO_POOL, Pool
from sfllava_core.prompts import ALL_PARTS, PromptParts, check_whole, conversation_pieces

FORMS = {"D1": NO_POOL, "D2": Pool.window("max", 1, 2), "S1": Pool("time")}


@dataclass(frozen=True)
class FreeVA(Method):
    """`num_frames` frames after the projector, in one of three forms.

    form: "D1", all patches of all frames (4 * 576 tokens), the form that is released; "D2", the larger of each two
        neighbours in a row (published with 8 frames: 8 * 288); "S1", the mean over frames (576). D2 and S1 stand in
        comments of the released code.
    pad: frames are padded to squares in CLIP's mean colour, as LLaVA-1.5 takes its pictures; else squashed.
    """

    rope = NO_SCALING
    published: ClassVar[dict[str, str]] = {
        "code": "whwu95/FreeVA at ddc838db",
        "checkpoint": "llava-v1.5-7b and -13b",
        "settings": "4 frames (D1) or 8 (D2), greedy, 128 new tokens, no RoPE scaling",
    }
    differs = (
        "frames are squashed as on LLaVA-1.6, unless pad is on; the prompts of 34B and Mistral are LLaVA's own "
        "conversations; a question with options gets the paper's prompt, there is none in the released code"
    )

    num_frames: int = 4
    form: str = "D1"
    pad: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "num_frames", positive_int("FreeVA num_frames", self.num_frames, MOST_FRAMES))
        if self.form not in FORMS:
            raise SpecError(f"FreeVA form {self.form!r}: choose one of {', '.join(FORMS)}")

    @property
    def pool(self) -> Pool:
        """What the form does to the frames' features."""
        return FORMS[self.form]

    def decoded_size(self, size: tuple[int, int], resize: str = "pillow") -> tuple[int, int] | None:
        """Padded frames keep their size until they are padded."""
        return None if self.pad else super().decoded_size(size, resize)

    def arrange(
        self, pixels: UInt8[np.ndarray, "frames h w 3"], size: Grid
    ) -> UInt8[np.ndarray, "frames height width 3"]:
        """Each frame is a picture, padded to a square if `pad` is on."""
        return pad_to_square(pixels) if self.pad else pixels

    def token_counts(self, num_frames: int | None = None, grid: Grid = (24, 24)) -> dict[str, int]:
        """Tokens of all frames. Raises SpecError for D2 on a grid with an odd number of columns."""
        frames = positive_int("num_frames", self.num_frames if num_frames is None else num_frames, MOST_FRAMES)
        frames, rows, columns = self.pool.output_shape((frames, *grid))
        return {"frames": frames * rows * columns}

    def visual_tokens(
        self, features: Float[Tensor, "frames rows columns dim"], newline: Float[Tensor, "dim"] | None = None
    ) -> Float[Tensor, "tokens dim"]:
        """Features in this form, frame by frame, row by row; no separators."""
        return rearrange(self.pool(features), "t h w d -> (t h w) d")

    def token_frames(self, num_frames: int, grid: Grid) -> Int64[Tensor, "tokens"]:
        """Which frame each token is of; -1 for S1, which mixes them."""
        frames, rows, columns = self.pool.output_shape((num_frames, *grid))
        owners = torch.arange(frames) if self.pool.per_frame else torch.full((frames,), -1)
        return repeat(owners, "t -> (t n)", n=rows * columns)

    def open_ended(self, question: str, style: str, parts: PromptParts = ALL_PARTS) -> tuple[str, str]:
        """The question as it is, in LLaVA's own conversation. Raises PromptError: the paper's parts are not in it."""
        check_whole(parts, "FreeVA")
        return conversation_pieces(question, style)

    def __str__(self) -> str:
        return f"freeva{self.num_frames}-{self.form}{'-pad' * self.pad}"

    @classmethod
    def parse(cls, text: str, num_frames: int = 50) -> "FreeVA | None":
        """Read "freeva4-D1", "freeva8-D2-pad"; "freeva" is the released one."""
        match = re.fullmatch(r"freeva(\d+)-(\w+?)(-pad)?", text)
        if match is None:
            return cls() if text == "freeva" else None
        return cls(int(match[1]), match[2], match[3] is not None)


def pad_to_square(pixels: UInt8[np.ndarray, "frames h w 3"]) -> UInt8[np.ndarray, "frames side side 3"]:
    """Each frame in the middle of a square, on CLIP's mean colour: LLaVA-1.5's image_aspect_ratio "pad"."""
    count, height, width, _ = pixels.shape
    side = max(height, width)
    squares = np.empty((count, side, side, 3), dtype=np.uint8)
    squares[:] = [int(mean * 255) for mean in CLIP_MEAN]
    top, left = (side - height) // 2, (side - width) // 2
    squares[:, top : top + height, left : left + width] = pixels
    return squares
