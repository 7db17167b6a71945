"""How many of these videos did the released code read wrongly? Its decoder's pictures beside the right ones.

The released code reads by decord, which on some files gives other pictures than those asked for (decoders.py), so
published numbers hold such frames. Frame *numbers* are always the same.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from sfllava_core.video.frames import FrameRule
from sfllava_core.video.integrity import VideoError
from sfllava_core.video.reading import read_frames
from sfllava_core.video.service import side_by_side

GREY_LEVELS = 2  # decoders may round otherwise by so much
SHARE = 0.001  # of a picture's values that may differ by more, lest it be another picture


@dataclass(frozen=True)
class Reading:
    """One video, read both ways.

    frames: how many were sampled.  wrong: of these, how many pictures are others in the released code's reading.
    total, released_total: frames in the file, as each counts them.  error: why the released code cannot read it.
    """

    path: Path
    frames: int
    wrong: int
    total: int
    released_total: int | None
    error: str = ""

    @property
    def differs(self) -> bool:
        """Whether the released code saw anything else, or nothing."""
        return bool(self.wrong or self.error or self.released_total != self.total)

    def __str__(self) -> str:
        if self.error:
            return f"{self.path.name}: the released code cannot read it ({self.error})"
        counts = (
            "" if self.released_total == self.total else f"; it counts {self.released_total} frames of {self.total}"
        )
        return f"{self.path.name}: {self.wrong} of {self.frames} frames are others{counts}"


def compare_reading(path: Path, num_frames: FrameRule = 50, *, timeout_s: float | None = 120.0) -> Reading:
    """Read a video both ways, in its own size.

    Raises:
        VideoError: it cannot be read rightly.
    """
    right = read_frames(path, num_frames, decoder="pyav", timeout_s=timeout_s)
    try:
        released = read_frames(path, num_frames, decoder="decord", timeout_s=timeout_s)
    except VideoError as error:
        return Reading(path, len(right), len(right), right.total, None, error.cause)
    if right.pixels.shape[1:] != released.pixels.shape[1:]:
        return Reading(path, len(right), len(right), right.total, released.total)
    same = sum(is_same(one, other) for one, other in zip(right.pixels, released.pixels))
    return Reading(path, len(right), len(right) - same, right.total, released.total)


def compare_readings(
    paths: Iterable[Path],
    num_frames: FrameRule = 50,
    *,
    timeout_s: float | None = 120.0,
    progress: Callable[[int, int], None] | None = None,
) -> list[Reading]:
    """`compare_reading` of many videos, several at a time; folders of images are read in one way only and left out.

    Raises:
        VideoError: one of them cannot be read rightly.  HostError: the machine is at fault.
    """
    files = [path for path in paths if path.is_file()]
    found = {}
    read = partial(compare_reading, num_frames=num_frames, timeout_s=timeout_s)
    for path, reading in side_by_side(read, files):
        found[path] = reading
        if progress is not None:
            progress(len(found), len(files))
    return [found[path] for path in files]


def is_same(one: UInt8[np.ndarray, "height width 3"], other: UInt8[np.ndarray, "height width 3"]) -> bool:
    """Whether two pictures are the same but for rounding."""
    apart = np.abs(one.astype(np.int16) - other) > GREY_LEVELS
    return float(apart.mean()) <= SHARE
