"""Experiments, run one after another: what is done is skipped, what fails is named, and one table is made of them."""

from collections.abc import Callable
from pathlib import Path

from sfllava_bench.scores.chat import Judge
from sfllava_bench.reports.compare import Made, compare, first_alike, read_made
from sfllava_bench.answers.journal import answers_fingerprint
from sfllava_bench.answers.experiment import Experiment
from sfllava_bench.runs.preflight import check_experiments
from sfllava_bench.runs.reproduce import FAILS, fingerprints, finished, load_model, reproduce
from sfllava_bench.reports.tables import write_table
from sfllava_bench.answers.surroundings import host_at_fault
from sfllava_bench.answers.loop import can_share, run
from sfllava_core.video.folder import VideoFolder


def sweep(
    experiments: list[Experiment],
    out: str | Path = "runs",
    *,
    together: bool = False,
    judge: Judge | None = None,
    load: Callable[[str], object] | None = None,
    open_videos: Callable[[Path], VideoFolder] = VideoFolder,
    allow_missing: bool = False,
    retry_failed: bool = False,
    one_by_one: int = 0,
    batch: int = 16,
    progress: bool = True,
    say: Callable[[str], None] = print,
) -> list[dict]:
    """Run a list of experiments; what is done is skipped, what fails is named and the others go on. Builds one table.

    A run on the same questions as an earlier one of the list is compared with that, question by question.

    Writes out/table.json and out/table.html. Each model is loaded once, where experiments of one model follow each other.

    Args:
        together: experiments of one model and one folder of videos are answered in one loop, each video decoded and
            encoded once for all of them; the answers are the same, the seconds of a video are split evenly. Not with
            `one_by_one`.
        The others: as in `reproduce`.

    Returns:
        The table's rows: each run's metrics, or its error.

    Raises:
        HostError: the machine is at fault, so that the others would fail alike; the same again goes on.
    """
    rows: list[dict] = []
    made: list[Made] = []
    options = {
        "judge": judge, "load": keep_last(load or load_model), "open_videos": open_videos,
        "allow_missing": allow_missing, "retry_failed": retry_failed, "batch": batch, "progress": progress, "say": say,
    }  # fmt: skip
    if together and can_share(experiments) and not one_by_one:
        try:
            answer_together(experiments, Path(out), **options)
        except FAILS as error:  # what is missing is named again below, experiment by experiment
            say(f"not answered together: {error}")
    for experiment in experiments:
        told = {"run": experiment.id, "benchmark": experiment.benchmark}
        try:
            results = reproduce(experiment, out, one_by_one=one_by_one, **options)
        except FAILS as error:
            rows.append({**told, "metric": f"{type(error).__name__}: {error}"})
            continue
        table_rows = results.rows()
        if not table_rows and results.set.no_score:
            rows.append({**told, "metric": results.set.no_score, "value": None})  # no value, and no fault
            continue
        if not table_rows:
            rows.append({**told, "metric": "answered, not judged: name a judge"})
            continue
        made.append(read_made(experiment, out))
        against = first_alike(made)
        text = None if against is None else compare(made[-1], against)
        rows += [{**row, "against": None if place else text} for place, row in enumerate(table_rows)]
    with host_at_fault():
        write_table(rows, Path(out))
    return rows


@host_at_fault()
def answer_together(
    experiments: list[Experiment],
    out: Path,
    *,
    judge: Judge | None,
    load: Callable[[str], object],
    open_videos: Callable[[Path], VideoFolder],
    allow_missing: bool,
    retry_failed: bool,
    batch: int,
    progress: bool,
    say: Callable[[str], None],
) -> None:
    """Answer what is left of experiments that share their videos; `reproduce` then finds it answered.

    Raises:
        PreflightError: something is missing; nothing was begun.
    """
    asked = [(experiment, experiment.questions()) for experiment in experiments]
    done = [finished(out / p.id / "results.json", fingerprints(p, q, judge, 0), retry_failed) for p, q in asked]
    asked = [one for one, state in zip(asked, done) if not state]
    if len(asked) < 2:
        return
    check_experiments([experiment for experiment, _ in asked], judge, out=out, open_videos=open_videos).require(allow_missing)
    llm, alike = load(experiments[0].model), {}
    for experiment, questions in asked:  # what asks the very same is answered once; `reproduce` takes it over
        alike.setdefault(answers_fingerprint(experiment.record(questions, llm)), experiment)
    videos, some = open_videos(experiments[0].videos), list(alike.values())
    say(f"{sum(len(questions) for _, questions in asked)} questions in {len(some)} runs on the same videos")
    run(llm, some, videos, out, retry_failed=retry_failed, batch=batch, progress=progress)


def keep_last(load: Callable[[str], object]) -> Callable[[str], object]:
    """A loader that gives the same model again while its name does not change."""
    kept: list[tuple[str, object]] = []

    def loaded(name: str) -> object:
        if not kept or kept[0][0] != name:
            kept.clear()  # make room first
            kept.append((name, load(name)))
        return kept[0][1]

    return loaded
