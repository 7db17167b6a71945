"""The decoders behind `reading.read_frames`: PyAV, decord, and folders of images, all as one small protocol.

A decoder opens a path and gives `total`, `fps` and, for a sorted list of indices, the frames one after another,
so that only the sampled frames are ever kept. Frame number i is the i-th frame that is shown.
"""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from sfllava_core.video.integrity import VideoError, open_av, read_packets, short_message, video_stream
from sfllava_core.video.torchcodec_reader import TorchCodecReader

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".ppm")
THREADS = min(4, os.cpu_count() or 1)  # of one decoder; several may be at work
PREDICTED = (2, 3)  # ffmpeg's types of pictures that are made from others: P and B
WORTH_THREADS = 480 * 360  # pixels of a picture; smaller ones are decoded before another thread has taken them over
WORTH_SEEKING = 16  # frames that a seek must spare: it empties the decoder's pipeline
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


def open_reader(decoder: str | Callable[[Path], FrameReader], path: Path) -> FrameReader:
    """Open `path` with a decoder, by name or by callable; anything that goes wrong is a `VideoError`."""
    reader: Any = decoder if callable(decoder) else DECODERS.get(decoder, ImageFolderReader)
    name = getattr(reader, "name", getattr(reader, "__name__", "decoder"))
    try:
        opened = reader(path)
    except VideoError:
        raise
    except ModuleNotFoundError as error:
        raise VideoError(path, f"the decoder {name} is not installed", f"pip install {error.name}") from error
    except Exception as error:
        raise VideoError(path, f"{name} cannot open it: {short_message(error)}") from error
    if opened.total < 1:
        raise VideoError(path, "it holds no video frames")
    return opened


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


class ImageFolderReader:
    """A folder of images in natural order: frame2 before frame10 (the released code sorts by name)."""

    name = "images"

    def __init__(self, path: Path):
        self.fps = float("nan")
        self.pictures = sorted(pictures_in(path), key=natural_key)
        self.total = len(self.pictures)
        if not self.pictures:
            raise VideoError(path, "the folder holds no images", f"put frames in it ({', '.join(IMAGE_SUFFIXES)})")

    def read(self, indices: Sequence[int]) -> Iterator[Picture]:
        for index in indices:
            yield read_picture(self.pictures[index]), float("nan")


DECODERS: dict[str, type] = {"pyav": PyAVReader, "decord": DecordReader, "torchcodec": TorchCodecReader}


def pictures_in(folder: Path) -> list[Path]:
    """The images of a folder, in no order."""
    return [p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith(".")]


def read_picture(path: Path) -> UInt8[np.ndarray, "height width 3"]:
    """An image as 8-bit RGB, turned as its EXIF tag says; 16-bit greys lose their lower half.

    Raises:
        VideoError: it cannot be read, or its numbers have no known scale (32-bit and floating point).
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as file:
            picture = ImageOps.exif_transpose(file)
            if picture.mode in ("I", "F"):
                cause = f"its pixels are 32-bit numbers (mode {picture.mode!r}), which have no scale"
                raise VideoError(path, cause, "save it with 8 bits a colour")
            if picture.mode.startswith("I;16"):
                picture = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
            return np.asarray(picture.convert("RGB"))
    except VideoError:
        raise
    except Exception as error:
        raise VideoError(path, f"not an image that can be read: {error}", "remove or replace this image") from error


def natural_key(path: Path) -> tuple[list[tuple[int, int, str]], str]:
    """Sort key that compares runs of digits as numbers; "f1" and "f01" by their letters."""
    parts = [part for part in re.split(r"(\d+)", path.name.lower()) if part]
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts], path.name


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
