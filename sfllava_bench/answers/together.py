"""Several plans on the same films, answered together: each film decoded and each frame encoded once for all of them.

It writes the same answers.jsonl for each plan as `run_benchmark` would, so everything behind goes on as ever: kill it
anywhere, start it again, judge, report, compare.
"""

from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

from tqdm.auto import tqdm

from sfllava_bench.answers.counts import collect
from sfllava_bench.answers.journal import Journal
from sfllava_bench.answers.layouts import Ask, records_through
from sfllava_bench.answers.runner import STAMPED, session
from sfllava_bench.questions.records import Question
from sfllava_bench.runs.plans import Plan
from sfllava_core.video.folder import VideoFolder
from sfllava_core.video.reading import DEFAULT_TIMEOUT_S


def can_share(plans: list[Plan]) -> bool:
    """Whether plans are of one model and one folder of videos, read in one way, each under its own id.

    decord's pictures depend on the frames that are asked for together, so its reading is not shared.
    """
    kinds = {
        (plan.model, plan.videos, plan.settings.resize, plan.settings.decoder, plan.settings.share) for plan in plans
    }
    one, first = len(kinds) == 1, plans[0].settings
    apart = len({plan.id for plan in plans}) == len(plans)
    return one and apart and first.share == "video" and first.decoder != "decord"


def answer_together(
    llm,
    plans: list[Plan],
    out: str | Path,
    *,
    retry_failed: bool = False,
    batch: int = 16,
    workers: int = 2,
    ahead: int = 4,
    timeout_s: float | None = DEFAULT_TIMEOUT_S,
    progress: bool = True,
    say: Callable[[str], None] = print,
) -> None:
    """Answer all that is left to answer of these plans, film by film, each answer on the disk before the next film.

    Args:
        llm: the plans' model.  out: out/<plan.id>/answers.jsonl is written, or gone on with.
        retry_failed, batch, workers, ahead, timeout_s, progress: as in `run_benchmark`.

    Raises:
        ValueError: plans that cannot share their films.  JournalError, HostError, ModelError: as in `run_benchmark`.
    """
    if not can_share(plans):
        raise ValueError("plans that are answered together need one model, one folder of videos, and ids of their own")
    with ExitStack() as stack:
        asks, journals, done = [], {}, 0
        for plan in plans:
            questions = plan.questions()
            settings = plan.settings.record(questions, llm)
            journal = stack.enter_context(Journal(Path(out) / plan.id / "answers.jsonl", "answers", settings))
            left = unanswered(journal, questions, retry_failed)
            if left:
                journal.append({"session": session(llm, len(left), journal.repaired)})
            stamp = {"run": journal.fingerprint, **{name: journal.settings[name] for name in STAMPED}}
            asks.append(Ask(plan.id, plan.settings, left, stamp))
            journals[plan.id], done = journal, done + len(questions) - len(left)
        total = done + sum(len(ask.questions) for ask in asks)
        bar = stack.enter_context(tqdm(total=total, initial=done, disable=not progress, unit="q"))
        films = len({question.video for ask in asks for question in ask.questions})
        say(f"{total} questions in {len(plans)} runs, {done} answered before; {films} films to watch")
        videos = VideoFolder(plans[0].videos)
        running = {"batch": batch, "workers": workers, "ahead": ahead, "timeout_s": timeout_s}
        found = stack.enter_context(closing(records_through(llm, asks, videos, **running)))
        for name, records in found:
            journals[name].append(*records)
            bar.update(sum("key" in record for record in records))


def unanswered(journal: Journal, questions: list[Question], retry_failed: bool) -> list[Question]:
    """The questions that a run's file has no answer to."""
    outcome = collect(journal.settings, journal.fingerprint, journal.records)
    done = outcome.answers.keys() if retry_failed else outcome.answers.keys() | outcome.failures.keys()
    return [question for question in questions if question.key not in done]
