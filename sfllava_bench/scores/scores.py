"""A run's records -> its numbers: each over all questions expected, and over those answered. No model is needed."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from sfllava_bench.answers.asking import method_that_asked
from sfllava_bench.answers.counts import Outcome
from sfllava_bench.captions.scoring import credit
from sfllava_bench.questions.records import ASPECTS, MULTIPLE_CHOICE, OPEN_ENDED, TEXT_GENERATION, Question
from sfllava_bench.scores.judge import Judgements
from sfllava_bench.scores.matching import MATCHES, match
from sfllava_bench.scores.stats import Interval, clustered_interval
from sfllava_core.answering.choices import parse_choice
from sfllava_core.methods.base import Method
from sfllava_core.prompts import option_letters

PERCENT, SCALE = "%", "0-5"
BOUNDS = {PERCENT: (0.0, 1.0), SCALE: (0.0, 5.0)}
OWN = "own"
RULES = ("reference", "strict")  # of reading a choice; a method that has one of its own is read by that first


@dataclass(frozen=True)
class Metric:
    """One number of a run.

    unit: "%" or "0-5".  over_expected: what failed counts as wrong, or as 0.  over_answered: what failed is left out,
    as the released code does; None where nothing was answered.  groups: over expected, by type of question.
    published_as: the paper's name of it ("accuracy", "score", an aspect, "mean"); empty for what the paper has not.
    values: of each answered question (0 to 1, or 0 to 5).
    """

    name: str
    unit: str
    over_expected: Interval
    over_answered: Interval | None
    groups: dict[str, Interval]
    published_as: str = ""
    values: dict[str, float] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class ChoiceReading:
    """How far the rules of reading a choice agree. differ: rows; unread: rows where a rule read no letter."""

    rows: int
    differ: int
    unread: dict[str, int]


def all_metrics(questions: list[Question], outcome: Outcome, judgements: Judgements | None = None) -> list[Metric]:
    """Every number of a run, the paper's own metrics first; over the questions that have an answer to compare with."""
    questions = [question for question in questions if question.has_reference]
    found = [*choice_metrics(questions, outcome)]
    if judgements is not None:
        found += judge_metrics(questions, judgements)
    return [*found, *match_metrics(questions, outcome)]


def metric(name: str, unit: str, questions: list[Question], values: dict[str, float], published_as: str = "") -> Metric:
    """A metric from the values of the answered ones among the questions, of which there is at least one."""
    factor = 100.0 if unit == PERCENT else 1.0

    def interval(some: list[Question]) -> Interval:
        return mean(some, values, BOUNDS[unit]).scaled(factor)

    groups: dict[str, list[Question]] = {}
    for question in questions:
        groups.setdefault(question.group, []).append(question)
    by_group = {group: interval(groups[group]) for group in sorted(groups)} if len(groups) > 1 else {}
    answered = [question for question in questions if question.key in values]
    over_answered = interval(answered) if answered else None
    return Metric(name, unit, interval(questions), over_answered, by_group, published_as, values)


def mean(questions: list[Question], values: dict[str, float], bounds: tuple[float, float]) -> Interval:
    """Mean over questions, 0 for those without a value."""
    each, videos = [values.get(question.key, 0.0) for question in questions], [q.video for q in questions]
    return clustered_interval(each, videos, bounds=bounds)


def rules_of(method: Method) -> tuple[str, ...]:
    """The rules that its choices are read by, the one it was published with first: "reference" is the paper's."""
    return RULES if type(method).read_choice is Method.read_choice else (OWN, *RULES)


def chosen_letter(record: dict, question: Question, method: Method, rule: str = "") -> str | None:
    """The letter "a", "b", ... that an answer's record names.

    Args:
        method: the one that asked.
        rule: one of `rules_of(method)`; the first by default.
    """
    if "letter" in record:
        return record["letter"].lower()
    text, rule = record["answers"][0], rule or rules_of(method)[0]
    if rule != OWN:
        return parse_choice(text, rule)
    place = method.read_choice(text, question.options)
    return None if place is None else option_letters(question.options)[place].lower()


def is_right_choice(record: dict, question: Question, method: Method, rule: str = "") -> bool:
    """Whether an answer's record names the right option; the rest is as in `chosen_letter`."""
    return chosen_letter(record, question, method, rule) == (question.answer_letter or "").lower()


def choice_metrics(questions: list[Question], outcome: Outcome) -> Iterator[Metric]:
    """Accuracy of choices: by the rule of the method that asked, then by the others; the paper's is "reference".

    Raises:
        SpecError: the method's code is not defined here.
    """
    asked = [question for question in questions if question.task == MULTIPLE_CHOICE]
    if not asked:
        return
    method = method_that_asked(outcome.settings)
    by_key, own = {question.key: question for question in asked}, dict[str, float]()
    rules = rules_of(method) if outcome.settings.get("by") != "likelihood" else RULES[:1]
    for rule in rules:
        values = {
            question.key: float(is_right_choice(outcome.answers[question.key], question, method, rule))
            for question in asked
            if question.key in outcome.answers
        }
        own = own or values  # the first rule's
        name, published_as = ("accuracy", "accuracy") if rule == rules[0] else (f"accuracy_{rule}", "")
        yield metric(name, PERCENT, asked, values, published_as)
    guessing = getattr(method, "credit", "")  # of a method whose release gives unread answers a guess's share
    if guessing and values:
        read = {key: chosen_letter(outcome.answers[key], by_key[key], method) for key in values}
        guess = {key: credit(guessing, len(by_key[key].options)) for key in values if read[key] is None}
        yield metric(f"accuracy_{guessing}_credit", PERCENT, asked, own | guess)


def choice_reading(questions: list[Question], outcome: Outcome) -> ChoiceReading | None:
    """How the rules of reading differ; None where no choice was written."""
    asked = [q for q in questions if q.task == MULTIPLE_CHOICE and "answers" in outcome.answers.get(q.key, ())]
    if not asked:
        return None
    method = method_that_asked(outcome.settings)
    letters = {
        rule: [chosen_letter(outcome.answers[q.key], q, method, rule) for q in asked] for rule in rules_of(method)
    }
    differ = sum(len(set(row)) > 1 for row in zip(*letters.values()))
    return ChoiceReading(len(asked), differ, {rule: read.count(None) for rule, read in letters.items()})


def match_metrics(questions: list[Question], outcome: Outcome) -> Iterator[Metric]:
    """Exact and token match of open-ended answers: not the paper's metric."""
    asked = [question for question in questions if question.task == OPEN_ENDED]
    matches = {
        question.key: match(outcome.answers[question.key]["answers"][0], question.answer)
        for question in asked
        if question.key in outcome.answers
    }
    for name in MATCHES if asked else ():
        yield metric(name, PERCENT, asked, {key: found[name] for key, found in matches.items()})


def judge_metrics(questions: list[Question], judgements: Judgements) -> list[Metric]:
    """The judge's numbers: accuracy and score of open-ended answers, VCGBench's five scores and their mean."""
    found: list[Metric] = []
    asked = [question for question in questions if question.task == OPEN_ENDED]
    records = {key: record for (key, kind), record in judgements.found.items() if kind == OPEN_ENDED}
    if asked:
        right = {key: float(record["yes"]) for key, record in records.items()}
        score = {key: float(record["score"]) for key, record in records.items()}
        cut = {key: float(int(value)) for key, value in score.items()}  # what the released code makes of 4.8
        found.append(metric("judge_accuracy", PERCENT, asked, right, "accuracy"))
        found.append(metric("judge_score", SCALE, asked, score, "score"))
        if cut != score:
            found.append(metric("judge_score_cut", SCALE, asked, cut))
    generated = [question for question in questions if question.task == TEXT_GENERATION]
    by_aspect = {}
    for aspect, part in ASPECTS.items():
        values = {key: float(r["score"]) for (key, kind), r in judgements.found.items() if kind == aspect}
        if some := [q for q in generated if q.group == part]:
            by_aspect[aspect] = metric(f"judge_{aspect}", SCALE, some, values, aspect)
    found += by_aspect.values()
    if len(by_aspect) == len(ASPECTS):
        found.append(mean_of_aspects(generated, by_aspect))
    return found


def mean_of_aspects(questions: list[Question], by_aspect: dict[str, Metric]) -> Metric:
    """The plain mean of the five scores, with its interval: each aspect weighs the same, however many questions."""

    def interval(answered_only: bool) -> Interval | None:
        values, videos, weights = [], [], []
        for aspect, one in by_aspect.items():
            asked = [q for q in questions if q.group == ASPECTS[aspect] and (not answered_only or q.key in one.values)]
            values += [one.values.get(question.key, 0.0) for question in asked]
            videos += [question.video for question in asked]
            weights += [1 / (len(by_aspect) * len(asked))] * len(asked)
        return clustered_interval(values, videos, weights, bounds=BOUNDS[SCALE]) if values else None

    over_expected = interval(False)
    assert over_expected is not None, "each aspect has questions"
    return Metric("judge_mean", SCALE, over_expected, interval(True), {}, "mean")
