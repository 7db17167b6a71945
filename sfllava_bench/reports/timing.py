"""Where a run's seconds went, and how many the shared prefix saved."""

from dataclasses import dataclass, replace

from sfllava_bench.answers.counts import Outcome

ONCE = ("decode", "encode", "pool", "prefill")  # once a video when shared, once a question in the released way


@dataclass(frozen=True)
class Timing:
    """Seconds of a run by stage, summed over videos; decoding runs beside the model, `waited` is what it held up.

    questions, videos: how many were answered, and watched.  total: of the model's work, `waited` with it.
    released_way: the seconds that the same stages would take with all of it done again for each question: each
    video's own seconds times its questions. An estimate from this run, not a measurement.
    """

    stages: dict[str, float]
    questions: int
    videos: int
    total: float
    released_way: float

    @property
    def shared_way(self) -> float:
        """All stages one after another, as `released_way` counts them."""
        return sum(self.stages.get(stage, 0.0) for stage in (*ONCE, "answer"))

    @property
    def saved(self) -> float:
        """Seconds that sharing saved, by that estimate."""
        return self.released_way - self.shared_way

    @property
    def rate(self) -> float:
        """Questions a second."""
        return self.questions / self.total if self.total else 0.0

    @property
    def waited(self) -> float:
        """Seconds that the model stood idle for want of frames."""
        return self.stages.get("waited", 0.0)

    def __str__(self) -> str:
        """ "5 questions about 2 videos in 12.3 s; the model waited 0.5 s (4 %) for frames"."""
        share = self.waited / self.total if self.total else 0.0
        return (
            f"{self.questions} questions about {self.videos} videos in {self.total:.1f} s; the model waited "
            f"{self.waited:.1f} s ({share:.0%}) for frames"
        ).replace("%)", " %)")


def timing(outcome: Outcome) -> Timing:
    """Add up a run's records."""
    stages: dict[str, float] = {}
    released = 0.0
    for record in outcome.watched:
        seconds = record["seconds"]
        for stage, value in seconds.items():
            stages[stage] = stages.get(stage, 0.0) + value
        own = sum(seconds.get(stage, 0.0) for stage in ONCE)
        released += own * record["questions"] + seconds.get("answer", 0.0)
    total = stages.pop("total", 0.0) + stages.get("waited", 0.0)
    return Timing(stages, len(outcome.answers), len({r["watched"] for r in outcome.watched}), total, released)


@dataclass(frozen=True)
class OneByOne:
    """The same questions asked with the video shared, and with everything done again for each: measured.

    questions: that both ways answered.  same: of these, answers that are the same to the letter.  videos: of them.
    """

    questions: int
    same: int
    videos: int
    seconds_one_by_one: float
    seconds_shared: float

    def __str__(self) -> str:
        slow, fast = self.seconds_one_by_one, self.seconds_shared
        return (
            f"Measured on {self.questions} questions about {self.videos} videos: {slow:.1f} s one by one, "
            f"{fast:.1f} s shared, {slow - fast:.1f} s saved; {self.same} of {self.questions} answers are the same to "
            "the letter."
        )


def compare_ways(shared: Outcome, alone: Outcome) -> OneByOne:
    """Two runs of the same questions, with the video shared and everything done again for each: measured.

    Only questions that the second has answered are compared, and the seconds of their videos.
    """
    both, same = same_answers(shared, alone)
    videos = {record["video"] for record in alone.answers.values()}
    part = replace(
        shared,
        answers={key: record for key, record in shared.answers.items() if key in alone.answers},
        watched=[record for record in shared.watched if record["watched"] in videos],
    )
    return OneByOne(both, same, len(videos), timing(alone).shared_way, timing(part).shared_way)


def same_answers(a: Outcome, b: Outcome) -> tuple[int, int]:
    """(questions that both runs answered, of these with the same words or letter)."""
    keys = a.answers.keys() & b.answers.keys()
    same = sum(
        all(a.answers[key].get(name) == b.answers[key].get(name) for name in ("answers", "letter")) for key in keys
    )
    return len(keys), same
