"""Multiple-choice benchmarks: a question with its options in one row.

Columns: those of an open-ended one, with options a0, a1 ... (JSON: a list `candidates`), and answer_number where the
answer's place is given.
"""

from string import ascii_uppercase
from typing import ClassVar

from sfllava_bench.questions.benchmarks.base import Benchmark
from sfllava_bench.questions.records import MULTIPLE_CHOICE, Question
from sfllava_bench.questions.rows import OPTION_COLUMN, Row, Rows, place_in


class MultipleChoice(Benchmark):
    """A benchmark of choices. options: how many each question has; None: it varies."""

    task = MULTIPLE_CHOICE
    options: ClassVar[int | None] = 5

    def questions_in(self, rows: Rows) -> list[Question]:
        """A row, a question."""
        return read_choice(self, rows, self.options)


def read_choice(benchmark: Benchmark, rows: Rows, number: int | None) -> list[Question]:
    """Question with so many options (None: any number); the answer must be one of them."""
    found = []
    for row in rows.of():
        options = row_options(row, number)
        answer = row.text("answer")
        index = None if options is None or answer is None else answer_place(row, options, answer)
        texts = [rows.question_text(row)] if index is not None else [None]
        key = benchmark.key_of(rows, row)
        found += benchmark.make(rows, row, key, texts, answer, options=options or (), answer_index=index)
    return found


def has_options(rows: Rows) -> bool:
    """Whether there are columns of options."""
    columns = rows.tables[0].columns
    return "candidates" in columns or any(OPTION_COLUMN.fullmatch(column) for column in columns)


def row_options(row: Row, number: int | None) -> tuple[str, ...] | None:
    """The options' texts; where their number varies, empty cells at the end are none."""
    given = row.fields.get("candidates")
    if given is None:
        given = option_cells(row)
        while given and number is None and not str(given[-1]).strip():
            given.pop()
    return checked_options(row, given, number)


def checked_options(row: Row, given: object, number: int | None) -> tuple[str, ...] | None:
    """So many texts (None: 2 to 26); None, and a problem, where they are something else."""
    if not isinstance(given, list) or not all(isinstance(option, str) and option.strip() for option in given):
        row.wrong(f"an option is empty or no text: {given!r:.200}")
        return None
    if len(given) != number if number else not 2 <= len(given) <= len(ascii_uppercase):
        row.wrong(f"{len(given)} options, {number or f'2 to {len(ascii_uppercase)}'} are needed")
        return None
    return tuple(given)


def option_cells(row: Row) -> list[object]:
    """What stands in the columns a0, a1 ..., in their order."""
    columns = sorted((c for c in row.fields if OPTION_COLUMN.fullmatch(str(c))), key=lambda c: int(c[1:]))
    return [row.fields[column] for column in columns]


def answer_place(row: Row, options: tuple[str, ...], answer: str) -> int | None:
    """Which option is the answer: `answer_number` where there is one, else the first that equals it."""
    number = row.fields.get("answer_number")
    if number in (None, ""):
        if answer in options:
            return options.index(answer)
        row.wrong(f"answer {answer!r} is none of its {len(options)} options")
        return None
    place = place_in(number, len(options))
    if place is None:
        row.wrong(f"answer_number {number!r:.40} is not 0 to {len(options) - 1}")
        return None
    if options[place] != answer:
        row.wrong(f"answer_number {number} is option {options[place]!r}, but answer is {answer!r}")
        return None
    return place
