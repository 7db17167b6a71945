"""CSV, JSON and JSON-lines files -> tables of rows, every fault noted with file, row and reason."""

import csv
import io
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sfllava_bench.terminal import visible

Fields = dict[str, object]
MAX_HEADER = 65_536  # characters
MAX_SHOWN = 50
MAX_BYTES = 64 * 2**20  # the largest real file has 5 MB; read, a file takes several times its size


class AnnotationError(ValueError):
    """Annotation files that cannot be used. Attribute: problems, one text for each."""

    def __init__(self, problems: list[str]):
        self.problems = problems
        shown = "\n".join(f"  {visible(problem)}" for problem in problems[:MAX_SHOWN])
        more = f"\n  ... and {len(problems) - MAX_SHOWN} more" if len(problems) > MAX_SHOWN else ""
        super().__init__(
            f"{len(problems)} problem(s) in the annotations (a CSV file's header is row 1):\n{shown}{more}"
        )


@dataclass(frozen=True)
class Table:
    """The rows of one file: fields by column name, each with the row number that people see."""

    file: Path
    rows: list[tuple[int, Fields]]

    @property
    def columns(self) -> tuple[str, ...]:
        """All that a row has; JSON's objects need not be alike."""
        return tuple(dict.fromkeys(name for _, fields in self.rows for name in fields))


def read_table(file: Path, problems: list[str]) -> Table:
    """All sound rows of a file, read by its extension; what is wrong goes to `problems`."""
    try:
        if (size := file.stat().st_size) > MAX_BYTES:
            problems.append(f"{file.name}: {size} bytes: an annotation file has at most {MAX_BYTES}")
            return Table(file, [])
        text = file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        problems.append(f"{file.name}: cannot be read: {error.strerror}")
        return Table(file, [])
    except UnicodeDecodeError as error:
        problems.append(f"{file.name}: byte {error.start} is not UTF-8: save the file as UTF-8")
        return Table(file, [])
    read = {".json": read_json, ".jsonl": read_json_lines}.get(file.suffix.lower(), read_csv)
    table = read(file, text, problems)
    if not table.rows and not any(problem.startswith(file.name) for problem in problems):
        problems.append(f"{file.name}: it has no rows")
    return table


def read_csv(file: Path, text: str, problems: list[str]) -> Table:
    """CSV with a header; a row with more or fewer cells than the header is a problem."""
    rows: list[tuple[int, Fields]] = []
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    number = 1
    try:
        header = next(reader, [])
        if len(set(header)) != len(header):
            problems.append(f"{file.name} row 1: a column name is there twice: {', '.join(header)}")
        for cells in reader:
            number += 1
            if len(cells) == len(header):
                rows.append((number, dict(zip(header, cells))))
            elif cells:
                problems.append(f"{file.name} row {number}: {len(cells)} cells, but the header has {len(header)}")
    except csv.Error as error:
        problems.append(f"{file.name} row {number + 1}: not CSV: {error}")
    return Table(file, rows)


def read_json(file: Path, text: str, problems: list[str]) -> Table:
    """A JSON list of objects, as the released code writes them."""
    try:
        items = json.loads(text)
    except (ValueError, RecursionError) as error:  # not JSON, a number of thousands of digits, thousands of brackets
        problems.append(f"{file.name}: not JSON: {error}")
        return Table(file, [])
    if not isinstance(items, list):
        problems.append(f"{file.name}: it holds a {type(items).__name__}, a list of objects is needed")
        return Table(file, [])
    return Table(file, sound_rows(file, enumerate(items, start=1), problems))


def read_json_lines(file: Path, text: str, problems: list[str]) -> Table:
    """An object on each line; empty lines are skipped."""
    items = []
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                items.append((number, json.loads(line)))
            except (ValueError, RecursionError) as error:
                problems.append(f"{file.name} row {number}: not JSON: {error}")
    return Table(file, sound_rows(file, items, problems))


def sound_rows(file: Path, items: Iterable[tuple[int, object]], problems: list[str]) -> list[tuple[int, Fields]]:
    """Of numbered JSON values those that are objects, and that a file of UTF-8 can hold."""
    rows: list[tuple[int, Fields]] = []
    for number, item in items:
        if not isinstance(item, dict):
            problems.append(f"{file.name} row {number}: {item!r:.60} is not an object")
        elif (half := half_character(item)) is not None:
            problems.append(f"{file.name} row {number}: {half} is half a character: write the whole one")
        else:
            rows.append((number, item))
    return rows


def half_character(item: Fields) -> str | None:
    """The first lone surrogate in a JSON object, as its code; no UTF-8 file can hold it."""
    try:
        json.dumps(item, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        return f"\\u{ord(error.object[error.start]):04x}"
    return None


def csv_header(file: Path) -> list[str]:
    """The column names of a CSV file; empty where it cannot be read as one."""
    try:
        with file.open(newline="", encoding="utf-8-sig") as lines:
            return next(csv.reader(io.StringIO(lines.read(MAX_HEADER))), [])
    except (OSError, UnicodeDecodeError, csv.Error):
        return []
