"""PyAV, the default decoder."""

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from sfllava_core.video.decoders.base import Picture, Recounted
from sfllava_core.video.integrity import VideoError, open_av, read_packets, video_stream

THREADS = min(4, os.cpu_count() or 1)  # of one decoder; several may be at work
PREDICTED = (2, 3)  # ffmpeg's types of pictures that are made from others: P and B
WORTH_THREADS = 480 * 360  # pixels of a picture; smaller ones are decoded before another thread has taken them over
WORTH_SEEKING = 16  # frames that a seek must spare: it empties the decoder's pipeline


class PyAVReader:
    """PyAV (ffmpeg inside), the default: reads nearly everything, and gives the frame that was asked for.

    Where the file tells each frame's time, frames are known by their times, and what lies before the keyframe of the
    next wanted frame is skipped. Elsewhere the file is decoded from its beginning to its end and frames are counted.
    """

    name = "pyav"

    def __init__(self, path: Path):
        from av.video.reformatter import VideoReformatter

        self.path, self.packets = path, read_packets(path)
        self.total, self.fps = self.packets.frames, self.packets.fps
        self.colours = VideoReformatter()  # one for all frames: making its tables anew takes as long as decoding does

    def read(self, indices: Sequence[int]) -> Iterator[Picture]:
        left = list(indices)
        if self.packets.indexed:
            for picture in self.by_time(tuple(left)):
                yield picture
                left.pop(0)
        if left:
            yield from self.by_count(left)

    def by_time(self, indices: Sequence[int]) -> Iterator[Picture]:
        """Frames known by their times; ends early where the file's times do not keep what they promise."""
        from av.error import FFmpegError

        times = np.sort(self.packets.times[self.packets.shown])
        with suppress(FFmpegError), open_av(self.path) as container:
            decoding, frame, at = self.frames(container), None, -1  # at: place, in storage, of the frame in hand
            for index in indices:
                place, key = self.packets_of(int(times[index]))
                if frame is None or frame.pts != times[index]:
                    if key > at + WORTH_SEEKING:
                        decoding = self.from_keyframe(container, int(self.packets.times[key]))
                    frame = next((f for f in decoding if f.pts is None or f.pts >= times[index]), None)
                    at = place
                if frame is None or frame.pts != times[index] or frame.is_corrupt:
                    return
                yield picture_of(frame, self.colours)

    def from_keyframe(self, container, time: int):
        """Frames from the keyframe on that is shown at `time`; none where what decodes there is no keyframe.

        A container may call any packet one: what follows would be decoded without the pictures that it is made from.
        """
        container.seek(time, stream=video_stream(self.path, container))
        decoding = self.frames(container)
        first = next((frame for frame in decoding if frame.pts is None or frame.pts >= time), None)
        if first is not None and first.pts == time and first.key_frame and first.pict_type not in PREDICTED:
            yield first
            yield from decoding

    def packets_of(self, time: int) -> tuple[int, int]:
        """Places, in storage, of the frame shown at `time` and of the keyframe that it can be decoded from.

        A keyframe will do if it is shown, and stored *and* shown no later: the pictures that are shown before it but
        stored behind it (an open group of pictures) need those of the group before.
        """
        times, keys = self.packets.times, self.packets.keys & self.packets.shown
        place = int(np.flatnonzero((times == time) & self.packets.shown)[0])
        before = np.flatnonzero(keys[: place + 1] & (times[: place + 1] <= time))
        return place, int(before[-1]) if len(before) else 0

    def by_count(self, indices: Sequence[int]) -> Iterator[Picture]:
        """The whole file, frame by frame; to its end, since only there it is known how many frames there are."""
        wanted, seen = list(indices), 0
        with open_av(self.path) as container:
            for frame in self.frames(container):
                while wanted and wanted[0] == seen:
                    wanted.pop(0)
                    yield picture_of(frame, self.colours)
                seen += 1
                if not wanted and self.packets.indexed:
                    return
        if seen != self.total and not self.packets.indexed and seen > 0:
            self.total = seen
            raise Recounted
        if wanted:
            raise VideoError(
                self.path, f"frame {wanted[0]} of {self.total} cannot be decoded: the stream ends after {seen} frames"
            )

    def frames(self, container):
        """Decode from where the container stands, large pictures with a few threads."""
        stream = video_stream(self.path, container)
        context = stream.codec_context
        if not context.is_open:
            stream.thread_type = "AUTO"
            context.thread_count = THREADS if context.width * context.height >= WORTH_THREADS else 1
        return container.decode(stream)


def picture_of(frame, colours) -> Picture:
    """RGB pixels of a PyAV frame, turned and mirrored as the file's display matrix says, and its time.

    colours: the `VideoReformatter` that makes RGB of it; its threads take longer to start than they save.
    """
    from av.sidedata.sidedata import Type

    pixels = colours.reformat(frame, format="rgb24", threads=1).to_ndarray()
    matrix = frame.side_data.get(Type.DISPLAYMATRIX)
    if matrix is not None:
        pixels = displayed(pixels, np.frombuffer(matrix, dtype=np.int32))
    return np.ascontiguousarray(pixels), float(frame.time if frame.time is not None else "nan")


def displayed(pixels: UInt8[np.ndarray, "h w 3"], matrix: np.ndarray) -> UInt8[np.ndarray, "height width 3"]:
    """Pixels as a display matrix (a b u, c d v, x y w) shows them: (x, y) goes to (a x + c y, b x + d y).

    Quarter turns and mirrorings, all that cameras write; other angles are taken as the nearest of these.
    """
    a, b, c, d = matrix[[0, 1, 3, 4]].astype(float)
    if abs(b * c) > abs(a * d):  # x and y change places
        pixels, a, d = pixels.transpose(1, 0, 2), c, b
    return pixels[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
