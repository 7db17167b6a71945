"""Others' predictions: the files that the released SlowFast-LLaVA code and its descendants write, as answers of a run.

A line is a JSON object: `id` and `pred`, mostly `question`, `answer`, and for choices `candidates`, `answer_number`.

    merge.jsonl -> `read_predictions` -> `join` with a benchmark's questions -> Outcome -> scores, and `readings`:
    each choice under every rule that is known
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sfllava_bench.answers.counts import Outcome, collect
from sfllava_bench.questions.benchmarks.base import Benchmark
from sfllava_bench.questions.records import MULTIPLE_CHOICE, Question, fingerprint, questions_fingerprint
from sfllava_bench.questions.rows import LONGEST, STRAY_NUMBER, place_in
from sfllava_bench.questions.tables import MAX_BYTES, MAX_SHOWN, half_character
from sfllava_bench.terminal import visible
from sfllava_core.answering.choices import parse_choice

NOT_THERE = "the file has no prediction for it"
RULES = {
    "reference": "the released code's: a first letter of either case, overridden by 'A:' or 'A)', then 'B:' ...",
    "first_letter": "the first character alone, of either case",
    "strict": "a letter that stands alone at the start (ours)",
    "option_text": "IG-VLM's: the released rule with capitals only, and texts of options are compared, not letters",
}


class PredictionsError(ValueError):
    """A file of predictions that cannot be used. Attribute: problems, one text for each."""

    def __init__(self, file: Path, problems: list[str]):
        self.problems = problems
        shown = "\n".join(f"  {visible(problem):.{LONGEST}}" for problem in problems[:MAX_SHOWN])
        more = f"\n  ... and {len(problems) - MAX_SHOWN} more" if len(problems) > MAX_SHOWN else ""
        super().__init__(f"{file}: {len(problems)} problem(s) in the predictions:\n{shown}{more}")


@dataclass(frozen=True)
class Prediction:
    """One line. What it does not say is None; `text` is what the model wrote."""

    line: int
    id: str
    text: str
    question: str | None = None
    answer: str | None = None
    options: tuple[str, ...] | None = None
    answer_index: int | None = None


def read_predictions(file: str | Path) -> list[Prediction]:
    """The predictions of a file, in its order; empty lines are passed over.

    Raises:
        PredictionsError: it cannot be read, holds none, or lines are malformed, all of them named.
    """
    file = Path(file)
    try:
        if (size := file.stat().st_size) > MAX_BYTES:
            raise PredictionsError(file, [f"{size} bytes: at most {MAX_BYTES} are read"])
        lines = file.read_bytes().decode("utf-8-sig").split("\n")
    except OSError as error:
        raise PredictionsError(file, [f"it cannot be read: {error.strerror}"]) from error
    except UnicodeDecodeError as error:
        raise PredictionsError(file, [f"byte {error.start} is not UTF-8: save the file as UTF-8"]) from error
    found, problems = [], []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                found.append(prediction(number, json.loads(line)))
            except (ValueError, RecursionError) as error:
                problems.append(f"line {number}: {error}")
    if problems or not found:
        raise PredictionsError(file, problems or ["it holds no line"])
    return found


def prediction(line: int, fields: object) -> Prediction:
    """A line's fields, checked. Raises ValueError."""
    if not isinstance(fields, dict):
        raise ValueError(f"{fields!r:.60} is no object")
    if (half := half_character(fields)) is not None:
        raise ValueError(f"{half} is half a character: write the whole one")
    key, options, number = fields.get("id"), fields.get("candidates"), fields.get("answer_number")
    if isinstance(key, bool) or not isinstance(key, (str, int)) or key == "":
        raise ValueError(f"id is {key!r:.60}: it must be a text or a number")
    if not isinstance(fields.get("pred"), str):
        raise ValueError(f"pred is {fields.get('pred')!r:.60}: it must be what the model wrote, a text")
    for name in ("question", "answer"):
        if not isinstance(fields.get(name, ""), str):
            raise ValueError(f"{name} is {fields[name]!r:.60}: it must be text")
    if options is not None and not (isinstance(options, list) and all(isinstance(one, str) for one in options)):
        raise ValueError(f"candidates is {options!r:.60}: it must be a list of texts")
    place = None if number is None else place_in(number, len(options or ()))
    if number is not None and place is None:
        raise ValueError(f"answer_number {number!r:.40} is none of its {len(options or ())} candidates")
    answer = fields.get("answer")
    return Prediction(
        line,
        str(key),
        fields["pred"],
        fields.get("question"),
        answer,
        None if options is None else tuple(options),
        place,
    )


def join(questions: Sequence[Question], predictions: Sequence[Prediction], file: Path) -> tuple[Outcome, str]:
    """Predictions as a run's outcome, and how they were joined: "by key", or "by order" where keys repeat.

    By order, each prediction goes to the next question that it can be of: that has its text, and its options and
    answer where it gives them. So rows may be missing, which the released code leaves out; which of two questions with
    the same text and the same answer is the missing one then cannot be told, and makes no difference to a number over
    all. A question without a prediction has failed.

    Raises:
        PredictionsError: a key that comes twice, or predictions that are of other questions.
    """
    by_key = {question.key: question for question in questions}
    times = Counter(one.id for one in predictions)
    if times.keys() <= by_key.keys():
        twice = [
            f"id {key!r} is there {number} times, it must be unique" for key, number in times.items() if number > 1
        ]
        pairs = [(by_key[one.id], one) for one in predictions]
        wrong = [difference(question, one) for question, one in pairs]
        problems = twice or [text for text in wrong if text]
        how = "by key"
    else:
        pairs, problems = in_order(questions, predictions)
        how = "by order"
    if problems:
        raise PredictionsError(file, problems)
    said = {
        question.key: {"key": question.key, "video": question.video, "answers": [one.text]} for question, one in pairs
    }
    missing = {"error": NOT_THERE}
    records = [said.get(one.key) or {"key": one.key, "video": one.video, **missing} for one in questions]
    settings = {"predictions": file.name, "joined": how, "questions": questions_fingerprint(list(questions))}
    return collect(settings, fingerprint([settings, records]), records), how


def in_order(
    questions: Sequence[Question], predictions: Sequence[Prediction]
) -> tuple[list[tuple[Question, Prediction]], list[str]]:
    """Each prediction with the next question that it can be of; and the first that has none."""
    left, pairs = iter(questions), list[tuple[Question, Prediction]]()
    for one in predictions:
        found = next(
            (question for question in left if one.question is not None and not difference(question, one)), None
        )
        if found is None:
            told = "question is missing" if one.question is None else f"question {one.question!r:.120}"
            why = f"line {one.line}: id {one.id!r} is no key of the benchmark, or one of several, and by order {told}"
            after = f" after {pairs[-1][0].key!r}" if pairs else ""
            return pairs, [f"{why} is not found{after}: are these the annotations of this file, and in its order?"]
        pairs.append((found, one))
    return pairs, []


def difference(question: Question, one: Prediction) -> str:
    """What a prediction says otherwise than the question that it is to be of; empty where nothing."""
    told: dict[str, Any] = {"question": one.question, "answer": one.answer, "candidates": one.options}
    ours: dict[str, Any] = {
        "question": question.questions[0],
        "answer": question.answer,
        "candidates": question.options,
    }
    for name, value in told.items():
        if value is not None and plain(value) != plain(ours[name]):
            return f"line {one.line}: {name} of {one.id!r} is {value!r:.120}, the annotations have {ours[name]!r:.120}"
    return ""


def plain(value: str | tuple[str, ...]) -> object:
    """A text without what annotation files differ in: spaces at the edges, a stray number before a question."""
    return STRAY_NUMBER.sub("", value, count=1).strip() if isinstance(value, str) else [one.strip() for one in value]


def questions_of(benchmark: Benchmark, predictions: Sequence[Prediction], file: Path) -> list[Question]:
    """The questions as the predictions themselves tell them; each counts as its own video, whose name they lack.

    Raises:
        PredictionsError: they do not tell question and answer, or the answer is none of the candidates.
    """
    found, problems, seen = [], [], Counter[str]()
    times = Counter(one.id for one in predictions)
    choice = benchmark.task == MULTIPLE_CHOICE
    for one in predictions:
        options, index = (one.options or (), one.answer_index) if choice else ((), None)
        if choice and index is None and one.answer in options:
            index = options.index(one.answer)
        if one.question is None or one.answer is None:
            problems.append(f"line {one.line} lacks question or answer: give the annotation files")
        elif choice and (index is None or options[index] != one.answer):
            problems.append(
                f"line {one.line}: answer {one.answer!r:.120} is not that of its candidates {options!r:.120}"
            )
        else:
            seen[one.id] += 1
            key = one.id if times[one.id] == 1 else f"{one.id}#{seen[one.id]}"
            found.append(
                Question(benchmark.name, key, key, (one.question,), one.answer, benchmark.task, options, index)
            )
    if problems:
        raise PredictionsError(file, problems)
    return found


def read_letter(text: str, question: Question, rule: str) -> str | None:
    """The letter ("A", "B", ...) of the option that a text chooses under one of `RULES`; None where it reads none.

    Under "option_text" options of the same text are one: the letter of the first, or of the answer among them.
    """
    if rule != "option_text":
        letter = (parse_choice(text, rule) or "").upper()
        return letter if letter and ord(letter) - ord("A") < len(question.options) else None
    named = parse_choice(text, capitals_only=True)
    place = len(question.options) if named is None else ord(named) - ord("a")
    if place >= len(question.options):
        return None
    same = question.options[place] == question.answer
    return question.answer_letter if same else "ABCDE"[question.options.index(question.options[place])]


def readings(questions: Sequence[Question], outcome: Outcome) -> list[dict[str, Any]]:
    """Of each choice that was written: its key, the letter under every rule ("-" for none), the right one, the text."""
    asked = [one for one in questions if one.task == MULTIPLE_CHOICE and one.key in outcome.answers]
    return [
        {
            "id": one.key,
            **{rule: read_letter(text, one, rule) or "-" for rule in RULES},
            "right": one.answer_letter,
            "pred": text,
        }
        for one in asked
        for text in outcome.answers[one.key]["answers"]
    ]


def differing(rows: Sequence[dict[str, str]], rules: Sequence[str] = tuple(RULES)) -> list[dict[str, str]]:
    """Those of `readings` that not all of these rules read alike."""
    return [row for row in rows if len({row[rule] for rule in rules}) > 1]
