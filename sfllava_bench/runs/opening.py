"""Do these videos open? Asked of many files at once, in the workers that decode."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from sfllava_core.video.service import side_by_side, why_not


def check_files(
    paths: list[Path],
    *,
    workers: int = 2,
    timeout_s: float | None = 60.0,
    progress: Callable[[int, int], None] | None = None,
) -> dict[Path, str]:
    """The files that do not open, with the cause.

    A file's packets are counted against its header and its first frame is decoded; it is not decoded as a whole.

    Args:
        workers: files checked side by side, as far as there are worker processes.  timeout_s: seconds for one file.
        progress: called as progress(files done, files in all).

    Raises:
        HostError: the machine is at fault.
    """
    causes: dict[Path, str | None] = {}
    for path, cause in side_by_side(partial(why_not, timeout_s=timeout_s), paths, at_once=workers):
        causes[path] = cause
        if progress is not None:
            progress(len(causes), len(paths))
    return {path: cause for path in paths if (cause := causes[path]) is not None}
