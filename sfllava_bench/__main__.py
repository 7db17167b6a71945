"""The benchmarks from the terminal.

python -m sfllava_bench list                            the runs that make the paper's tables
python -m sfllava_bench check --run table2_7b ...       what is missing; --readings compares decoders
python -m sfllava_bench run --run table2_7b ...         one run, or several: a sweep with one table
"""

import argparse
import sys
from pathlib import Path

from sfllava_bench.answers.counts import CountsError
from sfllava_bench.answers.settings import CHOOSING, DECODING
from sfllava_bench.reports.published import load_paper
from sfllava_bench.reports.results import text_rows
from sfllava_bench.runs.catalogue import PROFILES, load_runs
from sfllava_bench.runs.plans import Plan, make_plans
from sfllava_bench.runs.preflight import Preflight, check_videos
from sfllava_bench.runs.readings import compare_readings
from sfllava_bench.runs.reproduce import FAILS, how_to_go_on, reproduce
from sfllava_bench.runs.sweeps import sweep
from sfllava_bench.scores.chat import Judge
from sfllava_bench.scores.wording import OWN, load_wording
from sfllava_bench.stopping import run_command, stopped
from sfllava_bench.terminal import ends_with_its_reader, show, table
from sfllava_core.video.folder import VideoFolder
from sfllava_core.video.integrity import HostError

PLANNED = ("profile", "model", "annotations", "videos", "max_videos", "max_new_tokens", "by", "decoder")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser("python -m sfllava_bench", description="Reproduce the paper's tables.")
    commands = top.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="the runs that make the paper's tables")
    for name, text in (("check", "are all videos there?"), ("run", "make one run, or a sweep of several")):
        command = commands.add_parser(name, help=text)
        command.add_argument("--run", nargs="+", required=True, help="such as table2_7b, table4_7b, tables_7b")
        command.add_argument("--benchmark", help="such as egoschema, where a run is of several")
        command.add_argument("--profile", choices=PROFILES, default="full")
        command.add_argument("--model", help="a checkpoint's folder or hub id, in place of the run's own")
        command.add_argument("--annotations", type=Path, help="folder of the annotation files")
        command.add_argument("--videos", type=Path, help="folder of the videos")
        command.add_argument("--max-videos", type=int)
        command.add_argument("--max-new-tokens", type=int, default=128)
        command.add_argument("--by", choices=CHOOSING, default="generation", help="how choices are made")
        command.add_argument(
            "--decoder", choices=DECODING, default="auto", help="decord is the released code's reading, faults and all"
        )
    commands.choices["check"].add_argument(
        "--readings", action="store_true", help="count the videos of which the released code saw other pictures"
    )
    command.add_argument("--out", type=Path, default=Path("runs"))
    command.add_argument("--allow-missing", action="store_true", help="run without the videos that are missing")
    command.add_argument("--retry-failed", action="store_true")
    command.add_argument(
        "--one-by-one", type=int, default=0, help="videos to ask again with nothing shared, to compare"
    )
    command.add_argument("--judge", help="model name, such as gpt-3.5-turbo-0125; without it no judge is asked")
    command.add_argument("--judge-url", help="an OpenAI-compatible endpoint; the key comes from OPENAI_API_KEY")
    command.add_argument("--wording", type=Path, help="file with the judge's wording, in place of our own")
    return top


@ends_with_its_reader
def main(arguments: list[str] | None = None) -> int:
    """0 where all went well, 1 where something is missing, 130 or 143 where it was stopped."""
    asked = parser().parse_args(arguments)
    if asked.command == "list":
        for run in load_runs(load_paper()):
            paper = ", ".join(f"{name} {value:g}" for name, value in run.published.items())
            print(f"{run.name:<32} {run.benchmark:<12} {run.pathways!s:<42} paper: {paper}")
        return 0
    plans = []
    try:
        if asked.command == "run" and asked.one_by_one < 0:
            raise ValueError(f"--one-by-one {asked.one_by_one}: give at least 1 video, or 0 for none")
        plans = make_plans(asked.run, asked.benchmark, **{option: getattr(asked, option) for option in PLANNED})
        if asked.command == "check":
            found = [check_videos(plan.questions(), VideoFolder(plan.videos)) for plan in plans]
            show("\n".join(f"{plan.id}: {one}" for plan, one in zip(plans, found)))
            if asked.readings:
                show("\n".join(f"{plan.id}: {readings_of(plan, one)}" for plan, one in zip(plans, found)))
            return int(any(one.videos for one in found))
        wording = load_wording(asked.wording) if asked.wording else OWN
        judge = Judge(asked.judge, asked.judge_url, wording=wording) if asked.judge else None
        options = {name: getattr(asked, name) for name in ("allow_missing", "retry_failed", "one_by_one")}
        if len(plans) == 1:
            rows = reproduce(plans[0], asked.out, judge=judge, say=show, **options).rows()
        else:
            rows = sweep(plans, asked.out, judge=judge, say=show, **options)
    except BrokenPipeError:
        raise
    except (*FAILS, CountsError, HostError, LookupError, ValueError) as error:
        show(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt as error:
        begun = asked.command == "run" and plans
        return stopped(error, how_to_go_on(plans, asked.out) if begun else "the same command starts again")
    print(table({"table": text_rows(rows)}))
    return int(any("value" not in row for row in rows))


def readings_of(plan: Plan, checked: Preflight) -> str:
    """Of a plan's videos that open: how many the released code reads otherwise, and which."""
    videos, names = VideoFolder(plan.videos), [name for name in checked.questions if name not in checked.videos]
    found = compare_readings([videos.find(name) for name in names], plan.settings.pathways.num_frames)
    other = [reading for reading in found if reading.differs]
    summary = f"the released code's reading differs on {len(other)} of {len(found)} videos"
    return "\n  ".join([summary, *map(str, other)])


if __name__ == "__main__":
    run_command(main)
