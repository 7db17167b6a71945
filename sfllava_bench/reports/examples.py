"""Examples for the report: a few right and a few wrong answers, each with frames that the model saw."""

from dataclasses import dataclass, field

import sfllava_bench.peers.loading  # noqa: F401  parse_spec knows the peers' methods too, then
from sfllava_bench.answers.asking import defined_method, method_that_asked
from sfllava_bench.answers.counts import Outcome
from sfllava_bench.questions.records import MULTIPLE_CHOICE, OPEN_ENDED, Question
from sfllava_bench.reports.page import data_uri
from sfllava_bench.scores.judge import Judgements
from sfllava_bench.scores.matching import match
from sfllava_bench.scores.scores import is_right_choice
from sfllava_core.methods.base import Method
from sfllava_core.video.folder import VideoFolder
from sfllava_core.video.integrity import VideoError

EXAMPLES = 4  # of each kind
PICTURES = 8  # frames shown of a video


@dataclass(frozen=True)
class Frame:
    """A frame on a page: its picture as an address that holds it, and its name."""

    uri: str
    name: str


@dataclass(frozen=True)
class Example:
    """One question with frames of its video, the model's words and the right answer.

    no_frames: why there are none.
    """

    question: Question
    said: list[str]
    right: str
    frames: list[Frame]
    no_frames: str


@dataclass
class Gallery:
    """Frames of a run's videos, read again from their files; each video once."""

    outcome: Outcome
    videos: VideoFolder | None
    shown: dict[str, tuple[list[Frame], str]] = field(default_factory=dict)

    def frames(self, name: str) -> tuple[list[Frame], str]:
        """Some of the frames that the model saw of a video; or none, and why."""
        if name not in self.shown:
            self.shown[name] = self.read(name)
        return self.shown[name]

    def read(self, name: str) -> tuple[list[Frame], str]:
        """Decode a video again."""
        seen = next((record for record in self.outcome.watched if record["watched"] == name), None)
        if self.videos is None or seen is None:
            return [], "no videos' folder was given"
        settings = self.outcome.settings
        rule = defined_method(settings["method"]).sample
        try:
            frames = self.videos.read(name, rule, decoder=settings["decoder"], size=(84, 112))
        except VideoError as error:
            return [], error.cause
        if list(frames.indices) != seen["frames"]:
            return [], "the file has changed since the run"
        places = range(0, len(frames), max(1, -(-len(frames) // PICTURES)))
        return [Frame(data_uri(frames.pixels[n]), f"frame {frames.indices[n]}") for n in places], ""


def examples(
    questions: list[Question], outcome: Outcome, judgements: Judgements | None, gallery: Gallery
) -> dict[str, list[Example]]:
    """A few "right" and a few "wrong" answers, spread over the set; those without a yes or no apart ("further")."""
    chosen = any(question.task == MULTIPLE_CHOICE for question in questions)
    asking = method_that_asked(outcome.settings) if chosen else None
    verdicts = {q.key: is_right(q, outcome, judgements, asking) for q in questions if q.key in outcome.answers}
    kinds = {}
    for wanted, kind in ((True, "right"), (False, "wrong"), (None, "further")):
        found = [question for question in questions if verdicts.get(question.key, "failed") is wanted]
        some = found[:: max(1, len(found) // EXAMPLES)][:EXAMPLES]
        if some:
            kinds[kind] = [example(question, outcome, gallery) for question in some]
    return kinds


def is_right(question: Question, outcome: Outcome, judgements: Judgements | None, asking: Method | None) -> bool | None:
    """Right or wrong, by the metric that there is; None for scores without a yes or no, and what cannot be told.

    asking: the method that asked, by whose rule a choice is read.
    """
    record = outcome.answers[question.key]
    if not question.has_reference:
        return None
    if question.task == MULTIPLE_CHOICE:
        assert asking is not None, "choices have a method that asked"
        return is_right_choice(record, question, asking)
    if question.task != OPEN_ENDED:
        return None
    if judgements is None:
        return bool(match(record["answers"][0], question.answer)["contains_answer"])
    judged = judgements.found.get((question.key, OPEN_ENDED))
    return judged["yes"] if judged else None


def example(question: Question, outcome: Outcome, gallery: Gallery) -> Example:
    """One question with all that is shown of it."""
    record = outcome.answers[question.key]
    said = record.get("answers") or [f"({record['letter']})"]
    right = f"({question.answer_letter}) {question.answer}" if question.answer_letter else question.answer
    return Example(question, said, right, *gallery.frames(question.video))
