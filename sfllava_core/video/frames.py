"""Video file -> frames: which frames the method looks at, and their pixels.

First step of the way: **frames** -> features -> pathways -> prompt -> answer.
The decoders themselves are in `decoders.py`; the processes that guard us from broken files are in `service.py`.
"""

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import SupportsIndex

import numpy as np
from jaxtyping import Float, UInt8

from sfllava_core.video.decoders.base import FrameReader, Recounted
from sfllava_core.video.integrity import VideoError, short_message

FrameRule = SupportsIndex | Callable[[int], Sequence[SupportsIndex]]  # N of the paper, or a rule: total -> indices


def sample_frame_indices(total: SupportsIndex, num_frames: SupportsIndex) -> list[int]:
    """Uniformly sampled frame indices: the middle of each of `num_frames` equal segments.

    The rule of the released code, kept to the last index: with `total <= num_frames` one index repeats and the
    last frame is never used (50 of 50 gives 24 twice and ends at 48). Edges are rounded half to even.

    Args:
        total: frames in the video, at least 1.
        num_frames: frames wanted, at least 1. No more than `total` are returned.

    Returns:
        min(total, num_frames) indices in 0 .. total - 1, never decreasing.

    Raises:
        ValueError: total or num_frames below 1.

    Source: section 3.1 of arXiv:2407.15841 ("uniformly sample N frames"); rounding from the released code.

    >>> sample_frame_indices(total=288, num_frames=5)
    [28, 86, 143, 201, 258]
    """
    total, num_frames = operator.index(total), operator.index(num_frames)
    if total < 1:
        raise ValueError(f"total={total}: a video needs at least 1 frame to sample from")
    if num_frames < 1:
        raise ValueError(f"num_frames={num_frames}: ask for at least 1 frame")
    n = min(total, num_frames)
    edges = np.rint(np.arange(n + 1) * (float(total - 1) / n)).astype(np.int64)
    return ((edges[:-1] + edges[1:]) // 2).tolist()


def chosen_indices(rule: FrameRule, total: int) -> list[int]:
    """Frames that a number (the paper's rule) or another rule picks of a video of `total`; they never decrease.

    Raises:
        ValueError: the rule refuses so short a video, or gives no such frames.
    """
    if not callable(rule):
        return sample_frame_indices(total, rule)
    indices = [operator.index(index) for index in rule(total)]
    if not indices or indices != sorted(indices) or indices[0] < 0 or indices[-1] >= total:
        raise ValueError(f"frames {indices} of a video of {total}: give numbers from 0 to {total - 1}, in order")
    return indices


def choose(rules: Sequence[FrameRule], path: Path, total: int) -> list[int]:
    """Frames that any of the rules picks, each once; those of a single rule as it gives them, repeats and all.

    Raises:
        VideoError: a rule refuses this video.
    """
    try:
        chosen = [chosen_indices(rule, total) for rule in rules]
    except ValueError as error:
        raise VideoError(path, str(error), "take a longer video, or another method") from error
    return chosen[0] if len(chosen) == 1 else sorted({index for one in chosen for index in one})


@dataclass(frozen=True, eq=False)
class Frames:
    """The sampled frames of one video.

    pixels: RGB, (frames, height, width, 3).  indices: frame numbers in the file.
    timestamps: presentation times in seconds, NaN where the source has no clock (a folder of images).
    fps: mean frames a second, NaN without a clock.  total: frames in the file.  decoder: who decoded it.
    """

    pixels: UInt8[np.ndarray, "frames height width 3"]
    indices: list[int]
    timestamps: Float[np.ndarray, "frames"]
    fps: float
    total: int
    decoder: str = ""

    def __len__(self) -> int:
        return len(self.indices)

    def sampled(self, rule: FrameRule) -> "Frames":
        """Of frames that were read for several rules at once, those that `read_frames(path, rule)` gives.

        Raises:
            ValueError: some of them were not read.
        """
        place, wanted = {index: n for n, index in enumerate(self.indices)}, chosen_indices(rule, self.total)
        if not place.keys() >= set(wanted):
            raise ValueError(f"num_frames={rule}: these {len(self)} frames were not read for that number too")
        places = [place[index] for index in wanted]
        return replace(self, pixels=self.pixels[places], indices=wanted, timestamps=self.timestamps[places])


def decode(reader: FrameReader, path: Path, rule: Callable[[int], list[int]], size: tuple[int, int] | None) -> Frames:
    """Read the frames that `rule` picks of the reader's total; every failure of the reader becomes a `VideoError`."""
    indices = rule(reader.total)
    try:
        pixels, timestamps = read_all(reader, path, indices, size)
    except Recounted:  # now `reader.total` is right
        indices = rule(reader.total)
        pixels, timestamps = read_all(reader, path, indices, size)
    if len(pixels) != len(indices):
        raise VideoError(path, f"only {len(pixels)} of {len(indices)} sampled frames could be decoded")
    return Frames(
        stack(path, pixels, indices),
        indices,
        np.asarray(timestamps, dtype=np.float64),
        float(reader.fps),
        reader.total,
        reader.name,
    )


def read_all(
    reader: FrameReader, path: Path, indices: list[int], size: tuple[int, int] | None
) -> tuple[list[UInt8[np.ndarray, "height width 3"]], list[float]]:
    """Pictures and times of these frames."""
    pixels, timestamps = [], []
    try:
        for picture, seconds in reader.read(indices):
            pixels.append(picture if size is None else resize_picture(picture, size))
            timestamps.append(seconds)
    except (VideoError, Recounted):
        raise
    except Exception as error:  # decoders raise RuntimeError, IndexError, TypeError, their own kinds ...
        raise VideoError(path, f"{type(error).__name__}: {short_message(error)}") from error
    return pixels, timestamps


def stack(
    path: Path, pixels: Sequence[np.ndarray], indices: Sequence[int]
) -> UInt8[np.ndarray, "frames height width 3"]:
    """Stack frames that must all have one size; names the first that differs."""
    for picture, index in zip(pixels, indices):
        if picture.shape != pixels[0].shape:
            (h0, w0), (h, w) = pixels[0].shape[:2], picture.shape[:2]
            raise VideoError(
                path,
                f"frame {index} is {w} x {h} but frame {indices[0]} is {w0} x {h0}",
                "pass size=(height, width) to resize each frame",
            )
    return np.stack(pixels)


def resize_picture(picture: UInt8[np.ndarray, "h w 3"], size: Sequence[int]) -> UInt8[np.ndarray, "height width 3"]:
    """Pillow's default `Image.resize` filter (bicubic) on uint8, as the reference: aspect ratio is not kept."""
    from PIL import Image

    if picture.shape[:2] == tuple(size):
        return picture
    return np.asarray(Image.fromarray(picture).resize((size[1], size[0]), Image.Resampling.BICUBIC))
