"""Many videos, many questions, no benchmark: the benchmarks' loop for whoever has videos of their own, to one table.

videos (a folder, or a manifest) x questions (a line each, or a CSV) -> journal -> Parquet or JSON lines
"""

import csv
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sfllava_bench.answers.counts import Outcome
from sfllava_bench.answers.loop import run
from sfllava_bench.answers.surroundings import check_room, host_at_fault
from sfllava_bench.questions.annotations import load_annotations
from sfllava_bench.questions.records import BATCH, OPEN_ENDED, Question
from sfllava_bench.runs.own import named_method
from sfllava_bench.runs.preflight import Preflight
from sfllava_bench.runs.reproduce import model_of
from sfllava_core.video.folder import VideoFolder, without_extension
from sfllava_core.video.integrity import VideoError

FORMATS = (".parquet", ".jsonl")
COLUMN = "video"  # of a manifest
ROWS = 4096  # of a table, written at once


class AskError(ValueError):
    """Videos or questions that cannot be asked; names the file, and what to give."""


class EveryVideo(VideoFolder):
    """A folder's videos, each by its path below it too: two may differ by their extension alone."""

    def find(self, name: str) -> Path:
        """The file of that path, or else of that name."""
        exact = self.root / name
        return exact if exact in self.by_name.get(without_extension(exact.name), ()) else super().find(name)


class ListedVideos(VideoFolder):
    """The videos that a manifest lists, wherever they are; a relative path counts from the manifest's folder."""

    def __init__(self, manifest: Path, **more: Any):
        self.manifest = manifest
        super().__init__(manifest.absolute().parent, **more)
        self.names = list(self.by_name)

    def _scan(self) -> list[Path]:
        """None: nothing but what is listed is there."""
        with self.manifest.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            if COLUMN not in (rows.fieldnames or ()):
                there = ", ".join(map(repr, rows.fieldnames or ()))
                raise AskError(
                    f"{self.manifest}: it has no column {COLUMN!r}, with a video's path in each row, but {there}"
                )
            for row in rows:
                if not (row[COLUMN] or "").strip():
                    raise AskError(f"{self.manifest} line {rows.line_num}: it names no video")
                self.by_name[row[COLUMN]] = [self.root / os.path.expanduser(row[COLUMN])]
        return []

    def find(self, name: str) -> Path:
        """The path of a video, as the manifest has it."""
        path = self.by_name[name][0] if name in self.by_name else None
        if path is None or not path.exists():
            why = f"{self.manifest.name} does not list it" if path is None else "there is no such file or folder"
            raise VideoError(path or self.root / name, why, f"mend {self.manifest.name}, or bring the video")
        return path


def videos_of(source: Path, **more: Any) -> tuple[VideoFolder, list[str]]:
    """The videos of a folder or a manifest, and their names in order.

    Raises:
        AskError: there are none, or it is neither.
    """
    if source.is_dir():
        videos: VideoFolder = EveryVideo(source, **more)
        paths = sorted(path for found in videos.by_name.values() for path in found)
        names = [path.relative_to(videos.root).as_posix() for path in paths]
    elif source.is_file() and source.suffix.lower() == ".csv":
        videos = ListedVideos(source, **more)
        names = list(videos.by_name)
    else:
        raise AskError(f"{source}: give a folder of videos, or a CSV file with a column {COLUMN!r} of their paths")
    if not names:
        raise AskError(f"{source}: no video is there")
    return videos, names


def questions_of(file: Path, names: list[str]) -> tuple[Question, ...]:
    """What is asked: each line of a text file of every video; of a CSV or JSON lines, each row of its own video.

    Raises:
        AskError: there is none.  AnnotationError: rows that cannot be read.
    """
    if not file.is_file():
        raise AskError(f"{file}: there is no such file: give questions, one a line, or a CSV with video and question")
    if file.suffix.lower() in (".csv", ".jsonl", ".json"):
        return tuple(load_annotations("own", file))
    lines = [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    if not lines:
        raise AskError(f"{file}: no question is in it: one a line")
    return tuple(
        Question("own", f"{name}#{number}", name, (line,), "", OPEN_ENDED)
        for name in names
        for number, line in enumerate(lines, 1)
    )


@host_at_fault()
def ask_all(
    source: Path,
    file: Path,
    out: Path,
    *,
    model: str,
    method: str = "slowfast",
    max_new_tokens: int | None = None,
    load: Callable[[str], Any] | None = None,
    engine: Callable[[Callable[[], Any]], Any] | None = None,
    open_videos: Callable[[Path], VideoFolder] = VideoFolder,
    loading: Mapping[str, Any] | None = None,
    batch: int = BATCH,
    retry_failed: bool = False,
    progress: bool = True,
    say: Callable[[str], None] = print,
) -> Outcome:
    """Ask every question, or go on with it, and write the table; answers are kept in <out>.run/ meanwhile.

    Args:
        source: a folder of videos, or a manifest.  file: the questions.
        out: where the table goes: .parquet or .jsonl.
        model: a checkpoint's folder or hub id.  method: as in `named_method`.
        open_videos: what it is told of decoding counts (`partial(VideoFolder, workers=4)`).
        load, engine, loading, batch, retry_failed, progress: as in `reproduce`.

    Raises:
        AskError, AnnotationError: videos or questions cannot be used.  JournalError: <out>.run is of other questions.
        PreflightError: there is no room.  HostError, ModelError: as in `run`; the same again goes on.
    """
    if out.suffix.lower() not in FORMATS:
        raise AskError(f"{out}: give a file that ends with {' or '.join(FORMATS)}")
    if out.suffix.lower() == ".parquet":
        parquet()  # before hours of work
    videos, names = videos_of(source, **getattr(open_videos, "keywords", {}))
    asked = questions_of(file, names)
    experiment = replace(
        named_method(method, model), id=f"{out.name}.run", model=model, videos=videos.root, asked=asked,
        max_new_tokens=max_new_tokens,
    )  # fmt: skip
    Preflight({}, {}, check_room(out.parent)).require()
    say(f"{len(asked)} questions about {len({question.video for question in asked})} videos")
    llm = model_of(experiment, load, loading, engine)
    found = run(llm, [experiment], videos, out.parent, retry_failed=retry_failed, batch=batch, progress=progress)
    outcome = found[experiment.id]
    write_table(out, table_rows(asked, outcome))
    say(f"{outcome.counts(list(asked))}; {out}")
    return outcome


def table_rows(asked: tuple[Question, ...], outcome: Outcome) -> Iterator[dict[str, object]]:
    """A row for each question, in their order; where there is no answer, why."""
    for question in asked:
        record = outcome.answers.get(question.key) or outcome.failures.get(question.key, {})
        yield {
            "key": question.key,
            "video": question.video,
            "question": question.questions[0],
            "options": json.dumps(list(question.options), ensure_ascii=False) if question.options else None,
            "answer": record["answers"][0] if "answers" in record else None,
            "error": record.get("error"),
            "new_tokens": record["new_tokens"][0] if "new_tokens" in record else None,
        }


def write_table(path: Path, rows: Iterator[dict[str, object]]) -> None:
    """Write the rows, as the name's ending says; whoever reads meanwhile finds the old file or the new one."""
    new = path.with_name(f"{path.name}.new")
    if path.suffix.lower() == ".parquet":
        write_parquet(new, rows)
    else:
        with new.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    new.replace(path)


def write_parquet(path: Path, rows: Iterator[dict[str, object]]) -> None:
    """Some thousand rows at a time."""
    arrow, tables = parquet()
    texts = ("key", "video", "question", "options", "answer", "error")
    schema = arrow.schema([(name, arrow.string()) for name in texts] + [("new_tokens", arrow.int64())])
    with tables.ParquetWriter(path, schema) as writer:
        some: list[dict[str, object]] = []
        for row in rows:
            some.append(row)
            if len(some) == ROWS:
                writer.write_table(arrow.Table.from_pylist(some, schema))
                some.clear()
        writer.write_table(arrow.Table.from_pylist(some, schema))


def parquet():
    """The library, or a word on how to get it."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise AskError(
            f"a .parquet file needs pyarrow: pip install 'sfllava-core[ray]', or give .jsonl ({error})"
        ) from None
    return pyarrow, pyarrow.parquet
