"""`sfllava speed engine`: what a run costs beside its model. A stub answers at once, so that all else is what is left.

The same questions go through the same loop into the same kind of journal: in this process, and with Ray workers. The
memory is this process's, the driver's, at the 2,000th record and at the last.
"""

import os
import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sfllava_bench.answers.experiment import Experiment
from sfllava_bench.answers.loop import run
from sfllava_bench.engine.cluster import RayEngine
from sfllava_bench.engine.stub import StubModel, StubVideos, stub_questions

EARLY = 2_000
MIB = 1 << 20


def compare_engines(records: int, each: int, workers: list[int]) -> list[dict[str, object]]:
    """A row for one process, and one for Ray with each number of workers.

    Raises:
        RuntimeError: two ways gave other answers.
    """
    questions = stub_questions(-(-records // each), each)[:records]
    experiment = Experiment("engine", asked=questions)
    rows, first = list[dict[str, Any]](), None
    with TemporaryDirectory(prefix="sfllava-") as folder:
        for number in (0, *workers):
            row, answers = measure(experiment, number, Path(folder) / str(number))
            once = float(rows[0]["ms a video"]) if rows else float(row["ms a video"])
            rows.append({**row, "more than one process, ms": f"{float(row['ms a video']) - once:+.2f}"})
            first = first or answers
            if answers != first:
                raise RuntimeError(f"{row['way']}: other answers than in one process")
    return rows


def measure(experiment: Experiment, workers: int, folder: Path) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """One way's row, and its answers by question; 0 workers stand for this process."""
    if not workers:
        return measured(StubModel(), experiment, folder, "one process")
    with RayEngine(workers, gpus=0) as engine:
        return measured(engine(StubModel), experiment, folder, f"Ray, {workers} worker{'s' * (workers > 1)}")


def measured(llm: Any, experiment: Experiment, folder: Path, way: str) -> tuple[dict, dict[str, list[str]]]:
    """The loop's time and memory; the model, or its workers, are there already."""
    samples: list[tuple[int, int]] = []
    over = threading.Event()
    watching = threading.Thread(target=watch, args=(folder / experiment.id / "answers.jsonl", samples, over))
    watching.start()
    began = time.perf_counter()
    try:
        outcome = run(llm, [experiment], StubVideos(), folder, progress=False)[experiment.id]
    finally:
        seconds = time.perf_counter() - began
        over.set()
        watching.join()
    records, videos = len(outcome.answers), len(outcome.watched)
    size = samples[-1][0]
    early = [memory for written, memory in samples if written >= size * EARLY / records][:1]
    late = [memory for written, memory in samples if size * 0.9 <= written < size][-1:]
    row = {
        "way": way,
        "records": records,
        "records/s": f"{records / seconds:.0f}",
        "ms a video": f"{1e3 * seconds / videos:.2f}",
        f"MiB at {EARLY}": f"{early[0] / MIB:.0f}" if early else "",
        "MiB at the end": f"{late[0] / MIB:.0f}" if late else "",
    }
    return row, {key: record["answers"] for key, record in outcome.answers.items()}


def watch(path: Path, samples: list[tuple[int, int]], over: threading.Event) -> None:
    """(bytes in the journal, bytes of memory) of this process, fifty times a second, and once more at the end."""
    while not over.wait(0.02):
        samples.append((path.stat().st_size if path.exists() else 0, resident()))
    samples.append((path.stat().st_size, resident()))


def resident() -> int:
    """Bytes of memory that this process has now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
