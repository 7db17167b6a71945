"""PocketBench through the layouts: one experiment for each, and one table of them all.

A question is right or wrong: an open answer by its exact words, a choice by the letter that was written. A family's
accuracy is the mean of its two forms, the accuracy the mean of the families. Intervals resample films; each layout is
compared with SlowFast question by question.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from sfllava_bench.answers.asking import method_that_asked
from sfllava_bench.answers.experiment import Experiment
from sfllava_bench.answers.layouts import LAYOUTS, answered
from sfllava_bench.questions.records import MULTIPLE_CHOICE, Question
from sfllava_bench.reports.run import Run
from sfllava_bench.scores.stats import Interval, clustered_interval
from sfllava_core.defaults import POCKET, POCKETBENCH, required

# Per cent that a guesser gets: asked openly, one of 10 digits, 16 things, the 2 that are named, yes or no, 5 ways to
# move; and one of 5 options. In the table each family is the mean of both.
ANSWERS = {"detail": 10, "brief": 16, "order": 2, "presence": 2, "motion": 5}
OPEN_CHANCE = {family: 100 / answers for family, answers in ANSWERS.items()}
CHANCE = {family: (chance + 100 / 5) / 2 for family, chance in OPEN_CHANCE.items()}


@dataclass(frozen=True)
class LayoutScore:
    """One row of the table, in per cent.

    tokens: visual tokens of a film (the median).  accuracy: mean over families.  families: by name.
    cells: by (family, "open" or "choice").  lead: of the first layout over this one; None for the first itself.
    """

    layout: str
    tokens: int
    accuracy: Interval
    families: dict[str, Interval]
    cells: dict[tuple[str, str], Interval]
    lead: Interval | None


def pocketbench_experiments(
    model: str | Path | None = None,
    annotations: str | Path | None = None,
    videos: str | Path | None = None,
    *,
    layouts: dict[str, Experiment] = LAYOUTS,
    max_videos: int | None = None,
    **settings: Any,
) -> list[Experiment]:
    """An experiment for each layout, in their order; model and files are those of the kit where none is named.

    Args:
        settings: fields of `Experiment` to set otherwise.

    Raises:
        FileNotFoundError: the kit's own model or films are to be taken, and are not there.
    """
    model, annotations, videos = model or required(POCKET), annotations or required(POCKETBENCH), videos or POCKETBENCH
    files: dict[str, Any] = {"model": str(model), "annotations": Path(annotations), "videos": Path(videos)}
    return [replace(layout, **files, max_videos=max_videos, **settings) for layout in layouts.values()]


def pocketbench_scores(
    experiments: list[Experiment], out: str | Path, layouts: dict[str, Experiment] = LAYOUTS
) -> list[LayoutScore]:
    """The table's rows, from finished runs of these experiments. Films that failed count as wrong."""
    runs = {name: Run.of(one, out) for name, one in zip(layouts, experiments)}
    first = next(iter(runs.values()))
    weights, films = weights_of(first.questions), {question.key: question.video for question in first.questions}
    values = {name: right_or_wrong(name, run) for name, run in runs.items()}
    base, rows = next(iter(values.values())), list[LayoutScore]()
    for name, run in runs.items():
        tokens = sorted(record["visual_tokens"] for record in run.answers.watched)
        lead = {key: base[key] - values[name][key] for key in base}
        rows.append(
            LayoutScore(
                name,
                tokens[len(tokens) // 2] if tokens else 0,
                mean(values[name], weights, films),
                {family: mean(values[name], some, films) for family, some in by_family(first.questions).items()},
                {cell: mean(values[name], some, films) for cell, some in by_cell(first.questions).items()},
                mean(lead, weights, films, bounded=False) if rows else None,
            )
        )
    return rows


def right_or_wrong(name: str, run: Run) -> dict[str, float]:
    """1 or 0 for each question; 0 where there is no answer."""
    records, asking = run.answers.answers, method_that_asked(run.answers.settings)
    return {q.key: float(q.key in records and answered(name, q, records[q.key], asking).right) for q in run.questions}


def form(question: Question) -> str:
    """ "open" or "choice"."""
    return "choice" if question.task == MULTIPLE_CHOICE else "open"


def by_cell(questions: list[Question]) -> dict[tuple[str, str], dict[str, float]]:
    """(family, form) -> weights of its questions, all the same."""
    cells: dict[tuple[str, str], dict[str, float]] = {}
    for question in questions:
        cells.setdefault((question.group, form(question)), {})[question.key] = 1.0
    return cells


def by_family(questions: list[Question]) -> dict[str, dict[str, float]]:
    """Family -> weights of its questions: each of its forms weighs the same."""
    families: dict[str, dict[str, float]] = {}
    for (family, _), cell in by_cell(questions).items():
        families.setdefault(family, {}).update({key: 1 / len(cell) for key in cell})
    return families


def weights_of(questions: list[Question]) -> dict[str, float]:
    """Weights of all questions: each family weighs the same."""
    families = by_family(questions).values()
    return {key: weight / sum(family.values()) for family in families for key, weight in family.items()}


def mean(values: dict[str, float], weights: dict[str, float], films: dict[str, str], bounded: bool = True) -> Interval:
    """Weighted mean in per cent, with its interval over films."""
    keys = list(weights)
    bounds = (0.0, 1.0) if bounded else None
    each, clusters, shares = [values[key] for key in keys], [films[key] for key in keys], list(weights.values())
    return clustered_interval(each, clusters, shares, bounds=bounds).scaled(100)


def scores_frame(scores: list[LayoutScore]) -> pd.DataFrame:
    """The table for machines: one row for each layout, in per cent; low and high are the 95 % interval's ends."""
    rows = []
    for row in scores:
        families = {family: found.value for family, found in row.families.items()}
        numbers = {"mean": row.accuracy.value, "low": row.accuracy.low, "high": row.accuracy.high}
        if row.lead is not None:
            numbers |= {"lead": row.lead.value, "lead_low": row.lead.low, "lead_high": row.lead.high}
        rows.append({"layout": row.layout, "tokens": row.tokens, **families, **numbers})
    return pd.DataFrame(rows)


def text_rows(scores: list[LayoutScore]) -> list[dict[str, str]]:
    """The table for people: one row for each layout, intervals in brackets."""
    return [
        {
            "layout": row.layout,
            "tokens": str(row.tokens),
            **{family: f"{found.value:.1f}" for family, found in row.families.items()},
            "mean (95 %)": row.accuracy.text(),
            "lead of SlowFast (95 %)": "-" if row.lead is None else row.lead.text(signed=True),
        }
        for row in scores
    ]
