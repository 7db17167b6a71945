"""All commands of `sfllava`: ask, doctor, run, course, and those of the bench (its commands.py, machine_commands.py).

What is heavy is imported when a command is run.
"""

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from sfllava_bench.command_line import PAIR, command, commands, takes
from sfllava_bench.commands import bench
from sfllava_bench.engine.options import make_engine
from sfllava_bench.loading_options import loading_options
from sfllava_bench.machine_commands import gpu_acceptance, rehearse, speed
from sfllava_bench.terminal import one_line, show, visible
from sfllava_core.defaults import COURSE, DEFAULT_MODEL, ROOT, required

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
MAIN_JOB = COURSE / "08_reproduce.ipynb"


app = commands(
    help="SlowFast-LLaVA: ask a video, and reproduce the paper's tables.",
    epilog="Example: sfllava ask data/clips/dog.mp4 'Which animal is it?'",
)


@command(app, "ask data/clips/dog.mp4 'Which animal is it?' --options cat dog")
def ask(
    video: Annotated[str, Argument(help="a video file, or a folder of images")],
    question: Annotated[str, Argument(help="put -- before it if it begins with a dash")],
    options: Annotated[
        list[str] | None, Option(metavar="TEXT...", help="choose among these instead of answering freely")
    ] = None,
    model: Annotated[
        str, Option(show_default="data/pocket", help="folder or hub id of a LLaVA-NeXT checkpoint, or of an SFT peer")
    ] = str(DEFAULT_MODEL),
    spec: Annotated[
        str,
        Option(show_default="the model's own", help="a method, such as frames50_slow10-max1x2_fastall-to4x4"),
    ] = "",
    device: Annotated[str, Option(help="cpu, cuda, cuda:1, mps")] = "auto",
    dtype: Annotated[str, Option(help="float32, float16, bfloat16")] = "auto",
    max_new_tokens: Annotated[int, Option(help="an answer is cut there")] = 256,
) -> None:
    """Answer a question about a video."""
    from sfllava_bench.peers.loading import load_model
    from sfllava_core import parse_spec
    from sfllava_core.video.integrity import checked_path

    if max_new_tokens < 1:
        raise ValueError(f"--max-new-tokens {max_new_tokens}: ask for at least 1 token")
    checked_path(video)  # before a model is loaded for nothing
    method = parse_spec(spec) if spec else None
    llm = load_model(model, device=device, dtype=dtype)
    if getattr(llm.model.config, "random_weights", False):
        show(f"note: {model} has random weights; its words mean nothing", file=sys.stderr)
    watched = llm.watch(video, method)
    frames = watched.frames
    assert frames is not None, "a film has frames"
    print(f"{len(frames)} frames of {frames.total}, {watched}", file=sys.stderr)
    if options:
        choice = watched.choose(question, options)
        assert not isinstance(choice, list), "one question has one answer"
        for letter, option, score in zip(LETTERS, options, choice.scores):
            show(f"{'*' if letter == choice.letter else ' '} ({letter}) {score:6.1%}  {option}")
    else:
        watched.ask(
            question,
            max_new_tokens=max_new_tokens,
            on_text=lambda text: print(visible(text), end="", flush=True),
        )
        print()


@command(app, "ask-all data/clips questions.txt --out answers.jsonl", name="ask-all")
@takes(how=loading_options, engine=make_engine)
def ask_every(
    videos: Annotated[Path, Argument(help="a folder of videos; or a CSV file whose column video has their paths")],
    questions: Annotated[
        Path,
        Argument(help="text, a question a line, asked of each video; or CSV, JSON lines: video, question"),
    ],
    out: Annotated[Path, Option(help="the table: .jsonl or .parquet; answers are kept in <out>.run, to go on")],
    model: Annotated[
        str, Option(show_default="data/pocket", help="folder or hub id of a LLaVA-NeXT checkpoint, or of an SFT peer")
    ] = str(DEFAULT_MODEL),
    method: Annotated[str, Option(help="what is seen: slowfast, one of bench methods, or a spec")] = "slowfast",
    max_new_tokens: Annotated[
        int | None, Option("--max-new-tokens", help="an answer is cut there; else where the method was published with")
    ] = None,
    retry_failed: Annotated[bool, Option("--retry-failed", help="ask again what failed at an earlier start")] = False,
    *,
    how: "Callable[[], dict]",
    engine: "Callable[[], AbstractContextManager]",
) -> int:
    """Ask many videos many questions, to one table; the same command goes on where it was."""
    from sfllava_bench.runs.ask_all import ask_all

    with engine() as workers:
        outcome = ask_all(
            videos, questions, out, model=model, method=method, max_new_tokens=max_new_tokens, engine=workers,
            retry_failed=retry_failed, say=show, **how(),
        )  # fmt: skip
    return int(bool(outcome.failures))


@command(app, "app --model llava-hf/llava-v1.6-vicuna-7b-hf", "app")
def serve_app(
    model: Annotated[str, Option(show_default="data/pocket", help="folder or hub id; each open page loads it")] = str(
        DEFAULT_MODEL
    ),
    ip: Annotated[str, Option(help="whoever reaches this address may upload and ask")] = "127.0.0.1",
    port: Annotated[int, Option(help="the next free one where it is taken")] = 8866,
    max_upload: Annotated[int, Option(help="MiB of an upload at most")] = 500,
    browser: Annotated[bool, Option(help="open a browser on it")] = True,
) -> int:
    """Your own video in a browser: upload, ask, compare two methods side by side."""
    from sfllava_course.app.serve import serve

    return serve(model, ip, port, max_upload, browser)


@command(app, "doctor --model data/tiny")
def doctor(
    model: Annotated[str, Option(show_default=False, help="a checkpoint whose tokenizer is checked too")] = "",
) -> int:
    """Versions, device, decoders; what is missing, and how to get it. With --model: are prompts cut as they should?"""
    from sfllava_course.doctor import main

    return main(model)


@command(app, "run notebooks/08_reproduce.ipynb -p toy_videos 6")
def run(
    notebook: Annotated[
        Path | None, Argument(show_default="notebooks/08_reproduce.ipynb, the main job", help="a notebook")
    ] = None,
    named: Annotated[Path | None, Option("--notebook", show_default=False, help="the same, as an option")] = None,
    out: Annotated[Path | None, Option(show_default="runs/ and the time", help="folder of the results")] = None,
    parameters: Annotated[
        list[str] | None, Option("-p", metavar=PAIR, help="a parameter of the notebook; may be given several times")
    ] = None,
) -> int:
    """Run a notebook headlessly: a report, its results, a table of them."""
    from sfllava_course.headless import run_notebook

    if notebook and named:
        raise ValueError(f"--notebook {named}: {notebook} is named already")
    words = parameters or []
    if len(words) % 2:
        raise ValueError(f"-p {words[-1]}: give a parameter's name and its value")
    return run_notebook(required(notebook or named or MAIN_JOB), out, dict(zip(words[::2], words[1::2])))


command(app, "rehearse 7b --divide 8")(rehearse)
command(app, "gpu-acceptance --out page.md", "gpu-acceptance")(gpu_acceptance)

course = commands(help="For teachers: students' notebooks.", epilog="Example: sfllava course grade submissions")


@command(course, "course grade submissions --jobs 2")
def grade(
    submissions: Annotated[Path, Argument(help="a folder of notebooks, in sub-folders by student or all in one")],
    out: Annotated[Path | None, Option(show_default="runs/ and the time", help="folder of the results")] = None,
    chapter: Annotated[
        str, Option(show_default="as files or cells say", help="what all of them are of, such as 03")
    ] = "",
    seconds: Annotated[float, Option(help="for one copy; a third of it for one cell")] = 600.0,
    memory: Annotated[float, Option(help="GiB for one copy")] = 4.0,
    jobs: Annotated[int, Option(help="copies at the same time")] = 1,
) -> None:
    """Run students' notebooks, each in a closed box, and judge their exercises: grades.csv and grades.html."""
    from datetime import datetime, timezone

    from sfllava_course.grading.grade import VERDICTS, grade
    from sfllava_course.grading.sandbox import Limits, missing

    for name, value, least in (("seconds", seconds, 5), ("memory", memory, 1), ("jobs", jobs, 1)):
        if not value >= least:
            raise ValueError(f"--{name} {value:g}: give at least {least}")
    out = out or ROOT / "runs" / datetime.now(timezone.utc).strftime("grades-%Y%m%d-%H%M%S")
    if missing():
        show(f"warning: {missing()}", file=sys.stderr)
    grade(
        submissions,
        out,
        Limits(seconds, int(memory * 1024**3)),
        jobs,
        chapter,
        lambda one: show(one_line(f"{one.copy.name}: {', '.join(f'{one.count(v)} {v}' for v in VERDICTS)}")),
    )
    print(f"grades: {out / 'grades.csv'}\npage: {out / 'grades.html'}")


app.add_typer(course, name="course")
app.add_typer(bench, name="bench")
app.add_typer(speed, name="speed")
