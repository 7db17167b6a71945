"""A name or path becomes frames, and nothing hangs: `read_frames`, the one way into this folder.

    integrity.py (is it there, is it whole?) -> decoders.py (which frame is which) -> frames.py (the sampled ones)

all of it in a worker process (service.py, worker.py), which a broken file may hang or crash without harm.
"""

import operator
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import SupportsIndex

from sfllava_core.video.decoders.base import FrameReader
from sfllava_core.video.decoders.opening import DECODERS, open_reader
from sfllava_core.video.frames import FrameRule, Frames, choose, decode
from sfllava_core.video.integrity import LOG, checked_path
from sfllava_core.video.service import decode_in_worker

DEFAULT_TIMEOUT_S = 120.0


def read_frames(
    path: str | Path,
    num_frames: FrameRule | Sequence[FrameRule] = 50,
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
            A function is another rule: it gets the video's number of frames and gives the numbers of those to read,
            in order (`Method.sample` is one).
        decoder: "auto" ("pyav", which gives the frames that were asked for), "decord" (the released code's reading,
            which on some files gives others), "torchcodec" (refuses files on which it would give others), or a
            callable that opens a path and returns a `FrameReader`; a callable runs in this process, one at a time, so
            `timeout_s` does not cover it.
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
    rules = [rule if callable(rule) else operator.index(rule) for rule in as_list(num_frames)]
    size = None if size is None else tuple(map(operator.index, size))
    if not rules or min((rule for rule in rules if not callable(rule)), default=1) < 1:
        raise ValueError(f"num_frames={rules}: ask for at least 1 frame")
    if timeout_s is not None and not timeout_s > 0:
        raise ValueError(f"timeout_s={timeout_s}: give a number of seconds above 0, or None for no limit")
    if size is not None and (len(size) != 2 or min(size) < 1):
        raise ValueError(f"size={size}: give (height, width), both at least 1")
    path = checked_path(path)
    if callable(decoder):
        with LOG:
            return decode(open_reader(decoder, path), path, partial(choose, rules, path), size)
    name = decoder_for(path, decoder)
    if name == "decord" and len(set(rules)) > 1:
        raise ValueError(
            f"num_frames={rules}: which picture decord gives for a frame may depend on the frames that are asked "
            "for with it, so ask it for one number at a time (decoder='auto' gives the same pictures for several)"
        )
    return decode_in_worker(name, path, rules, size, timeout_s)


def decoder_for(path: Path, decoder: str) -> str:
    """The name of the decoder for this path: folders have a reader of their own."""
    if path.is_dir():
        return "images"
    if decoder != "auto" and decoder not in DECODERS:
        raise ValueError(f"decoder={decoder!r}: choose 'auto', {', '.join(map(repr, DECODERS))}, or pass a callable")
    return "pyav" if decoder == "auto" else decoder


def as_list(num_frames: FrameRule | Sequence[FrameRule]) -> list[FrameRule]:
    """One number or rule, or several, as a list."""
    return [num_frames] if callable(num_frames) or hasattr(num_frames, "__index__") else list(num_frames)
