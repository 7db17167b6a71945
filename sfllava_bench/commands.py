"""The benchmarks' commands: `sfllava bench ...` and `sfllava speed ...`. What is heavy is imported when one is run."""

from pathlib import Path
from typing import Annotated, Literal

from typer import Context, Option

from sfllava_bench.command_line import UsageError, command, commands
from sfllava_bench.terminal import show, show_table
from sfllava_core.defaults import CLIP, DEFAULT_MODEL, required

bench = commands(help="Reproduce the paper's tables.", epilog="Example: sfllava bench list")
speed = commands(invoke_without_command=True, no_args_is_help=False)
GO_ON = "the same command starts again"
MOST_ROWS = 20  # on which rules differ, shown on a terminal

Runs = Annotated[list[str], Option("--run", metavar="NAME...", help="such as table2_7b, table4_7b, tables_7b")]
Benchmark = Annotated[str | None, Option(help="such as egoschema, where a run is of several")]
Profile = Annotated[Literal["toy", "demo", "full"], Option(help="demo: 20 videos; toy: PocketBench, pocket model")]
Model = Annotated[str | None, Option(help="a checkpoint's folder or hub id, in place of the run's own")]
Annotations = Annotated[Path | None, Option(help="folder of the annotation files")]
Videos = Annotated[Path | None, Option(help="folder of the videos")]
MaxVideos = Annotated[int | None, Option(help="only the questions about the first so many videos")]
NewTokens = Annotated[int, Option("--max-new-tokens", help="an answer is cut there")]
By = Annotated[Literal["generation", "likelihood"], Option(help="how choices are made")]
Decoder = Annotated[
    Literal["auto", "pyav", "decord"], Option(help="decord is the released code's reading, faults and all")
]
Out = Annotated[Path, Option(help="folder of the runs")]
JudgeName = Annotated[
    str | None, Option("--judge", help="model name, such as gpt-3.5-turbo-0125; without it no judge is asked")
]
JudgeUrl = Annotated[str | None, Option(help="an OpenAI-compatible endpoint; the key comes from OPENAI_API_KEY")]
WordingFile = Annotated[Path | None, Option("--wording", help="file with the judge's wording, in place of our own")]


@command(bench, "bench list", name="list")
def list_runs() -> None:
    """The runs that make the paper's tables."""
    from sfllava_bench.reports.published import load_paper
    from sfllava_bench.runs.catalogue import load_runs

    rows = []
    for run in load_runs(load_paper()):
        paper = ", ".join(f"{name} {value:g}" for name, value in run.published.items())
        rows.append({"run": run.name, "benchmark": run.benchmark, "pathways": run.pathways, "paper": paper})
    show_table(rows)


@command(bench, "bench methods")
def methods(model: Annotated[str, Option(show_default="data/pocket", help="whose grid counts")] = str(DEFAULT_MODEL)):
    """What a model can be made to see of a film, and the tokens that it costs."""
    from sfllava_bench.answers.layouts import LAYOUTS
    from sfllava_core.budget.arithmetic import ModelShape, token_budget
    from sfllava_core.checkpoints import load_config

    shape = ModelShape.from_config(load_config(required(model)))
    rows = []
    for name, layout in LAYOUTS.items():
        tokens = token_budget(layout.pathways, shape).visual_tokens
        frames = layout.pathways.num_frames
        rows.append({"method": name, "frames": frames, "tokens": tokens, "pathways": layout.pathways})
    show_table(rows)


@command(bench, "bench check --run table2_7b --annotations DIR --videos DIR")
def check(
    run: Runs,
    benchmark: Benchmark = None,
    profile: Profile = "full",
    model: Model = None,
    annotations: Annotations = None,
    videos: Videos = None,
    max_videos: MaxVideos = None,
    max_new_tokens: NewTokens = 128,
    by: By = "generation",
    decoder: Decoder = "auto",
    readings: Annotated[
        bool, Option("--readings", help="count the videos of which the released code saw other pictures")
    ] = False,
) -> int:
    """Are all videos there, and do they open?"""
    from sfllava_bench.runs.experiments import make_experiments
    from sfllava_bench.runs.preflight import check_videos
    from sfllava_core.video.folder import VideoFolder

    experiments = make_experiments(
        run, benchmark, profile=profile, model=model, annotations=annotations, videos=videos, max_videos=max_videos,
        max_new_tokens=max_new_tokens, by=by, decoder=decoder,
    )  # fmt: skip
    found = [check_videos(experiment.questions(), VideoFolder(experiment.videos)) for experiment in experiments]
    for experiment, one in zip(experiments, found):
        show(f"{experiment.id}: {one}")
    for experiment, one in zip(experiments, found) if readings else ():
        show(f"{experiment.id}: {readings_of(experiment, one)}")
    return int(any(one.videos for one in found))


@command(bench, "bench run --profile toy --run table2_7b --benchmark egoschema", name="run")
def run_experiments(
    run: Runs,
    benchmark: Benchmark = None,
    profile: Profile = "full",
    model: Model = None,
    annotations: Annotations = None,
    videos: Videos = None,
    max_videos: MaxVideos = None,
    max_new_tokens: NewTokens = 128,
    by: By = "generation",
    decoder: Decoder = "auto",
    out: Out = Path("runs"),
    allow_missing: Annotated[bool, Option("--allow-missing", help="run without the videos that are missing")] = False,
    retry_failed: Annotated[bool, Option("--retry-failed", help="ask again what failed at an earlier start")] = False,
    one_by_one: Annotated[int, Option(help="videos to ask again with nothing shared, to compare")] = 0,
    judge: JudgeName = None,
    judge_url: JudgeUrl = None,
    wording: WordingFile = None,
) -> int:
    """Make one run, or go on with it; several are a sweep with one table."""
    experiments = []
    try:
        from sfllava_bench.reports.results import text_rows
        from sfllava_bench.runs.experiments import make_experiments
        from sfllava_bench.runs.reproduce import how_to_go_on, reproduce
        from sfllava_bench.runs.sweeps import sweep

        if one_by_one < 0:
            raise ValueError(f"--one-by-one {one_by_one}: give at least 1 video, or 0 for none")
        experiments = make_experiments(
            run, benchmark, profile=profile, model=model, annotations=annotations, videos=videos,
            max_videos=max_videos, max_new_tokens=max_new_tokens, by=by, decoder=decoder,
        )  # fmt: skip
        options = {
            "judge": make_judge(judge, judge_url, wording), "allow_missing": allow_missing,
            "retry_failed": retry_failed, "one_by_one": one_by_one, "say": show,
        }  # fmt: skip
        rows = (
            sweep(experiments, out, **options)
            if len(experiments) > 1
            else reproduce(experiments[0], out, **options).rows()
        )
    except KeyboardInterrupt as error:
        raise type(error)(how_to_go_on(experiments, out) if experiments else GO_ON) from None
    show_table(text_rows(rows))
    return int(any("value" not in row for row in rows))


@command(bench, "bench score --profile toy --run table1_7b --judge gpt-4o")
def score(
    run: Annotated[list[str] | None, Option("--run", metavar="NAME...", help="a run that is finished")] = None,
    benchmark: Benchmark = None,
    profile: Profile = "full",
    model: Model = None,
    annotations: Annotations = None,
    videos: Videos = None,
    max_videos: MaxVideos = None,
    max_new_tokens: NewTokens = 128,
    by: By = "generation",
    decoder: Decoder = "auto",
    out: Out = Path("runs"),
    judge: JudgeName = None,
    judge_url: JudgeUrl = None,
    wording: WordingFile = None,
    predictions: Annotated[
        Path | None, Option(help="in place of a run: JSON lines that the released code, or a descendant, wrote")
    ] = None,
) -> int:
    """Score a finished run again, by another judge say, or others' predictions; needs no model."""
    if predictions is not None:
        return score_others(predictions, benchmark, annotations, out, make_judge(judge, judge_url, wording))
    if not run:
        raise UsageError("Missing option '--run' (or '--predictions', with '--benchmark').")
    from sfllava_bench.reports.results import text_rows
    from sfllava_bench.runs.experiments import make_experiments
    from sfllava_bench.runs.reproduce import rescore

    experiments = make_experiments(
        run, benchmark, profile=profile, model=model, annotations=annotations, videos=videos, max_videos=max_videos,
        max_new_tokens=max_new_tokens, by=by, decoder=decoder,
    )  # fmt: skip
    chosen = make_judge(judge, judge_url, wording)
    rows = [row for experiment in experiments for row in rescore(experiment, out, chosen, say=show).rows()]
    show_table(text_rows(rows))
    return int(any("value" not in row for row in rows))


@speed.callback(epilog="Example: sfllava speed --model data/tiny --questions 1 5")
def seconds_a_question(
    context: Context,
    model: Annotated[str, Option(help="random-small, random-7b (GPU), a folder or a hub id")] = "random-small",
    video: Annotated[Path, Option(show_default="data/clips/grand_prix_1906.mp4", help="a video file")] = CLIP,
    questions: Annotated[list[int], Option(metavar="NUMBER...", help="how many are asked of one video")] = [1, 5, 25],  # noqa: B006
    new_tokens: Annotated[int, Option(help="length of each answer")] = 16,
    device: Annotated[str, Option(help="cpu, cuda, cuda:1, mps")] = "auto",
    dtype: Annotated[str, Option(help="float32, float16, bfloat16")] = "auto",
) -> None:
    """Seconds a question, nothing shared against all; `decode`: frames a second."""
    if context.invoked_subcommand:
        return
    from sfllava_bench.random_models import random_llm
    from sfllava_bench.speed import run
    from sfllava_core import VideoLLM

    required(video)  # before a model is made for nothing
    for name, number in (("--questions", min(questions)), ("--new-tokens", new_tokens)):
        if number < 1:
            raise ValueError(f"{name} {number}: give at least 1")
    make = random_llm if model.startswith("random-") else VideoLLM.from_pretrained
    run(make(model, device=device, dtype=dtype), video, tuple(questions), new_tokens)


@command(speed, "speed decode --films 20")
def decode(
    films: Annotated[int, Option(help="films of PocketBench, 0 for all")] = 0,
    num_frames: Annotated[int, Option(help="frames sampled of each file")] = 50,
    minutes: Annotated[float, Option(help="length of the long file")] = 3.0,
) -> None:
    """Frames a second: the decoding service against a child for each video."""
    from sfllava_bench.decoding_speed import compare_decoding

    if num_frames < 1:
        raise ValueError(f"--num-frames {num_frames}: give at least 1")
    if films < 0:
        raise ValueError(f"--films {films}: give at least 1, or 0 for all")
    if not 0 < minutes <= 600:
        raise ValueError(f"--minutes {minutes:g}: give a number above 0, of at most 600")
    show_table(compare_decoding(films or None, num_frames, 60 * minutes))
    print("the same frames to the last pixel, both ways")


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


def make_judge(name: str | None, url: str | None, wording: Path | None):
    """The judge of that name; None without one."""
    from sfllava_bench.scores.chat import Judge
    from sfllava_bench.scores.wording import OWN, load_wording

    told = load_wording(wording) if wording else OWN
    return Judge(name, url, wording=told) if name else None


def readings_of(experiment, checked) -> str:
    """Of the videos that open, by the preflight: how many the released code reads otherwise, and which."""
    from sfllava_bench.runs.readings import compare_readings
    from sfllava_core.video.folder import VideoFolder

    videos, names = VideoFolder(experiment.videos), [name for name in checked.questions if name not in checked.videos]
    found = compare_readings([videos.find(name) for name in names], experiment.pathways.sample)
    other = [reading for reading in found if reading.differs]
    summary = f"the released code's reading differs on {len(other)} of {len(found)} videos"
    return "\n  ".join([summary, *map(str, other)])
