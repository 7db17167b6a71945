"""The one loop: experiments answered video by video, each answer on the disk before the next.

    questions, grouped by video -> frames prefetched -> features, shared -> watched -> answers in batches -> JSON lines

Each video is decoded once, and each frame encoded once, for all experiments. Kill it anywhere and start it again: it
goes on where it was. A video or a question that cannot be answered becomes a record with its error, so that the books
always balance. Where the machine or the model is at fault the run stops: that is no answer, and the next start goes on.
"""

from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from datetime import datetime, timezone
from functools import partial
from pathlib import Path

import torch
import transformers

from sfllava_bench.answers.answering import Seen, answer_seen
from sfllava_bench.answers.counts import Outcome, collect, read_outcome
from sfllava_bench.answers.experiment import Experiment, ExperimentError
from sfllava_bench.answers.jobs import FilmWork, Questions, WorkerLost, Workers
from sfllava_bench.answers.journal import Journal, Record
from sfllava_bench.answers.prefetch import prefetch
from sfllava_bench.answers.progress import Progress
from sfllava_bench.answers.video_model import VideoModel, facts_of
from sfllava_bench.captions.captioner import Clips
from sfllava_bench.captions.carried import CarriedJobs
from sfllava_bench.captions.words import Words
from sfllava_bench.questions.records import BATCH, Question
from sfllava_bench.scores.chat import Judge
from sfllava_core import __version__
from sfllava_core.video.folder import VideoFolder


def run(
    llm: VideoModel | Workers,
    experiments: Sequence[Experiment],
    videos: VideoFolder,
    out: str | Path,
    *,
    file: str = "answers.jsonl",
    retry_failed: bool = False,
    batch: int = BATCH,
    progress: bool = True,
) -> dict[str, Outcome]:
    """Answer all questions of these experiments that are not answered yet.

    Args:
        llm: the experiments' model, loaded as `experiment.loading` says: one RoPE is for all of them. Or workers that
            hold it elsewhere: they answer, and this process alone writes.
        videos: where the videos are; one that is not there fails its questions (`preflight` says so beforehand).
        out: out/<experiment.id>/<file> is written, or gone on with.
        retry_failed: try again what failed at an earlier start. What is answered is never asked again.
        batch: questions answered together; a kill loses at most the batch that is being answered. In float32 it
            changes no answer; in half precision the same batch on the same machine gives the same answers.
        progress: show a bar with videos done, rate and time left.

    Returns:
        Each experiment's records, by its id; `outcome.counts(questions)` says what became of them.

    Raises:
        JournalError: a file is of other settings, questions or weights, or in use.
        HostError: a disk is full, a folder is gone, ...; what is answered is kept, and nothing recorded as failed.
        ModelError: the model gives numbers without sense; likewise.
        ExperimentError: an experiment without questions, or without the language model that it needs.
        JudgeError: that language model cannot be used, or does not answer any more; what is answered is kept.
        ValueError: two experiments of one id, or no question in a batch.
    """
    if len({experiment.id for experiment in experiments}) < len(experiments):
        raise ValueError("experiments that are run in one loop need ids of their own: two have the same")
    if batch < 1:
        raise ValueError(f"batch={batch}: answer at least 1 question at a time")
    for one in experiments:
        if one.without_reasoner:
            raise ExperimentError(one.without_reasoner)
    with ExitStack() as stack:
        journals: dict[str, Journal] = {}
        left: Questions = {}
        for experiment in experiments:
            questions, path = experiment.questions(), Path(out) / experiment.id / file
            journal = stack.enter_context(Journal(path, "answers", experiment.record(questions, llm), keep=False))
            journals[experiment.id], left[experiment.id] = journal, unanswered(journal, questions, retry_failed)
            journal.records.clear()  # a long run holds none of its records in memory
            if left[experiment.id]:
                journal.append({"session": session(llm, left[experiment.id], journal.repaired, batch)})
        waiting = {name: {question.key for question in questions} for name, questions in left.items()}
        expected = sum(journal.settings["expected"] for journal in journals.values())
        counts = Counter(question.video for questions in left.values() for question in questions)
        bar = stack.enter_context(Progress(counts, expected - counts.total(), shown=progress))
        words = stack.enter_context(Words(llm, out))
        asked = records_of(llm, experiments, videos, left=left, batch=batch, words=words)
        answering = stack.enter_context(closing(asked))
        for name, records in answering:
            if fresh := once(records, waiting[name]):
                journals[name].append(*({**record, **provenance(journals[name])} for record in fresh))
                bar.add(fresh)
        return {name: read_outcome(journal.path) for name, journal in journals.items()}


def once(records: list[Record], waiting: set[str]) -> list[Record]:
    """Those to be written: a question's first record alone; the watching goes with its questions.

    waiting: keys of questions without a record; those found are taken out.
    """
    keys = [record["key"] for record in records if "key" in record]
    if keys and waiting.isdisjoint(keys):
        return []
    fresh = [record for record in records if "key" not in record or record["key"] in waiting]
    waiting.difference_update(keys)
    return fresh


def records_of(
    llm: VideoModel | Workers,
    experiments: Sequence[Experiment],
    videos: VideoFolder,
    *,
    left: Questions | None = None,
    batch: int = BATCH,
    words: Words | None = None,
) -> Generator[tuple[str, list[Record]], None, None]:
    """(experiment's id, records of a batch of its questions), video by video; but for captions nothing is written.

    In this process videos come in the questions' order; from workers as they are done, all of a video's records of an
    experiment at once.

    Args:
        left: the questions that are to be asked, by the experiment's id; None asks all.
        words: captions and language models, for experiments where one has a say.
        llm, videos, batch, and what is raised: as in `run`.
    """
    if words is None and any(one.worded for one in experiments):
        raise ExperimentError("captions are kept in a folder: give words=Words(llm, out), or use `run`")
    left = {experiment.id: experiment.questions() for experiment in experiments} if left is None else left
    if isinstance(llm, Workers):
        yield from records_of_workers(llm, experiments, videos, left, batch, words)
        return
    work = FilmWork(experiments, videos, left, batch)
    for place, jobs in enumerate(work.jobs(left)):
        names, read = [job.video for job in jobs], partial(work.frames, llm, place)
        with closing(prefetch(names, read, workers=videos.workers, count=videos.prefetch)) as reading:
            for job, decoded in zip(jobs, reading):
                for name, records in work.records(llm, job, decoded, words):
                    assert not isinstance(records, Seen), "captions are read in the process that reads videos"
                    yield name, records


def records_of_workers(
    llm: Workers,
    experiments: Sequence[Experiment],
    videos: VideoFolder,
    left: Questions,
    batch: int,
    words: Words | None,
) -> Iterator[tuple[str, list[Record]]]:
    """`records_of`, by workers. Captions that they made are written here, and servers asked from here."""
    by_id = {one.id: one for one in experiments}
    served = [replace(one, reasoner=None) if isinstance(one.reasoner, Judge) else one for one in experiments]
    work = FilmWork(served, videos, left, batch)
    jobs = CarriedJobs([job for jobs in work.jobs(left) for job in jobs], words, by_id)
    with closing(llm.each(work, jobs)) as doing:
        for job, found in doing:
            for name, records in work.given_up(job, found) if isinstance(found, WorkerLost) else found:
                if isinstance(name, Clips):
                    assert words is not None, "captions come where they were asked for"
                    words.book(name).keep(records)
                elif isinstance(records, Seen):
                    answered = answer_seen(None, by_id[name], job.asked[name], records, batch, words)
                    yield from ((name, some) for some in answered)
                else:
                    yield name, records


def unanswered(journal: Journal, questions: list[Question], retry_failed: bool) -> list[Question]:
    """The questions that a run's file has no answer to."""
    outcome = collect(journal.settings, journal.fingerprint, journal.records)
    done = outcome.answers.keys() if retry_failed else outcome.answers.keys() | outcome.failures.keys()
    return [question for question in questions if question.key not in done]


def provenance(journal: Journal) -> Record:
    """What goes into every record: fingerprints of the run and of what it is made of."""
    return {"run": journal.fingerprint, "method": journal.settings["method"], "model": journal.settings["model"]}


def session(llm: VideoModel | Workers, left: list[Question], repaired: int, batch: int) -> Record:
    """When, on what, with which versions and in what batches a run was started: in half precision it may matter."""
    facts = facts_of(llm)
    return {
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "questions_left": len(left),
        "videos_left": len({question.video for question in left}),
        "batch": batch,
        "model_name": facts.name,
        "device": facts.device_name,
        "workers": str(llm) if isinstance(llm, Workers) else "",
        "versions": {"sfllava_core": __version__, "torch": torch.__version__, "transformers": transformers.__version__},
        "repaired_bytes": repaired,
    }
