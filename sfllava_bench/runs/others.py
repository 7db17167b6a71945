"""Others' predictions from file to report: joined, scored like a run of our own, and under every rule that is known."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from sfllava_bench.questions.annotations import load_annotations
from sfllava_bench.questions.benchmarks.base import find_benchmark
from sfllava_bench.questions.records import MULTIPLE_CHOICE, TEXT_GENERATION, Question
from sfllava_bench.reports.page import render
from sfllava_bench.reports.report import write_report
from sfllava_bench.reports.results import QuestionSet, Results, make_results, metric_result, text_rows, write_results
from sfllava_bench.scores.chat import Judge
from sfllava_bench.scores.judge import judge_answers, judgements_file, settings_of
from sfllava_bench.scores.predictions import RULES, differing, join, questions_of, read_predictions, readings
from sfllava_bench.scores.scores import PERCENT, Metric, metric

OF_OUR_OWN = {"reference", "strict"}  # rules that every run is scored under


def score_predictions(
    benchmark: str,
    predictions: str | Path,
    annotations: str | Path | None = None,
    out: str | Path = "runs",
    judge: Judge | None = None,
    *,
    progress: bool = True,
    say: Callable[[str], None] = print,
) -> tuple[Results, list[dict[str, str]]]:
    """Score a file that the released code, or one that descends from it, wrote.

    Writes out/predictions_<benchmark>_<folder>_<file>/: results.json, report.html, and for choices rules.html with the
    rows that the rules read differently.

    Args:
        annotations: the benchmark's files. Without them the questions are those that the lines tell, so what the file
            leaves out is not seen, and each question counts as its own video.
        judge: for open-ended questions; without one only exact and token match are given for those.

    Returns:
        Its numbers, and the rows on which the rules differ.

    Raises:
        PredictionsError: the file cannot be used, or is of other questions.
        AnnotationError: the annotations cannot.
        ValueError: an unknown benchmark, or one of text generation, whose files have another form.
    """
    file, chosen = Path(predictions), find_benchmark(benchmark)
    if chosen.task == TEXT_GENERATION:
        raise ValueError(f"--predictions of {benchmark}: only choices and open-ended questions are read")
    rows = read_predictions(file)
    questions = questions_of(chosen, rows, file) if annotations is None else load_annotations(benchmark, annotations)
    outcome, how = join(questions, rows, file)
    name = f"predictions_{benchmark}_{file.resolve().parent.name}_{file.stem}"
    folder = Path(out) / name
    say(f"{name}: {len(rows)} predictions joined {how}; {outcome.counts(questions)}")

    judgements = None
    if judge is not None and any(question.task != MULTIPLE_CHOICE for question in questions):
        path = judgements_file(folder, settings_of(questions, judge))
        judgements = judge_answers(questions, outcome, judge, path, progress=progress)
    found = readings(questions, outcome)
    notes = [f"predictions of others, {file.name}"]
    if annotations is None:
        notes.append("no annotations were given: the questions are the file's own, each counted as a video of its own")
    results = make_results(questions, outcome, judgements, run=name, note="; ".join(notes))
    results = replace(results, metrics=(*results.metrics, *map(by_itself, rule_metrics(questions, found))))
    if annotations is None:  # what is not in the file cannot be missed
        results = replace(results, set=QuestionSet(len(questions), results.set.videos, None, None))
    write_report(results, questions, outcome, folder / "report.html", judgements=judgements)
    write_results(results, folder / "results.json")
    differ = differing(found)
    if found:
        write_rules(results, differ, folder / "rules.html")
    say(f"{name}: report: {folder / 'report.html'}")
    return results, differ


def by_itself(one: Metric):
    """A metric with nothing of the paper's beside it."""
    return metric_result(one, {})


def rule_metrics(questions: Sequence[Question], found: Sequence[dict[str, str]]) -> list[Metric]:
    """Accuracy under the rules that our own runs are not scored under."""
    asked = [question for question in questions if question.task == MULTIPLE_CHOICE]
    return [
        metric(f"accuracy_{rule}", PERCENT, asked, {row["id"]: float(row[rule] == row["right"]) for row in found})
        for rule in RULES
        if asked and rule not in OF_OUR_OWN
    ]


def write_rules(results: Results, differ: Sequence[dict[str, str]], path: Path) -> None:
    """A page with the numbers, what each rule is, and the rows that they read differently."""
    tables = {
        "": text_rows(results.rows()),
        "Rules of reading a choice": [{"rule": rule, "is": told} for rule, told in RULES.items()],
        f"{len(differ)} of {results.counts.answered} answers that the rules read differently": list(differ),
    }
    path.write_text(render("tables.html", title=f"{results.title}: {results.run}", tables=tables), encoding="utf-8")
