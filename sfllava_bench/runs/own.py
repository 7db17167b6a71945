"""Experiments of one's own: a method on a benchmark's files, or on questions of one's own, which no paper has made."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sfllava_bench.answers.experiment import Experiment, ExperimentError
from sfllava_bench.answers.layouts import LAYOUTS
from sfllava_bench.questions.benchmarks.base import find_benchmark
from sfllava_bench.questions.benchmarks.own import OwnQuestions
from sfllava_core.budget.arithmetic import ModelShape
from sfllava_core.checkpoints import default_method, load_config
from sfllava_core.defaults import DEFAULT_MODEL, required
from sfllava_core.methods.base import SpecError
from sfllava_core.methods.specs import parse_spec

OF_THE_MODEL = "slowfast"


def own_experiments(
    methods: Sequence[str],
    benchmark: str | None = None,
    *,
    model: str | None = None,
    annotations: str | Path | None = None,
    videos: str | Path | None = None,
    max_videos: int | None = None,
    **settings: Any,
) -> list[Experiment]:
    """An experiment for each method, on the same questions and videos.

    Args:
        methods: as in `named_method`.
        benchmark: whose questions they are; where none is named, and `annotations` is a file, it is "own".
        model: None takes the pocket model, which comes with the kit and knows its drawn world alone.
        annotations, videos: the file, or folder of files, of the questions, and the folder of the videos. A folder of
            videos that has a sub-folder called like the benchmark stands for that.
        settings: further fields of `Experiment`.

    Raises:
        ExperimentError: a path is missing, or two methods have one name.  SpecError: no such method.
        ValueError: no such benchmark.  ModelError: no such checkpoint.
    """
    if annotations is None or videos is None:
        missing = [name for name, value in (("annotations", annotations), ("videos", videos)) if value is None]
        raise ExperimentError(f"method {', '.join(methods)}: give {' and '.join(missing)}")
    annotations, videos = Path(annotations), Path(videos)
    if benchmark is None and annotations.is_dir():
        raise ExperimentError(
            f"{annotations} is a folder: give one file of your own questions, or name the benchmark whose folder it is"
        )
    benchmark = benchmark or OwnQuestions.name
    find_benchmark(benchmark)
    model = model or str(required(DEFAULT_MODEL))
    folder = videos / benchmark
    asked = [benchmark, *([annotations.stem] if not annotations.is_dir() else [])]
    apart = ["subquestions"] if settings.get("subquestions") else []
    found = [
        replace(
            named_method(name, model),
            id="_".join(re.sub(r"[^\w.-]+", "_", part.lower()) for part in (*asked, name, *apart)),
            benchmark=benchmark,
            model=model,
            annotations=annotations,
            videos=folder if folder.is_dir() else videos,
            max_videos=max_videos,
            **settings,
        )
        for name in methods
    ]
    if len({experiment.id for experiment in found}) < len(found):
        raise ExperimentError(f"method {', '.join(methods)}: one of them is named twice")
    return found


def named_method(name: str, model: str) -> Experiment:
    """What a method's name stands for, as an experiment without questions.

    Args:
        name: "slowfast" for the model's own; a layout of `sfllava bench methods`, such as "image grid"; or a spec.

    Raises:
        SpecError: it is none of these.  ModelError: no such checkpoint.
    """
    if name.lower() == OF_THE_MODEL:
        config = load_config(model)
        return Experiment("", default_method(config, ModelShape.from_config(config).grid))
    layouts = {layout.lower(): experiment for layout, experiment in LAYOUTS.items()}
    if name.lower() in layouts:
        return replace(layouts[name.lower()], note="")
    try:
        return Experiment("", parse_spec(name))
    except SpecError as error:
        raise SpecError(
            f"method {name!r} is none of {', '.join(map(repr, [OF_THE_MODEL, *LAYOUTS]))}; {error}"
        ) from None
