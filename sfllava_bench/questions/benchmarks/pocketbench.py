"""PocketBench: this kit's own, open questions and choices about short films of a drawn world (data/pocketbench)."""

from pathlib import Path

from sfllava_bench.questions.benchmarks.base import Benchmark, Files
from sfllava_bench.questions.benchmarks.multiple_choice import has_options, read_choice
from sfllava_bench.questions.benchmarks.open_ended import read_open
from sfllava_bench.questions.records import OPEN_ENDED, Question
from sfllava_bench.questions.rows import Row, Rows
from sfllava_bench.questions.tables import AnnotationError, csv_header
from sfllava_bench.questions.toy import toy_questions


class PocketBench(Benchmark):
    """Columns of an open-ended set, or of choices with any number of options; and `family`, the type of question."""

    name, title, task = "pocketbench", "PocketBench", OPEN_ENDED
    quick = True

    def files(self, path: Path) -> Files:
        """One CSV file, or all of a folder; a folder's files are parts, by their names."""
        if path.is_file():
            return {"": (path,)}
        files = sorted(file for file in path.glob("*.csv") if "question" in csv_header(file))
        if not files:
            raise AnnotationError([f"{path}: it holds no CSV file with a 'question' column"])
        return {file.stem if len(files) > 1 else "": (file,) for file in files}

    def questions_in(self, rows: Rows) -> list[Question]:
        """Open questions, or choices where there are options."""
        return read_choice(self, rows, None) if has_options(rows) else read_open(self, rows)

    def group(self, row: Row, part: str, question: str) -> str:
        """The family."""
        return str(row.fields["family"]) if "family" in row.fields else super().group(row, part, question)

    def of_task(self, questions: list[Question], task: str) -> list[Question]:
        """In the shape of another benchmark, whose tables it makes in miniature."""
        return toy_questions(questions, task)
