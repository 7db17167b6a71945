"""PLLaVA (arXiv:2404.16994): LLaVA-NeXT tuned on videos by a LoRA, 16 frames pooled to 12 x 12 after the projector.

Rules read off the released code. The weights are merged when they are loaded (pllava_weights.py), so that what runs is
transformers' stock LLaVA-NeXT; prompts are in pllava_prompts.py, its scoring in pllava_scores.py.
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
from transformers import LlavaNextConfig, LlavaNextForConditionalGeneration

from sfllava_bench.peers.base import Source, frames_of_tokens
from sfllava_bench.peers.pllava_prompts import NEW_TOKENS, choice_question, conversation
from sfllava_bench.peers.pllava_scores import read_choice
from sfllava_bench.peers.pllava_weights import ALPHA, Shards, add_delta, is_delta, whole_weights
from sfllava_core.backbones.base import ModelError
from sfllava_core.checkpoints import check_complete, load_config, loading
from sfllava_core.methods.base import NO_SCALING, Grid, Method, SpecError, positive_int
from sfllava_core.methods.llava_next_image import middle_square
from sfllava_core.methods.pooling import MOST_FRAMES, Pool
from sfllava_core.model import VideoLLM
from sfllava_core.prompts import ALL_PARTS, PromptParts, checked_text
from sfllava_core.video.frames import resize_picture

SIDE, LONGEST = 336, 640  # pixels: the least short side, and the most of the long one, of the first resize
STOPS = {"vicuna": "</s>", "chatml": "<|im_end|>"}  # what ends an answer, by prompt style
TASKS = ("videoqa", "vcg", "recaption")


@dataclass(frozen=True)
class Pllava(Method):
    """PLLaVA's frames, pictures, pooling and prompts.

    num_frames: frames sampled, and left of the pooling over time.
    rows, columns: tokens a frame.
    task: how an open question is asked: "videoqa", "vcg" (VCGBench) or "recaption". Choices are asked as MVBench's.
    """

    num_frames: int = 16
    rows: int = 12
    columns: int = 12
    task: str = "videoqa"
    rope = NO_SCALING
    published: ClassVar[dict[str, str]] = {
        "checkpoint": "pllava-7b, -13b, -34b",
        "precision": "bfloat16",
        "MSVD, MSR-VTT, TGIF, ActivityNet": "7B 76.6, 62.0, 77.5, 56.3; 34B 79.9, 68.7, 80.6, 60.9",
    }
    differs = "the LoRA is merged in float32; open answers are not cut at a role tag that the model writes"

    def __post_init__(self) -> None:
        for name in ("num_frames", "rows", "columns"):
            object.__setattr__(self, name, positive_int(f"Pllava {name}", getattr(self, name), MOST_FRAMES))
        if self.task not in TASKS:
            raise SpecError(f"Pllava task={self.task!r}: choose one of {', '.join(TASKS)}")

    @property  # of its task, where other kinds have one for all
    def max_new_tokens(self) -> int:  # type: ignore[override]
        """100; 400 of a new caption."""
        return NEW_TOKENS[self.task]

    @property
    def pool(self) -> Pool:
        return Pool.to(self.rows, self.columns, frames=self.num_frames)

    def sample(self, total: int) -> list[int]:
        """The middle of each of 16 pieces; a short video repeats frames, the last frame is never taken."""
        return segment_frames(total, self.num_frames)

    def arrange(
        self, pixels: UInt8[np.ndarray, "frames h w 3"], size: Grid
    ) -> UInt8[np.ndarray, "frames height width 3"]:
        """Frames resized twice, as released: to at most 640 pixels, then as CLIP's."""
        if size[0] != size[1]:
            raise SpecError(f"pictures of {size[0]} x {size[1]} for {self}: it makes squares")
        return middle_square(first_resize(pixels), size[0])

    def decoded_size(self, size: tuple[int, int], resize: str = "pillow") -> None:
        """Frames keep their size: they are cropped, not stretched."""

    def token_counts(self, num_frames: int | None = None, grid: Grid = (24, 24)) -> dict[str, int]:
        """16 x 12 x 12 whatever the video. Raises SpecError for a grid that is smaller."""
        frames, rows, columns = self.pool.output_shape((num_frames or self.num_frames, *grid))
        return {"pooled": frames * rows * columns}

    def visual_tokens(
        self, features: Float[Tensor, "views rows columns dim"], newline: Float[Tensor, "dim"] | None = None
    ) -> Float[Tensor, "tokens dim"]:
        """Features of all frames, pooled over time, rows and columns at once."""
        return pool_videos(features, self.num_frames, self.pool)[0]

    def token_frames(self, num_frames: int, grid: Grid) -> Int64[Tensor, "tokens"]:
        """The sampled frame of each token; -1 where frames are mixed."""
        mixed = num_frames > self.num_frames
        places = [-1] * self.num_frames if mixed else filled_places(num_frames, self.num_frames)
        return frames_of_tokens(places, self.rows * self.columns)

    def open_ended(self, question: str, style: str, parts: PromptParts = ALL_PARTS) -> tuple[str, str]:
        """The published prompt of the task. It has no parts to leave out: `parts` is not looked at."""
        checked_text(question, "question")
        return conversation(self.task, style).pieces(question)

    def multiple_choice(
        self, question: str, options: Sequence[str], style: str, parts: PromptParts = ALL_PARTS
    ) -> tuple[str, str]:
        """MVBench's prompt as published. All questions share it up to "Question: "."""
        shared, own = conversation("mvbench", style).pieces(choice_question(question, options))
        begin = "Question: "
        return shared + begin, own.removeprefix(begin)

    def read_choice(self, text: str, options: Sequence[str]) -> int | None:
        """The option by MVBench's rule, which knows the letters A to G: see `pllava_scores.choice_is_right`."""
        return read_choice(conversation("mvbench", "vicuna").answer_text(text), options)

    def __str__(self) -> str:
        task = "" if self.task == "videoqa" else f"_{self.task}"
        return f"pllava{self.num_frames}x{self.rows}x{self.columns}{task}"

    @classmethod
    def parse(cls, text: str, num_frames: int = 50) -> "Pllava | None":
        """Read "pllava16x12x12", "pllava16x12x12_vcg", or "pllava"."""
        match = re.fullmatch(r"pllava(?:(\d+)x(\d+)x(\d+))?(?:_([a-z]+))?", text)
        if match is None:
            return None
        *sizes, task = match.groups()
        frames, rows, columns = map(int, sizes) if sizes[0] else (16, 12, 12)
        return cls(frames, rows, columns, task or "videoqa")


def segment_frames(
    total: int, segments: int = 16, *, bound: tuple[float, float] | None = None, fps: float = 0.0, first: int = 0
) -> list[int]:
    """PLLaVA's frames: int(start + s / 2 + round(s i)), rounded half to even, s a `segments`-th of the way to the end.

    Args:
        bound: seconds from and to; without it the whole video.
        fps: frames a second, where there is a bound.
        first: the first frame that may be taken, where there is a bound.

    Raises:
        ValueError: a video without frames, or a bound and no fps.
    """
    if total < 1:
        raise ValueError(f"total={total}: a video needs at least 1 frame to sample from")
    if bound is not None and not fps > 0:
        raise ValueError(f"fps={fps}: a bound in seconds needs the video's frames a second")
    start, end = 0, total - 1
    if bound is not None:
        start, end = max(first, round(bound[0] * fps)), min(round(bound[1] * fps), total - 1)
    step = float(end - start) / segments
    return [int(start + step / 2 + np.round(step * number)) for number in range(segments)]


def gif_frames(total: int, segments: int = 16) -> list[int]:
    """The frames of a GIF (TGIF-QA): each of `segment_frames` once, and the list again and again from its beginning."""
    once = list(dict.fromkeys(segment_frames(total, segments)))
    return [once[number % len(once)] for number in range(segments)]


def first_resize(pixels: UInt8[np.ndarray, "frames h w 3"]) -> UInt8[np.ndarray, "frames h2 w2 3"]:
    """Bicubic to a long side of at most 640 pixels, and a short one of at least 336; never larger than it was else."""
    height, width = pixels.shape[1:3]
    short, long = min(height, width), max(height, width)
    ratio = long / short
    short = max(min(short, int(min(LONGEST, long) / ratio)), SIDE)
    size = (short, int(short * ratio)) if height <= width else (int(short * ratio), short)
    return np.stack([resize_picture(picture, size) for picture in pixels])


def filled_places(frames: int, wanted: int) -> list[int]:
    """Which frame stands at each of `wanted` places: too few are each repeated in a row, and cut off, as released.

    8 frames for 16 places are 0 0 0 1 1 1 ... 5: the last ones are never seen.
    """
    if frames >= wanted:
        return list(range(frames))
    return [place // (wanted // frames + 1) for place in range(wanted)]


def pool_videos(
    features: Float[Tensor, "views rows columns dim"], num_frames: int, pool: Pool, videos: int = 1
) -> Float[Tensor, "videos tokens dim"]:
    """Projected features to PLLaVA's tokens, in the order frame, row, column.

    Args:
        num_frames: the model's; fewer are filled up to it (`filled_places`).
        pool: adaptive average over time, rows and columns: bin i of n over T is floor(i T / n) .. ceil((i + 1) T / n).
        videos: how many lie one after another in `features`.

    Raises:
        SpecError: more frames than `num_frames` that are no multiple of it.
    """
    features = features[filled_places(len(features), num_frames)]
    if len(features) % num_frames or len(features) % videos:
        raise SpecError(f"{len(features)} frames for PLLaVA: give at most {num_frames}, or a multiple of {num_frames}")
    return torch.stack([rearrange(pool(one), "t h w d -> (t h w) d") for one in features.chunk(videos)])


def load_pllava(
    path: str | Path,
    device: str | torch.device = "auto",
    dtype: str | torch.dtype = "auto",
    *,
    base: str | Path | None = None,
    alpha: float = ALPHA,
    device_map: str | dict | None = None,
) -> VideoLLM:
    """PLLaVA from its published folder, its LoRA merged into a stock LLaVA-NeXT (safetensors only).

    Args:
        path: a local folder: the whole model unmerged, or LoRA and projector alone.
        device, dtype, device_map: as of `VideoLLM.from_pretrained`; "auto" on a GPU is bfloat16, as released.
        base: the LLaVA-NeXT that LoRA and projector alone go onto; its tokenizer is taken too.
        alpha: 4 in the released evaluation (32 in training); 0 leaves the LoRA out.

    Raises:
        ModelError: no such folder; missing or additional weights, another rank or size, with the weights' names.
    """
    source = Source(path, device, dtype)
    if not source.local:
        raise ModelError(f"{source.name}: its weights are merged here, so download it and give its folder")
    if dtype == "auto" and source.device.type != "cpu":
        source.dtype = torch.bfloat16
    with loading(source.name):
        shards = Shards(Path(source.name))
    if is_delta(shards):
        return load_delta(source, shards, base, alpha, device_map)
    config = source.config(LlavaNextConfig, architectures=["LlavaNextForConditionalGeneration"])
    with loading(source.name):
        with torch.device("meta"):
            empty = LlavaNextForConditionalGeneration(config)
        weights = whole_weights(shards, empty, alpha, source.dtype)
        model, found = LlavaNextForConditionalGeneration.from_pretrained(
            None, state_dict=weights, **source.options(config, device_map)
        )
    check_complete(found, source.name)
    return source.peer(model, method_of(source), STOPS, device_map)


def load_delta(
    source: Source, shards: Shards, base: str | Path | None, alpha: float, device_map: str | dict | None
) -> VideoLLM:
    """LoRA and projector put onto a LLaVA-NeXT. Errors as of `load_pllava`."""
    if base is None:
        raise ModelError(
            f"{source.name}: it holds LoRA and projector alone: give base=, the LLaVA-NeXT that they go onto"
        )
    base = str(Path(base).expanduser())
    config = load_config(base)
    if not isinstance(config, LlavaNextConfig):
        raise ModelError(f"{base}: PLLaVA's LoRA goes onto a LLaVA-NeXT, this is a {config.model_type!r} model")
    with loading(base):
        options = {**source.options(config, device_map), "local_files_only": Path(base).is_dir()}
        model, found = LlavaNextForConditionalGeneration.from_pretrained(base, **options)
    check_complete(found, base)
    with loading(source.name):
        add_delta(shards, model, alpha)
    return source.peer(model, method_of(source), STOPS, device_map, text_from=base)


def method_of(source: Source) -> Pllava:
    """The method by a checkpoint's config: num_frames and pooling_shape. Raises ModelError for another pooling."""
    kind, shape = source.settings.get("pooling_method", "avg"), source.settings.get("pooling_shape", [16, 12, 12])
    frames = source.settings.get("num_frames", 16)
    if kind != "avg" or len(shape) != 3 or shape[0] != frames or not source.settings.get("use_pooling", True):
        raise ModelError(
            f"{source.name}: pooling {kind!r} to {shape} of {frames} frames; this kit knows the published one, "
            "an average to as many frames as were sampled"
        )
    return Pllava(*shape)
