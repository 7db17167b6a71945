"""Folders of images, as videos."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from sfllava_core.video.decoders.base import Picture
from sfllava_core.video.integrity import VideoError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".ppm")


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
