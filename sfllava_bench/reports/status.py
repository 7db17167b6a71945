"""How far runs are, read from their journals alone: also of one that is being made, by whichever process."""

import time
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from tqdm import tqdm

from sfllava_bench.answers.counts import collect
from sfllava_bench.answers.journal import JournalError, Record, lock, read_journal


def status_rows(folder: Path) -> list[dict[str, object]]:
    """A row for each run in a folder, or for the run whose folder it is.

    Raises:
        JournalError: there is none, or a file is damaged.
    """
    files = sorted(folder.glob("*/answers.jsonl")) or [path for path in (folder / "answers.jsonl",) if path.is_file()]
    if not files:
        raise JournalError(f"{folder}: no run is there, nor in a folder below it: give the folder that --out named")
    return [status_row(path) for path in files]


def status_row(path: Path) -> dict[str, object]:
    """What a run's file tells: of its last start, the rate, and how long the rest takes at that rate."""
    header, records = read_journal(path)
    outcome = collect(header["settings"], header["fingerprint"], records)
    expected, answered, failed = header["settings"]["expected"], len(outcome.answers), len(outcome.failures)
    running, left = is_written(path), expected - answered - failed
    row: dict[str, object] = {
        "run": path.parent.name,
        "state": "running" if running else "done" if not left else "stopped",
        "videos": videos_done(records),
        "questions": f"{answered} of {expected}",
        "failed": failed,
        "rate": "",
        "time left": "",
    }
    if outcome.sessions:
        began = datetime.fromisoformat(outcome.sessions[-1]["started"]).timestamp()
        seconds = max((time.time() if running else path.stat().st_mtime) - began, 1e-9)
        rate = len({record["key"] for record in of_last_start(records) if "key" in record}) / seconds
        row["rate"] = f"{rate:.3g} questions/s"
        if running and rate:
            row["time left"] = tqdm.format_interval(left / rate)
    return row


def of_last_start(records: list[Record]) -> list[Record]:
    """Records since the run was last started."""
    places = [place for place, record in enumerate(records) if "session" in record]
    return records[places[-1] :] if places else records


def videos_done(records: list[Record]) -> str:
    """ "3 of 8": the videos with a record, and those that the last start had before and left; files of old say less."""
    last = of_last_start(records)
    left = last[0]["session"].get("videos_left") if last and "session" in last[0] else None
    new = names(last)
    if left is None:
        return str(len(names(records)))
    # Of a video that was broken off in its midst some questions are answered: it is among those left.
    before = names(records[: len(records) - len(last)])
    return f"{len(before | new)} of {len(before | new) + max(0, left - len(new))}"


def names(records: Iterable[Record]) -> set[str]:
    """Of the videos of answers and failures."""
    return {record["video"] for record in records if "key" in record}


def is_written(path: Path) -> bool:
    """Whether a process is at it now."""
    with path.open("rb") as file:
        try:
            lock(file, path)
        except JournalError:
            return True
    return False
