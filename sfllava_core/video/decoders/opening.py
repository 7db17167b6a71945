"""The decoders behind `reading.read_frames`, by name: PyAV, decord, torchcodec; and folders of images."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from sfllava_core.video.decoders.base import FrameReader
from sfllava_core.video.decoders.decord import DecordReader
from sfllava_core.video.decoders.images import ImageFolderReader
from sfllava_core.video.decoders.pyav import PyAVReader
from sfllava_core.video.decoders.torchcodec import TorchCodecReader
from sfllava_core.video.integrity import VideoError, short_message

DECODERS: dict[str, type] = {"pyav": PyAVReader, "decord": DecordReader, "torchcodec": TorchCodecReader}


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
