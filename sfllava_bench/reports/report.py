"""The report of a run as one HTML page: counts, numbers beside the paper's, examples with frames, time, settings.

Here its tables are made; what is said around them stands in templates/report.html.
"""

from pathlib import Path
from string import ascii_uppercase

from sfllava_bench.answers.asking import method_that_asked
from sfllava_bench.answers.counts import Outcome
from sfllava_bench.answers.journal import Record
from sfllava_bench.questions.records import Question
from sfllava_bench.reports.examples import Gallery, examples
from sfllava_bench.reports.page import render
from sfllava_bench.reports.results import DECIMALS, JudgeResult, Results, text_rows
from sfllava_bench.scores.judge import Judgements
from sfllava_bench.scores.scores import chosen_letter
from sfllava_core.video.folder import VideoFolder

MOST_FAILURES = 50  # errors that are listed
MOST_ANSWERS = 200  # answers to questions that cannot be scored
Rows = list[dict[str, object]]


def write_report(
    results: Results,
    questions: list[Question],
    outcome: Outcome,
    path: str | Path,
    *,
    judgements: Judgements | None = None,
    videos: VideoFolder | None = None,
) -> Path:
    """Write the page. `videos` shows the examples' frames; without it, or where one is gone, the page says so."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    page = render(
        "report.html",
        title=f"{results.title}: {results.run}",
        results=results,
        numbers=numbers(results),
        not_the_papers=[metric.name for metric in results.metrics if not metric.papers_metric],
        groups=groups(results),
        judge=judge(results.judge) if results.judge else [],
        failures=[{"questions": n, "error": error} for error, n in list(results.failures.items())[:MOST_FAILURES]],
        answers=(unscored := answers(questions, outcome))[:MOST_ANSWERS],
        more_answers=max(0, len(unscored) - MOST_ANSWERS),
        examples=examples(questions, outcome, judgements, Gallery(outcome, videos)),
        stages=[{"stage": stage, "seconds": f"{value:.1f}"} for stage, value in results.timing.stages.items()],
        settings=settings(results),
        sessions=sessions(results),
    )
    path.write_text(page, encoding="utf-8")
    return path


def numbers(results: Results) -> Rows:
    """Each metric with its interval, and the paper's."""
    return [{name: row[name] for name in row if name not in ("run", "benchmark")} for row in text_rows(results.rows())]


def answers(questions: list[Question], outcome: Outcome) -> Rows:
    """What the model said where there is nothing to compare it with."""
    asked = [one for one in questions if not one.has_reference and one.key in outcome.answers]
    return [
        {
            "video": one.video,
            "question": " / ".join(one.questions),
            "answer": said(one, outcome.answers[one.key], outcome.settings),
            "key": one.key,
        }
        for one in asked
    ]


def said(question: Question, record: Record, settings: Record) -> str:
    """The model's words; of a choice the option, where a letter can be read."""
    letters = ascii_uppercase[: len(question.options)]
    letter = (chosen_letter(record, question, method_that_asked(settings)) or "").upper() if letters else ""
    if letter and letter in letters:
        return f"({letter}) {question.options[letters.index(letter)]}"
    return " / ".join(record.get("answers") or [record.get("letter", "")])


def groups(results: Results) -> Rows:
    """The first metric that has types of questions, by type; empty where none has."""
    split = next((metric for metric in results.metrics if metric.groups), None)
    if split is None:
        return []
    measured = f"{split.name} (95 %)"
    return [
        {
            "type": group or "-",
            "questions": found.questions,
            "videos": found.videos,
            measured: found.text(DECIMALS[split.unit]),
        }
        for group, found in split.groups.items()
    ]


def judge(found: JudgeResult) -> Rows:
    """Who judged."""
    served = [f"{name}: {count} judgements" for name, count in found.served_models.items()]
    return [
        *({"setting": name, "value": value} for name, value in found.settings.items()),
        *({"setting": "model that the server named", "value": text} for text in served),
    ]


def settings(results: Results) -> Rows:
    """All that was set."""
    rows = [{"setting": name, "value": value} for name, value in results.settings.items()]
    return [*rows, {"setting": "fingerprint of all this", "value": results.fingerprint}]


def sessions(results: Results) -> Rows:
    """Where and when it ran."""
    return [
        {
            "started": one["started"],
            "device": one["device"],
            "model": one["model_name"],
            "questions left": one["questions_left"],
            "versions": ", ".join(f"{name} {version}" for name, version in one["versions"].items()),
        }
        for one in results.sessions
    ]
