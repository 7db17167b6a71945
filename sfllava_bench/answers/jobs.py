"""The unit of work: one video with all that is asked of it. What is done for it is the same here and on a worker.

    jobs -> frames (`FilmWork.read`, ahead) -> features, shared -> watched -> records (`FilmWork.answer`)

The loop does jobs in this process, one after another; `engine/` hands them to models in other processes.
"""

import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

from sfllava_bench.answers.answering import FilmFeatures, Seen, answer_video, failure, look
from sfllava_bench.answers.experiment import Experiment
from sfllava_bench.answers.journal import Record
from sfllava_bench.answers.prefetch import Decoded
from sfllava_bench.answers.surroundings import Surroundings
from sfllava_bench.answers.video_model import Elsewhere, VideoModel
from sfllava_bench.captions.captioner import Clips
from sfllava_bench.captions.carried import Carried, CarriedWords
from sfllava_bench.captions.words import Words
from sfllava_bench.questions.records import BATCH, Question
from sfllava_core.methods.base import Method
from sfllava_core.video.folder import VideoFolder
from sfllava_core.video.frames import Frames
from sfllava_core.video.integrity import VideoError

Questions = dict[str, list[Question]]  # by the experiment's id
Named = tuple[str, list[Record]]  # records, and the id of the experiment that they belong to
Found = tuple[str | Clips, list[Record] | Seen]  # of a worker: also captions, and videos told, which a server reads


@dataclass(frozen=True)
class Job:
    """A video, what is asked of it, and the place of the group of experiments that share its frames.

    carried: what the driver knows of captions and sub-questions, where they have a say.
    """

    group: int
    video: str
    asked: Questions
    carried: Carried | None = None


class WorkerLost(RuntimeError):
    """A job that ended its worker each time that it was tried; says how."""


@runtime_checkable
class Work(Protocol):
    """What workers do for each job. It travels to them, once, with all that it holds.

    workers: jobs that may be read at once, on one machine.  prefetch: jobs that may be read ahead there.
    """

    workers: int
    prefetch: int

    def read(self, llm: VideoModel, job: Any) -> Any:
        """What can be done ahead, beside the model."""

    def answer(self, llm: VideoModel, job: Any, read: Any, waited: float) -> Any:
        """What the model does, one job at a time; it stood idle for `waited` seconds before."""


@runtime_checkable
class Workers(Elsewhere, Protocol):
    """Models in other processes, which stand where a model would, and do a work's jobs."""

    def each(self, work: Work, jobs: Sequence) -> Generator[tuple[Any, Any], None, None]:
        """(job, what came of it, or `WorkerLost`), in the order in which they are done, each once."""


class FilmWork:
    """Videos are read, and questions about them answered."""

    def __init__(self, experiments: Sequence[Experiment], videos: VideoFolder, left: Questions, batch: int = BATCH):
        """The arguments are those of `records_of`; the questions themselves are in the jobs."""
        self.groups = [[replace(one, asked=None) for one in group] for group in sharing(experiments)]
        methods = {one.id: one.methods(left[one.id]) for one in experiments if one.ranks is not None}
        self.methods, self.ranked = methods, [ranked(group, left, methods) for group in self.groups]
        self.here = Surroundings(videos, [question.video for questions in left.values() for question in questions])
        self.batch, self.workers, self.prefetch = batch, videos.workers, videos.prefetch

    def jobs(self, left: Questions) -> list[list[Job]]:
        """What is to be done, group by group."""
        return [
            [Job(place, video, asked) for video, asked in jobs_of(group, left)]
            for place, group in enumerate(self.groups)
        ]

    def frames(self, llm: VideoModel, group: int, video: str) -> Frames:
        """The frames that a group looks at."""
        return read_video(llm, self.groups[group], self.here, self.ranked[group], video)

    def read(self, llm: VideoModel, job: Job) -> Decoded:
        """The frames, or the video's error in their place."""
        start, frames, error = time.perf_counter(), None, None
        try:
            frames = self.frames(llm, job.group, job.video)
        except VideoError as found:
            error = found
        seconds = time.perf_counter() - start
        return Decoded(job.video, frames, error, seconds, waited=seconds)

    def records(
        self, llm: VideoModel, job: Job, decoded: Decoded, words: Words | None = None
    ) -> Iterator[tuple[str, list[Record] | Seen]]:
        """A job's records, a batch of one experiment's at a time; a video told, where nobody here reads.

        words: captions and language models, for experiments where one has a say.
        """
        group, read = self.groups[job.group], self.here.read
        several = len(group) > 1
        shared = FilmFeatures(llm, decoded.frames, group[0].resize, len(group)) if several else None
        for experiment in (one for one in group if one.id in job.asked):
            own = self.methods.get(experiment.id, {})
            ways: dict[Method, list[Question]] = {}
            for question in job.asked[experiment.id]:
                ways.setdefault(own.get(question.key, experiment.method), []).append(question)
            for method, some in ways.items():
                one, part = replace(experiment, method=method), decoded.share(len(ways))
                if one.told and one.reasoner is None:  # the driver has it
                    yield experiment.id, look(llm, one, some, part, shared=shared, words=words, read=read)
                    continue
                for records in answer_video(
                    llm, one, some, part, batch=self.batch, shared=shared, words=words, read=read
                ):
                    yield experiment.id, records

    def answer(self, llm: VideoModel, job: Job, read: Decoded, waited: float) -> list[Found]:
        """All that comes of a job on a worker, by experiment; new captions first."""
        decoded, words = replace(read, waited=min(waited, read.seconds)), CarriedWords(llm, job.carried or Carried())
        seen: list[Found] = []
        found: dict[str, list[Record]] = {}
        for name, records in self.records(llm, job, decoded, words):
            if isinstance(records, Seen):
                seen.append((name, records))
            else:
                found.setdefault(name, []).extend(records)
        return [*words.made.items(), *seen, *found.items()]

    def given_up(self, job: Job, error: WorkerLost) -> list[Named]:
        """The records of a job that nobody came back from."""
        return [(name, [failure(one, "worker", error) for one in asked]) for name, asked in job.asked.items()]


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
