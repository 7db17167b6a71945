"""VCGBench (Video-ChatGPT's): long answers, which a judge scores from 0 to 5 in five aspects.

Its three parts are scored on their own aspects (`ASPECTS`); a question of the consistency part is asked in two ways.
"""

from typing import ClassVar

from sfllava_bench.questions.benchmarks.base import Benchmark
from sfllava_bench.questions.benchmarks.open_ended import read_open
from sfllava_bench.questions.records import ASPECTS, TEXT_GENERATION, Question
from sfllava_bench.questions.rows import Row, Rows


class VCGBench(Benchmark):
    """Columns of an open-ended set; consistency as two files (JSON: `question` is a list of two)."""

    name, title, task = "vcgbench", "VCGBench", TEXT_GENERATION
    questions, videos = 2994, 499
    csv: ClassVar = {
        "generic": ("Generic_QA.csv",),
        "temporal": ("Temporal_QA.csv",),
        "consistency": ("Consistency_QA1.csv", "Consistency_QA2.csv"),
    }
    json: ClassVar = {
        "generic": ("Video-ChatGPT-generic_val_qa.json",),
        "temporal": ("Video-ChatGPT-temporal_understanding_val_qa.json",),
        "consistency": ("Video-ChatGPT-consistency_val_qa.json",),
    }
    column, published_as = "scores", (*ASPECTS, "mean")

    def questions_in(self, rows: Rows) -> list[Question]:
        """One text a question; two in the consistency part."""
        if rows.part != "consistency":
            return read_open(self, rows)
        return self.read_pair(rows) if len(rows.tables) == 2 else self.read_list(rows)

    def group(self, row: Row, part: str, question: str) -> str:
        """The part."""
        return part

    def read_pair(self, rows: Rows) -> list[Question]:
        """Two files: joined by question_id, same video, same answer."""
        first, second = (by_id(rows.of(n)) for n in (0, 1))
        for name in second.keys() - first.keys():
            second[name].wrong(f"question_id {name!r} is not in {rows.tables[0].file.name}")
        found = []
        for name, row in first.items():
            if name not in second:
                row.wrong(f"question_id {name!r} is not in {rows.tables[1].file.name}")
                continue
            other = second[name]
            for column in ("video_name", "answer"):
                if row.fields.get(column) != other.fields.get(column):
                    row.wrong(f"{column} is not that of row {other.number} in {other.file.name}")
            texts = [rows.question_text(row), rows.question_text(other)]
            found += self.make(rows, row, self.key_of(rows, row), texts, row.text("answer"))
        return found

    def read_list(self, rows: Rows) -> list[Question]:
        """JSON: `question` is a list of two."""
        found = []
        for row in rows.of():
            texts = row.fields.get("question")
            two = texts if isinstance(texts, list) and len(texts) == 2 else [None]
            if not all(isinstance(text, str) and text.strip() for text in two):
                row.wrong(f"question is {texts!r:.80}: a list of two texts is needed")
                continue
            found += self.make(rows, row, self.key_of(rows, row), two, row.text("answer"))
        return found


def by_id(rows: list[Row]) -> dict[object, Row]:
    """Rows by question_id; one that comes again is a problem."""
    found: dict[object, Row] = {}
    for row in rows:
        name = row.fields.get("question_id")
        if name in found:
            row.wrong(f"question_id {name!r} is that of row {found[name].number} too, it must be unique")
        found.setdefault(name, row)
    return found
