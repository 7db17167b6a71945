"""A row of an annotation file, and the rows of one part of a benchmark: what a benchmark reads its questions from."""

import re
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from sfllava_bench.questions.tables import Fields, Table
from sfllava_core.video.folder import without_extension

LONGEST = 500  # characters of a reason: a cell may have millions
STRAY_NUMBER = re.compile(r"\n\d+,")
OPTION_COLUMN = re.compile(r"a[0-9]{1,4}")
PLACE = re.compile(r"[0-9]{1,4}")  # in a list; isdigit would take "²" and thousands of digits


@dataclass(frozen=True)
class Row:
    """One row with its place, to name it by, and the list that its problems go to."""

    file: Path
    number: int
    fields: Fields
    problems: list[str]

    def wrong(self, reason: str) -> None:
        """Note a problem of this row."""
        self.problems.append(f"{self.file.name} row {self.number}: {reason:.{LONGEST}}")

    def text(self, column: str) -> str | None:
        """A cell that must hold text; None, and a problem, where it does not."""
        value = self.fields.get(column)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str) or not value.strip():
            self.wrong(f"{column} is {'missing' if column not in self.fields else f'{value!r}: it must be text'}")
            return None
        return value


@dataclass(frozen=True)
class Rows:
    """The tables of one part of a benchmark, and where problems go."""

    part: str
    tables: list[Table]
    problems: list[str]
    repair: bool
    seen: dict[str, int] = field(default_factory=dict)

    def of(self, number: int = 0) -> list[Row]:
        """The rows of one table."""
        table = self.tables[number]
        return [Row(table.file, place, fields, self.problems) for place, fields in table.rows]

    def question_text(self, row: Row, column: str = "question") -> str | None:
        """The question as it is, but for a stray number on a line of its own before it."""
        text = row.text(column)
        if text is None or not self.repair or not STRAY_NUMBER.match(text):
            return text
        repaired = STRAY_NUMBER.sub("", text, count=1)
        if not repaired.strip():
            row.wrong(f"{column} is {text!r}: nothing is left without the stray number")
            return None
        return repaired


def place_in(number: object, length: int) -> int | None:
    """The number, written as a text or not, as a place in a list of this length; None where it is none."""
    text = str(number)
    return int(text) if PLACE.fullmatch(text) and int(text) < length else None


def video_name(row: Row, column: str = "video_name") -> str | None:
    """The video's name without extension; a name that would leave the videos' folder is a problem."""
    name = row.text(column)
    if name is None:
        return None
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if not parts:
        row.wrong(f"{column} {name!r} names no video")
        return None
    if ".." in parts or parts[0] == "/" or re.fullmatch(r"[A-Za-z]:.*", parts[0]) or "\0" in name:
        row.wrong(f"{column} {name!r} leads out of the videos' folder")
        return None
    return without_extension(name)
