"""A folder of copies becomes grades.csv and grades.html. Each copy costs its own rows at most, in bounded time."""

import csv
import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sfllava_bench.terminal import one_line
from sfllava_course.grading.sandbox import Limits, missing
from sfllava_course.grading.submissions import Chapter, Copy, Course, Mark

SPARE_S = 60.0  # beside a copy's own time: to begin, and to be ended
COLUMNS = ("name", "exercise", "verdict", "seconds", "note", "file")
VERDICTS = ("right", "wrong", "to do")


@dataclass
class Graded:
    """A copy and its marks by exercise. seconds: what all of it took."""

    copy: Copy
    chapter: Chapter | None = None
    marks: dict[str, Mark] = field(default_factory=dict)
    seconds: float = 0.0

    def rows(self) -> list[dict[str, object]]:
        """A row for each exercise, as they stand in the CSV file."""
        return [
            {
                "name": self.copy.name,
                "exercise": mark.exercise,
                "verdict": mark.verdict,
                "seconds": "" if mark.seconds is None else mark.seconds,
                "note": one_line(mark.note)[:300],
                "file": self.copy.path.name,
            }
            for mark in self.marks.values()
        ]

    def count(self, verdict: str) -> int:
        return sum(mark.verdict == verdict for mark in self.marks.values())


def grade(
    folder: Path,
    out: Path,
    limits: Limits | None = None,
    jobs: int = 1,
    chapter: str = "",
    done: Callable[[Graded], None] = lambda graded: None,
) -> list[Graded]:
    """Grade all notebooks below a folder; writes what is graded also where it is broken off.

    Args:
        jobs: copies that run at the same time.
        chapter: what all copies are of; else the names of their files say it, or their cells.
        done: called with each copy as it is done.

    Raises:
        ValueError, FileNotFoundError: no such chapter, no folder, no notebook.
    """
    copies, limits, graded = Course().copies(folder, chapter), limits or Limits(), []
    missing()  # is found out once, before the first copy
    out.mkdir(parents=True, exist_ok=True)
    pool = ThreadPoolExecutor(jobs)
    try:
        for one in as_completed([pool.submit(grade_copy, copy, limits, (folder,)) for copy in copies]):
            graded.append(one.result())
            done(graded[-1])
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        graded.sort(key=lambda one: copies.index(one.copy))
        write_csv(graded, out / "grades.csv")
        write_page(graded, limits, out / "grades.html")
    return graded


def grade_copy(copy: Copy, limits: Limits, hidden: tuple[Path, ...]) -> Graded:
    """Grade a copy in a process of its own, which is killed when it is late."""
    start, graded = time.monotonic(), Graded(copy, copy.chapter)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["sfllava_course.grading.marking"])  # torch is loaded once
    ours, its = context.Pipe(duplex=False)
    process = context.Process(target=work, args=(its, copy, limits, hidden), daemon=True)
    process.start()
    its.close()
    ended = "its marking ended early"
    try:
        while True:
            if not ours.poll(max(0.0, start + limits.seconds + SPARE_S - time.monotonic())):
                ended = "time is up"
                break
            told = ours.recv()
            if isinstance(told, Chapter):
                graded.chapter = told
            else:
                graded.marks[told.exercise] = told
    except EOFError:
        process.join(SPARE_S)
    finally:
        process.kill()
        process.join()
        ours.close()
    if process.exitcode != 0:  # it had no time to say how
        for name in graded.chapter.exercises if graded.chapter else ("",):
            if graded.marks.get(name, Mark(name, "to do")).seconds is None:
                graded.marks[name] = Mark(name, "wrong", None, f"not reached: {ended}")
    graded.seconds = time.monotonic() - start
    return graded


def work(pipe: Any, copy: Copy, limits: Limits, hidden: tuple[Path, ...]) -> None:
    """A process's whole work: what `mark` tells goes into the pipe; its closing is the end."""
    from sfllava_course.grading.marking import mark

    with suppress(BrokenPipeError):
        mark(copy, limits, hidden, pipe.send)
        pipe.close()


def write_csv(graded: list[Graded], path: Path) -> None:
    """All rows. A text that a spreadsheet would take for a formula gets a quote in front."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for row in (row for one in graded for row in one.rows()):
            writer.writerow({name: harmless(value) for name, value in row.items()})


def harmless(value: object) -> object:
    text = one_line(value) if isinstance(value, str) else value
    return f"'{text}" if isinstance(text, str) and text[:1] in tuple("=+-@") and text else text


def write_page(graded: list[Graded], limits: Limits, path: Path) -> None:
    """The page: copies, exercises, then every row."""
    from jinja2 import ChoiceLoader, PackageLoader

    from sfllava_bench.reports.page import environment

    own = PackageLoader("sfllava_course.grading")
    house = environment()
    loaders = [own, *([house.loader] if house.loader else [])]
    template = house.overlay(loader=ChoiceLoader(loaders)).get_template("grades.html")
    names = list(dict.fromkeys(name for one in graded for name in one.marks))
    exercises = []
    for name in names:
        marks = [one.marks[name].verdict for one in graded if name in one.marks]
        exercises.append({"exercise": name, **{verdict: marks.count(verdict) for verdict in VERDICTS}})
    copies = [
        {
            "name": one.copy.name,
            "chapter": one.chapter.name if one.chapter else "?",
            **{verdict: one.count(verdict) for verdict in VERDICTS},
            "seconds": f"{one.seconds:.1f}",
        }
        for one in graded
    ]
    rows = [{name: row[name] for name in COLUMNS} for one in graded for row in one.rows()]
    path.write_text(
        template.render(copies=copies, exercises=exercises, rows=rows, limits=limits, missing=missing()),
        encoding="utf-8",
    )
