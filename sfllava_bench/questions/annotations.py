"""Annotation files -> questions: the first step of a benchmark.

Reads the CSV files of IG-VLM as they are, and the JSON files that the released code makes of them. Rows are joined and
told apart by their keys, never by their place in a list. A file with malformed rows is refused, all of them named.
"""

from pathlib import Path

from sfllava_bench.questions.formats import READERS
from sfllava_bench.questions.records import Benchmark, Question, find_benchmark
from sfllava_bench.questions.rows import Rows
from sfllava_bench.questions.tables import AnnotationError, csv_header, read_table

__all__ = ["AnnotationError", "Question", "load_annotations", "question_counts"]


def load_annotations(benchmark: str, path: str | Path, *, repair: bool = True) -> list[Question]:
    """The questions of a benchmark, in the file's order.

    Args:
        benchmark: msvd, msrvtt, tgif, activitynet, nextqa, egoschema, intentqa, vcgbench or pocketbench.
        path: the IG-VLM CSV file, or the released code's JSON (for open-ended sets its question file, which finds the
            answer file beside it), or a folder with them under their own names. VCGBench is three parts: give their
            folder (a single file loads its part). PocketBench may be one CSV file or a folder of them.
        repair: three questions of ActivityNet-QA begin with a line that holds a stray number ("\\n5220,what are ...");
            True takes it off, False keeps the text as the released code asks it. Spaces at the edges are always kept.

    Raises:
        AnnotationError: files missing, or rows malformed; says file, row (the header is row 1) and reason for each.
        ValueError: an unknown benchmark.
    """
    chosen, path = find_benchmark(benchmark), Path(path)
    questions: list[Question] = []
    problems: list[str] = []
    for part, files in find_files(chosen, path).items():
        tables = [read_table(file, problems) for file in files]
        rows = Rows(chosen, part, tables, problems, repair)
        questions += READERS[rows.kind](rows)
    if problems:
        raise AnnotationError(problems)
    return questions


def find_files(benchmark: Benchmark, path: Path) -> dict[str, tuple[Path, ...]]:
    """The files to read for each part of the benchmark ("" where it has only one).

    Raises:
        AnnotationError: they are not there.
    """
    if not path.exists():
        raise AnnotationError([f"{path}: there is no such file or folder"])
    if benchmark.name == "pocketbench":
        return pocketbench_files(path)
    if path.is_file():
        return {part_of(benchmark, path): partners(benchmark, path)}
    missing = []
    for wanted in (benchmark.csv, benchmark.json):
        found = {part: tuple(path / name for name in names) for part, names in wanted.items()}
        absent = [file.name for files in found.values() for file in files if not file.is_file()]
        if not absent:
            return found
        missing.append(f"{path}: for {benchmark.title} it lacks {', '.join(absent)}")
    raise AnnotationError([*missing, f"{path}: give a folder with the CSV files, or with the JSON files, or one file"])


def pocketbench_files(path: Path) -> dict[str, tuple[Path, ...]]:
    """One CSV file, or all of a folder; a folder's files are parts, by their names."""
    if path.is_file():
        return {"": (path,)}
    files = sorted(file for file in path.glob("*.csv") if "question" in csv_header(file))
    if not files:
        raise AnnotationError([f"{path}: it holds no CSV file with a 'question' column"])
    return {file.stem if len(files) > 1 else "": (file,) for file in files}


def part_of(benchmark: Benchmark, path: Path) -> str:
    """Which part of the benchmark a single file is: by its name, where there are several parts."""
    for files in (benchmark.csv, benchmark.json):
        for part, names in files.items():
            if path.name in names:
                return part
    if len(benchmark.csv) == 1:
        return ""
    names = [name for files in (benchmark.csv, benchmark.json) for part in files.values() for name in part]
    raise AnnotationError([f"{path}: {benchmark.title} has parts, told by their names: {', '.join(names)}"])


def partners(benchmark: Benchmark, path: Path) -> tuple[Path, ...]:
    """The file together with the one that belongs to it: questions with answers, first with second paraphrases."""
    for files in (benchmark.csv, benchmark.json):
        for names in files.values():
            if path.name in names:
                found = tuple(path.parent / name for name in names)
                absent = [str(file) for file in found if not file.is_file()]
                if absent:
                    raise AnnotationError([f"{path}: it needs {', '.join(absent)} beside it, which is not there"])
                return found
    if path.suffix == ".json" and path.stem.endswith("_q"):
        return path, path.with_name(path.stem[:-1] + "a.json")
    return (path,)


def question_counts(questions: list[Question]) -> tuple[int, int]:
    """(questions, videos); a consistency pair is one question here."""
    return len(questions), len({question.video for question in questions})
