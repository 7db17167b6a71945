"""What a question of a benchmark is: the record that everything else in `sfllava_bench` works on."""

import hashlib
import json
from dataclasses import asdict, dataclass
from string import ascii_uppercase

TASKS = OPEN_ENDED, MULTIPLE_CHOICE, TEXT_GENERATION = "open_ended", "multiple_choice", "text_generation"
BATCH = 16  # questions about a video that are answered together, where nothing else is said
ASPECTS = {  # what text generation is judged in (table 3's columns), and on which part of the questions
    "correctness": "generic",
    "detail": "generic",
    "context": "generic",
    "temporal": "temporal",
    "consistency": "consistency",
}


@dataclass(frozen=True)
class Question:
    """One row of a benchmark.

    key: unique within the benchmark.  video: the video's name as the annotation file has it, without extension.
    questions: one text; or two paraphrases, both asked, judged together.
    answer: the reference answer; "" where there is none.
    options, answer_index: for multiple choice (answer_index counts from 0; None where there is no answer).
    group: the type of question, for the report.  aspects: what a judge scores 0-5, for text generation.
    """

    benchmark: str
    key: str
    video: str
    questions: tuple[str, ...]
    answer: str
    task: str
    options: tuple[str, ...] = ()
    answer_index: int | None = None
    group: str = ""

    @property
    def has_reference(self) -> bool:
        """Whether there is an answer to compare with; without one a question is asked, and not scored."""
        return bool(self.answer)

    @property
    def aspects(self) -> tuple[str, ...]:
        """The aspects that this question's answer is scored on; empty for tasks other than text generation."""
        if self.task != TEXT_GENERATION:
            return ()
        return tuple(aspect for aspect, part in ASPECTS.items() if part == self.group)

    @property
    def answer_letter(self) -> str | None:
        """ "A" for the first option; None where there are no options."""
        return None if self.answer_index is None else ascii_uppercase[self.answer_index]


def fingerprint(value: object) -> str:
    """16 hex digits that stand for a JSON-able value: equal values, and only they, share them."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def questions_fingerprint(questions: list[Question]) -> str:
    """Stands for a set of questions to the letter, whatever their order."""
    return fingerprint(sorted((asdict(question) for question in questions), key=lambda fields: fields["key"]))
