"""decord, the released code's decoder."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from sfllava_core.video.decoders.base import Picture
from sfllava_core.video.integrity import VideoError, read_packets


class DecordReader:
    """decord, as the released code reads: its faults come with it, so its pictures may be others than were asked for.

    It seeks badly where frames are stored in another order than they are shown (B-frames in avi, HEVC, MPEG-2, open
    groups of pictures, transport streams) and counts frames that an edit list hides.
    """

    name = "decord"
    chunk = 8  # frames fetched at once: bounds memory, and lets decord skip between neighbours

    def __init__(self, path: Path):
        import decord

        decord.logging.set_level(decord.logging.QUIET)
        self.path = path
        stored = read_packets(path).stored
        self.video = decord.VideoReader(str(path), ctx=decord.cpu(0), num_threads=1)
        self.total, self.fps = len(self.video), float(self.video.get_avg_fps())
        if self.total > stored:  # asked for a frame that is not there, decord never returns
            raise VideoError(path, f"decord counts {self.total} frames but {stored} are there: damaged or cut short")

    def read(self, indices: Sequence[int]) -> Iterator[Picture]:
        for start in range(0, len(indices), self.chunk):
            some = list(indices[start : start + self.chunk])
            seconds = self.video.get_frame_timestamp(some)[:, 0]
            yield from zip(self.video.get_batch(some).asnumpy(), map(float, seconds))
