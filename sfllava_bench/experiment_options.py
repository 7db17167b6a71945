"""The options of `sfllava bench ...` that name experiments, the language model that reads, and the judge."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from typer import Option

from sfllava_bench.command_line import UsageError

if TYPE_CHECKING:
    from sfllava_bench.answers.experiment import Experiment
    from sfllava_bench.scores.chat import Judge


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
