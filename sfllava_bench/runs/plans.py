"""A plan: one run of the paper's list (or one's own), with the model, files and profile that it is to be made with."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from sfllava_bench.questions.annotations import load_annotations
from sfllava_bench.answers.layouts import of_other_films
from sfllava_bench.reports.published import PAPER, load_paper
from sfllava_bench.questions.records import MULTIPLE_CHOICE, OPEN_ENDED, TEXT_GENERATION, Question, find_benchmark
from sfllava_bench.runs.catalogue import PROFILES, PaperRun, find_run, load_runs
from sfllava_bench.answers.settings import RunSettings
from sfllava_core.budget.arithmetic import ModelShape
from sfllava_core.checkpoints import load_config

ROOT = PAPER.parents[1]


class PlanError(ValueError):
    """A plan that lacks something; says what to give."""


@dataclass(frozen=True)
class Plan:
    """What is to be run.

    id: names its folder.  task: which kind of question is asked ("" for all).  annotations, videos: paths.
    max_videos: only the questions about the first so many videos.  published, note: what to compare with.
    other_film: a control: each question is asked about the next film in place of its own.
    cell: the paper's (table, row, benchmark) that it makes, or stands for in miniature.
    """

    id: str
    benchmark: str
    task: str
    model: str
    settings: RunSettings
    annotations: Path
    videos: Path
    max_videos: int | None = None
    published: dict[str, float] | None = None
    note: str = ""
    other_film: bool = False
    cell: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.max_videos is not None and self.max_videos < 1:
            raise PlanError(f"max_videos={self.max_videos}: take at least 1 video, or None for all")

    def questions(self) -> list[Question]:
        """The plan's questions.

        Raises:
            AnnotationError: the annotation files cannot be used.  PlanError: none is left.
        """
        found = load_annotations(self.benchmark, self.annotations)
        if self.benchmark == "pocketbench" and self.task:
            found = toy_questions(found, self.task)
        names = list(dict.fromkeys(question.video for question in found))[: self.max_videos]
        found = [question for question in found if question.video in set(names)]
        if not found:
            raise PlanError(f"{self.annotations}: no question of kind {self.task or 'any'} is left to ask")
        return of_other_films(found) if self.other_film else found

    def identity(self) -> dict[str, object]:
        """JSON-able: all of the plan that its numbers depend on."""
        plain = {name: str(value) if isinstance(value, Path) else value for name, value in vars(self).items()}
        settings = {**asdict(self.settings), "pathways": str(self.settings.pathways)}
        return {**plain, "settings": settings, "model_files": model_files(self.model)}


def make_plan(
    run: str,
    benchmark: str | None = None,
    *,
    profile: str = "full",
    model: str | None = None,
    annotations: str | Path | None = None,
    videos: str | Path | None = None,
    max_videos: int | None = None,
    runs: list[PaperRun] | None = None,
    **settings: object,
) -> Plan:
    """The plan of one of the paper's runs.

    Args:
        run, benchmark: as in `find_run`: "table2_7b" and "egoschema".
        profile: "full" is the run itself; "demo" its first 20 videos; "toy" the same on PocketBench with the pocket
            model, each pool in proportion to that model's grid; no toy number is compared with the paper's.
        model, annotations, videos, max_videos: in place of what run and profile say. A folder of videos that has a
            sub-folder called like the benchmark stands for that.
        settings: `RunSettings` fields to set otherwise (by, max_new_tokens, share, resize, decoder).

    Raises:
        RunError: no such run.  PlanError: a path is missing, or a number below 1.
    """
    if profile not in PROFILES:
        raise PlanError(f"profile {profile!r}: choose one of {', '.join(PROFILES)}")
    chosen = find_run(load_runs(load_paper()) if runs is None else runs, run, benchmark)
    changes = load_profiles()[profile]
    task = ""
    if changed := changes.get("benchmark"):
        task = find_benchmark(chosen.benchmark).task
        model = model or str(ROOT / changes["model"])
        chosen = replace(chosen, published={}, note=f"{profile} profile of {chosen.id}: not comparable with the paper")
        chosen = chosen.scaled(model_grid(model))
        annotations, videos = annotations or ROOT / changes["annotations"], videos or ROOT / changes["videos_folder"]
    if annotations is None or videos is None:
        missing = [name for name, value in (("annotations", annotations), ("videos", videos)) if value is None]
        raise PlanError(f"run {chosen.id}: give {' and '.join(missing)} (paths of the annotation files and the videos)")
    own = Path(videos) / (changed or chosen.benchmark)
    return Plan(
        id=chosen.id if profile == "full" else f"{chosen.id}_{profile}",
        benchmark=changed or chosen.benchmark,
        task=task,
        model=model or chosen.checkpoint,
        settings=RunSettings(chosen.pathways, chosen.parts, **settings),
        annotations=Path(annotations),
        videos=own if own.is_dir() else Path(videos),
        max_videos=changes.get("videos") if max_videos is None else max_videos,
        published=chosen.published,
        note=chosen.note,
        cell=(chosen.table, chosen.row, chosen.benchmark),
    )


def make_plans(names: Sequence[str], benchmark: str | None = None, **options: object) -> list[Plan]:
    """The plans of several runs, for each benchmark of a run where none is named.

    Args:
        names: runs, or beginnings of runs: "table4_7b" stands for all its rows, "tables_7b" for tables 1 to 7.
        options: as in `make_plan`.

    Raises:
        RunError: no such run.  PlanError: a path is missing.
    """
    runs, plans = load_runs(load_paper()), []
    for name in names:
        found = [run for run in runs if name in (run.name, run.id)]
        found = found or [run for run in runs if run.name.startswith(f"{name}_")]
        found = found or [run for run in runs if name == f"tables_{run.size}" and run.table.startswith("table")]
        found = [run for run in found if benchmark in (None, run.benchmark)]
        if not found:
            find_run(runs, name, benchmark)  # says which there are
        plans += [make_plan(run.name, run.benchmark, runs=runs, **options) for run in found]
    return plans


def load_profiles(path: str | Path = PAPER / "runs.yaml") -> dict[str, dict]:
    """What each profile changes."""
    import yaml

    return yaml.safe_load(Path(path).read_text(encoding="utf-8"))["profiles"]


def model_grid(model: str) -> tuple[int, int]:
    """Patches a frame, (rows, columns), from the checkpoint's config alone."""
    return ModelShape.from_config(load_config(model)).grid


def model_files(model: str) -> list[list]:
    """Names, sizes and times of a local checkpoint's files: another checkpoint in the same folder is another model."""
    folder = Path(model)
    files = sorted(file for file in folder.iterdir() if file.is_file()) if folder.is_dir() else []
    return [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files]


def toy_questions(questions: list[Question], task: str) -> list[Question]:
    """PocketBench in the shape of another benchmark: its choices, its open questions, or those as VCGBench asks.

    For VCGBench each open question is asked thrice over: as a generic one, as a temporal one, and as a pair.
    """
    if task == MULTIPLE_CHOICE:
        return [question for question in questions if question.task == MULTIPLE_CHOICE]
    plain = [question for question in questions if question.task == OPEN_ENDED]
    if not plain:  # choices can be asked openly
        plain = [replace(q, task=OPEN_ENDED, options=(), answer_index=None) for q in questions]
    if task == OPEN_ENDED:
        return plain
    parts = {"generic": "{}", "temporal": "Think of what came first: {}", "consistency": "{}"}
    found = []
    for question in plain:
        for part, text in parts.items():
            asked = (text.format(question.questions[0]),)
            asked += (f"Look at the whole video. {question.questions[0]}",) if part == "consistency" else ()
            key = f"{part}/{question.key}"
            found.append(replace(question, key=key, questions=asked, task=TEXT_GENERATION, group=part))
    return found
