"""results.json: everything that a run has found, for machines. Its layout has a version."""

import json
import math
import os
from collections import Counter
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path

from sfllava_bench.answers.counts import Outcome
from sfllava_bench.answers.shapes import RESULTS, wrong_shape
from sfllava_bench.questions.records import Question, find_benchmark
from sfllava_bench.reports.timing import timing
from sfllava_bench.scores.judge import Judgements
from sfllava_bench.scores.scores import Metric, all_metrics, choice_reading
from sfllava_bench.scores.stats import Interval, verdict
from sfllava_core import __version__

SCHEMA_VERSION = 2
REQUIRED = (
    "schema_version", "run", "plan", "benchmark", "settings", "counts", "set", "metrics", "judge", "timing", "table",
)  # fmt: skip


class ResultsError(ValueError):
    """A results.json that this version cannot read."""


def make_results(
    questions: list[Question],
    outcome: Outcome,
    judgements: Judgements | None = None,
    *,
    run: str = "",
    published: dict[str, float] | None = None,
    note: str = "",
    plan: dict[str, str] | None = None,
) -> dict:
    """All numbers of a run as plain JSON.

    Args:
        published: the paper's values by their names there ("accuracy", "score", ...).
        note: a doubt that goes with the comparison.  plan: fingerprints of what was asked for; see reproduce.py.

    Raises:
        CountsError: the records are not of these questions.
    """
    counts, benchmark = outcome.counts(questions), find_benchmark(questions[0].benchmark)
    metrics = [metric_fields(metric, published or {}) for metric in all_metrics(questions, outcome, judgements)]
    seconds, reading = timing(outcome), choice_reading(questions, outcome)
    videos = len({question.video for question in questions})
    results = {
        "schema_version": SCHEMA_VERSION,
        "kit_version": __version__,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "run": run or f"{benchmark.name} {outcome.settings['pathways']}",
        "plan": plan or {},
        "benchmark": benchmark.name,
        "title": benchmark.title,
        "note": note,
        "settings": outcome.settings,
        "fingerprint": outcome.fingerprint,
        "sessions": outcome.sessions,
        "set": {
            "questions": len(questions),
            "videos": videos,
            "published_questions": benchmark.questions,
            "published_videos": benchmark.videos,
            "whole": (len(questions), videos) == (benchmark.questions, benchmark.videos),
        },
        "counts": {**asdict(counts), "text": str(counts)},
        "failures": dict(Counter(record["error"] for record in outcome.failures.values()).most_common()),
        "metrics": metrics,
        "choices": None if reading is None else asdict(reading),
        "judge": None if judgements is None else judge_fields(judgements),
        "timing": {
            **asdict(seconds),
            "shared_way": seconds.shared_way,
            "saved": seconds.saved,
            "questions_a_second": seconds.rate,
        },
    }
    results["table"] = [table_row(results, fields) for fields in metrics]
    return clean(results)


def metric_fields(metric: Metric, published: dict[str, float]) -> dict:
    """A metric with the paper's value beside it, and where that lies."""
    value = published.get(metric.published_as) if metric.published_as else None
    both = (metric.over_expected, metric.over_answered)
    verdicts = [None if value is None or one is None else verdict(value, one, decimals_of(metric)) for one in both]
    return {
        "name": metric.name,
        "unit": metric.unit,
        "papers_metric": bool(metric.published_as),
        "over_expected": asdict(metric.over_expected),
        "over_answered": None if metric.over_answered is None else asdict(metric.over_answered),
        "groups": {group: asdict(interval) for group, interval in metric.groups.items()},
        "published": value,
        "published_is": verdicts[0],
        "published_is_over_answered": verdicts[1],
    }


def decimals_of(metric: Metric) -> int:
    """Decimals that the paper prints: one for accuracies and table 1's scores, two for table 3's."""
    return 2 if metric.unit == "0-5" and metric.published_as != "score" else 1


def judge_fields(judgements: Judgements) -> dict:
    """Who judged, by which wording, and the counts of it."""
    return {
        "settings": judgements.settings,
        "served_models": judgements.served_models,
        "counts": {**asdict(judgements.counts), "text": str(judgements.counts)},
        "failures": dict(Counter(judgements.failures.values()).most_common(20)),
        "stopped": judgements.stopped,
    }


def table_row(results: dict, fields: dict) -> dict:
    """One line for people: what, how much, how sure, and what the paper has."""
    value, answered = fields["over_expected"], fields["over_answered"]
    decimals = 1 if fields["unit"] == "%" else 2
    return {
        "run": results["run"],
        "benchmark": results["benchmark"],
        "metric": fields["name"],
        "unit": fields["unit"],
        "value": round(value["value"], decimals),
        "95 % interval": interval_text(Interval(**value), decimals),
        "over answered": "-" if answered is None else round(answered["value"], decimals),
        "answered": f"{results['counts']['answered']}/{results['counts']['expected']}",
        "paper": "-" if fields["published"] is None else fields["published"],
        "paper is": fields["published_is"] or "-",
    }


def interval_of(found: dict) -> Interval:
    """An interval as `clean` has written it: null stands for NaN."""
    return Interval(**{name: math.nan if value is None else value for name, value in found.items()})


def interval_text(interval: Interval, decimals: int) -> str:
    """ "43.1 to 51.3"."""
    if math.isnan(interval.low):
        return "unknown"
    return f"{interval.low:.{decimals}f} to {interval.high:.{decimals}f}"


def clean(value):
    """JSON has no NaN: null stands for it. Tuples become lists."""
    if isinstance(value, dict):
        return {str(name): clean(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [clean(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_results(results: dict, path: str | Path) -> Path:
    """Write results.json whole or not at all."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(results, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
    temporary.replace(path)
    return path


def read_results(path: str | Path) -> dict:
    """A results.json.

    Raises:
        ResultsError: it is none, or of another version.
    """
    try:
        results = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ResultsError(f"{path}: it cannot be read: {error}") from error
    version = results.get("schema_version") if isinstance(results, dict) else None
    if version != SCHEMA_VERSION:
        raise ResultsError(f"{path}: schema version {version!r}, this kit reads {SCHEMA_VERSION}: make it again")
    if absent := [name for name in REQUIRED if name not in results]:
        raise ResultsError(f"{path}: it lacks {', '.join(absent)}")
    if reason := wrong_shape(results, RESULTS):
        raise ResultsError(f"{path}: {reason}: it has been changed by hand; delete it and start the run again")
    return results
