"""The command line: `python -m sfllava_course ask | doctor | run | bench`."""

import argparse
import os
import sys
from pathlib import Path

from sfllava_bench.stopping import run_command, stopped
from sfllava_bench.terminal import ends_with_its_reader, show, visible
from sfllava_core.defaults import CLIP, COURSE, DEFAULT_MODEL, required


def parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    top = argparse.ArgumentParser(prog="python -m sfllava_core", description="SlowFast-LLaVA: ask a video.")
    commands = top.add_subparsers(dest="command", required=True)
    model = {"default": str(DEFAULT_MODEL), "help": "folder or hub id of a LLaVA-NeXT checkpoint (%(default)s)"}

    ask = commands.add_parser("ask", help="answer a question about a video")
    ask.add_argument("video", help="a video file, or a folder of images")
    ask.add_argument("question", help="put -- before it if it begins with a dash")
    ask.add_argument("--options", nargs="+", metavar="TEXT", help="choose among these instead of answering freely")
    ask.add_argument("--model", **model)
    ask.add_argument(
        "--spec", default="", help="pathway spec, such as frames50_slow10-max1x2_fastall-to4x4 (the model's own)"
    )
    ask.add_argument("--device", default="auto")
    ask.add_argument("--dtype", default="auto")
    ask.add_argument("--max-new-tokens", type=int, default=256)

    commands.add_parser("doctor", help="versions, device, decoders; what is missing")

    run = commands.add_parser("run", help="the main job: run a notebook headlessly, write a report")
    run.add_argument("--notebook", type=Path, default=COURSE / "08_reproduce.ipynb")
    run.add_argument("--out", type=Path, default=None, help="folder of the results (runs/ and the time)")
    run.add_argument("-p", dest="parameters", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"))

    bench = commands.add_parser("bench", help="seconds a question: the released way against a shared prefix")
    bench.add_argument("--model", default="random-small", help="random-small, random-7b (GPU), a folder or a hub id")
    bench.add_argument("--video", type=Path, default=CLIP)
    bench.add_argument("--questions", type=int, nargs="+", default=[1, 5, 25])
    bench.add_argument("--new-tokens", type=int, default=16)
    bench.add_argument("--device", default="auto")
    bench.add_argument("--dtype", default="auto")
    return top


def ask(args: argparse.Namespace) -> int:
    """Answer on standard output as it is decoded; what is going on, on standard error."""
    from sfllava_core import VideoLLM, parse_spec
    from sfllava_core.video.integrity import checked_path

    if args.max_new_tokens < 1:
        raise ValueError(f"--max-new-tokens {args.max_new_tokens}: ask for at least 1 token")
    checked_path(args.video)  # before a model is loaded for nothing
    spec = parse_spec(args.spec) if args.spec else None
    llm = VideoLLM.from_pretrained(args.model, device=args.device, dtype=args.dtype)
    if getattr(llm.model.config, "random_weights", False):
        print(f"note: {args.model} has random weights; its words mean nothing", file=sys.stderr)
    video = llm.watch(args.video, spec)
    print(f"{len(video.frames)} frames of {video.frames.total}, {video}", file=sys.stderr)
    if args.options:
        choice = video.choose(args.question, args.options)
        for letter, option, score in zip("ABCDEFGHIJKLMNOPQRSTUVWXYZ", args.options, choice.scores):
            show(f"{'*' if letter == choice.letter else ' '} ({letter}) {score:6.1%}  {option}")
    else:
        video.ask(
            args.question,
            max_new_tokens=args.max_new_tokens,
            on_text=lambda text: print(visible(text), end="", flush=True),
        )
        print()
    return 0


def run(args: argparse.Namespace) -> int:
    """Run the main job."""
    from sfllava_course.headless import run_notebook

    return run_notebook(required(args.notebook), args.out, dict(args.parameters))


def bench(args: argparse.Namespace) -> int:
    """Print the speed table."""
    from sfllava_bench.random_models import random_llm
    from sfllava_bench.speed import run as measure
    from sfllava_core import VideoLLM

    video = required(args.video)  # before a model is made for nothing
    for name, number in (("--questions", min(args.questions)), ("--new-tokens", args.new_tokens)):
        if number < 1:
            raise ValueError(f"{name} {number}: give at least 1")
    if args.model.startswith("random-"):
        llm = random_llm(args.model, device=args.device, dtype=args.dtype)
    else:
        llm = VideoLLM.from_pretrained(args.model, device=args.device, dtype=args.dtype)
    measure(llm, video, tuple(args.questions), args.new_tokens)
    return 0


def doctor(args: argparse.Namespace) -> int:
    """Print the doctor's report."""
    from sfllava_course.doctor import main as report

    return report()


@ends_with_its_reader
def main(argv: list[str] | None = None) -> int:
    """Run one command; what goes wrong in a known way is one line on standard error and exit code 1."""
    args = parser().parse_args(argv)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        return {"ask": ask, "run": run, "bench": bench, "doctor": doctor}[args.command](args)
    except BrokenPipeError:
        raise
    except (RuntimeError, ValueError, OSError) as error:
        if os.environ.get("SFLLAVA_DEBUG"):
            raise
        show(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as error:
        return stopped(error, str(error) or "nothing is kept: the same command starts again")


if __name__ == "__main__":
    run_command(main)
