"""What an experiment is going to cost, before anything is loaded: questions, tokens, and hours no code can beat."""

from pathlib import Path

from sfllava_bench.answers.experiment import Experiment
from sfllava_bench.peers.loading import load_config
from sfllava_bench.questions.annotations import question_counts
from sfllava_core.budget.arithmetic import MODEL_SHAPES, ModelShape, token_budget
from sfllava_core.budget.hardware import GPU, GPUS, stage_seconds

ANSWER_TOKENS = 30  # of a typical answer; a choice takes one or two
HUB_SIZES = {"vicuna-7b": "7b", "mistral-7b": "mistral-7b", "34b": "34b"}


def shape_of(model: str) -> ModelShape | None:
    """A model's sizes: of a folder by its config, of LLaVA-NeXT's hub ids by their names. Nothing is downloaded."""
    if Path(model).is_dir():
        return ModelShape.from_config(load_config(model))
    return next((MODEL_SHAPES[size] for name, size in HUB_SIZES.items() if name in model.lower()), None)


def hours_at_least(experiment: Experiment, shape: ModelShape, gpu: GPU = GPUS["h100"]) -> float:
    """Lower bound by the budget's arithmetic at the GPU's data sheet rates; decoding is not in it."""
    questions, videos = question_counts(asked := experiment.questions())
    new = min(ANSWER_TOKENS, experiment.new_tokens(asked[0].task))
    budget = token_budget(experiment.method, shape, new_tokens=new)
    each = -(-questions // videos)
    shared = experiment.share == "video"
    return videos * sum(stage_seconds(budget, shape, gpu, questions=each, share_prefix=shared).values()) / 3600


def forecast(experiment: Experiment, gpu: GPU = GPUS["h100"]) -> dict[str, str]:
    """One row of the table of what will be run.

    Raises:
        AnnotationError: the annotation files cannot be used.
    """
    questions, videos = question_counts(experiment.questions())
    shape, method = shape_of(experiment.model), experiment.method
    hours = None  # a server's hours are its own
    if shape is not None and not experiment.told:
        hours = hours_at_least(experiment, shape, gpu)
    return {
        "run": experiment.id,
        "sees": "the next film: " * experiment.other_film + str(method),
        "tokens": "?" if shape is None else f"{method.token_count(grid=shape.grid):,}",
        "questions": f"{questions:,}",
        "videos": f"{videos:,}",
        f"hours at least ({gpu.name})": "?" if hours is None else "< 0.01" if hours < 0.01 else f"{hours:.2g}",
    }
