"""What the peers have in common: frames spread from first to last, pictures cropped as CLIP's, loading."""

from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from transformers import PretrainedConfig

from sfllava_core.backbones.base import ModelError
from sfllava_core.methods.base import Grid, SpecError
from sfllava_core.video.frames import resize_picture

MOST_FRAMES = 10_000


def spread_frames(total: int, count: int) -> list[int]:
    """`count` frames from the first to the last, cut down to whole numbers; a short video repeats some.

    Raises:
        ValueError: a video without frames.

    Source: numpy.linspace(0, total - 1, count, dtype=int) of Video-LLaVA's and LLaVA-NeXT-Video's evaluations.
    """
    check_total(total)
    return np.linspace(0, total - 1, count, dtype=int).tolist()


def check_total(total: int) -> None:
    """Refuse a video without frames."""
    if total < 1:
        raise ValueError(f"total={total}: a video needs at least 1 frame to sample from")


def crop_to_square(
    pixels: UInt8[np.ndarray, "frames h w 3"], side: int
) -> UInt8[np.ndarray, "frames side side 3"]:
    """Pictures as CLIP's preparation makes them: bicubic to short side `side`, the middle of the long one is kept."""
    height, width = pixels.shape[1:3]
    short = min(height, width)
    size = (int(side * height / short), int(side * width / short))  # the short side comes to `side` exactly
    top, left = (size[0] - side) // 2, (size[1] - side) // 2
    return np.stack([resize_picture(one, size)[top : top + side, left : left + side] for one in pixels])


def square(size: Grid) -> int:
    """The side of the tower's pictures. Raises SpecError where they are not square."""
    if size[0] != size[1]:
        raise SpecError(f"pictures of {size[0]} x {size[1]}: these models look at squares")
    return size[0]


def config_file(source: str, local: bool) -> dict:
    """What a checkpoint's config.json says. Raises ModelError: it has none, or one that cannot be read."""
    try:
        found, _ = PretrainedConfig.get_config_dict(source, local_files_only=local)
    except (OSError, ValueError) as error:
        raise ModelError(f"{source}: its config.json cannot be read: {error}") from error
    if not isinstance(found, dict) or not found:
        raise ModelError(f"{source}: it has no config.json")
    return found


def folder_of(path: str | Path) -> str:
    return str(Path(path).expanduser())
