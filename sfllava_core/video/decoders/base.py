"""What the kit asks of a decoder.

It opens a path and gives `total`, `fps` and, for a sorted list of indices, the frames one after another, so that only
the sampled frames are ever kept. Frame number i is the i-th frame that is shown.
"""

from collections.abc import Iterator, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8

Picture = tuple[UInt8[np.ndarray, "height width 3"], float]  # RGB, and its time in seconds


@runtime_checkable
class FrameReader(Protocol):
    """An open video. `read` takes indices that never decrease and yields (RGB uint8 picture, seconds) for each.

    A reader may find by decoding that `total` was wrong; it then raises `Recounted`, with the right `total` set.
    """

    name: str
    total: int
    fps: float

    def read(self, indices: Sequence[int]) -> Iterator[Picture]: ...


class Recounted(Exception):
    """The file shows another number of frames than its packets let expect: sample again."""
