"""Two finished runs on the same questions, compared question by question."""

from collections.abc import Sequence

from sfllava_bench.reports.run import Run
from sfllava_bench.scores.scores import PERCENT
from sfllava_bench.scores.stats import Paired, paired_comparison


def alike(a: Run, b: Run) -> bool:
    """Whether two runs have the same questions and the same metric."""
    same = a.answers.settings["questions"] == b.answers.settings["questions"]
    return same and a.metric.name == b.metric.name


def first_alike(runs: Sequence[Run]) -> Run | None:
    """The first of the runs before the last that has its questions and its metric."""
    return next((run for run in runs[:-1] if alike(run, runs[-1])), None)


def paired(a: Run, b: Run) -> Paired:
    """a minus b over all expected questions (what failed counts as wrong), in per cent or on the judge's scale.

    Left out is what the metric is not of: questions of another task, and those without an answer to compare with.

    Raises:
        ValueError: runs on other questions, or with another metric.
    """
    if not alike(a, b):
        raise ValueError(f"{a.id} and {b.id} are not on the same questions with the same metric")
    factor = 100.0 if a.metric.unit == PERCENT else 1.0
    tasks = {q.task for q in a.questions if q.key in a.metric.values or q.key in b.metric.values}
    scored = [question for question in a.questions if question.has_reference and question.task in tasks]
    of_a, of_b = ({q.key: factor * one.metric.values.get(q.key, 0.0) for q in scored} for one in (a, b))
    return paired_comparison(of_a, of_b, {question.key: question.video for question in scored})


def compare(a: Run, b: Run) -> str:
    """ "+8.20 [+0.70, +15.60], p = 0.031, against table2_7b_egoschema"."""
    found = paired(a, b)
    return f"{found.difference.text(2, signed=True)}, p = {found.p_value:.3f}, against {b.id}"
