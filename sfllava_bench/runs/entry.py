"""From a notebook's few parameters, all of them texts and numbers, to experiments, judge and folder."""

import tempfile
from pathlib import Path
from typing import Any

from sfllava_bench.answers.experiment import Experiment, ExperimentError
from sfllava_bench.answers.layouts import NEW_TOKENS
from sfllava_bench.questions.benchmarks.base import find_benchmark
from sfllava_bench.reports.pocketbench import pocketbench_experiments
from sfllava_bench.runs.experiments import make_experiments
from sfllava_bench.scores.chat import Judge
from sfllava_bench.scores.wording import OWN, load_wording
from sfllava_core.defaults import WORK

POCKETBENCH_RUN = "pocketbench"


def experiments_for(
    run: str,
    benchmark: str = "",
    *,
    profile: str = "",
    model: str = "",
    annotations: str = "",
    videos: str = "",
    toy_videos: int = 0,
    max_new_tokens: int = 0,
) -> list[Experiment]:
    """The experiments that the parameters name; "" and 0 stand for "as it comes".

    Args:
        run: "pocketbench" (the layouts, on PocketBench), or runs of data/paper/runs.yaml as `make_experiments` reads
            them, several with commas between.
        profile: "toy", "demo" or "full"; "" is full where `videos` are given, else toy.
        annotations: "" looks into `videos`, and for a folder `annotations` in it or beside it.
        toy_videos: the first so many films of PocketBench; 0 takes all.
        max_new_tokens: 0 is 16 for the toy profile, whose answers are short, else the method's own (the paper's: 128).

    Raises:
        RunError: no such run.  ExperimentError: a path is missing, or a number below 0.
    """
    for name, number in (("toy_videos", toy_videos), ("max_new_tokens", max_new_tokens)):
        if number < 0:
            raise ExperimentError(f"{name}={number}: give a number of at least 1, or 0 for as it comes")
    profile = profile or ("full" if videos else "toy")
    limits: dict[str, Any] = {"max_new_tokens": max_new_tokens or None}
    if run == POCKETBENCH_RUN or profile == "toy":
        limits = {"max_videos": toy_videos or None, "max_new_tokens": max_new_tokens or NEW_TOKENS}
    else:
        annotations = annotations or annotations_beside(videos)
    paths: dict[str, Any] = {"model": model or None, "annotations": annotations or None, "videos": videos or None}
    if run == POCKETBENCH_RUN:
        return pocketbench_experiments(**paths, **limits)
    names = [name.strip() for name in run.split(",")]
    return make_experiments(names, benchmark or None, profile=profile, **paths, **limits)


def annotations_beside(videos: str) -> str:
    """The folder of annotation files that lies with a folder of videos.

    Raises:
        ExperimentError: there is none.
    """
    folder = Path(videos)
    for place in (folder / "annotations", folder.parent / "annotations", folder):
        if videos and (any(place.glob("*.csv")) or any(place.glob("*.json"))):
            return str(place)
    raise ExperimentError(
        f"give annotations: there is no folder of annotation files in {videos or '(no videos)'} or beside it"
    )


def judge_for(judge: str, url: str = "", wording: str = "") -> Judge | None:
    """The judge that the parameters name; None where no model is named."""
    if not judge:
        return None
    return Judge(judge, url or None, wording=load_wording(wording) if wording else OWN)


def folder_for(out_dir: str, experiments: list[Experiment]) -> Path:
    """Where a run's files go: `out_dir`; else a new folder for a quick benchmark, else runs/reproduce, to go on in."""
    if out_dir:
        return Path(out_dir)
    if all(find_benchmark(experiment.benchmark).quick for experiment in experiments):
        return Path(tempfile.mkdtemp(prefix="sfllava-"))
    return WORK / "runs" / "reproduce"
