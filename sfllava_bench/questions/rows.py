"""A row of an annotation file, and the rows of one part of a benchmark: what formats.py reads questions from."""

import re
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from sfllava_bench.questions.records import MULTIPLE_CHOICE, TEXT_GENERATION, Benchmark, Question
from sfllava_bench.questions.tables import Fields, Table
from sfllava_core.video.folder import without_extension

LONGEST = 500  # characters of a reason: a cell may have millions
STRAY_NUMBER = re.compile(r"\n\d+,")
OPTION_COLUMN = re.compile(r"a[0-9]{1,4}")
PLACE = re.compile(r"[0-9]{1,4}")  # in a list; isdigit would take "²" and thousands of digits
GROUPS = {
    "activitynet": ["motion", "spatial", "temporal", "yes/no", "colour", "object", "location", "number", "other"],
    "tgif": ["object", "number", "colour", "location"],
}
BY_FIRST_WORD = ("msvd", "msrvtt")  # their question_type says nothing of the question
FIRST_WORDS = ("what", "who", "how", "when", "where")


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

    benchmark: Benchmark
    part: str
    tables: list[Table]
    problems: list[str]
    repair: bool
    seen: dict[str, int] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """Which reader takes these tables."""
        if self.part == "consistency" and self.benchmark.task == TEXT_GENERATION:
            return "pair" if len(self.tables) == 2 else "list"
        if len(self.tables) == 2:
            return "joined"
        columns = self.tables[0].columns
        has_options = "candidates" in columns or any(OPTION_COLUMN.fullmatch(column) for column in columns)
        pocket = self.benchmark.name == "pocketbench"
        return "choice" if self.benchmark.task == MULTIPLE_CHOICE or (pocket and has_options) else "open"

    def of(self, number: int = 0) -> list[Row]:
        """The rows of one table."""
        table = self.tables[number]
        return [Row(table.file, place, fields, self.problems) for place, fields in table.rows]

    def key(self, row: Row) -> str | None:
        """The row's unique key, with the part's name before it where there are parts."""
        column = self.benchmark.key if self.benchmark.key in row.fields else "question_id"
        key = row.text(column)
        return f"{self.part}/{key}" if key and self.part else key

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

    def group(self, row: Row, question: str) -> str:
        """The question's type."""
        name, kind = self.benchmark.name, str(row.fields.get("question_type", row.fields.get("type", "")))
        if self.benchmark.task == TEXT_GENERATION:
            return self.part
        if name in BY_FIRST_WORD:
            first = question.split()[0].lower()
            return first if first in FIRST_WORDS else "other"
        names = GROUPS.get(name, [])
        place = place_in(kind, len(names))
        return str(row.fields.get("family", kind)) if place is None else names[place]

    def make(self, row: Row, key: str | None, texts: list[str | None], answer: str | None, **more) -> list[Question]:
        """The question, if every part of it is sound."""
        video = video_name(row)
        if None in (key, video, answer, *texts):
            return []
        if key in self.seen:
            row.wrong(f"key {key!r} is that of row {self.seen[key]} too, it must be unique")
            return []
        self.seen[key] = row.number
        task = MULTIPLE_CHOICE if "options" in more else self.benchmark.task
        group = self.group(row, texts[0])
        return [Question(self.benchmark.name, key, video, tuple(texts), answer, task, group=group, **more)]


def place_in(number: object, length: int) -> int | None:
    """The number, written as a text or not, as a place in a list of this length; None where it is none."""
    text = str(number)
    return int(text) if PLACE.fullmatch(text) and int(text) < length else None


def video_name(row: Row) -> str | None:
    """The video's name without extension; a name that would leave the videos' folder is a problem."""
    name = row.text("video_name")
    if name is None:
        return None
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if not parts:
        row.wrong(f"video_name {name!r} names no video")
        return None
    if ".." in parts or parts[0] == "/" or re.fullmatch(r"[A-Za-z]:.*", parts[0]) or "\0" in name:
        row.wrong(f"video_name {name!r} leads out of the videos' folder")
        return None
    return without_extension(name)
