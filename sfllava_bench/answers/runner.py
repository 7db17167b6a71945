"""Runs a benchmark: each video watched once and asked all its questions, each answer on the disk before the next.

    questions, grouped by video -> frames decoded ahead -> watch -> answers in batches -> JSON lines

Kill it anywhere and start it again: it goes on where it was. A video or a question that cannot be answered becomes a
record with its error, so that the counts always balance. Where the machine or the model is at fault the run stops: that
is no answer, and the next start goes on.
"""

import platform
from contextlib import closing
from datetime import datetime, timezone
from functools import partial
from pathlib import Path

import torch
import transformers
from tqdm.auto import tqdm

from sfllava_bench.answers.asking import Asker
from sfllava_bench.answers.counts import Outcome, collect
from sfllava_bench.answers.journal import Journal, Record
from sfllava_bench.answers.prefetch import Job, decode_ahead
from sfllava_bench.answers.settings import RunSettings
from sfllava_bench.answers.surroundings import Surroundings
from sfllava_bench.questions.records import Question
from sfllava_core import __version__
from sfllava_core.video.folder import VideoFolder
from sfllava_core.video.frames import Frames
from sfllava_core.video.reading import DEFAULT_TIMEOUT_S

STAMPED = ("pathways", "model")


def run_benchmark(
    llm,
    questions: list[Question],
    videos: VideoFolder,
    path: str | Path,
    settings: RunSettings = RunSettings(),
    *,
    retry_failed: bool = False,
    batch: int = 16,
    workers: int = 2,
    ahead: int = 4,
    timeout_s: float | None = DEFAULT_TIMEOUT_S,
    progress: bool = True,
) -> Outcome:
    """Answer all questions that the file does not answer yet.

    Args:
        llm: a `VideoLLM`, or anything with its `watch` and attributes.
        videos: where the videos are; one that is not there fails its questions (`preflight` says so beforehand).
        path: the JSON-lines file of this run; made, or gone on with.
        retry_failed: try again what failed at an earlier start. What is answered is never asked again.
        batch: questions answered together; a kill loses at most the batch that is being answered.
        workers, ahead: videos decoded at a time, and in advance.  timeout_s: for decoding one video; see `read_frames`.
        progress: show a bar with rate and time left.

    Returns:
        The run's records; `outcome.counts(questions)` says what became of them.

    Raises:
        JournalError: the file is of other settings, questions or weights, or in use.
        HostError: a disk is full, a folder is gone, ...; what is answered is kept, and nothing recorded as failed.
        ModelError: the model gives numbers without sense; likewise.
    """
    if not questions:
        raise ValueError("no questions: give at least one")
    if batch < 1:
        raise ValueError(f"batch={batch}: answer at least 1 question at a time")
    with Journal(path, "answers", settings.record(questions, llm)) as journal:
        outcome = collect(journal.settings, journal.fingerprint, journal.records)
        done = outcome.answers.keys() if retry_failed else outcome.answers.keys() | outcome.failures.keys()
        left = [question for question in questions if question.key not in done]
        if left:
            journal.append({"session": session(llm, len(left), journal.repaired)})
        stamp = {"run": journal.fingerprint, **{name: journal.settings[name] for name in STAMPED}}
        asker = Asker(llm, settings, stamp, batch)
        here = Surroundings(videos, [question.video for question in left])
        read = partial(read_video, llm, here, settings, timeout_s)
        bar = tqdm(total=len(questions), initial=len(questions) - len(left), disable=not progress, unit="q")
        decoding = decode_ahead(jobs(left, settings), read, workers=workers, ahead=ahead)
        with bar, closing(decoding):
            for decoded in decoding:
                for records in asker.records(decoded):
                    journal.append(*records)
                    bar.update(sum("key" in record for record in records))
        return collect(journal.settings, journal.fingerprint, journal.records)


def jobs(questions: list[Question], settings: RunSettings) -> list[Job]:
    """Questions grouped by video, in the order in which videos first come; or one job for each question."""
    if settings.share == "nothing":
        return [Job(question.video, [question]) for question in questions]
    groups: dict[str, list[Question]] = {}
    for question in questions:
        groups.setdefault(question.video, []).append(question)
    return [Job(video, asked) for video, asked in groups.items()]


def read_video(llm, here: Surroundings, settings: RunSettings, timeout_s: float | None, name: str) -> Frames:
    """A video's sampled frames, at the size that the model takes where that loses nothing."""
    spec = settings.pathways
    size = spec.decoded_size(llm.image_size, settings.resize)
    return here.read(name, spec.num_frames, decoder=settings.decoder, size=size, timeout_s=timeout_s)


def session(llm, left: int, repaired: int) -> Record:
    """When, on what, and with which versions a run was started."""
    gpu = torch.cuda.get_device_name(llm.device) if llm.device.type == "cuda" else None
    return {
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "questions_left": left,
        "model_name": llm.name,
        "device": gpu or platform.machine(),
        "versions": {"sfllava_core": __version__, "torch": torch.__version__, "transformers": transformers.__version__},
        "repaired_bytes": repaired,
    }
