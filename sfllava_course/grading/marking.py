"""One copy, from its first cell to its last: each exercise is judged behind the cell that answers it.

Run in a process of its own (grade.py), which ends with it. All that such a process needs is imported with this module,
once for all of them.
"""

import os
import stat
import time
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import nbformat

from sfllava_course import exercises
from sfllava_course.grading.kernel import Ended, Kernel, TooLong
from sfllava_course.grading.sandbox import Limits
from sfllava_course.grading.submissions import Chapter, Copy, Course, Mark

LARGEST_COPY = 64 * 1024**2  # bytes
SHARE = 1 / 3  # of a copy's time, for one cell or one call


for home in sorted(set(exercises.HOMES.values())):
    import_module(f"{exercises.__name__}.{home}")


class NoNotebook(Exception):
    """The file is none that can be run."""


def mark(copy: Copy, limits: Limits, hidden: tuple[Path, ...], tell: Callable[[Any], None]) -> None:
    """Mark a copy; tells its chapter as soon as it is known, then its marks, the latest of an exercise counting.

    Whatever the copy does, this returns; only the process that calls it can be made to fail by it.
    """
    try:
        cells = read_cells(copy.path)
        chapter = copy.chapter or Course().of_cells(identifier for identifier, _ in cells)
        if chapter is None:
            raise NoNotebook("of which chapter it is, neither its name nor its cells say: give --chapter")
    except NoNotebook as error:
        for exercise in copy.chapter.exercises if copy.chapter else ("",):
            tell(Mark(exercise, "wrong", None, str(error)))
        return
    tell(chapter)
    marks = {name: Mark(name, "to do", None, f"no cell defines `{name}`") for name in chapter.exercises}
    for mark in marks.values():
        tell(mark)
    answered = [name for _, source in cells for name in chapter.answered_in(source)]
    try:
        with Kernel(limits, limits.seconds * SHARE, hidden) as kernel:
            for _, source in cells:
                for mark in marks_of(kernel, chapter, source):
                    answered.remove(mark.exercise)
                    tell(mark)
    except Ended as error:
        for name in dict.fromkeys(answered):
            tell(Mark(name, "wrong", None, f"not reached: {error}"))


def marks_of(kernel: Kernel, chapter: Chapter, source: str):
    """Run a cell, and judge what it answers."""
    start = time.monotonic()
    try:
        error = kernel.run(source)
    except TooLong as late:
        error = str(late)
    for name in chapter.answered_in(source):
        yield replace(judge(kernel, name, error), seconds=round(time.monotonic() - start, 2))
        start = time.monotonic()


def judge(kernel: Kernel, name: str, error: str) -> Mark:
    """The kit's own check of a function that the kernel holds. error: what the cell that defines it raised."""
    if not kernel.holds(name):
        return Mark(name, "wrong", None, error or f"`{name}` is no function")
    late = []

    def answer(*inputs: Any) -> Any:
        try:
            return kernel.function(name)(*inputs)
        except TooLong as one:
            late.append(str(one))
            raise

    try:
        status, message, _ = exercises.judged(name, answer)
    except Exception as fault:  # a value that no check foresaw
        status, message = "wrong", f"{name}: the check could not read its answer ({type(fault).__name__}: {fault})"
    return Mark(name, status, None, late[0] if late else message)


def read_cells(path: Path) -> list[tuple[str, str]]:
    """The code cells of a notebook: id and source.

    Raises:
        NoNotebook: it cannot be read, with the reason.
    """
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            about = os.fstat(file.fileno())
            if not stat.S_ISREG(about.st_mode):
                raise NoNotebook("it is no plain file")
            if about.st_size > LARGEST_COPY:
                raise NoNotebook(f"it has {about.st_size / 1024**2:,.0f} MiB; clear its outputs and hand it in again")
            text = file.read(LARGEST_COPY + 1).decode("utf-8")
        notebook = nbformat.reads(text, as_version=4)
        cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
        return [(str(cell.get("id", "")), str(cell.source)) for cell in cells]
    except NoNotebook:
        raise
    except OSError as error:
        raise NoNotebook(f"it cannot be opened: {error.strerror}") from None
    except Exception as error:
        raise NoNotebook(f"it is no notebook: {type(error).__name__}: {str(error)[:120]}") from None
