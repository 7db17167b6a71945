"""The benchmarks' commands, `sfllava bench ...`. What is heavy is imported when one is run."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from sfllava_bench.command_line import UsageError, command, commands, takes
from sfllava_bench.engine.options import make_engine
from sfllava_bench.experiment_options import make_judge, named_experiments
from sfllava_bench.loading_options import loading_options
from sfllava_bench.terminal import show, show_table
from sfllava_core.defaults import DEFAULT_MODEL, required

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from sfllava_bench.answers.experiment import Experiment
    from sfllava_bench.scores.chat import Judge

bench = commands(help="Reproduce the paper's tables.", epilog="Example: sfllava bench list")
GO_ON = "the same command starts again"
MOST_ROWS = 20  # on which rules differ, shown on a terminal

Out = Annotated[Path, Option(help="folder of the runs")]


@command(bench, "bench list", name="list")
def list_runs() -> None:
    """The runs that make the paper's tables."""
    from sfllava_bench.reports.published import load_paper
    from sfllava_bench.runs.catalogue import name_of, paper_experiments

    rows = []
    for one in paper_experiments(load_paper()):
        paper = ", ".join(f"{name} {value:g}" for name, value in (one.published or {}).items())
        rows.append({"run": name_of(one), "benchmark": one.benchmark, "method": one.method, "paper": paper})
    show_table(rows)


@command(bench, "bench methods")
def methods(
    model: Annotated[str, Option(show_default="data/pocket", help="whose grid counts")] = str(DEFAULT_MODEL),
    published: Annotated[
        bool, Option("--published", help="every method as it was published, on 24 x 24, and what differs here")
    ] = False,
) -> None:
    """What a model can be made to see of a film, and the tokens that it costs."""
    if published:
        from sfllava_bench.reports.methods import published_methods

        show_table(published_methods())
        return
    from sfllava_bench.answers.layouts import LAYOUTS
    from sfllava_core.budget.arithmetic import ModelShape, token_budget
    from sfllava_core.checkpoints import load_config

    shape = ModelShape.from_config(load_config(required(model)))
    rows = []
    for name, layout in LAYOUTS.items():
        tokens = token_budget(layout.method, shape).visual_tokens
        frames = layout.method.num_frames
        rows.append({"layout": name, "frames": frames, "tokens": tokens, "method": layout.method})
    show_table(rows)


@command(bench, "bench check --run table2_7b --annotations DIR --videos DIR")
@takes(experiments=named_experiments)
def check(
    experiments: "Callable[[], list[Experiment]]",
    readings: Annotated[
        bool, Option("--readings", help="count the videos of which the released code saw other pictures")
    ] = False,
) -> int:
    """Are all videos there, and do they open?"""
    from sfllava_bench.runs.preflight import check_videos
    from sfllava_core.video.folder import VideoFolder

    named = experiments()
    found = [check_videos(experiment.questions(), VideoFolder(experiment.folder)) for experiment in named]
    for experiment, one in zip(named, found):
        show(f"{experiment.id}: {one}")
    for experiment, one in zip(named, found) if readings else ():
        show(f"{experiment.id}: {readings_of(experiment, one)}")
    return int(any(one.videos for one in found))


@command(bench, "bench run --profile toy --run table2_7b --benchmark egoschema", name="run")
@takes(experiments=named_experiments, judge=make_judge, how=loading_options, engine=make_engine)
def run_experiments(
    experiments: "Callable[[], list[Experiment]]",
    out: Out = Path("runs"),
    allow_missing: Annotated[bool, Option("--allow-missing", help="run without the videos that are missing")] = False,
    retry_failed: Annotated[bool, Option("--retry-failed", help="ask again what failed at an earlier start")] = False,
    one_by_one: Annotated[int, Option(help="videos to ask again with nothing shared, to compare")] = 0,
    *,
    judge: "Callable[[], Judge | None]",
    how: "Callable[[], dict]",
    engine: "Callable[[], AbstractContextManager]",
) -> int:
    """Make one run, or go on with it; several are a sweep with one table."""
    named = []
    try:
        from sfllava_bench.reports.results import text_rows
        from sfllava_bench.runs.reproduce import how_to_go_on, reproduce
        from sfllava_bench.runs.sweeps import sweep

        if one_by_one < 0:
            raise ValueError(f"--one-by-one {one_by_one}: give at least 1 video, or 0 for none")
        named = experiments()
        options = {
            "judge": judge(), "allow_missing": allow_missing, "retry_failed": retry_failed, "one_by_one": one_by_one,
            "say": show, **how(),
        }  # fmt: skip
        with engine() as options["engine"]:
            rows = sweep(named, out, **options) if len(named) > 1 else reproduce(named[0], out, **options).rows()
    except KeyboardInterrupt as error:
        raise type(error)(how_to_go_on(named, out) if named else GO_ON) from None
    if not rows:
        show(f"answers: {out / named[0].id / 'answers.jsonl'}")
        return 0
    show_table(text_rows(rows))
    return int(any("value" not in row for row in rows))


@command(bench, "bench score --profile toy --run table1_7b --judge gpt-4o")
@takes(experiments=named_experiments, judge=make_judge)
def score(
    experiments: "partial[list[Experiment]]",
    out: Out = Path("runs"),
    predictions: Annotated[
        Path | None, Option(help="in place of a run: JSON lines that the released code, or a descendant, wrote")
    ] = None,
    *,
    judge: "Callable[[], Judge | None]",
) -> int:
    """Score a finished run again, by another judge say, or others' predictions; needs no model."""
    asked = experiments.keywords  # what was typed
    if predictions is not None:
        return score_others(predictions, asked["benchmark"], asked["annotations"], out, judge())
    if not asked["run"] and not asked["method"]:
        raise UsageError("Missing option '--run' (or '--method', or '--predictions' with '--benchmark').")
    from sfllava_bench.reports.results import text_rows
    from sfllava_bench.runs.reproduce import rescore

    named, chosen = experiments(), judge()
    rows = [row for experiment in named for row in rescore(experiment, out, chosen, say=show).rows()]
    show_table(text_rows(rows))
    return int(any("value" not in row for row in rows))


@command(bench, "bench status runs")
def status(
    folder: Annotated[Path, Argument(help="a run's folder, or one of several runs")] = Path("runs"),
) -> None:
    """How far runs are, also while they are made: videos, questions, failures, rate and time left."""
    from sfllava_bench.reports.status import status_rows

    show_table(status_rows(folder))


def score_others(predictions: Path, benchmark: str | None, annotations: Path | None, out: Path, judge) -> int:
    """Numbers of others' predictions, and the first rows on which the rules of reading differ."""
    from sfllava_bench.reports.results import text_rows
    from sfllava_bench.runs.others import score_predictions

    if benchmark is None:
        raise UsageError("Missing option '--benchmark': which benchmark are these predictions of?")
    results, differ = score_predictions(benchmark, predictions, annotations, out, judge, say=show)
    show_table(text_rows(results.rows()))
    if results.choices is not None:
        show(f"the rules of reading differ on {len(differ)} of {results.counts.answered} answers (all in rules.html)")
        if differ:
            show_table([{**row, "pred": f"{row['pred']:.60}"} for row in differ[:MOST_ROWS]])
    return 0


def readings_of(experiment, checked) -> str:
    """Of the videos that open, by the preflight: how many the released code reads otherwise, and which."""
    from sfllava_bench.runs.readings import compare_readings
    from sfllava_core.video.folder import VideoFolder

    videos, names = VideoFolder(experiment.folder), [name for name in checked.questions if name not in checked.videos]
    found = compare_readings([videos.find(name) for name in names], experiment.method.sample)
    other = [reading for reading in found if reading.differs]
    summary = f"the released code's reading differs on {len(other)} of {len(found)} videos"
    return "\n  ".join([summary, *map(str, other)])
