"""Captions and sub-questions between a run's process, which alone writes, and workers, whose models make captions.

    driver: what is known of a video -> job -> worker: captions, features, answers -> driver: written, a server asked

Requests to a server stay with the driver: sub-questions are asked for when a job is handed out, and captions that came
back are read then. A model that reads by itself (`OWN`) does so where it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from sfllava_bench.answers.journal import Record
from sfllava_bench.answers.video_model import VideoModel
from sfllava_bench.captions.captioner import Clips, Read, caption_video
from sfllava_bench.captions.words import OWN, Records, Words, told_by
from sfllava_bench.questions.records import Question
from sfllava_core.model import VideoLLM

if TYPE_CHECKING:
    from sfllava_bench.answers.experiment import Experiment
    from sfllava_bench.answers.jobs import Job


@dataclass(frozen=True)
class Carried:
    """What goes to a worker with a job.

    captions: of the video's first clips, maybe all.  apart: what a server made of questions, by experiment.
    """

    captions: dict[Clips, list[str]] = field(default_factory=dict)
    apart: dict[str, list[Record]] = field(default_factory=dict)


class LooseCaptions:
    """A video's captions on a worker (`Captions.of`): what is made is put with `records`, and nothing is written."""

    def __init__(self, llm: VideoLLM, clips: Clips, made: list[str], records: list[Record]):
        self.llm, self.clips, self.made, self.records = llm, clips, made, records

    def of(self, name: str, read: Read) -> list[str]:
        """All of them; those that are missing are made. Raises VideoError."""
        self.made = caption_video(self.llm, read, name, self.clips, self.made, self.records.append)
        return self.made


class CarriedWords(Words):
    """`Words` of one job on a worker.

    made: records of new captions, by how videos are cut.
    """

    def __init__(self, llm: VideoModel, carried: Carried):
        super().__init__(llm, "")
        self.carried, self.made = carried, dict[Clips, list[Record]]()
        self.loose: dict[Clips, LooseCaptions] = {}

    def book(self, clips: Clips) -> LooseCaptions:  # type: ignore[override]  # only `of` is asked of it on a worker
        if clips not in self.loose:
            self.made[clips], known = [], self.carried.captions.get(clips, [])
            self.loose[clips] = LooseCaptions(self.llm, clips, known, self.made[clips])
        return self.loose[clips]

    def taken_apart(self, experiment: "Experiment", video: object, questions: Sequence[Question]) -> Records:
        if experiment.reasoner == OWN:
            yield from super().taken_apart(experiment, video, questions)
            return
        keys = {question.key for question in questions}
        yield from (record for record in self.carried.apart[experiment.id] if record["key"] in keys)


class CarriedJobs(Sequence):
    """Jobs, each with what is known of its video and questions when it is handed out.

    words: the driver's, which asks the server.  experiments: by id.
    """

    def __init__(self, jobs: Sequence["Job"], words: Words | None, experiments: dict[str, "Experiment"]):
        self.jobs, self.words, self.experiments = list(jobs), words, experiments

    def __len__(self) -> int:
        return len(self.jobs)

    def __getitem__(self, number: int) -> "Job":  # type: ignore[override]  # they are handed out one by one
        """Raises JudgeError where the server cannot be used, or does not answer any more."""
        job = self.jobs[number]
        worded = [self.experiments[name] for name in job.asked if self.experiments[name].worded]
        if worded and job.carried is None:
            assert self.words is not None, "captions and sub-questions need them"
            clips = {told_by(one).clips for one in worded if one.told and one.captions is None}
            captions = {cut: self.words.book(cut).begun.get(job.video, []) for cut in clips}
            served = [one for one in worded if not one.told and one.reasoner != OWN]
            apart = {one.id: list(self.words.taken_apart(one, None, job.asked[one.id])) for one in served}
            job = self.jobs[number] = replace(job, carried=Carried(captions, apart))  # not asked for again
        return job
