"""Many experiments: videos shared by all on one model, what is done skipped, what fails named, and one table."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from sfllava_bench.answers.experiment import Experiment
from sfllava_bench.answers.journal import answers_fingerprint
from sfllava_bench.answers.loop import run
from sfllava_bench.answers.surroundings import host_at_fault
from sfllava_bench.questions.records import BATCH, Question
from sfllava_bench.reports.compare import compare, first_alike
from sfllava_bench.reports.run import Run
from sfllava_bench.reports.tables import write_table
from sfllava_bench.runs.preflight import check_experiments
from sfllava_bench.runs.reproduce import FAILS, fingerprints, finished, model_of, needs_judge, reproduce
from sfllava_bench.scores.chat import Judge
from sfllava_core.video.folder import VideoFolder


def sweep(
    experiments: list[Experiment],
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
) -> list[dict]:
    """Run a list of experiments; what is done is skipped, what fails is named and the others go on. Builds one table.

    Experiments of one model, its RoPE and one folder of videos are answered in one loop, each video decoded and
    encoded once for all of them; the answers are the same as alone, the seconds of a video are split evenly. With
    `one_by_one`, which measures an experiment's own seconds, each is answered by itself.

    A run on the same questions as an earlier one of the list is compared with that, question by question.

    Writes out/table.json and out/table.html. A model is loaded once for each RoPE and folder of videos at most.

    Args:
        as in `reproduce`.

    Returns:
        The table's rows: each run's metrics, or its error.

    Raises:
        HostError: the machine is at fault, so that the others would fail alike; the same again goes on.
    """
    options: dict[str, Any] = {
        "judge": judge, "open_videos": open_videos, "allow_missing": allow_missing, "retry_failed": retry_failed,
        "loading": loading, "batch": batch, "progress": progress, "say": say,
    }  # fmt: skip
    kept = keep_last(load, loading, engine)
    found: dict[int, list[dict]] = {}  # by the experiment's place in the list
    for places in on_the_same_videos(experiments):
        options["load"] = partial(kept, experiments[places[0]])  # the model of all of these
        if len(places) > 1 and not one_by_one:
            try:
                answer_together([experiments[place] for place in places], Path(out), **options)
            except FAILS as error:  # what is missing is named again below, experiment by experiment
                say(f"not answered together: {error}")
        for place in places:
            found[place] = rows_of(experiments[place], out, one_by_one=one_by_one, **options)
    rows, runs = [], []
    for place, experiment in enumerate(experiments):
        own = found[place]
        if own[0].get("value") is not None:
            runs.append(Run.of(experiment, out))
            earlier = first_alike(runs)
            against = None if earlier is None else compare(runs[-1], earlier)
            own = [{**row, "against": None if number else against} for number, row in enumerate(own)]
        rows += own
    with host_at_fault():
        write_table(rows, Path(out))
    return rows


def on_the_same_videos(experiments: list[Experiment]) -> list[list[int]]:
    """Places in the list of the experiments of one model, loaded in one way, that can share one folder of videos."""
    groups: dict[object, list[int]] = {}
    for place, experiment in enumerate(experiments):
        loaded = (experiment.model, *experiment.loading.values())
        groups.setdefault((loaded, experiment.videos), []).append(place)
    return list(groups.values())


def rows_of(experiment: Experiment, out: str | Path, **options: Any) -> list[dict]:
    """The table's rows of one experiment, run to the end; where it has no metric, a row that says why."""
    told = {"run": experiment.id, "benchmark": experiment.benchmark}
    try:
        results = reproduce(experiment, out, **options)
    except FAILS as error:
        return [{**told, "metric": f"{type(error).__name__}: {error}"}]
    if results.set.no_score and not results.rows():
        return [{**told, "metric": results.set.no_score, "value": None}]  # no value, and no fault
    return results.rows() or [{**told, "metric": "answered, not judged: name a judge"}]


@host_at_fault()
def answer_together(
    experiments: list[Experiment],
    out: Path,
    *,
    judge: Judge | None,
    load: Callable[[str], Any],
    open_videos: Callable[[Path], VideoFolder],
    allow_missing: bool,
    retry_failed: bool,
    loading: Mapping[str, Any] | None,
    batch: int,
    progress: bool,
    say: Callable[[str], None],
) -> None:
    """Answer what is left of experiments that share their videos; `reproduce` then finds it answered.

    Raises:
        PreflightError: something is missing; nothing was begun.
    """
    asked: dict[str, tuple[Experiment, list[Question]]] = {}
    for experiment in experiments:
        earlier = Run.of(experiment, out)
        own = judge if needs_judge(earlier.questions) else None
        if not finished(earlier, fingerprints(experiment, earlier.questions, own, 0, loading), retry_failed):
            asked.setdefault(experiment.id, (experiment, earlier.questions))
    if len(asked) < 2:
        return
    asks = any(needs_judge(questions) for _, questions in asked.values())
    some = [one for one, _ in asked.values()]
    found = check_experiments(
        some, judge if asks else None, out=out, open_videos=open_videos, loading=loading, batch=batch
    )
    found.require(allow_missing)
    llm = load(experiments[0].model)
    alike: dict[str, Experiment] = {}
    for experiment, questions in asked.values():  # the very same is asked once; `reproduce` takes its answers over
        alike.setdefault(answers_fingerprint(experiment.record(questions, llm)), experiment)
    videos, some = open_videos(experiments[0].folder), list(alike.values())
    say(f"{sum(len(questions) for _, questions in asked.values())} questions in {len(some)} runs on the same videos")
    run(llm, some, videos, out, retry_failed=retry_failed, batch=batch, progress=progress)


def keep_last(
    load: Callable[[str], Any] | None,
    loading: Mapping[str, Any] | None = None,
    engine: Callable[[Callable[[], Any]], Any] | None = None,
) -> Callable[[Experiment, str], Any]:
    """A loader that gives the same model again while it is to be loaded in the same way."""
    kept: list[tuple[object, object]] = []

    def loaded(experiment: Experiment, name: str) -> Any:
        wanted = (name, experiment.loading if load is None else None)
        if not kept or kept[0][0] != wanted:
            kept.clear()  # make room first
            kept.append((wanted, model_of(experiment, load, loading, engine)))
        return kept[0][1]

    return loaded
