"""What a benchmark is: its name and task, its published size, its files, and how questions are read from them.

Defining the class is all there is to adding one: `load_annotations` then reads its files, `bench run` asks its
questions, and reports call it by its title.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from sfllava_bench.questions.records import MULTIPLE_CHOICE, TASKS, Question
from sfllava_bench.questions.rows import Row, Rows, place_in, video_name
from sfllava_bench.questions.tables import AnnotationError, read_table

Files = dict[str, tuple[Path, ...]]  # by part; "" where there is only one
Names = dict[str, tuple[str, ...]]


class Benchmark:
    """A benchmark. To add one, define a subclass with a `name` of its own and `questions_in` (or `read`).

    name: in commands and records.  title: on pages.  task: one of `TASKS`; a row that has options is a choice.
    questions, videos: the published size; None: it varies.
    csv: names of IG-VLM's files, by part.  json: of the released code's files, which hold the same rows.
    key: the column that is unique.  video_column: the one that names the video.
    types: what question_type counts, where it is a number.
    column: its name in paper_results.yaml.  published_as: its numbers there, in their order.
    ablated: where they stand in a row of tables 5 to 7, which hold two benchmarks.
    quick: whether a run takes seconds, so that a notebook makes it anew in place of going on with an earlier one.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    task: ClassVar[str]
    questions: ClassVar[int | None] = None
    videos: ClassVar[int | None] = None
    csv: ClassVar[Names] = {}
    json: ClassVar[Names] = {}
    key: ClassVar[str] = "question_id"
    video_column: ClassVar[str] = "video_name"
    types: ClassVar[tuple[str, ...]] = ()
    column: ClassVar[str] = ""
    published_as: ClassVar[tuple[str, ...]] = ("accuracy", "score")
    ablated: ClassVar[slice | None] = None
    quick: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        """Make it known by its name; of two that share one the later (a cell that was run again).

        Raises:
            TypeError: it lacks a title, a task, or a way to read its questions.
        """
        if "name" not in vars(cls):  # what several benchmarks have in common, and is none itself
            return
        for attribute in ("title", "task"):
            if not hasattr(cls, attribute):
                raise TypeError(f"benchmark {cls.name!r} needs a {attribute}: {attribute} = ... in its class")
        if cls.task not in TASKS:
            raise TypeError(f"benchmark {cls.name!r}: task {cls.task!r}: choose one of {', '.join(TASKS)}")
        if (cls.questions_in, cls.read) == (Benchmark.questions_in, Benchmark.read):
            raise TypeError(f"benchmark {cls.name!r} needs questions_in or read, or derive it from OpenEnded, say")
        BENCHMARKS[cls.name] = cls()

    def questions_in(self, rows: Rows) -> list[Question]:
        """The questions in the rows of one part; `make` makes one, and what is wrong with a row goes to `row.wrong`."""
        raise NotImplementedError

    def read(self, path: Path, *, repair: bool = True) -> list[Question]:
        """The questions of a file or folder; as in `load_annotations`."""
        questions: list[Question] = []
        problems: list[str] = []
        for part, files in self.files(path).items():
            tables = [read_table(file, problems) for file in files]
            questions += self.questions_in(Rows(part, tables, problems, repair))
        if problems:
            raise AnnotationError(problems)
        return questions

    def files(self, path: Path) -> Files:
        """The files to read for each part.

        Raises:
            AnnotationError: they are not there.
        """
        if path.is_file():
            return {self.part_of(path): self.partners(path)}
        missing = []
        for wanted in filter(None, (self.csv, self.json)):
            found = {part: tuple(path / name for name in names) for part, names in wanted.items()}
            absent = [file.name for files in found.values() for file in files if not file.is_file()]
            if not absent:
                return found
            missing.append(f"{path}: for {self.title} it lacks {', '.join(absent)}")
        how = "give a folder with the CSV files, or with the JSON files, or one file" if missing else "give one file"
        raise AnnotationError([*missing, f"{path}: {how}"])

    def part_of(self, path: Path) -> str:
        """Which part a single file is: by its name, where there are several parts."""
        for names_by_part in (self.csv, self.json):
            for part, names in names_by_part.items():
                if path.name in names:
                    return part
        if len(self.csv) <= 1:
            return ""
        known = [name for names_by_part in (self.csv, self.json) for part in names_by_part.values() for name in part]
        raise AnnotationError([f"{path}: {self.title} has parts, told by their names: {', '.join(known)}"])

    def partners(self, path: Path) -> tuple[Path, ...]:
        """The file together with the one that belongs to it: questions with answers, first with second paraphrases."""
        for names_by_part in (self.csv, self.json):
            for names in names_by_part.values():
                if path.name in names:
                    found = tuple(path.parent / name for name in names)
                    absent = [str(file) for file in found if not file.is_file()]
                    if absent:
                        raise AnnotationError([f"{path}: it needs {', '.join(absent)} beside it, which is not there"])
                    return found
        return (path,)

    def key_of(self, rows: Rows, row: Row) -> str | None:
        """The row's unique key, with the part's name before it where there are parts."""
        key = row.text(self.key if self.key in row.fields else "question_id")
        return f"{rows.part}/{key}" if key and rows.part else key

    def group(self, row: Row, part: str, question: str) -> str:
        """The question's type, for the report."""
        kind = str(row.fields.get("question_type", row.fields.get("type", "")))
        place = place_in(kind, len(self.types))
        return kind if place is None else self.types[place]

    def make(
        self, rows: Rows, row: Row, key: str | None, texts: Sequence[str | None], answer: str | None, **more
    ) -> list[Question]:
        """The question of a row, if every part of it is sound.

        Args:
            texts: the question; two where it is asked in two ways.
            more: options and answer_index of a choice.
        """
        video = video_name(row, self.video_column)
        asked = tuple(text for text in texts if text is not None)
        if key is None or video is None or answer is None or len(asked) < len(texts):
            return []
        if key in rows.seen:
            row.wrong(f"key {key!r} is that of row {rows.seen[key]} too, it must be unique")
            return []
        rows.seen[key] = row.number
        task = MULTIPLE_CHOICE if more.get("options") else self.task
        group = self.group(row, rows.part, asked[0])
        return [Question(self.name, key, video, asked, answer, task, group=group, **more)]

    def of_task(self, questions: list[Question], task: str) -> list[Question]:
        """Those of its questions that are of this task."""
        return [question for question in questions if question.task == task]


BENCHMARKS: dict[str, Benchmark] = {}


def find_benchmark(name: str) -> Benchmark:
    """The benchmark called `name`.

    Raises:
        ValueError: an unknown name.
    """
    if name not in BENCHMARKS:
        raise ValueError(f"benchmark {name!r}: choose one of {', '.join(BENCHMARKS)}")
    return BENCHMARKS[name]
