"""From an experiment to its report: preflight, model, answers, judgements, numbers. What is done is not done again."""

import contextlib
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from sfllava_bench.answers.counts import Outcome
from sfllava_bench.answers.experiment import Experiment
from sfllava_bench.answers.journal import JournalError, answers_fingerprint, count_answered, read_journal
from sfllava_bench.answers.loop import run
from sfllava_bench.answers.surroundings import check_room, host_at_fault
from sfllava_bench.captions.words import OWN
from sfllava_bench.peers.loading import load_model
from sfllava_bench.questions.annotations import AnnotationError
from sfllava_bench.questions.benchmarks.base import find_benchmark
from sfllava_bench.questions.records import BATCH, Question, fingerprint, questions_fingerprint
from sfllava_bench.reports.report import write_report
from sfllava_bench.reports.results import Results, ResultsError, make_results, write_results
from sfllava_bench.reports.run import Run
from sfllava_bench.reports.timing import OneByOne, compare_ways, timing
from sfllava_bench.runs.preflight import PreflightError, check_judge, check_memory, check_reasoner, check_videos
from sfllava_bench.scores.chat import Judge, JudgeError
from sfllava_bench.scores.judge import judge_answers, judgements_file, kinds_of, settings_of
from sfllava_core.checkpoints import ModelError
from sfllava_core.video.folder import VideoFolder
from sfllava_core.video.integrity import VideoError

FAILS = (AnnotationError, PreflightError, JudgeError, JournalError, ModelError, VideoError, OSError)


@host_at_fault()
def reproduce(
    experiment: Experiment,
    out: str | Path = "runs",
    *,
    judge: Judge | None = None,
    load: Callable[[str], Any] | None = None,
    engine: Callable[[Callable[[], Any]], Any] | None = None,
    open_videos: Callable[[Path], VideoFolder] = VideoFolder,
    allow_missing: bool = False,
    retry_failed: bool = False,
    one_by_one: int = 0,
    loading: Mapping[str, Any] | None = None,
    batch: int = BATCH,
    progress: bool = True,
    say: Callable[[str], None] = print,
) -> Results:
    """Run an experiment to the end, or go on with it, or find it done.

    Writes out/<experiment.id>/: answers.jsonl, judgements-....jsonl, results.json, report.html.

    Args:
        judge: for open-ended questions and VCGBench; without one only exact and token match are given for those.
        load: makes the model of its name; the default is `VideoLLM.from_pretrained` with the RoPE asked for, or a peer.
        engine: makes workers, each with a model of its own, of a call that loads one (`engine.cluster.RayEngine`); the
            default is one model in this process.
        open_videos: makes the folder of videos of its path, with what there is to say about decoding, such as
            `partial(VideoFolder, timeout_s=600)`.
        allow_missing: run although videos are missing; their questions count as failed in every number.
        retry_failed: ask again what failed at an earlier start.
        one_by_one: for this many videos, ask again one question at a time with nothing shared, and report both times.
        loading: how the model is loaded: `device`, `device_map`, `dtype`, `quantization`, as of
            `VideoLLM.from_pretrained`.
        batch, progress: as in `run`.

    Returns:
        The content of results.json; `results.skipped` is True where all of it was done before.

    Raises:
        PreflightError: something is missing; nothing was begun.
        HostError, ModelError: as in `run`; the same again goes on.
    """
    earlier = Run.of(experiment, out)  # what an earlier start has left
    questions = earlier.questions
    judge = judge if needs_judge(questions) else None
    asked_for = fingerprints(experiment, questions, judge, one_by_one, loading)
    done = finished(earlier, asked_for, retry_failed)
    if done == "all":
        say(f"{experiment.id}: done already, {earlier.results.counts}")
        tell_no_score(earlier.results, say)
        return replace(earlier.results, skipped=True)

    videos = open_videos(experiment.folder)
    showing: dict[str, Any] = {"videos": videos, "asked_for": asked_for, "say": say, "progress": progress}
    if done == "answers":  # only the judge has work left: no model is loaded
        return score(experiment, questions, earlier.answers, out, judge, ways=earlier.results.one_by_one, **showing)
    preflight(experiment, earlier, videos, judge, allow_missing, say, loading, batch)
    llm = model_of(experiment, load, loading, engine)
    adopt(earlier, answers_fingerprint(experiment.record(questions, llm)), say)
    running: dict[str, Any] = {"retry_failed": retry_failed, "batch": batch, "progress": progress}
    outcome = run(llm, [experiment], videos, out, **running)[experiment.id]
    say(f"{experiment.id}: {outcome.counts(questions)}")
    if outcome.watched:
        say(f"{experiment.id}: {timing(outcome)}")
    ways = None
    if one_by_one:
        single = one_at_a_time(experiment, questions, one_by_one)
        alone = run(llm, [single], videos, out, file="one_by_one.jsonl", **running)[experiment.id]
        ways = compare_ways(outcome, alone)
        say(f"{experiment.id}: {ways}")
    return score(experiment, questions, outcome, out, judge, ways=ways, **showing)


def score(
    experiment: Experiment,
    questions: list[Question],
    outcome: Outcome,
    out: str | Path,
    judge: Judge | None,
    *,
    videos: VideoFolder | None,
    asked_for: dict[str, str] | None = None,
    ways: OneByOne | None = None,
    progress: bool = True,
    say: Callable[[str], None] = print,
) -> Results:
    """Judge, add up, and write results.json and report.html. No model and no GPU is needed."""
    folder, judgements = Path(out) / experiment.id, None
    if judge is not None:
        path = judgements_file(folder, settings_of(questions, judge))
        judgements = judge_answers(questions, outcome, judge, path, progress=progress)
        say(f"{experiment.id}: judge: {judgements.counts}{'; ' + judgements.stopped if judgements.stopped else ''}")
    published, words = in_words(experiment, outcome)
    note = "; ".join(filter(None, (experiment.note, experiment.caveat, *words)))
    told: dict[str, Any] = {"run": experiment.id, "published": published, "note": note, "plan": asked_for}
    results = make_results(questions, outcome, judgements, one_by_one=ways, **told)
    write_report(results, questions, outcome, folder / "report.html", judgements=judgements, videos=videos)
    write_results(results, folder / "results.json")
    say(f"{experiment.id}: report: {folder / 'report.html'}")
    tell_no_score(results, say)
    return results


def in_words(experiment: Experiment, outcome: Outcome) -> tuple[dict[str, float] | None, list[str]]:
    """What there is to compare a run with, and what its report must say, where a language model has a say.

    Published numbers stand beside those of their own language model alone.
    """
    if not experiment.worded:
        return experiment.published, []
    reader = outcome.settings["reasoner"]
    told = [f"{experiment.method}: captions {captioner(experiment)}, read by {language_model(experiment, reader)}"]
    if experiment.subquestions:
        told = [f"sub-questions ({experiment.subquestions}) by {language_model(experiment, reader)}"]
    told.append(f"{outcome.settings['expected']} questions of {find_benchmark(experiment.benchmark).title}")
    if not experiment.published or reader == experiment.llm:
        return experiment.published, told
    return {}, [*told, f"published with {experiment.llm}: another language model, so nothing is compared"]


def captioner(experiment: Experiment) -> str:
    """Who told the videos."""
    return f"by {experiment.model}" if experiment.captions is None else f"of the file {experiment.captions.name}"


def language_model(experiment: Experiment, reader: str) -> str:
    """Who read."""
    return f"the language model of {experiment.model} itself" if reader == OWN else reader


def tell_no_score(results: Results, say: Callable[[str], None]) -> None:
    """Say what has no score, where something has none."""
    if results.set.no_score:
        say(f"{results.run}: {results.set.no_score}")


def rescore(
    experiment: Experiment,
    out: str | Path = "runs",
    judge: Judge | None = None,
    *,
    progress: bool = True,
    say: Callable[[str], None] = print,
) -> Results:
    """Score a run's answers again, by another judge or wording say; neither model nor GPU is needed.

    Raises:
        JournalError: the experiment has not been run.  CountsError: its answers are of other questions.
    """
    earlier = Run.of(experiment, out)
    outcome, questions = earlier.answers, earlier.questions
    videos, kept = None, dict[str, Any]()
    with contextlib.suppress(VideoError):
        videos = VideoFolder(experiment.folder)
    with contextlib.suppress(ResultsError):  # what this does not do again stays as it was found
        kept = {"asked_for": earlier.results.plan, "ways": earlier.results.one_by_one}
    return score(experiment, questions, outcome, out, judge, videos=videos, progress=progress, say=say, **kept)


def preflight(
    experiment: Experiment,
    earlier: Run,
    videos: VideoFolder,
    judge: Judge | None,
    allow_missing: bool,
    say: Callable,
    loading: Mapping[str, Any] | None = None,
    batch: int = BATCH,
) -> None:
    """Videos, memory, room, judge; stops if something is missing. What was watched before is not opened again."""
    watched: set[str] = set()
    with contextlib.suppress(JournalError):
        watched = {record["watched"] for record in earlier.answers.watched}
    found = check_videos(earlier.questions, videos, watched=frozenset(watched))
    memory = check_memory(
        experiment.model, experiment.method, rope_scaling=experiment.rope_factor, loading=loading, batch=batch
    )
    obstacles, notes = map(list, map(chain, memory, check_judge(judge), check_reasoner(experiment)))
    found = replace(found, obstacles=[*obstacles, *check_room(earlier.folder)], notes=[*found.notes, *notes])
    found.require(allow_missing)
    say(str(found))


def adopt(run: Run, wanted: str, say: Callable[[str], None]) -> None:
    """Take over the answers, and judgements, of another run beside this one that asked the very same.

    The paper's default is a row of tables 1, 5, 6 and 7: it is run once.
    """
    folder = run.folder
    if run.answers_file.exists():
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


def needs_judge(questions: list[Question]) -> bool:
    """Whether any of them is for a judge; a choice is not, nor what has no reference answer."""
    return any(map(kinds_of, questions))


def one_at_a_time(experiment: Experiment, questions: list[Question], number: int) -> Experiment:
    """The same in the released way, on the first videos: everything done again for each question."""
    names = set(list(dict.fromkeys(question.video for question in questions))[:number])
    some = tuple(question for question in questions if question.video in names)
    return replace(experiment, share="nothing", asked=some, task="", max_videos=None, other_film=False)


def fingerprints(
    experiment: Experiment,
    questions: list[Question],
    judge: Judge | None,
    one_by_one: int,
    loading: Mapping[str, Any] | None = None,
) -> dict[str, str]:
    """Fingerprints of the request, of its answers and of all of it; equal means nothing to do.

    Of how the model is loaded what its numbers depend on is in it, where it is asked for.
    """
    loading = loading or {}
    answers = {**experiment.identity(), "questions": questions_fingerprint(questions), "one_by_one": one_by_one}
    answers |= {name: str(loading[name]) for name in ("device", "dtype", "quantization") if name in loading}
    judged = None if judge is None else settings_of(questions, judge)
    return {"answers": fingerprint(answers), "all": fingerprint({**answers, "judge": judged})}


def finished(earlier: Run, asked_for: dict[str, str], retry_failed: bool) -> str:
    """What an earlier start has finished of the same experiment: "all", "answers" or "" for nothing."""
    try:
        results = earlier.results
    except ResultsError:
        return ""
    counts, judge = results.counts, results.judge
    again = retry_failed and counts.failed
    if counts.pending or again or results.plan.get("answers") != asked_for["answers"]:
        return ""
    left = judge is not None and (judge.counts.pending or judge.failures)
    return "answers" if left or results.plan.get("all") != asked_for["all"] else "all"


def how_to_go_on(experiments: list[Experiment], out: str | Path) -> str:
    """What is kept of experiments that were broken off, and how to go on, in one line."""
    answered = sum(count_answered(Run(Path(out) / experiment.id).answers_file)[0] for experiment in experiments)
    expected = sum(len(experiment.questions()) for experiment in experiments)
    return f"{answered:,} of {expected:,} questions are answered and kept: the same command goes on"


def model_of(
    experiment: Experiment,
    load: Callable[[str], Any] | None = None,
    loading: Mapping[str, Any] | None = None,
    engine: Callable[[Callable[[], Any]], Any] | None = None,
) -> Any:
    """The model of an experiment: made by `load` of its name alone, or else with the RoPE that its method wants.

    With an engine, workers that make it so.
    """
    if engine is not None:
        return engine(partial(model_of, replace(experiment, asked=None), load, loading))
    if load is not None:
        return load(experiment.model)
    return load_model(experiment.model, **experiment.loading, **(loading or {}))
