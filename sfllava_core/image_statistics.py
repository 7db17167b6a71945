"""Mean and standard deviation of each colour, by which a checkpoint's pictures are normalised: read from its files."""

import json
import logging
import math
from numbers import Real
from pathlib import Path
from typing import Any

from transformers.utils import IMAGE_PROCESSOR_NAME, PROCESSOR_NAME

from sfllava_core.checkpoints import ModelError, found_file, loading
from sfllava_core.features import CLIP_MEAN, CLIP_STD

log = logging.getLogger(__name__)
Statistics = tuple[tuple[float, ...], tuple[float, ...]]


def image_statistics(source: str, local: bool) -> Statistics:
    """Mean and standard deviation that the checkpoint's image processor records; CLIP's where it records none.

    Raises:
        ModelError: a file that may record them cannot be read, or what it records are no such numbers.
    """
    with loading(source):
        files = {name: found_file(source, name, local) for name in (PROCESSOR_NAME, IMAGE_PROCESSOR_NAME)}
    recorded = {name: read_settings(path) for name, path in files.items() if path is not None}
    name, settings = IMAGE_PROCESSOR_NAME, recorded.get(IMAGE_PROCESSOR_NAME)
    if "image_processor" in recorded.get(PROCESSOR_NAME, {}):  # the newer form goes first, as in transformers
        name, settings = PROCESSOR_NAME, recorded[PROCESSOR_NAME]["image_processor"]
    if settings is None:
        log.info("%s has no %s: taking CLIP's mean and standard deviation", source, IMAGE_PROCESSOR_NAME)
        return CLIP_MEAN, CLIP_STD
    settings = checked_settings(settings, files[name])
    mean, std = settings.get("image_mean", CLIP_MEAN), settings.get("image_std", CLIP_STD)
    return checked_statistics(mean, std, str(files[name]))


def read_settings(path: Path) -> dict:
    """A file of settings. Raises ModelError where it cannot be read."""
    try:
        return checked_settings(json.loads(path.read_text(encoding="utf-8")), path)
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path}: it cannot be read: {error}; download it again") from error


def checked_settings(settings: object, path: Path | None) -> dict:
    """Settings have names. Raises ModelError where they are something else."""
    if not isinstance(settings, dict):
        raise ModelError(f"{path}: a {type(settings).__name__} stands where settings should; download it again")
    return settings


def checked_statistics(mean: Any, std: Any, where: str) -> Statistics:
    """Mean and standard deviation of three colours. Raises ModelError, with where they stand, for anything else."""
    for name, values, above, bound in (("image_mean", mean, -math.inf, ""), ("image_std", std, 0, " above 0")):
        if not is_colours(values, above):
            raise ModelError(f"{where}: {name} is {values!r}: it must be three finite numbers{bound}")
    return tuple(mean), tuple(std)


def is_colours(values: object, above: float) -> bool:
    """Whether these are three finite numbers above a bound."""
    return (
        isinstance(values, (list, tuple))
        and len(values) == 3
        and all(isinstance(value, Real) and not isinstance(value, bool) for value in values)
        and all(above < value < math.inf for value in values)
    )
