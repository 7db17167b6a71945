"""Examples for the report: a few right and a few wrong answers, each with frames that the model saw."""

from dataclasses import dataclass, field

from sfllava_bench.answers.counts import Outcome
from sfllava_bench.questions.records import MULTIPLE_CHOICE, OPEN_ENDED, Question
from sfllava_bench.reports.html import Markup, picture, tag
from sfllava_bench.scores.judge import Judgements
from sfllava_bench.scores.matching import match
from sfllava_bench.scores.scores import chosen_letter
from sfllava_core.methods.specs import parse_spec
from sfllava_core.video.folder import VideoFolder
from sfllava_core.video.integrity import VideoError

EXAMPLES = 4  # of each kind
PICTURES = 8  # frames shown of a video


@dataclass
class Gallery:
    """Frames of a run's videos, read again from their files; each video once."""

    outcome: Outcome
    videos: VideoFolder | None
    shown: dict[str, Markup] = field(default_factory=dict)

    def frames(self, name: str) -> Markup:
        """Some of the frames that the model saw of a video, or why they are not shown."""
        if name not in self.shown:
            self.shown[name] = self.read(name)
        return self.shown[name]

    def read(self, name: str) -> Markup:
        """Decode a video again."""
        seen = next((record for record in self.outcome.watched if record["watched"] == name), None)
        if self.videos is None or seen is None:
            return tag("p", "(frames not shown: no videos' folder was given)", class_="note")
        settings = self.outcome.settings
        number = parse_spec(settings["pathways"]).num_frames
        try:
            frames = self.videos.read(name, number, decoder=settings["decoder"], size=(84, 112))
        except VideoError as error:
            return tag("p", f"(frames not shown: {error.cause})", class_="note")
        if list(frames.indices) != seen["frames"]:
            return tag("p", "(frames not shown: the file has changed since the run)", class_="note")
        places = range(0, len(frames), max(1, -(-len(frames) // PICTURES)))
        return tag("p", *(picture(frames.pixels[n], alt=f"frame {frames.indices[n]}") for n in places))


def example_sections(
    questions: list[Question], outcome: Outcome, judgements: Judgements | None, gallery: Gallery
) -> list[Markup]:
    """A few right and a few wrong answers, spread over the set; those without a yes or no apart."""
    verdicts = {q.key: is_right(q, outcome, judgements) for q in questions if q.key in outcome.answers}
    sections = []
    for wanted, name in ((True, "right"), (False, "wrong"), (None, "further")):
        found = [question for question in questions if verdicts.get(question.key, "failed") is wanted]
        some = found[:: max(1, len(found) // EXAMPLES)][:EXAMPLES]
        shown = [example(question, outcome, gallery, name) for question in some]
        sections += [tag("h2", f"Some {name} answers"), *shown] if shown else []
    return sections


def is_right(question: Question, outcome: Outcome, judgements: Judgements | None) -> bool | None:
    """Right or wrong, by the metric that there is; None for scores without a yes or no, and what was not judged."""
    record = outcome.answers[question.key]
    if question.task == MULTIPLE_CHOICE:
        return chosen_letter(record, "reference") == question.answer_letter.lower()
    if question.task != OPEN_ENDED:
        return None
    if judgements is None:
        return bool(match(record["answers"][0], question.answer)["contains_answer"])
    judged = judgements.found.get((question.key, OPEN_ENDED))
    return judged["yes"] if judged else None


def example(question: Question, outcome: Outcome, gallery: Gallery, kind: str) -> Markup:
    """One question with its frames, the model's words and the right answer."""
    record = outcome.answers[question.key]
    options = [tag("li", option) for option in question.options]
    said = record.get("answers") or [f"({record['letter']})"]
    right = f"({question.answer_letter}) {question.answer}" if question.options else question.answer
    return tag(
        "div",
        gallery.frames(question.video),
        *(tag("p", tag("b", text)) for text in question.questions),
        *([tag("ol", *options, type="A")] if options else []),
        *(tag("p", "model: ", tag("span", text, class_="said")) for text in said),
        tag("p", "answer: ", right),
        tag("p", f"{question.key}, video {question.video}", class_="note"),
        class_=f"example {kind}",
    )
