"""IG-VLM as released: six frames as one picture, which LLaVA-NeXT reads at "any resolution".

frames -> a 3 x 2 picture at the frames' own size -> the whole view, and tiles of the best fitting size
       -> tokens of the view, then of the tiles as one map, cropped to the picture, each row ended by `image_newline`

The picture is neither stretched nor shrunk more than needed: it keeps its aspect, and black fills what is left of the
tiles. `ImageGrid` (image_grid.py) is this kit's simpler reading: the picture is stretched, so nothing is cropped.

Source: imagegridworth/IG-VLM at 00d11ab4, with LLaVA's own any-resolution code, which it imports.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil, sqrt
from typing import ClassVar

import numpy as np
import torch
from einops import rearrange, repeat
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from sfllava_core.answering.choices import parse_choice
from sfllava_core.methods.base import NO_SCALING, Grid, Method, Seen, SpecError, positive_int
from sfllava_core.prompts import ALL_PARTS, IMAGE, PromptError, PromptParts, checked_text, option_letters
from sfllava_core.video.frames import resize_picture

MOST_FRAMES = 1024  # as ImageGrid's largest picture
MOST_TILES = 32  # a side, and so many pinpoints
PINPOINTS = ((1, 2), (2, 1), (2, 2), (3, 1), (1, 3))  # (columns, rows) of tiles: 336 x 672 and so on, in 336 x 336
VICUNAS = ("7b", "13b")

GRID_VIEW = "The provided image arranges keyframes from a video in a grid view."
DESCRIBE = (
    "Answer concisely with overall content and context of the video, highlighting any significant events, "
    "characters, or objects that appear throughout the frames."
)
CHATML_USER = f"<|im_end|>\n<|im_start|>user\n {IMAGE}\n"
CHATML_ANSWER = "<|im_end|>\n<|im_start|>assistant\nAnswer:"
# What all of a video's questions begin with, by the checkpoint's size.
OPEN = {
    "7b": f"USER: {IMAGE}\n{GRID_VIEW} {DESCRIBE} Question: ",
    "13b": f"USER: {IMAGE}\n{GRID_VIEW} {DESCRIBE} Question: ",
    "34b": f"<|im_start|>system\n Answer the question. {CHATML_USER}{GRID_VIEW} {DESCRIBE} Question: ",
}
CHOICE = {
    "7b": f"Select correct option to answer the question. USER: {IMAGE}\n{GRID_VIEW} Question: ",
    "13b": f"USER: {IMAGE}\n{GRID_VIEW} Question: ",
    "34b": f"<|im_start|>system\n Select correct option to answer the question.{CHATML_USER} Question: ",
}


def released_total(frames: int, fps: float, start: float = 0.0, end: float | None = None) -> int:
    """The number of frames that the released code counts (moviepy 1.0): mostly one more than there are.

    Args:
        frames, fps: what the file holds.
        start, end: seconds that it is cut to; the whole file by default, whose length is known to 1/100 s.
    """
    end = round(frames / fps, 2) if end is None else end
    return int(end * fps) - int(start * fps) + 1


def grid_picture(frames: UInt8[np.ndarray, "frames h w 3"]) -> UInt8[np.ndarray, "height width 3"]:
    """Frames row by row in a picture of round(sqrt(n)) columns; white fills the last row's empty places."""
    columns, rows = grid_shape(len(frames))
    white = np.full((rows * columns - len(frames), *frames.shape[1:]), 255, dtype=np.uint8)
    return rearrange(np.concatenate([frames, white]), "(r c) h w x -> (r h) (c w) x", r=rows)


def grid_shape(num_frames: int) -> tuple[int, int]:
    """(columns, rows) of the picture: 2 and 3 for six frames."""
    columns = round(sqrt(num_frames))
    return columns, ceil(num_frames / columns)


def best_tiles(picture: Grid, size: Grid, pinpoints: Sequence[Sequence[int]] = PINPOINTS) -> tuple[int, int]:
    """(columns, rows) of the tiles that keep most of a picture's pixels; of equal ones those that waste least.

    Args:
        picture: its (height, width).  size: a tile's.
        pinpoints: what there is to choose from; the first of the best is taken.
    """
    height, width = picture

    def fit(tiles: Sequence[int]) -> tuple[int, int]:
        columns, rows = tiles[0] * size[1], tiles[1] * size[0]
        scale = min(columns / width, rows / height)
        kept = min(int(width * scale) * int(height * scale), width * height)
        return kept, kept - columns * rows

    columns, rows = max(pinpoints, key=fit)
    return columns, rows


def fit_into(picture: UInt8[np.ndarray, "h w 3"], size: Grid) -> UInt8[np.ndarray, "height width 3"]:
    """The picture as large as it fits (bicubic, aspect kept), in the middle of black."""
    (height, width), (rows, columns) = picture.shape[:2], size
    if columns / width < rows / height:
        rows = min(ceil(height * (columns / width)), rows)
    else:
        columns = min(ceil(width * (rows / height)), columns)
    canvas = np.zeros((*size, 3), dtype=np.uint8)
    top, left = (size[0] - rows) // 2, (size[1] - columns) // 2
    canvas[top : top + rows, left : left + columns] = resize_picture(picture, (rows, columns))
    return canvas


def padded(patches: Grid, picture: Grid) -> tuple[int, int]:
    """(rows, columns) of a map of patches that show no picture, on each side of it.

    As released: whole patches by `int`, where transformers rounds to 7 places first.
    """
    (rows, columns), (height, width) = patches, picture
    if width / height > columns / rows:
        return (rows - int(height * (columns / width))) // 2, 0
    return 0, (columns - int(width * (rows / height))) // 2


def after_assistant(text: str) -> str:
    """What follows the last "ASSISTANT:" of a decoded text, as the released code cuts it; nothing is stripped."""
    return text.rsplit("ASSISTANT:", 1)[-1]


@dataclass(frozen=True)
class IgVlm(Method):
    """Six frames as one picture of 3 x 2, read at any resolution; asked and read as IG-VLM does.

    num_frames: frames of the picture.
    pinpoints: (columns, rows) of tiles to choose from, each of the vision tower's size.
    vicuna: whose prompts a Vicuna model gets, "7b" or "13b"; a ChatML model gets those of the 34B.

    How many tokens there are depends on the frames' shape: `token_counts` gives the most that any shape makes (3 : 2
    frames: 2,928 on LLaVA-NeXT), `token_counts_for` those of one shape (640 x 480: 2,640).
    """

    num_frames: int = 6
    pinpoints: Sequence[Sequence[int]] = PINPOINTS
    vicuna: str = "7b"
    max_new_tokens = 512
    own_features = True
    needs_newline = True
    rope = NO_SCALING
    published: ClassVar[dict[str, str]] = {
        "checkpoint": "llava-v1.6-vicuna-7b, llava-v1.6-vicuna-13b, llava-v1.6-34b",
        "RoPE": "no scaling",
        "tokens": "as many for 3 : 2 frames, else fewer: 640 x 480 gives 2640",
        "decoding": "greedy",
        "NExT-QA/EgoSchema/IntentQA, MSVD/MSRVTT/TGIF/ActivityNet (SlowFast-LLaVA's tables)": (
            "7B 63.1/35.8/60.3, 78.8/63.7/73.0/54.3; 34B 70.9/53.6/65.3, 79.6/62.4/79.1/58.4"
        ),
    }
    differs = (
        "frames are counted as they are (released: mostly one more, see released_total), a file that yields fewer is "
        "refused (released: white cells); an empty answer is no choice (released: a crash); other numbers of options "
        "than 4 and 5 are worded after these"
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "num_frames", positive_int("IgVlm num_frames", self.num_frames, MOST_FRAMES))
        try:
            tiles = tuple((columns, rows) for columns, rows in self.pinpoints)
        except (TypeError, ValueError):
            raise SpecError(f"IgVlm pinpoints={self.pinpoints!r}: give pairs (columns, rows) of tiles") from None
        if not 1 <= len(tiles) <= MOST_TILES:
            raise SpecError(f"IgVlm pinpoints: {len(tiles)} pairs (columns, rows) of tiles: give 1 to {MOST_TILES}")
        checked = partial(positive_int, "IgVlm pinpoints: tiles", most=MOST_TILES)
        object.__setattr__(self, "pinpoints", tuple((checked(columns), checked(rows)) for columns, rows in tiles))
        if self.vicuna not in VICUNAS:
            raise SpecError(f"IgVlm vicuna={self.vicuna!r}: choose one of {', '.join(VICUNAS)}")

    def sample(self, total: int) -> list[int]:
        """Every (total // num_frames)-th frame from the first on, so the last part of a video is never seen.

        Raises:
            ValueError: fewer frames than places in the picture.
        """
        step = total // self.num_frames
        if step == 0:
            raise ValueError(f"a video of {total} frames: {self} needs at least {self.num_frames}")
        return [place * step for place in range(self.num_frames)]

    def decoded_size(self, size: tuple[int, int], resize: str = "pillow") -> None:
        """Frames keep their size: the picture is shrunk as a whole."""

    def encoded_pictures(self, num_frames: int) -> int:
        """The whole view and the most tiles."""
        return 1 + max(columns * rows for columns, rows in self.pinpoints)

    def arrange(
        self, pixels: UInt8[np.ndarray, "frames h w 3"], size: Grid
    ) -> UInt8[np.ndarray, "views height width 3"]:
        """The whole picture stretched to `size`, then its tiles row by row. Raises SpecError for too few frames."""
        if len(pixels) != self.num_frames:
            raise SpecError(f"{len(pixels)} frames for {self}: its picture takes {self.num_frames}")
        picture = grid_picture(pixels)
        columns, rows = best_tiles(picture.shape[:2], size, self.pinpoints)
        canvas = fit_into(picture, (rows * size[0], columns * size[1]))
        tiles = rearrange(canvas, "(r h) (c w) x -> (r c) h w x", r=rows, c=columns)
        return np.concatenate([resize_picture(picture, size)[None], tiles])

    def picture_size(self, frame_size: Grid) -> tuple[int, int]:
        """(height, width) of the picture made of frames of this size."""
        columns, rows = grid_shape(self.num_frames)
        return rows * frame_size[0], columns * frame_size[1]

    def token_counts(self, num_frames: int | None = None, grid: Grid = (24, 24)) -> dict[str, int]:
        """The most tokens that frames of any shape make: of the whole view, and of tiles that nothing is cut off."""
        tiles = max(rows * grid[0] * (columns * grid[1] + 1) for columns, rows in self.pinpoints)
        return {"whole": grid[0] * grid[1], "tiles": tiles}

    def token_counts_for(
        self, frame_size: Grid, image_size: Grid = (336, 336), grid: Grid = (24, 24)
    ) -> dict[str, int]:
        """Tokens of frames of one size, (height, width), on a tower of `image_size`, with `grid` patches."""
        picture = self.picture_size(frame_size)
        columns, rows = best_tiles(picture, image_size, self.pinpoints)
        patches = rows * grid[0], columns * grid[1]
        above, left = padded(patches, picture)
        return {"whole": grid[0] * grid[1], "tiles": (patches[0] - 2 * above) * (patches[1] - 2 * left + 1)}

    def tokens_of(self, seen: Seen) -> Float[Tensor, "tokens dim"]:
        """The whole view's tokens, then the tiles' as one map: cropped to the picture, each row ended by the newline.

        Raises:
            SpecError: the frames' size is not known, the views are not those of `arrange`, or no `newline`.
        """
        if seen.frame_size is None or seen.image_size is None:
            raise SpecError(f"{self} crops its tokens to the frames' shape, which features do not tell: watch frames")
        if seen.newline is None:
            raise SpecError(f"{self} needs the model's image_newline vector")
        picture = self.picture_size(seen.frame_size)
        columns, rows = best_tiles(picture, seen.image_size, self.pinpoints)
        if len(seen.features) != 1 + columns * rows:
            raise SpecError(f"{len(seen.features)} views for {self}: it needs 1 whole and {columns * rows} tiles")
        # 1. tiles -> one map
        patches = rearrange(seen.features[1:], "(r c) h w d -> (r h) (c w) d", r=rows)
        # 2. without what shows padding
        above, left = padded(patches.shape[:2], picture)
        patches = patches[above : len(patches) - above, left : patches.shape[1] - left]
        # 3. a newline at each row's end
        ends = repeat(seen.newline.to(patches), "d -> h 1 d", h=len(patches))
        tiles = rearrange(torch.cat([patches, ends], dim=1), "h w d -> (h w) d")
        return torch.cat([rearrange(seen.features[0], "h w d -> (h w) d"), tiles])

    def visual_tokens(
        self, features: Float[Tensor, "views rows columns dim"], newline: Float[Tensor, "dim"] | None = None
    ) -> Float[Tensor, "tokens dim"]:
        """Features do not tell the frames' shape: always refused, with a SpecError. `tokens_of` makes the tokens."""
        return self.tokens_of(Seen(features, newline))

    def token_frames(self, num_frames: int, grid: Grid) -> Int64[Tensor, "tokens"]:
        """-1 for every token: a patch of the picture may show two frames."""
        return torch.full((self.token_count(num_frames, grid),), -1)

    def checkpoint_of(self, style: str) -> str:
        """Whose prompts a style gets. Raises PromptError where IG-VLM has none."""
        if style not in ("vicuna", "chatml"):
            raise PromptError(f"IG-VLM has no prompt in style {style!r}: choose vicuna (7B, 13B) or chatml (34B)")
        return self.vicuna if style == "vicuna" else "34b"

    def open_ended(self, question: str, style: str, parts: PromptParts = ALL_PARTS) -> tuple[str, str]:
        """IG-VLM's prompt, which adds a question mark of its own; it has no parts to leave out."""
        whose = self.checkpoint_of(style)
        checked_text(question, "question")
        end = f" {CHATML_ANSWER}" if whose == "34b" else " \nASSISTANT:\nAnswer:"
        return OPEN[whose], f"{question}?{end} In the video,"

    def multiple_choice(
        self, question: str, options: Sequence[str], style: str, parts: PromptParts = ALL_PARTS
    ) -> tuple[str, str]:
        """IG-VLM's prompt for 5 or 4 options, and others after these; it has no parts to leave out."""
        whose, letters = self.checkpoint_of(style), option_letters(options)
        checked_text(question, "question")
        for letter, option in zip(letters, options):
            checked_text(option, f"option {letter}")
        lines = " ".join(f"{letter}:{option}." for letter, option in zip(letters, options))
        select = "Select the correct answer from the options"
        if whose == "7b":
            return CHOICE[whose], f"{question} {lines} \n{select}. \nASSISTANT:\nAnswer:"
        if whose == "13b":
            return CHOICE[whose], f"{question}?\n {lines} \n {select}({','.join(letters)}). \nASSISTANT: \nAnswer:"
        texts = [
            f"{letter}:{' ' * (letter == 'E')}{option}." for letter, option in zip(letters, options)
        ]  # "E: " it is
        return CHOICE[whose], f"{question}? {' '.join(texts)} {select}. {CHATML_ANSWER}"

    def read_choice(self, text: str, options: Sequence[str]) -> int | None:
        """Which option the words choose, by IG-VLM's rule: a capital A to E in front, unless "A:" or "A)" stands there.

        Its evaluation then compares the option's text with the answer's: `options[place] == answer`.
        """
        letter = (parse_choice(after_assistant(text), capitals_only=True) or "?").upper()
        place = option_letters(options).find(letter)
        return place if place >= 0 else None

    def __str__(self) -> str:
        tiles = "" if self.pinpoints == PINPOINTS else "_tiles" + "-".join(f"{c}x{r}" for c, r in self.pinpoints)
        return f"igvlm{self.num_frames}{tiles}" + ("" if self.vicuna == "7b" else f"_{self.vicuna}")

    @classmethod
    def parse(cls, text: str, num_frames: int = 50) -> "IgVlm | None":
        """Read "igvlm6", "igvlm6_13b", "igvlm6_tiles2x2-1x2"; "igvlm" is the published one."""
        match = re.fullmatch(r"igvlm(\d*)(?:_tiles(\d+x\d+(?:-\d+x\d+)*))?(?:_(\d+b))?", text)
        if match is None:
            return None
        frames, tiles, vicuna = match.groups()
        pinpoints = PINPOINTS if tiles is None else tuple(tuple(map(int, one.split("x"))) for one in tiles.split("-"))
        return cls(int(frames or 6), pinpoints, vicuna or "7b")
