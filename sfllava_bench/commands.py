"""The benchmarks' commands: `sfllava bench ...` and `sfllava speed ...`. What is heavy is imported when one is run."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from typer import Argument, Context, Option

from sfllava_bench.command_line import UsageError, command, commands, takes
from sfllava_bench.engine.options import make_engine
from sfllava_bench.loading_options import loading_options, model_options
from sfllava_bench.terminal import show, show_table
from sfllava_core.defaults import CLIP, DEFAULT_MODEL, required

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from sfllava_bench.answers.experiment import Experiment
    from sfllava_bench.scores.chat import Judge

bench = commands(help="Reproduce the paper's tables.", epilog="Example: sfllava bench list")
speed = commands(invoke_without_command=True, no_args_is_help=False)
GO_ON = "the same command starts again"
MOST_ROWS = 20  # on which rules differ, shown on a terminal

Out = Annotated[Path, Option(help="folder of the runs")]


def named_experiments(
    run: Annotated[
        list[str] | None, Option("--run", metavar="NAME...", help="such as table2_7b, table4_7b, tables_7b")
    ] = None,
    method: Annotated[
        list[str] | None,
        Option("--method", metavar="NAME...", help="in place of --run: slowfast, one of bench methods, or a spec"),
    ] = None,
    benchmark: Annotated[
        str | None, Option(help="such as egoschema, where a run is of several; --method on one file: own")
    ] = None,
    profile: Annotated[
        Literal["toy", "demo", "full"], Option(help="demo: 20 videos; toy: PocketBench, pocket model")
    ] = "full",
    model: Annotated[str | None, Option(help="a checkpoint's folder or hub id, in place of the run's own")] = None,
    annotations: Annotated[
        Path | None, Option(help="folder of the annotation files; or a file of your own questions (CSV, JSON lines)")
    ] = None,
    videos: Annotated[Path | None, Option(help="folder of the videos")] = None,
    max_videos: Annotated[int | None, Option(help="only the questions about the first so many videos")] = None,
    max_new_tokens: Annotated[
        int | None, Option("--max-new-tokens", help="an answer is cut there; else where the method was published with")
    ] = None,
    ranks: Annotated[
        Path | None, Option(help="KTV's ranks of keyframes: JSON, {question: [[frame, rank], ...]}; else it has none")
    ] = None,
    by: Annotated[Literal["generation", "likelihood"], Option(help="how choices are made")] = "generation",
    decoder: Annotated[
        Literal["auto", "pyav", "decord", "torchcodec"],
        Option(help="decord is the released code's reading, faults and all"),
    ] = "auto",
    reasoner: Annotated[
        str | None,
        Option(metavar="MODEL", help="the language model of llovi, videotree, --subquestions; own: the model's"),
    ] = None,
    reasoner_url: Annotated[str | None, Option(help="its OpenAI-compatible endpoint, as --judge-url")] = None,
    subquestions: Annotated[
        bool, Option("--subquestions", help="dcode_... alone: the reasoner takes each question apart first")
    ] = False,
    captions: Annotated[
        Path | None, Option(help="JSON file of captions, in place of those that the model makes")
    ] = None,
    features: Annotated[
        Path | None, Option(help="safetensors file of videotree's features, in place of the CLS")
    ] = None,
) -> "list[Experiment]":
    """The paper's experiments of these names, or these methods on what `--annotations` and `--videos` give."""
    from sfllava_bench.runs.experiments import make_experiments
    from sfllava_bench.runs.own import own_experiments

    options: dict[str, Any] = {
        "model": model, "annotations": annotations, "videos": videos, "max_videos": max_videos,
        "max_new_tokens": max_new_tokens, "ranks": ranks, "by": by, "decoder": decoder, "captions": captions,
        "features": features, "reasoner": make_reasoner(reasoner, reasoner_url),
    }  # fmt: skip
    if subquestions:
        options["subquestions"] = "original"
    if run and method:
        raise ValueError(f"--method {' '.join(method)}: --run {' '.join(run)} says already what is seen")
    if run:
        return make_experiments(run, benchmark, profile=profile, **options)
    if not method:
        raise UsageError("Missing option '--run' (or '--method', with '--annotations' and '--videos').")
    if profile != "full":
        raise ValueError(f"--profile {profile}: it goes with --run; --method takes --max-videos")
    return own_experiments(method, benchmark, **options)


def make_reasoner(name: str | None, url: str | None) -> "Judge | str | None":
    """The language model of that name, at this address; "own" is the video model's own."""
    from sfllava_bench.captions.words import OWN
    from sfllava_bench.scores.chat import Judge

    if url and name in (None, OWN):
        raise ValueError(f"--reasoner-url {url}: give --reasoner MODEL with it, the model's name on that server")
    return name if name in (None, OWN) else Judge(name, url)


def make_judge(
    judge: Annotated[
        str | None, Option("--judge", help="model name, such as gpt-3.5-turbo-0125; without it no judge is asked")
    ] = None,
    judge_url: Annotated[
        str | None, Option(help="an OpenAI-compatible endpoint; the key comes from OPENAI_API_KEY")
    ] = None,
    wording: Annotated[
        Path | None, Option("--wording", help="file with the judge's wording, in place of our own")
    ] = None,
) -> "Judge | None":
    """The judge of that name; None without one."""
    from sfllava_bench.scores.chat import Judge
    from sfllava_bench.scores.wording import OWN, load_wording

    told = load_wording(wording) if wording else OWN
    return Judge(judge, judge_url, wording=told) if judge else None


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


Into = Annotated[Path | None, Option(show_default=False, help="a page that the tables go into, docs/benchmarks.md")]


@speed.callback(epilog="Example: sfllava speed --model data/tiny --questions 1 5")
def seconds_a_question(
    context: Context,
    model: Annotated[str, Option(help="random-small, random-7b (GPU), a folder or a hub id")] = "random-small",
    video: Annotated[Path, Option(show_default="data/clips/grand_prix_1906.mp4", help="a video file")] = CLIP,
    questions: Annotated[list[int], Option(metavar="NUMBER...", help="how many are asked of one video")] = [1, 5, 25],  # noqa: B006
    new_tokens: Annotated[int, Option(help="length of each answer")] = 16,
    device: Annotated[str, Option(help="cpu, cuda, cuda:1, mps")] = "auto",
    dtype: Annotated[str, Option(help="float32, float16, bfloat16")] = "auto",
    into: Into = None,
) -> None:
    """Seconds a question, nothing shared against all; `decode`: frames a second."""
    if context.invoked_subcommand:
        return
    from sfllava_bench.benchmark_page import write_into
    from sfllava_bench.random_models import random_llm
    from sfllava_bench.speed import run
    from sfllava_core import VideoLLM

    required(video)  # before a model is made for nothing
    for name, number in (("--questions", min(questions)), ("--new-tokens", new_tokens)):
        if number < 1:
            raise ValueError(f"{name} {number}: give at least 1")
    make = random_llm if model.startswith("random-") else VideoLLM.from_pretrained
    llm = make(model, device=device, dtype=dtype)
    lines = run(llm, video, tuple(questions), new_tokens)
    if into is not None:
        write_into(into, lines, llm.device.type)


@command(speed, "speed decode --films 20")
def decode(
    films: Annotated[int, Option(help="films of PocketBench, 0 for all")] = 0,
    num_frames: Annotated[int, Option(help="frames sampled of each file")] = 50,
    minutes: Annotated[float, Option(help="length of the long file")] = 3.0,
    seeking: Annotated[
        bool, Option("--seeking", help="too: a 720p file of that length, gone through and sought in")
    ] = False,
    pools: Annotated[
        list[int], Option(metavar="NUMBER...", show_default=False, help="too: the films by so many decode workers")
    ] = [],  # noqa: B006
    into: Into = None,
) -> None:
    """Frames a second: the decoding service against a child for each video, seeking against going through."""
    from sfllava_bench.benchmark_page import write_tables
    from sfllava_bench.decoding_speed import compare_decoding, compare_pools, compare_seeking

    if num_frames < 1:
        raise ValueError(f"--num-frames {num_frames}: give at least 1")
    if films < 0:
        raise ValueError(f"--films {films}: give at least 1, or 0 for all")
    if not 0 < minutes <= 600:
        raise ValueError(f"--minutes {minutes:g}: give a number above 0, of at most 600")
    if min(pools, default=1) < 1:
        raise ValueError(f"--pools {min(pools)}: give at least 1")
    tables = [compare_decoding(films or None, num_frames, 60 * minutes)]
    tables += [compare_pools(films or None, num_frames, pools)] if pools else []
    tables += [compare_seeking(60 * minutes, tuple(sorted({8, num_frames})))] if seeking else []
    for rows in tables:
        show_table(rows)
    print("the same frames to the last pixel, both ways")
    if into is not None:
        write_tables(into, "decode", *tables)


@command(speed, "speed engine --records 20000")
def engine(
    records: Annotated[int, Option(help="answers of a model that answers at once")] = 20_000,
    each: Annotated[int, Option(help="questions about each video")] = 5,
    workers: Annotated[list[int], Option(metavar="NUMBER...", help="with Ray; 0 for none")] = [1, 2],  # noqa: B006
    into: Into = None,
) -> None:
    """Records a second and memory of all that is around a model: one process against Ray."""
    from sfllava_bench.benchmark_page import write_tables
    from sfllava_bench.engine_speed import compare_engines

    if min(records, each) < 1 or min(workers) < 0:
        raise ValueError(f"--records {records} --each {each} --workers {min(workers)}: give at least 1, 1 and 0")
    rows = compare_engines(records, each, [number for number in workers if number])
    show_table(rows)
    if into is not None:
        write_tables(into, "engine", rows)


@takes(loading=model_options)
def rehearse(
    size: Annotated[Literal["7b", "34b"], Argument(help="whose sizes")],
    divide: Annotated[
        int | None, Option(show_default="the least that fits disk and memory", help="sizes divided by this; 1: in full")
    ] = None,
    keep: Annotated[Path | None, Option(help="a new folder where the checkpoint stays")] = None,
    video: Annotated[Path, Option(show_default="data/clips/grand_prix_1906.mp4", help="a video file")] = CLIP,
    questions: Annotated[int, Option(help="answered together")] = 16,
    *,
    loading: "Callable[[], dict]",
) -> int:
    """The whole way of 7B or 34B without the weights: a random checkpoint in the hub's layout, loaded and asked."""
    from sfllava_bench.gpu.rehearsal import rehearse

    for name, number in (("--divide", divide), ("--questions", questions)):
        if number is not None and number < 1:
            raise ValueError(f"{name} {number}: give at least 1")
    result = rehearse(size, required(video), divide=divide, keep=keep, loading=loading(), asked=questions, say=show)
    show_table(result.rows())
    wrong = [check.what for check in result.checks if not check.right]
    show(f"not as it should be: {', '.join(wrong)}" if wrong else "all is as it should be")
    return int(not result.right)


def gpu_acceptance(
    out: Annotated[Path, Option(help="the page, Markdown")] = Path("gpu-acceptance.md"),
    device: Annotated[str, Option(help="cuda, cuda:1; cpu: what a CPU can, in small, to try the command")] = "auto",
    divide: Annotated[
        int | None, Option(show_default="1 on a GPU, 32 on a CPU", help="sizes of 7B and 34B are divided by this")
    ] = None,
    videos: Annotated[
        Path | None, Option(show_default="the kit's clips", help="a folder of twenty real videos")
    ] = None,
    checkpoint: Annotated[
        list[str] | None, Option(metavar="DIR...", help="real checkpoints, whose tokenizers are looked at")
    ] = None,
) -> int:
    """The first ten minutes with a GPU: ten items in order, on a page to be sent back."""
    from sfllava_bench.gpu.acceptance import FAILED, PASSED, accept
    from sfllava_bench.gpu.items import ITEMS

    if divide is not None and divide < 1:
        raise ValueError(f"--divide {divide}: give at least 1")
    video, real = required(CLIP), checkpoint or ()
    results = accept(ITEMS, out, video, device=device, divide=divide, videos=videos, checkpoints=real, say=show)
    verdicts = [result.verdict for _, result in results]
    show(f"{verdicts.count(PASSED)} of {len(verdicts)} passed, {verdicts.count(FAILED)} failed; page: {out}")
    return int(FAILED in verdicts)


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
