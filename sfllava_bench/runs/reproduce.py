"""From a plan to its report: preflight, model, answers, judgements, numbers. What is done already is not done again."""

import contextlib
import shutil
from collections.abc import Callable
from dataclasses import replace
from operator import add
from pathlib import Path

from sfllava_bench.questions.annotations import AnnotationError
from sfllava_bench.answers.counts import Outcome, read_outcome
from sfllava_bench.scores.chat import Judge, JudgeError
from sfllava_bench.answers.journal import JournalError, answers_fingerprint, count_answered, read_journal
from sfllava_bench.scores.judge import Judgements, judge_answers, judgements_file, settings_of
from sfllava_bench.runs.plans import Plan
from sfllava_bench.runs.preflight import PreflightError, check_judge, check_memory, check_videos
from sfllava_bench.questions.records import MULTIPLE_CHOICE, Question, fingerprint, questions_fingerprint
from sfllava_bench.reports.report import write_report
from sfllava_bench.reports.results import Results, ResultsError, make_results, read_results, write_results
from sfllava_bench.answers.runner import run_benchmark
from sfllava_bench.answers.surroundings import check_room, host_at_fault
from sfllava_bench.reports.timing import OneByOne, compare_ways
from sfllava_core.video.folder import VideoFolder
from sfllava_core.checkpoints import ModelError
from sfllava_core.video.integrity import VideoError
from sfllava_core.video.reading import DEFAULT_TIMEOUT_S

FAILS = (AnnotationError, PreflightError, JudgeError, JournalError, ModelError, VideoError, OSError)


@host_at_fault()
def reproduce(
    plan: Plan,
    out: str | Path = "runs",
    *,
    judge: Judge | None = None,
    load: Callable[[str], object] | None = None,
    allow_missing: bool = False,
    retry_failed: bool = False,
    one_by_one: int = 0,
    follow_links: bool = False,
    batch: int = 16,
    workers: int = 2,
    ahead: int = 4,
    timeout_s: float | None = DEFAULT_TIMEOUT_S,
    progress: bool = True,
    say: Callable[[str], None] = print,
) -> Results:
    """Run a plan to the end, or go on with it, or find it done.

    Writes out/<plan.id>/: answers.jsonl, judgements-....jsonl, results.json, report.html.

    Args:
        judge: for open-ended questions and VCGBench; without one only exact and token match are given for those.
        load: makes the model of its name; the default is `VideoLLM.from_pretrained`.
        allow_missing: run although videos are missing; their questions count as failed in every number.
        retry_failed: ask again what failed at an earlier start.
        one_by_one: for this many videos, ask again one question at a time with nothing shared, and report both times.
        batch, workers, ahead, timeout_s, progress: as in `run_benchmark`; timeout_s for the report's pictures too.

    Returns:
        The content of results.json; `results.skipped` is True where all of it was done before.

    Raises:
        PreflightError: something is missing; nothing was begun.
        HostError, ModelError: as in `run_benchmark`; the same again goes on.
    """
    folder, questions = Path(out) / plan.id, plan.questions()
    needs_judge = judge is not None and any(question.task != MULTIPLE_CHOICE for question in questions)
    judge = judge if needs_judge else None
    asked_for = fingerprints(plan, questions, judge, one_by_one)
    done = finished(folder / "results.json", asked_for, retry_failed)
    if done == "all":
        results = read_results(folder / "results.json")
        say(f"{plan.id}: done already, {results.counts}")
        return replace(results, skipped=True)

    videos = VideoFolder(plan.videos, follow_links=follow_links)
    showing = {"videos": videos, "timeout_s": timeout_s, "asked_for": asked_for, "say": say, "progress": progress}
    if done == "answers":  # only the judge has work left: no model is loaded
        outcome, earlier = read_outcome(folder / "answers.jsonl"), read_results(folder / "results.json")
        return score(plan, questions, outcome, folder, judge, ways=earlier.one_by_one, **showing)
    preflight(plan, questions, videos, judge, allow_missing, folder, say)
    llm = (load or load_model)(plan.model)
    adopt(folder, answers_fingerprint(plan.settings.record(questions, llm)), say)
    running = {"batch": batch, "workers": workers, "ahead": ahead, "timeout_s": timeout_s}
    running |= {"retry_failed": retry_failed, "progress": progress}
    outcome = run_benchmark(llm, questions, videos, folder / "answers.jsonl", plan.settings, **running)
    say(f"{plan.id}: {outcome.counts(questions)}")
    ways = None
    if one_by_one:
        alone = ask_one_by_one(llm, questions, videos, folder, plan, one_by_one, running)
        ways = compare_ways(outcome, alone)
        say(f"{plan.id}: {ways}")
    return score(plan, questions, outcome, folder, judge, ways=ways, **showing)


def score(
    plan: Plan,
    questions: list[Question],
    outcome: Outcome,
    folder: Path,
    judge: Judge | None,
    *,
    videos: VideoFolder | None,
    asked_for: dict[str, str] | None = None,
    ways: OneByOne | None = None,
    timeout_s: float | None = DEFAULT_TIMEOUT_S,
    progress: bool = True,
    say: Callable[[str], None] = print,
) -> Results:
    """Judge, add up, and write results.json and report.html. No model and no GPU is needed."""
    judgements: Judgements | None = None
    if judge is not None:
        path = judgements_file(folder, settings_of(questions, judge))
        judgements = judge_answers(questions, outcome, judge, path, progress=progress)
        say(f"{plan.id}: judge: {judgements.counts}{'; ' + judgements.stopped if judgements.stopped else ''}")
    told = {"run": plan.id, "published": plan.published, "note": plan.note, "plan": asked_for, "one_by_one": ways}
    results = make_results(questions, outcome, judgements, **told)
    shown = {"judgements": judgements, "videos": videos, "timeout_s": timeout_s}
    write_report(results, questions, outcome, folder / "report.html", **shown)
    write_results(results, folder / "results.json")
    say(f"{plan.id}: report: {folder / 'report.html'}")
    return results


def rescore(plan: Plan, out: str | Path = "runs", judge: Judge | None = None, **more: object) -> Results:
    """Score a run's answers again, by another judge or wording say; neither model nor GPU is needed.

    more: timeout_s, progress, say, as in `reproduce`.

    Raises:
        JournalError: the plan has not been run.  CountsError: its answers are of other questions.
    """
    folder, questions = Path(out) / plan.id, plan.questions()
    outcome = read_outcome(folder / "answers.jsonl")
    videos = None
    with contextlib.suppress(VideoError):
        videos = VideoFolder(plan.videos)
    return score(plan, questions, outcome, folder, judge, videos=videos, **more)


def preflight(
    plan: Plan,
    questions: list[Question],
    videos: VideoFolder,
    judge: Judge | None,
    allow_missing: bool,
    folder: Path,
    say: Callable,
) -> None:
    """Videos, memory, room, judge; stops if something is missing. What was watched before is not opened again."""
    watched: set[str] = set()
    with contextlib.suppress(JournalError):
        watched = {record["watched"] for record in read_outcome(folder / "answers.jsonl").watched}
    found = check_videos(questions, videos, watched=frozenset(watched))
    obstacles, notes = map(add, check_memory(plan.model, plan.settings.pathways), check_judge(judge))
    found = replace(found, obstacles=[*obstacles, *check_room(folder)], notes=[*found.notes, *notes])
    found.require(allow_missing)
    say(str(found))


def adopt(folder: Path, wanted: str, say: Callable[[str], None]) -> None:
    """Take over the answers, and judgements, of another run beside this one that asked the very same.

    The paper's default is a row of tables 1, 5, 6 and 7: it is run once.
    """
    if (folder / "answers.jsonl").exists():
        return
    for path in sorted(folder.parent.glob("*/answers.jsonl")):
        with contextlib.suppress(JournalError):
            if read_journal(path)[0]["fingerprint"] == wanted:
                folder.mkdir(parents=True, exist_ok=True)
                for file in (*path.parent.glob("judgements-*.jsonl"), path):
                    shutil.copy2(file, folder / f"{file.name}.new")
                    (folder / f"{file.name}.new").replace(folder / file.name)
                say(f"{folder.name}: takes over the answers of {path.parent.name}, which asked the same")
                return


def ask_one_by_one(llm, questions, videos, folder: Path, plan: Plan, number: int, running: dict) -> Outcome:
    """The released way on the first videos, into a file of its own."""
    names = set(list(dict.fromkeys(question.video for question in questions))[:number])
    some = [question for question in questions if question.video in names]
    settings = replace(plan.settings, share="nothing")
    return run_benchmark(llm, some, videos, folder / "one_by_one.jsonl", settings, **running)


def fingerprints(plan: Plan, questions: list[Question], judge: Judge | None, one_by_one: int) -> dict[str, str]:
    """Stand for what was asked for: its answers, and all of it. The same again is skipped."""
    answers = {**plan.identity(), "questions": questions_fingerprint(questions), "one_by_one": one_by_one}
    judged = None if judge is None else settings_of(questions, judge)
    return {"answers": fingerprint(answers), "all": fingerprint({**answers, "judge": judged})}


def finished(path: Path, asked_for: dict[str, str], retry_failed: bool) -> str:
    """What an earlier start has finished of the same plan: "all", "answers" or "" for nothing."""
    try:
        results = read_results(path)
    except ResultsError:
        return ""
    counts, judge = results.counts, results.judge
    again = retry_failed and counts.failed
    if counts.pending or again or results.plan.get("answers") != asked_for["answers"]:
        return ""
    left = judge is not None and (judge.counts.pending or judge.failures)
    return "answers" if left or results.plan.get("all") != asked_for["all"] else "all"


def how_to_go_on(plans: list[Plan], out: str | Path) -> str:
    """What is kept of plans that were broken off, and how to go on, in one line."""
    answered = sum(count_answered(Path(out) / plan.id / "answers.jsonl")[0] for plan in plans)
    expected = sum(len(plan.questions()) for plan in plans)
    return f"{answered:,} of {expected:,} questions are answered and kept: the same command goes on"


def load_model(name: str) -> object:
    """The model of a plan."""
    from sfllava_core.model import VideoLLM

    return VideoLLM.from_pretrained(name)
