"""What a run has found, as values. results.json is their rendering for machines; report.html, tables and the terminal
are those for people (report.py, tables.py). The file's layout has a version.
"""

import json
import math
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, cast

from sfllava_bench.answers.counts import Counts, CountsError, Outcome
from sfllava_bench.answers.journal import Record, refuse_constant
from sfllava_bench.answers.shapes import SessionRecord, ShapeError, parse
from sfllava_bench.questions.benchmarks.base import find_benchmark
from sfllava_bench.questions.records import Question
from sfllava_bench.reports.timing import OneByOne, Timing, timing
from sfllava_bench.scores.judge import Judgements
from sfllava_bench.scores.scores import PERCENT, SCALE, ChoiceReading, Metric, all_metrics, choice_reading
from sfllava_bench.scores.stats import Interval, verdict
from sfllava_core import __version__

SCHEMA_VERSION = 3  # in 2, the settings named the `method` `pathways`
DECIMALS = {PERCENT: 1, SCALE: 2}  # that a value is shown with


class ResultsError(ValueError):
    """A results.json that this version cannot read."""


@dataclass(frozen=True)
class MetricResult:
    """A number of a run, and the paper's beside it.

    papers_metric: whether the paper has it at all.  published: its value there, where there is one to compare with.
    published_is, published_is_over_answered: where that lies with regard to our intervals: "inside", "above", "below"
    or "unknown".
    The others: as in `Metric`.
    """

    name: str
    unit: str
    papers_metric: bool
    over_expected: Interval
    over_answered: Interval | None
    groups: dict[str, Interval]
    published: float | None
    published_is: str | None
    published_is_over_answered: str | None


@dataclass(frozen=True)
class QuestionSet:
    """How much was asked, and how much the published benchmark has (None: its size varies).

    unscored: questions that have no answer to compare with; no number is over them.
    """

    questions: int
    videos: int
    published_questions: int | None
    published_videos: int | None
    unscored: int = 0

    @property
    def no_score(self) -> str:
        """What there is to say of questions without an answer to compare with; empty where all have one."""
        if not self.unscored:
            return ""
        if self.unscored == self.questions:
            return "answers, and no score: no question has an answer to compare with"
        return (
            f"{self.unscored} of {self.questions} questions have no answer to compare with: "
            f"the numbers are over the other {self.questions - self.unscored}"
        )

    @property
    def whole(self) -> bool:
        """Whether it is the published benchmark's size."""
        return (self.questions, self.videos) == (self.published_questions, self.published_videos)


@dataclass(frozen=True)
class JudgeResult:
    """Who judged, by which wording, and what became of the judgements.

    served_models: judgements by the model that the server named.  failures: how often each error came.
    stopped: why judging ended early; empty where it did not.
    """

    settings: Record
    served_models: dict[str, int]
    counts: Counts
    failures: dict[str, int]
    stopped: str


@dataclass(frozen=True)
class Results:
    """All that a run has found.

    plan: fingerprints of what was asked for; see reproduce.py.  title: the benchmark's.
    note: a doubt that goes with the comparison.  settings, fingerprint, sessions: of the file of answers.
    failures: questions by their error.  choices, judge, one_by_one: None where there is nothing to say.
    skipped: whether all of it was done before; not in the file.
    """

    run: str
    benchmark: str
    title: str
    note: str
    created: str
    kit_version: str
    plan: dict[str, str]
    settings: Record
    fingerprint: str
    sessions: tuple[SessionRecord, ...]
    set: QuestionSet
    counts: Counts
    failures: dict[str, int]
    metrics: tuple[MetricResult, ...]
    choices: ChoiceReading | None
    judge: JudgeResult | None
    timing: Timing
    one_by_one: OneByOne | None = None
    schema_version: int = SCHEMA_VERSION
    skipped: bool = field(default=False, compare=False)

    def rows(self) -> list[dict[str, Any]]:
        """A row for each metric: what, how much, how sure, and what the paper has. Numbers, None where there is none.

        answered, expected: questions.  over_answered: the value over those alone.
        """
        return [
            {
                "run": self.run,
                "benchmark": self.benchmark,
                "metric": metric.name,
                "unit": metric.unit,
                "value": metric.over_expected.value,
                "low": number(metric.over_expected.low),
                "high": number(metric.over_expected.high),
                "over_answered": None if metric.over_answered is None else metric.over_answered.value,
                "answered": self.counts.answered,
                "expected": self.counts.expected,
                "paper": metric.published,
                "paper_is": metric.published_is,
            }
            for metric in self.metrics
        ]


def make_results(
    questions: list[Question],
    outcome: Outcome,
    judgements: Judgements | None = None,
    *,
    run: str = "",
    published: dict[str, float] | None = None,
    note: str = "",
    plan: dict[str, str] | None = None,
    one_by_one: OneByOne | None = None,
) -> Results:
    """All numbers of a run.

    Args:
        published: the paper's values by their names there ("accuracy", "score", ...).
        note: a doubt that goes with the comparison.
        plan: fingerprints of what was asked for; see reproduce.py.
        one_by_one: what sharing was measured to save.

    Raises:
        CountsError: the records are not of these questions.
    """
    counts, benchmark = outcome.counts(questions), find_benchmark(questions[0].benchmark)
    videos, unscored = len({q.video for q in questions}), sum(not q.has_reference for q in questions)
    return Results(
        run=run or f"{benchmark.name} {outcome.settings['method']}",
        benchmark=benchmark.name,
        title=benchmark.title,
        note=note,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        kit_version=__version__,
        plan=plan or {},
        settings=outcome.settings,
        fingerprint=outcome.fingerprint,
        sessions=tuple(cast(list[SessionRecord], outcome.sessions)),
        set=QuestionSet(len(questions), videos, benchmark.questions, benchmark.videos, unscored),
        counts=counts,
        failures=dict(Counter(record["error"] for record in outcome.failures.values()).most_common()),
        metrics=tuple(metric_result(one, published or {}) for one in all_metrics(questions, outcome, judgements)),
        choices=choice_reading(questions, outcome),
        judge=None if judgements is None else judge_result(judgements),
        timing=timing(outcome),
        one_by_one=one_by_one,
    )


def metric_result(metric: Metric, published: dict[str, float]) -> MetricResult:
    """A metric with the paper's value beside it, and where that lies."""
    value = published.get(metric.published_as) if metric.published_as else None
    both = (metric.over_expected, metric.over_answered)
    verdicts = [None if value is None or one is None else verdict(value, one, papers_decimals(metric)) for one in both]
    numbers = (metric.over_expected, metric.over_answered, metric.groups)
    return MetricResult(metric.name, metric.unit, bool(metric.published_as), *numbers, value, *verdicts)


def papers_decimals(metric: Metric) -> int:
    """Decimals that the paper prints: one for accuracies and table 1's scores, two for table 3's."""
    return 2 if metric.unit == SCALE and metric.published_as != "score" else 1


def judge_result(judgements: Judgements) -> JudgeResult:
    """Who judged, by which wording, and the counts of it."""
    served = {str(name): count for name, count in judgements.served_models.items()}
    failures = dict(Counter(judgements.failures.values()).most_common(20))
    return JudgeResult(judgements.settings, served, judgements.counts, failures, judgements.stopped)


def text_rows(rows: Iterable[dict[str, Any]]) -> list[dict[str, str]]:
    """Rows of `Results.rows`, or of a sweep, for people: intervals in brackets, "-" for what there is not."""
    return [text_row(row) for row in rows]


def text_row(row: dict[str, Any]) -> dict[str, str]:
    """One row for people. A run that has no value says why in its column "metric"."""
    texts = {name: str(row[name]) for name in ("run", "benchmark", "metric")}
    if row.get("value") is None:
        texts |= dict.fromkeys(("unit", "value (95 %)", "over answered", "answered", "paper", "paper is"), "-")
    else:
        decimals = DECIMALS[row["unit"]]
        value, low, high = (math.nan if row[name] is None else row[name] for name in ("value", "low", "high"))
        found = Interval(value, low, high, 0, 0)
        answered, paper = row["over_answered"], row["paper"]
        texts |= {
            "unit": row["unit"],
            "value (95 %)": found.text(decimals),
            "over answered": "-" if answered is None else f"{answered:.{decimals}f}",
            "answered": f"{row['answered']}/{row['expected']}",
            "paper": "-" if paper is None else f"{paper:g}",
            "paper is": row["paper_is"] or "-",
        }
    return {**texts, **({"against": row["against"] or ""} if "against" in row else {})}


def number(value: float) -> float | None:
    """None stands for NaN and the infinities, which JSON has not."""
    return value if math.isfinite(value) else None


def clean(value):
    """As JSON has it: null for a number that is none, lists for tuples."""
    if isinstance(value, dict):
        return {str(name): clean(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [clean(one) for one in value]
    return number(value) if isinstance(value, float) else value


def write_results(results: Results, path: str | Path) -> Path:
    """Write results.json whole or not at all."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    fields = {"schema_version": results.schema_version, **clean(asdict(results))}
    del fields["skipped"]
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(fields, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
    temporary.replace(path)
    return path


def read_results(path: str | Path) -> Results:
    """A results.json.

    Raises:
        ResultsError: it is none, of another version, or has been changed by hand.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
        fields = json.loads(text, parse_constant=refuse_constant)
    except (OSError, ValueError, RecursionError) as error:
        raise ResultsError(f"{path}: it cannot be read: {error}") from error
    version = fields.get("schema_version") if isinstance(fields, dict) else None
    if type(version) is not int or version != SCHEMA_VERSION:
        raise ResultsError(
            f"{path}: schema version {version!r}, this kit reads {SCHEMA_VERSION}: "
            "the same command makes it again from its answers, or says why it cannot"
        )
    try:
        return parse(text, Results)
    except (ShapeError, CountsError) as error:
        raise ResultsError(f"{path}: {error}: it has been changed by hand; delete it and start the run again") from None
