"""The report of a run as one HTML page: counts, numbers beside the paper's, examples with frames, time, settings."""

from pathlib import Path

from sfllava_bench.answers.counts import Outcome
from sfllava_bench.questions.records import Question
from sfllava_bench.reports.examples import Gallery, example_sections
from sfllava_bench.reports.html import Markup, join, page, table, tag
from sfllava_bench.reports.results import DECIMALS, Results, text_rows
from sfllava_bench.scores.judge import Judgements
from sfllava_core.video.folder import VideoFolder
from sfllava_core.video.reading import DEFAULT_TIMEOUT_S

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
table { border-collapse: collapse; margin: .5rem 0 1.5rem } th, td { border: 1px solid #ccc; padding: .2rem .6rem;
text-align: left } caption { text-align: left; color: #555 } img { margin: 1px; vertical-align: top }
.example { border-left: 4px solid #999; padding: .2rem 1rem; margin: 1rem 0 } .right { border-color: #2a7 }
.wrong { border-color: #c42 } .said { white-space: pre-wrap; font-family: ui-monospace, monospace }
.note { color: #555 } .warning { background: #fec; padding: .4rem .8rem }
"""


def write_report(
    results: Results,
    questions: list[Question],
    outcome: Outcome,
    path: str | Path,
    *,
    judgements: Judgements | None = None,
    videos: VideoFolder | None = None,
    timeout_s: float | None = DEFAULT_TIMEOUT_S,
) -> Path:
    """Write the page. `videos` shows the examples' frames; without it, or where one is gone, the page says so."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    title = f"{results.title}: {results.run}"
    examples = example_sections(questions, outcome, judgements, Gallery(outcome, videos, timeout_s))
    sections = [numbers(results), groups(results), choices(results), judge(results), failures(results), *examples,
                seconds(results), settings(results)]  # fmt: skip
    path.write_text(page(title, STYLE, tag("h1", title), *warnings(results), *sections), encoding="utf-8")
    return path


def warnings(results: Results) -> list[Markup]:
    """What a reader must know before any number: not all answered, not the whole set, doubts."""
    counts, whole = results.counts, results.set
    said = [tag("p", str(counts), "; accuracy is given over all that were expected, and over those answered.")]
    if counts.failed or counts.pending:
        lost = counts.failed + counts.pending
        said.append(tag("p", f"{lost} of {counts.expected} questions have no answer.", class_="warning"))
    if whole.published_questions and not whole.whole:
        text = f"This is not the whole set: {whole.questions} of {whole.published_questions} questions about "
        text += f"{whole.videos} of {whole.published_videos} videos."
        said.append(tag("p", text, class_="warning"))
    if results.note:
        said.append(tag("p", results.note, class_="note"))
    return said


def numbers(results: Results) -> Markup:
    """Each metric with its interval, and the paper's."""
    shown = [{name: row[name] for name in row if name not in ("run", "benchmark")} for row in text_rows(results.rows())]
    note = "95 % intervals by bootstrap over videos. 'paper is': the published value is inside, above or below."
    ours = [metric.name for metric in results.metrics if not metric.papers_metric]
    more = f" Not the paper's metrics: {', '.join(ours)}." if ours else ""
    return join(tag("h2", "Numbers"), table(shown), tag("p", note, more, class_="note"))


def groups(results: Results) -> Markup:
    """The first metric by type of question."""
    split = [metric for metric in results.metrics if metric.groups]
    if not split:
        return Markup()
    rows = [
        {
            "type": group or "-",
            "questions": found.questions,
            "videos": found.videos,
            f"{split[0].name} (95 %)": found.text(DECIMALS[split[0].unit]),
        }
        for group, found in split[0].groups.items()
    ]
    return join(tag("h2", "By type of question"), table(rows))


def choices(results: Results) -> Markup:
    """How far the two rules of reading a choice agree."""
    if results.choices is None:
        return Markup()
    found = results.choices
    text = f"The reference (released) and the strict rule of reading differ on {found.differ} of {found.rows} answers; "
    text += ", ".join(f"the {rule} rule reads no letter in {count}" for rule, count in found.unread.items())
    return join(tag("h2", "Reading the choices"), tag("p", f"{text}."))


def judge(results: Results) -> Markup:
    """Who judged."""
    if results.judge is None:
        return Markup()
    found = results.judge
    rows = [{"setting": name, "value": value} for name, value in found.settings.items()]
    rows += [{"setting": "model that the server named", "value": f"{name}: {count} judgements"}
             for name, count in found.served_models.items()]  # fmt: skip
    stopped = [tag("p", found.stopped, class_="warning")] if found.stopped else []
    return join(tag("h2", "Judge"), tag("p", str(found.counts), " (answered: judged)"), *stopped, table(rows))


def failures(results: Results) -> Markup:
    """What failed, and why."""
    if not results.failures:
        return Markup()
    rows = [{"questions": count, "error": error} for error, count in list(results.failures.items())[:50]]
    return join(tag("h2", "Failed"), table(rows))


def seconds(results: Results) -> Markup:
    """Where the time went, and what sharing saved."""
    found = results.timing
    rows = [{"stage": stage, "seconds": f"{value:.1f}"} for stage, value in found.stages.items()]
    text = (
        f"{found.questions} questions about {found.videos} videos; {found.rate:.2f} questions a "
        "second. The same stages done again for each question, as the released code does, would take about "
        f"{found.released_way:.1f} s in place of {found.shared_way:.1f} s: sharing a video between its questions "
        f"saved about {found.saved:.1f} s (estimated from this run's own stage times)."
    )
    measured = results.one_by_one
    more = [tag("p", str(measured))] if measured else []
    return join(tag("h2", "Time"), table(rows), tag("p", text), *more)


def settings(results: Results) -> Markup:
    """All that was set, and where it ran."""
    rows = [{"setting": name, "value": value} for name, value in results.settings.items()]
    rows.append({"setting": "fingerprint of all this", "value": results.fingerprint})
    started = [
        {
            "started": one["started"],
            "device": one["device"],
            "model": one["model_name"],
            "questions left": one["questions_left"],
            "versions": ", ".join(f"{name} {version}" for name, version in one["versions"].items()),
        }
        for one in results.sessions
    ]
    return join(tag("h2", "Settings"), table(rows), tag("h2", "Starts"), table(started))
