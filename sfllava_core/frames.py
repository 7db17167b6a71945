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

from sfllava_core.decoders import DECODERS, FrameReader, Recounted, open_reader
from sfllava_core.integrity import LOG, HostError, VideoError, checked_path, short_message

__all__ = ["Frames", "HostError", "VideoError", "read_frames", "sample_frame_indices"]

DEFAULT_TIMEOUT_S = 120.0


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
    """
    total, num_frames = operator.index(total), operator.index(num_frames)
    if total < 1:
        raise ValueError(f"total={total}: a video needs at least 1 frame to sample from")
    if num_frames < 1:
        raise ValueError(f"num_frames={num_frames}: ask for at least 1 frame")
    n = min(total, num_frames)
    edges = np.rint(np.arange(n + 1) * (float(total - 1) / n)).astype(np.int64)
    return ((edges[:-1] + edges[1:]) // 2).tolist()


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

    def sampled(self, num_frames: SupportsIndex) -> "Frames":
        """Of frames that were read for several numbers at once, those that `read_frames(path, num_frames)` gives.

        Raises:
            ValueError: some of them were not read.
        """
        place, wanted = {index: n for n, index in enumerate(self.indices)}, sample_frame_indices(self.total, num_frames)
        if not place.keys() >= set(wanted):
            raise ValueError(f"num_frames={num_frames}: these {len(self)} frames were not read for that number too")
        places = [place[index] for index in wanted]
        return replace(self, pixels=self.pixels[places], indices=wanted, timestamps=self.timestamps[places])


def read_frames(
    path: str | Path,
    num_frames: SupportsIndex | Sequence[SupportsIndex] = 50,
    *,
    decoder: str | Callable[[Path], FrameReader] = "auto",
    size: Sequence[SupportsIndex] | None = None,
    timeout_s: float | None = DEFAULT_TIMEOUT_S,
) -> Frames:
    """Decode `num_frames` uniformly sampled frames of a video file, or of a folder of images (sorted naturally).

    Args:
        path: the file or folder.
        num_frames: N of the paper. A shorter video gives all the frames that `sample_frame_indices` picks. A list of
            numbers gives the frames of all of them, each decoded once; `Frames.sampled` then takes one number's.
        decoder: "auto" ("pyav", which gives the frames that were asked for), "decord" (the released code's reading,
            which on some files gives others), or a callable that opens a path and returns a `FrameReader`; a callable
            runs in this process, one at a time, so `timeout_s` does not cover it.
        size: (height, width) to resize each frame to as it is decoded (Pillow bicubic, the reference's resize),
            so that 50 frames of 4K (1.2 GB) never lie in memory together. None keeps the video's own size.
        timeout_s: limit in seconds; a file is decoded in a worker process (service.py), which a broken one may hang or
            crash without harm. None is no limit.

    Returns:
        `Frames` with pixels uint8 (frames, height, width, 3).

    Raises:
        VideoError: the file cannot be decoded in time; says which file, why, and what to do.
        HostError: not the file but the machine is at fault: no memory, no worker process.
        ValueError: num_frames, decoder, size or timeout_s out of range.
    """
    num_frames = [operator.index(number) for number in as_list(num_frames)]
    size = None if size is None else tuple(map(operator.index, size))
    if not num_frames or min(num_frames) < 1:
        raise ValueError(f"num_frames={num_frames}: ask for at least 1 frame")
    if timeout_s is not None and not timeout_s > 0:
        raise ValueError(f"timeout_s={timeout_s}: give a number of seconds above 0, or None for no limit")
    if size is not None and (len(size) != 2 or min(size) < 1):
        raise ValueError(f"size={size}: give (height, width), both at least 1")
    path = checked_path(path)
    if callable(decoder):
        with LOG:
            return decode(open_reader(decoder, path), path, num_frames, size)
    name = decoder_for(path, decoder)
    if name == "decord" and len(set(num_frames)) > 1:
        raise ValueError(
            f"num_frames={num_frames}: which picture decord gives for a frame may depend on the frames that are asked "
            "for with it, so ask it for one number at a time (decoder='auto' gives the same pictures for several)"
        )
    from sfllava_core.service import decode_in_worker

    return decode_in_worker(name, path, num_frames, size, timeout_s)


def decoder_for(path: Path, decoder: str) -> str:
    """The name of the decoder for this path: folders have a reader of their own."""
    if path.is_dir():
        return "images"
    if decoder != "auto" and decoder not in DECODERS:
        raise ValueError(f"decoder={decoder!r}: choose 'auto', {', '.join(map(repr, DECODERS))}, or pass a callable")
    return "pyav" if decoder == "auto" else decoder


def as_list(num_frames: SupportsIndex | Sequence[SupportsIndex]) -> list[SupportsIndex]:
    """One number, or several, as a list."""
    return [num_frames] if hasattr(num_frames, "__index__") else list(num_frames)


def decode(reader: FrameReader, path: Path, num_frames: list[int], size: tuple[int, int] | None) -> Frames:
    """Sample and read frames through an open reader; every failure of the reader becomes a `VideoError`."""
    try:
        try:
            indices, pixels, timestamps = sample(reader, num_frames, size)
        except Recounted:  # now `reader.total` is right
            indices, pixels, timestamps = sample(reader, num_frames, size)
    except VideoError:
        raise
    except Exception as error:  # decoders raise RuntimeError, IndexError, TypeError, their own kinds ...
        raise VideoError(path, f"{type(error).__name__}: {short_message(error)}") from error
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


def sample(
    reader: FrameReader, num_frames: list[int], size: tuple[int, int] | None
) -> tuple[list[int], list[UInt8[np.ndarray, "height width 3"]], list[float]]:
    """Indices, pictures and times of the frames that any of the numbers samples."""
    samples = [sample_frame_indices(reader.total, number) for number in num_frames]
    indices = samples[0] if len(samples) == 1 else sorted({index for one in samples for index in one})
    pixels, timestamps = [], []
    for picture, seconds in reader.read(indices):
        pixels.append(picture if size is None else resize_picture(picture, size))
        timestamps.append(seconds)
    return indices, pixels, timestamps


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


def resize_picture(picture: UInt8[np.ndarray, "h w 3"], size: tuple[int, int]) -> UInt8[np.ndarray, "height width 3"]:
    """Pillow's default `Image.resize` filter (bicubic) on uint8, as the reference: aspect ratio is not kept."""
    from PIL import Image

    if picture.shape[:2] == tuple(size):
        return picture
    return np.asarray(Image.fromarray(picture).resize((size[1], size[0]), Image.Resampling.BICUBIC))
