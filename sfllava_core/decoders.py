"""The decoders behind `frames.read_frames`: decord, PyAV, and folders of images, all as one small protocol.

A decoder opens a path and gives `total`, `fps` and, for a sorted list of indices, the frames one after another,
so that only the sampled frames are ever kept.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from sfllava_core.integrity import VideoError, count_packets, open_av, short_message, video_stream

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".ppm")


@runtime_checkable
class FrameReader(Protocol):
    """An open video. `read` takes indices that never decrease and yields (RGB uint8 picture, seconds) for each."""

    name: str
    total: int
    fps: float

    def read(self, indices: Sequence[int]) -> Iterator[tuple[UInt8[np.ndarray, "height width 3"], float]]: ...


def open_reader(decoder: str | Callable[[Path], FrameReader], path: Path) -> FrameReader:
    """Open `path` with a decoder, by name or by callable; anything that goes wrong is a `VideoError`."""
    reader = decoder if callable(decoder) else DECODERS.get(decoder, ImageFolderReader)
    name = getattr(reader, "name", getattr(reader, "__name__", "decoder"))
    if hasattr(reader, "available") and not reader.available():
        raise VideoError(path, f"the decoder {name} is not installed", f"pip install {reader.package}")
    try:
        opened = reader(path)
    except VideoError:
        raise
    except Exception as error:
        raise VideoError(path, f"{name} cannot open it: {short_message(error)}") from error
    if opened.total < 1:
        raise VideoError(path, "it holds no video frames")
    return opened


class DecordReader:
    """decord: fast random access; H.264, HEVC, VP8, VP9, MPEG-4, MJPEG. It has no AV1 and no GIF."""

    name, package = "decord", "decord"
    chunk = 8  # frames fetched at once: bounds memory, and lets decord skip between neighbours

    @staticmethod
    def available() -> bool:
        return find_spec("decord") is not None

    def __init__(self, path: Path):
        import decord

        decord.logging.set_level(decord.logging.QUIET)
        self.path = path
        stored = count_packets(path).stored
        self.video = decord.VideoReader(str(path), ctx=decord.cpu(0), num_threads=1)
        self.total, self.fps = len(self.video), float(self.video.get_avg_fps())
        if self.total > stored:  # asked for a frame that is not there, decord never returns
            raise VideoError(path, f"decord counts {self.total} frames but {stored} are there: damaged or cut short")

    def read(self, indices: Sequence[int]) -> Iterator[tuple[UInt8[np.ndarray, "height width 3"], float]]:
        for start in range(0, len(indices), self.chunk):
            some = list(indices[start : start + self.chunk])
            seconds = self.video.get_frame_timestamp(some)[:, 0]
            yield from zip(self.video.get_batch(some).asnumpy(), map(float, seconds))


class PyAVReader:
    """PyAV (ffmpeg inside): reads nearly everything, AV1 and GIF too; decodes from the start, keeps what is asked."""

    name, package = "pyav", "av"

    @staticmethod
    def available() -> bool:
        return find_spec("av") is not None

    def __init__(self, path: Path):
        self.path = path
        self.total = count_packets(path).shown
        with open_av(path) as container:
            stream = video_stream(path, container)
            if stream.codec_context.name == "vp8":  # some of its packets are references that are never shown
                self.total = sum(1 for _ in container.decode(stream))
            self.fps = float(stream.average_rate or stream.guessed_rate or Fraction(0)) or float("nan")

    def read(self, indices: Sequence[int]) -> Iterator[tuple[UInt8[np.ndarray, "height width 3"], float]]:
        wanted = list(indices)
        with open_av(self.path) as container:
            stream = video_stream(self.path, container)
            stream.thread_type = "AUTO"
            seen = -1
            for seen, frame in enumerate(container.decode(stream)):
                if not wanted:
                    return
                if seen == wanted[0]:
                    picture = upright(frame)
                    while wanted and wanted[0] == seen:
                        wanted.pop(0)
                        yield picture, float(frame.time if frame.time is not None else "nan")
        if wanted:
            raise VideoError(
                self.path,
                f"frame {wanted[0]} of {self.total} cannot be decoded: the stream ends after {seen + 1} frames",
            )


class ImageFolderReader:
    """A folder of images in natural order: frame2 before frame10 (the released code sorts by name)."""

    name, package = "images", "pillow"

    @staticmethod
    def available() -> bool:
        return True

    def __init__(self, path: Path):
        self.path, self.fps = path, float("nan")
        pictures = [p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith(".")]
        self.pictures = sorted(pictures, key=natural_key)
        self.total = len(self.pictures)
        if not self.pictures:
            raise VideoError(path, "the folder holds no images", f"put frames in it ({', '.join(IMAGE_SUFFIXES)})")

    def read(self, indices: Sequence[int]) -> Iterator[tuple[UInt8[np.ndarray, "height width 3"], float]]:
        from PIL import Image

        for index in indices:
            try:
                with Image.open(self.pictures[index]) as picture:
                    pixels = np.asarray(picture.convert("RGB"))
            except Exception as error:
                raise VideoError(
                    self.pictures[index], f"not an image that can be read: {error}", "remove or replace this image"
                ) from error
            yield pixels, float("nan")


DECODERS: dict[str, type] = {"decord": DecordReader, "pyav": PyAVReader}


def natural_key(path: Path) -> list[tuple[int, int, str]]:
    """Sort key that compares runs of digits as numbers."""
    return [
        (0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", path.name.lower()) if part
    ]


def upright(frame) -> UInt8[np.ndarray, "height width 3"]:
    """RGB pixels of a PyAV frame, turned as the file's display matrix says (phones film sideways)."""
    turns = round(getattr(frame, "rotation", 0) / 90) % 4
    return np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), turns))
