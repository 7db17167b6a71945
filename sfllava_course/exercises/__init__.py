"""The course's exercises, checked on the spot: by properties, on random numbers, drawn as grids when wrong.

A notebook's cell defines a function and ends with `check("name", function)`. An unfinished stub is "to do", never an
error, so that a notebook with nothing filled in runs from top to bottom. `yours` takes a right answer for use further
down, and one of ours until then; `solution` shows one. `reveal` compares a guess with the truth, `progress` counts.

    on_primer.py   chapter P        on_start.py      chapter 0
    on_frames.py   chapter 1        on_features.py   chapter 2
    on_pathways.py chapter 3        on_attention.py  chapter 7
    on_budget.py   chapter 4        on_prompts.py    chapter 5
    on_ablations.py  chapter 6      on_bench.py      chapter 8
    on_field.py    chapter 9
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from sfllava_course import progress as record
from sfllava_course.exercises.judging import NotDone, Wrong, guarded

HOMES = {
    "to_rows": "on_primer",
    "attend": "on_primer",
    "score": "on_start",
    "lost": "on_start",
    "count_tokens": "on_start",
    "sample": "on_frames",
    "catch_chance": "on_frames",
    "sample_by_time": "on_frames",
    "frames_decoded": "on_frames",
    "patches": "on_features",
    "on_grid": "on_features",
    "similarity": "on_features",
    "came_and_went": "on_features",
    "slow_frames": "on_pathways",
    "slow_pool": "on_pathways",
    "fast_pool": "on_pathways",
    "two_eyes": "on_pathways",
    "slow_that_fit": "on_budget",
    "kv_bytes": "on_budget",
    "rope_base": "on_budget",
    "frontier": "on_budget",
    "tokenize": "on_prompts",
    "assemble": "on_prompts",
    "shared_length": "on_prompts",
    "shares": "on_attention",
    "times_fair": "on_attention",
    "strip": "on_attention",
    "draw_others": "on_attention",
    "equal_tokens": "on_ablations",
    "film_interval": "on_ablations",
    "lead_of": "on_ablations",
    "same_way": "on_ablations",
    "accuracies": "on_bench",
    "marks_by_key": "on_bench",
    "every_step": "on_field",
    "one_picture": "on_field",
    "least_alike": "on_field",
    "most_changed": "on_field",
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
    record.note_exercise(name, status)
    return Verdict(status, message, draw(grids))


def judged(name: str, answer: Callable) -> tuple[str, str, dict[str, Any]]:
    """What `check` shows, noted nowhere: status, message, and grids that are not drawn yet.

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


def yours(name: str, answer: Callable, ours: Callable) -> Callable:
    """The learner's function for use further down, once it is right; until then one of ours. Says which."""
    right = judged(name, answer)[0] == "right"
    print(f"{name}: {'yours is used from here on' if right else 'ours is used until yours is right'}")
    return answer if right else ours


def progress() -> str:
    """How far the learner is: "17 of 25 exercises, 9 of 14 predictions within range"."""
    return record.line(len(HOMES))


def draw(grids: dict[str, Any]) -> Any:
    """The figure of a wrong answer; None where there is nothing to draw."""
    if not grids:
        return None
    from sfllava_course.figures.grids import plot_grids

    return plot_grids(grids)


def solution(name: str) -> None:
    """Print one solution of an exercise, out of the authors' notebooks.

    Raises:
        KeyError: there is no such exercise.
        FileNotFoundError: the authors' notebooks are not here, or without solutions (a workshop's pack).
    """
    import nbformat

    from sfllava_core.defaults import COURSE

    if name not in HOMES:
        raise KeyError(f"exercise {name!r}: choose one of {', '.join(HOMES)}")
    for path in sorted(COURSE.glob("*.ipynb")):
        for cell in nbformat.read(path, as_version=4).cells:
            if "solution" in cell.metadata.get("tags", []) and f'check("{name}"' in cell.source:
                print(cell.source.rsplit("\n\n", 1)[0].rstrip())
                return
    raise FileNotFoundError(f"no solution of {name!r} in {COURSE}: ask whoever gave you this folder")


def reveal(guess: record.Guess | None, truth: float | str, what: str) -> None:
    """Print the truth beside the guess that was made before: a number, a pair (low, high), or a word.

    In a learner's folder the first guess is kept (progress.py), and is the one that is shown.
    """
    if guess is None:
        print(f"{number(truth)} {what} (you wrote down no guess)")
        return
    guess = record.note_guess(what, guess, truth)
    good = record.within(guess, truth)
    if isinstance(guess, (tuple, list)):
        said = f"{' to '.join(map(number, guess))}, {'within' if good else 'outside'} your range"
    elif isinstance(guess, str) or isinstance(truth, str):
        said = f"{number(guess)}, {'right' if good else 'not so'}"
    else:
        said = f"{number(guess)}, {apart(guess, truth)}"
    print(f"{number(truth)} {what} (you said {said})")


def apart(guess: float, truth: float) -> str:
    """How far a number is from the truth."""
    if guess == truth:
        return "on the spot"
    if guess * truth <= 0:
        return f"off by {number(abs(guess - truth))}"
    off = max(guess / truth, truth / guess)
    return "on the spot" if off < 1.01 else f"off by a factor of {off:.3g}"


def number(value: float | str) -> str:
    """28800 as "28,800", 0.41666 as "0.417"; a word as it is."""
    if isinstance(value, str):
        return value
    return f"{value:,}" if isinstance(value, int) else f"{value:,.3g}"
