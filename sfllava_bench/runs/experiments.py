"""The paper's experiments, made ready: with the model, files and profile that they are to be run with."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sfllava_bench.answers.experiment import Experiment, ExperimentError
from sfllava_bench.peers.loading import METHODS as OF_PEERS
from sfllava_bench.peers.loading import load_config
from sfllava_bench.questions.benchmarks.base import find_benchmark
from sfllava_bench.reports.published import PAPER, load_paper
from sfllava_bench.runs.catalogue import PROFILES, find_experiment, name_of, paper_experiments
from sfllava_core.budget.arithmetic import ModelShape
from sfllava_core.methods.base import PAPERS_ROPE

ROOT = PAPER.parents[1]


def make_experiment(
    run: str,
    benchmark: str | None = None,
    *,
    profile: str = "full",
    model: str | None = None,
    annotations: str | Path | None = None,
    videos: str | Path | None = None,
    max_videos: int | None = None,
    listed: list[Experiment] | None = None,
    **settings: Any,
) -> Experiment:
    """The experiment of one of the paper's runs.

    Args:
        run, benchmark: as in `find_experiment`: "table2_7b" and "egoschema".
        profile: "full" is the run itself; "demo" its first 20 videos; "toy" the same on PocketBench with the pocket
            model, each pool in proportion to that model's grid; no toy number is compared with the paper's. Runs of
            models trained on videos do not fit it (`misfit`).
        model, annotations, videos, max_videos: in place of what run and profile say. A folder of videos that has a
            sub-folder called like the benchmark stands for that.
        listed: the experiments to find it among; None: those of data/paper/runs.yaml.
        settings: further fields of `Experiment` to set otherwise (by, max_new_tokens, share, resize, decoder); None
            leaves one as it is.

    Raises:
        RunError: no such run.
        ExperimentError: a path is missing, a number is below 1, or the run does not fit the toy.
    """
    if profile not in PROFILES:
        raise ExperimentError(f"profile {profile!r}: choose one of {', '.join(PROFILES)}")
    chosen = find_experiment(paper_experiments(load_paper()) if listed is None else listed, run, benchmark)
    changes = load_profiles()[profile]
    if changed := changes.get("benchmark"):
        if reason := misfit(chosen, profile):
            raise ExperimentError(reason)
        model = model or str(ROOT / changes["model"])
        annotations, videos = annotations or ROOT / changes["annotations"], videos or ROOT / changes["videos_folder"]
        chosen = replace(
            chosen,
            benchmark=changed,
            task=find_benchmark(chosen.benchmark).task,
            method=chosen.method.scaled(model_grid(model)),
            rope=PAPERS_ROPE,  # the pocket model was made for no other
            published={},
            note=f"{profile} profile of {chosen.id}: not comparable with the paper",
        )
    if annotations is None or videos is None:
        missing = [name for name, value in (("annotations", annotations), ("videos", videos)) if value is None]
        raise ExperimentError(
            f"run {chosen.id}: give {' and '.join(missing)} (paths of the annotation files and the videos)"
        )
    own = Path(videos) / chosen.benchmark
    return replace(
        chosen,
        id=chosen.id if profile == "full" else f"{chosen.id}_{profile}",
        model=model or chosen.model,
        annotations=Path(annotations),
        videos=own if own.is_dir() else Path(videos),
        max_videos=changes.get("videos") if max_videos is None else max_videos,
        **{name: value for name, value in settings.items() if value is not None},
    )


def misfit(experiment: Experiment, profile: str) -> str:
    """Why a run does not fit the toy profile; "" where it does."""
    if not isinstance(experiment.method, OF_PEERS) or "benchmark" not in load_profiles().get(profile, {}):
        return ""
    return (
        f"{experiment.id} does not fit the {profile}: {experiment.method} is for {experiment.model}, which was trained "
        "to read it, as the pocket model was not; take --profile demo or full"
    )


def make_experiments(
    names: Sequence[str], benchmark: str | None = None, *, say: Callable[[str], None] = print, **options: Any
) -> list[Experiment]:
    """The experiments of several runs, for each benchmark of a run where none is named.

    Args:
        names: runs, or beginnings of runs: "table4_7b" stands for all its rows, "tables_7b" for tables 1 to 7.
        say: told each run that does not fit the profile, where others do.
        options: as in `make_experiment`.

    Raises:
        RunError: no such run.  ExperimentError: a path is missing, or nothing that is named fits the toy.
    """
    listed, experiments, reasons = paper_experiments(load_paper()), [], []
    profile = options.get("profile", "full")
    for name in names:
        found = [one for one in listed if name in (name_of(one), one.id)]
        found = found or [one for one in listed if name_of(one).startswith(f"{name}_")]
        found = found or [one for one in listed if (one.cell[0][:5], f"tables_{one.cell[1]}") == ("table", name)]
        found = [one for one in found if benchmark in (None, one.benchmark)]
        if not found:
            find_experiment(listed, name, benchmark)  # says which there are
        for one in found:
            if reason := misfit(one, profile):
                reasons.append(reason)
            else:
                experiments.append(make_experiment(one.id, listed=listed, **options))
    if not experiments:
        raise ExperimentError("\n".join(reasons))
    for reason in reasons:
        say(reason)
    return experiments


def load_profiles(path: str | Path = PAPER / "runs.yaml") -> dict[str, dict]:
    """What each profile changes."""
    import yaml

    return yaml.safe_load(Path(path).read_text(encoding="utf-8"))["profiles"]


def model_grid(model: str) -> tuple[int, int]:
    """Patches a frame, (rows, columns), from the checkpoint's config alone."""
    return ModelShape.from_config(load_config(model)).grid
