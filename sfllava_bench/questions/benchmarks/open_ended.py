"""Open-ended benchmarks: a question and its answer in one row (CSV), or in two files (the released code's JSON).

Columns: video_name, question, answer, question_id, video_id, question_type; in CSV files an unnamed one before them
counts the rows.
"""

from collections import Counter
from pathlib import Path

from sfllava_bench.questions.benchmarks.base import Benchmark
from sfllava_bench.questions.records import OPEN_ENDED, Question
from sfllava_bench.questions.rows import Row, Rows


class OpenEnded(Benchmark):
    """An open-ended benchmark of one part."""

    task = OPEN_ENDED

    def questions_in(self, rows: Rows) -> list[Question]:
        """From one table, or from two that are joined."""
        return read_joined(self, rows) if len(rows.tables) == 2 else read_open(self, rows)

    def partners(self, path: Path) -> tuple[Path, ...]:
        """A question file of any name has its answer file beside it."""
        found = super().partners(path)
        if found == (path,) and path.suffix == ".json" and path.stem.endswith("_q"):
            return path, path.with_name(path.stem[:-1] + "a.json")
        return found


def read_open(benchmark: Benchmark, rows: Rows) -> list[Question]:
    """Question and answer in one row."""
    return [
        question
        for row in rows.of()
        for question in benchmark.make(
            rows, row, benchmark.key_of(rows, row), [rows.question_text(row)], row.text("answer")
        )
    ]


def read_joined(benchmark: Benchmark, rows: Rows) -> list[Question]:
    """Questions in one file, answers in another, joined by question_id; ids that repeat (TGIF) by their order too."""
    asked, answers = (numbered(rows.of(n)) for n in (0, 1))
    repeats = {name for name, count in asked if count > 1}
    if repeats and list(asked) != list(answers):
        first, second = (table.file.name for table in rows.tables)
        rows.problems.append(f"{second}: question_ids repeat, so they must come in the order of {first}")
    found = []
    for occurrence, row in asked.items():
        partner = answers.pop(occurrence, None)
        if partner is None:
            row.wrong(f"question_id {occurrence[0]!r} has no answer in {rows.tables[1].file.name}")
            continue
        merged = Row(row.file, row.number, {**partner.fields, **row.fields}, rows.problems)
        key = benchmark.key_of(rows, merged)
        key = f"{key}#{occurrence[1]}" if key and occurrence[0] in repeats else key
        found += benchmark.make(rows, merged, key, [rows.question_text(row)], partner.text("answer"))
    for (name, _), row in answers.items():
        row.wrong(f"question_id {name!r} has no question in {rows.tables[0].file.name}")
    return found


def numbered(rows: list[Row]) -> dict[tuple[str, int], Row]:
    """Rows by (question_id, 1 for the first row that has it, 2 for the next ...)."""
    seen: Counter[str] = Counter()
    result = {}
    for row in rows:
        name = str(row.fields.get("question_id"))
        seen[name] += 1
        result[name, seen[name]] = row
    return result
