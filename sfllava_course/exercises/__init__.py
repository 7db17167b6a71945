"""The course's exercises, checked on the spot: by properties, on random numbers, drawn as grids when wrong.

A notebook's cell defines a function and ends with `check("name", function)`. An unfinished stub is "to do", never an
error, so that a notebook with nothing filled in runs from top to bottom. `reveal` compares a guess with the truth.

    on_start.py    chapter 0
    on_frames.py   chapter 1        on_features.py   chapter 2
    on_pathways.py chapter 3        on_attention.py  chapter 7
    on_budget.py   chapter 4        on_prompts.py    chapter 5
    on_ablations.py  chapter 6      on_field.py      chapter 9
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from sfllava_course.exercises.judging import NotDone, Wrong, guarded

HOMES = {
    "score": "on_start",
    "count_tokens": "on_start",
    "sample": "on_frames",
    "catch_chance": "on_frames",
    "sample_by_time": "on_frames",
    "patches": "on_features",
    "on_grid": "on_features",
    "similarity": "on_features",
    "came_and_went": "on_features",
    "slow_frames": "on_pathways",
    "slow_pool": "on_pathways",
    "fast_pool": "on_pathways",
    "join": "on_pathways",
    "visual_tokens": "on_budget",
    "kv_bytes": "on_budget",
    "rope_base": "on_budget",
    "tokenize": "on_prompts",
    "splice": "on_prompts",
    "shared_length": "on_prompts",
    "shares": "on_attention",
    "times_fair": "on_attention",
    "strip": "on_attention",
    "equal_tokens": "on_ablations",
    "film_interval": "on_ablations",
    "lead_of": "on_ablations",
    "every_step": "on_field",
    "one_picture": "on_field",
    "least_alike": "on_field",
}
MARKS = {"right": "✓", "wrong": "✗", "to do": "○"}


@dataclass(frozen=True)
class Verdict:
    """What became of an exercise. status: "right", "wrong" or "to do"; figure: grids that show what is wrong."""

    status: str
    message: str
    figure: Any = None

    def __repr__(self) -> str:
        return f"{MARKS[self.status]} {self.message}"


def check(name: str, answer: Callable) -> Verdict:
    """Whether `answer` solves the exercise `name`; says what is off, and draws it, where it does not.

    Raises:
        KeyError: there is no such exercise.
    """
    status, message, grids = judged(name, answer)
    return Verdict(status, message, draw(grids))


def judged(name: str, answer: Callable) -> tuple[str, str, dict[str, Any]]:
    """What `check` shows: status, message, and grids that are not drawn yet.

    Raises:
        KeyError: there is no such exercise.
    """
    if name not in HOMES:
        raise KeyError(f"exercise {name!r}: choose one of {', '.join(HOMES)}")
    judge = getattr(import_module(f"{__name__}.{HOMES[name]}"), f"check_{name}")
    try:
        praise = judge(guarded(answer))
    except NotDone:
        return "to do", f"{name}: to do. The notebook goes on without it.", {}
    except Wrong as wrong:
        return "wrong", f"{name}: {wrong.hint}", wrong.grids
    return "right", f"{name}: right. {praise}", {}


def draw(grids: dict[str, Any]) -> Any:
    """The figure of a wrong answer; None where there is nothing to draw."""
    if not grids:
        return None
    from sfllava_course.figures.grids import plot_grids

    return plot_grids(grids)


def reveal(guess: float | None, truth: float, what: str) -> None:
    """Print the truth beside the guess that was made before."""
    said = "you wrote down no guess" if guess is None else f"you said {number(guess)}"
    if guess and truth:
        off = max(guess, truth) / min(guess, truth) if guess * truth > 0 else float("inf")
        said += ", on the spot" if off < 1.01 else f", off by a factor of {off:.3g}"
    print(f"{number(truth)} {what} ({said})")


def number(value: float) -> str:
    """28800 as "28,800", 0.41666 as "0.417"."""
    return f"{value:,}" if isinstance(value, int) else f"{value:,.3g}"
