"""Annotation files -> questions: the first step of a benchmark.

Reads the CSV files of IG-VLM as they are, and the JSON files that the released code makes of them. Rows are joined and
told apart by their keys, never by their place in a list. A file with malformed rows is refused, all of them named.
"""

from collections import Counter
from pathlib import Path

from sfllava_bench.questions.benchmarks.base import find_benchmark
from sfllava_bench.questions.records import Question
from sfllava_bench.questions.tables import AnnotationError

__all__ = ["AnnotationError", "Question", "load_annotations", "question_counts"]


def load_annotations(benchmark: str, path: str | Path, *, repair: bool = True) -> list[Question]:
    """The questions of a benchmark, in the file's order.

    Args:
        benchmark: its name, one of `BENCHMARKS`.
        path: the IG-VLM CSV file, or the released code's JSON (for open-ended sets its question file, which finds the
            answer file beside it), or a folder with them under their own names. VCGBench is three parts: give their
            folder (a single file loads its part). PocketBench may be one CSV file or a folder of them.
        repair: three questions of ActivityNet-QA begin with a line that holds a stray number ("\\n5220,what are ...");
            True takes it off, False keeps the text as the released code asks it. Spaces at the edges are always kept.

    Raises:
        AnnotationError: files missing, keys repeated, or rows malformed; says file, row (the header is row 1) and
            reason for each.
        ValueError: an unknown benchmark.
    """
    chosen, path = find_benchmark(benchmark), Path(path)
    if not path.exists():
        raise AnnotationError([f"{path}: there is no such file or folder"])
    questions = chosen.read(path, repair=repair)
    repeated = [key for key, count in Counter(question.key for question in questions).items() if count > 1]
    if repeated:
        raise AnnotationError(
            [f"{path}: several questions have the key {key!r}, it must be unique" for key in repeated]
        )
    return questions


def question_counts(questions: list[Question]) -> tuple[int, int]:
    """(questions, videos); a consistency pair is one question here."""
    return len(questions), len({question.video for question in questions})
