"""Commands that measure the machine: `sfllava speed ...`, `rehearse` and `gpu-acceptance`.

What is heavy is imported when one is run.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

from typer import Argument, Context, Option

from sfllava_bench.command_line import command, commands, takes
from sfllava_bench.loading_options import model_options
from sfllava_bench.questions.records import BATCH
from sfllava_bench.terminal import show, show_table
from sfllava_core.defaults import CLIP, required

speed = commands(invoke_without_command=True, no_args_is_help=False)
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
    questions: Annotated[int, Option(help="answered together")] = BATCH,
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
