"""The one loop: experiments answered video by video, each answer on the disk before the next.

    questions, grouped by video -> frames prefetched -> features, shared -> watched -> answers in batches -> JSON lines

Each video is decoded once, and each frame encoded once, for all experiments. Kill it anywhere and start it again: it
goes on where it was. A video or a question that cannot be answered becomes a record with its error, so that the books
always balance. Where the machine or the model is at fault the run stops: that is no answer, and the next start goes on.
"""

import platform
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from datetime import datetime, timezone
from functools import partial
from pathlib import Path

import torch
import transformers

from sfllava_bench.answers.answering import FilmFeatures, answer_video
from sfllava_bench.answers.counts import Outcome, collect
from sfllava_bench.answers.experiment import Experiment, ExperimentError
from sfllava_bench.answers.journal import Journal, Record
from sfllava_bench.answers.prefetch import prefetch
from sfllava_bench.answers.progress import Progress
from sfllava_bench.answers.surroundings import Surroundings
from sfllava_bench.answers.video_model import VideoModel
from sfllava_bench.captions.words import Words
from sfllava_bench.questions.records import Question
from sfllava_core import __version__
from sfllava_core.methods.base import Method
from sfllava_core.video.folder import VideoFolder
from sfllava_core.video.frames import Frames

Questions = dict[str, list[Question]]  # by the experiment's id


def run(
    llm: VideoModel,
    experiments: Sequence[Experiment],
    videos: VideoFolder,
    out: str | Path,
    *,
    file: str = "answers.jsonl",
    retry_failed: bool = False,
    batch: int = 16,
    progress: bool = True,
) -> dict[str, Outcome]:
    """Answer all questions of these experiments that are not answered yet.

    Args:
        llm: the experiments' model, loaded as `experiment.loading` says: one RoPE is for all of them.
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
            journal = stack.enter_context(Journal(path, "answers", experiment.record(questions, llm)))
            journals[experiment.id], left[experiment.id] = journal, unanswered(journal, questions, retry_failed)
            if left[experiment.id]:
                journal.append({"session": session(llm, len(left[experiment.id]), journal.repaired, batch)})
        expected = sum(journal.settings["expected"] for journal in journals.values())
        counts = Counter(question.video for questions in left.values() for question in questions)
        bar = stack.enter_context(Progress(counts, expected - counts.total(), shown=progress))
        words = stack.enter_context(Words(llm, out))
        asked = records_of(llm, experiments, videos, left=left, batch=batch, words=words)
        answering = stack.enter_context(closing(asked))
        for name, records in answering:
            journals[name].append(*({**record, **provenance(journals[name])} for record in records))
            bar.add(records)
        return {
            name: collect(journal.settings, journal.fingerprint, journal.records) for name, journal in journals.items()
        }


def records_of(
    llm: VideoModel,
    experiments: Sequence[Experiment],
    videos: VideoFolder,
    *,
    left: Questions | None = None,
    batch: int = 16,
    words: Words | None = None,
) -> Iterator[tuple[str, list[Record]]]:
    """(experiment's id, records of a batch of its questions), video by video; but for captions nothing is written.

    Args:
        left: the questions that are to be asked, by the experiment's id; None asks all.
        words: captions and language models, for experiments where one has a say.
        llm, videos, batch, and what is raised: as in `run`.
    """
    if words is None and any(one.worded for one in experiments):
        raise ExperimentError("captions are kept in a folder: give words=Words(llm, out), or use `run`")
    left = {experiment.id: experiment.questions() for experiment in experiments} if left is None else left
    here = Surroundings(videos, [question.video for questions in left.values() for question in questions])
    told = {"words": words, "read": here.read}
    methods = {experiment.id: experiment.methods(left[experiment.id]) for experiment in experiments}
    for group in sharing(experiments):
        jobs = jobs_of(group, left)
        names, read = [name for name, _ in jobs], partial(read_video, llm, group, here, ranked(group, left, methods))
        with closing(prefetch(names, read, workers=videos.workers, count=videos.prefetch)) as reading:
            for (_, asked), decoded in zip(jobs, reading):
                several = len(group) > 1
                shared = FilmFeatures(llm, decoded.frames, group[0].resize, len(group)) if several else None
                for experiment in (one for one in group if one.id in asked):
                    ways: dict[Method, list[Question]] = {}
                    for question in asked[experiment.id]:
                        ways.setdefault(methods[experiment.id][question.key], []).append(question)
                    for method, own in ways.items():
                        one, part = replace(experiment, method=method), decoded.share(len(ways))
                        for records in answer_video(llm, one, own, part, batch=batch, shared=shared, **told):
                            yield experiment.id, records


def sharing(experiments: Sequence[Experiment]) -> list[list[Experiment]]:
    """Experiments in groups that can share each video's frames and features: read in one way.

    decord's pictures depend on the frames that are asked for together, so its reading is not shared.
    """
    groups: dict[object, list[Experiment]] = {}
    for one in experiments:
        alone = one.share == "nothing" or one.decoder == "decord"
        groups.setdefault(one.id if alone else (one.resize, one.decoder), []).append(one)
    return list(groups.values())


def jobs_of(group: list[Experiment], left: Questions) -> list[tuple[str, Questions]]:
    """(video, what each experiment asks of it), in the order in which videos first come.

    Where nothing is to be shared, not even between questions, there is a job for each question.
    """
    if group[0].share == "nothing":
        return [(question.video, {one.id: [question]}) for one in group for question in left[one.id]]
    jobs: dict[str, Questions] = {}
    for one in group:
        for question in left[one.id]:
            jobs.setdefault(question.video, {}).setdefault(one.id, []).append(question)
    return list(jobs.items())


def ranked(group: list[Experiment], left: Questions, methods: dict[str, dict[str, Method]]) -> dict[str, set[Method]]:
    """Video -> the methods by which questions about it see keyframes of their own."""
    found: dict[str, set[Method]] = {}
    for one in (one for one in group if one.ranks is not None):
        for question in left[one.id]:
            found.setdefault(question.video, set()).add(methods[one.id][question.key])
    return found


def read_video(
    llm: VideoModel, group: list[Experiment], here: Surroundings, ranked: dict[str, set[Method]], name: str
) -> Frames:
    """The frames that any experiment of a group samples of a video, at the size that loses nothing for all of them.

    Also of those that have no question left about it: so features, and with them answers, do not depend on where a run
    was broken off. (Features of `ranked` methods, whose frames are a question's own, are never shared.)
    """
    methods, first = {one.method for one in group if one.ranks is None} | ranked.get(name, set()), group[0]
    sizes = {method.decoded_size(llm.image_size, first.resize) for method in methods}
    size = sizes.pop() if len(sizes) == 1 else None
    return here.read(name, [method.sample for method in sorted(methods, key=str)], decoder=first.decoder, size=size)


def unanswered(journal: Journal, questions: list[Question], retry_failed: bool) -> list[Question]:
    """The questions that a run's file has no answer to."""
    outcome = collect(journal.settings, journal.fingerprint, journal.records)
    done = outcome.answers.keys() if retry_failed else outcome.answers.keys() | outcome.failures.keys()
    return [question for question in questions if question.key not in done]


def provenance(journal: Journal) -> Record:
    """What goes into every record: fingerprints of the run and of what it is made of."""
    return {"run": journal.fingerprint, "method": journal.settings["method"], "model": journal.settings["model"]}


def session(llm: VideoModel, left: int, repaired: int, batch: int) -> Record:
    """When, on what, with which versions and in what batches a run was started: in half precision it may matter."""
    gpu = torch.cuda.get_device_name(llm.device) if llm.device.type == "cuda" else None
    return {
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "questions_left": left,
        "batch": batch,
        "model_name": llm.name,
        "device": gpu or platform.machine(),
        "versions": {"sfllava_core": __version__, "torch": torch.__version__, "transformers": transformers.__version__},
        "repaired_bytes": repaired,
    }
