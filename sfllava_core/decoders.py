"""The decoders behind `frames.read_frames`: decord, PyAV, and folders of images, all as one small protocol.

A decoder opens a path and gives `total`, `fps` and, for a sorted list of indices, the frames one after another,
so that only the sampled frames are ever kept.
"""

import os
import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import numpy as np
from jaxtyping import UInt8

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".ppm")
REENCODE = "check it with ffprobe; re-encode it with `ffmpeg -i IN -c:v libx264 -pix_fmt yuv420p OUT.mp4`"


class VideoError(RuntimeError):
    """A video that cannot be used. Attributes: path, cause (why), remedy (what to do)."""

    def __init__(self, path: str | Path, cause: str, remedy: str = REENCODE):
        self.path, self.cause, self.remedy = Path(path), cause, remedy
        super().__init__(f"{path}: {cause} (what to do: {remedy})")

    def __reduce__(self):  # a plain RuntimeError would be rebuilt from its message alone
        return type(self), (self.path, self.cause, self.remedy)


class FrameReader(Protocol):
    """An open video. `read` takes indices that never decrease and yields (RGB uint8 picture, seconds) for each."""

    name: str
    total: int
    fps: float

    def read(self, indices: Sequence[int]) -> Iterator[tuple[UInt8[np.ndarray, "height width 3"], float]]: ...


def checked_path(path: str | Path) -> Path:
    """The path, if it is a non-empty file or a folder that can be read; else a `VideoError` that says what is wrong."""
    path = Path(path)
    if not path.exists():
        raise VideoError(path, "there is no such file or folder", "check the path and its extension")
    if not os.access(path, os.R_OK):
        raise VideoError(path, "no permission to read it", f"run `chmod u+r {path}` or run as its owner")
    if path.is_file() and path.stat().st_size == 0:
        raise VideoError(path, "the file is empty (0 bytes)", "download or copy it again")
    if not path.is_file() and not path.is_dir():
        raise VideoError(path, "it is neither a regular file nor a folder", "give a video file or a folder of images")
    return path


def open_reader(name: str, path: Path) -> FrameReader:
    """Open `path` with the decoder called `name`; anything that goes wrong is a `VideoError`."""
    reader = DECODERS.get(name, ImageFolderReader)
    if not reader.available():
        raise VideoError(path, f"the decoder {name} is not installed", f"pip install {reader.package}")
    try:
        opened = reader(path)
    except VideoError:
        raise
    except Exception as error:
        message = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise VideoError(path, f"{name} cannot open it: {message[:200]}") from error
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
        self.video = decord.VideoReader(str(path), ctx=decord.cpu(0), num_threads=1)
        self.total, self.fps = len(self.video), float(self.video.get_avg_fps())
        found = count_packets(path)
        if self.total > found:  # asking decord for a frame that is not there never returns
            raise VideoError(
                path, f"its header promises {self.total} frames but {found} are there: damaged or cut short"
            )

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
        self.total = count_packets(path)
        with open_av(path) as container:
            stream = video_stream(path, container)
            if stream.frames > self.total:
                raise VideoError(
                    path, f"its header promises {stream.frames} frames but {self.total} are there: damaged or cut short"
                )
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


def open_av(path: Path):
    import av

    return av.open(str(path), metadata_errors="ignore")


def video_stream(path: Path, container):
    """The video stream of an open PyAV container; cover art does not count."""
    streams = [s for s in container.streams.video if "attached_pic" not in str(s.disposition)]
    if not streams:
        kinds = ", ".join(sorted({s.type for s in container.streams})) or "no streams at all"
        raise VideoError(path, f"it has no video stream (it has: {kinds})", "give a file with pictures in it")
    return streams[0]


def count_packets(path: Path) -> int:
    """Video packets that are really in the file (read, not decoded): what a header says may be a lie."""
    with open_av(path) as container:
        stream = video_stream(path, container)
        return sum(1 for packet in container.demux(stream) if packet.size and not packet.is_discard)


def upright(frame) -> UInt8[np.ndarray, "height width 3"]:
    """RGB pixels of a PyAV frame, turned as the file's display matrix says (phones film sideways)."""
    turns = round(getattr(frame, "rotation", 0) / 90) % 4
    return np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), turns))
