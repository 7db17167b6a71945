"""Two finished runs on the same questions, compared question by question."""

from dataclasses import dataclass
from pathlib import Path

from sfllava_bench.answers.counts import Outcome, read_outcome
from sfllava_bench.answers.experiment import Experiment
from sfllava_bench.questions.records import Question
from sfllava_bench.reports.results import read_results
from sfllava_bench.scores.judge import judgements_file, read_judgements
from sfllava_bench.scores.scores import PERCENT, Metric, all_metrics
from sfllava_bench.scores.stats import Paired, paired_comparison


@dataclass(frozen=True)
class Made:
    """A finished run, read from its folder: its questions, records and first metric."""

    id: str
    questions: list[Question]
    outcome: Outcome
    metric: Metric


def read_made(experiment: Experiment, out: str | Path) -> Made:
    """Read a run that `reproduce` has made, judged as its results.json says."""
    folder, questions = Path(out) / experiment.id, experiment.questions()
    outcome, judge = read_outcome(folder / "answers.jsonl"), read_results(folder / "results.json").judge
    judgements = None
    if judge is not None:
        judgements = read_judgements(judgements_file(folder, judge.settings), questions, outcome)
    return Made(experiment.id, questions, outcome, all_metrics(questions, outcome, judgements)[0])


def first_alike(made: list[Made]) -> Made | None:
    """The first of the runs before the last that has its questions and its metric."""
    last = made[-1]
    wanted = (last.outcome.settings["questions"], last.metric.name)
    found = [one for one in made[:-1] if (one.outcome.settings["questions"], one.metric.name) == wanted]
    return found[0] if found else None


def paired(a: Made, b: Made) -> Paired:
    """a minus b over all expected questions (what failed counts as wrong), in per cent or on the judge's scale.

    Left out is what the metric is not of: questions of another task, and those without an answer to compare with.

    Raises:
        ValueError: runs on other questions, or with another metric.
    """
    if a.outcome.settings["questions"] != b.outcome.settings["questions"] or a.metric.name != b.metric.name:
        raise ValueError(f"{a.id} and {b.id} are not on the same questions with the same metric")
    factor = 100.0 if a.metric.unit == PERCENT else 1.0
    tasks = {q.task for q in a.questions if q.key in a.metric.values or q.key in b.metric.values}
    scored = [question for question in a.questions if question.has_reference and question.task in tasks]
    values = [{q.key: factor * one.metric.values.get(q.key, 0.0) for q in scored} for one in (a, b)]
    return paired_comparison(*values, {question.key: question.video for question in scored})


def compare(a: Made, b: Made) -> str:
    """ "+8.20 [+0.70, +15.60], p = 0.031, against table2_7b_egoschema"."""
    found = paired(a, b)
    return f"{found.difference.text(2, signed=True)}, p = {found.p_value:.3f}, against {b.id}"
