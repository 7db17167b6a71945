"""What a learner has done: checks and guesses, in a small file beside the notebooks, and nowhere else.

`make lab` makes the learner's folder, with an empty `progress.json` in it. Only where that file lies beside the running
notebook is anything written down: the authors' notebooks and runs without a screen leave no trace.

    {"exercises": {"score": "right"}, "predictions": {"visual tokens": {"guess": 800, "within": true}}}
"""

import json
from pathlib import Path
from typing import Any

FILE = "progress.json"
CLOSE = 0.25  # a single number counts where it is off by a quarter of the truth at most

Guess = float | str | tuple[float, ...] | list[float]


def within(guess: Guess, truth: float | str) -> bool:
    """Whether a guess holds the truth: a pair (low, high) by its ends, a number to a quarter, a word to the letter."""
    if isinstance(guess, str):
        return guess.strip().lower() == str(truth).strip().lower()
    if isinstance(truth, str):
        return str(guess).strip().lower() == str(truth).strip().lower()
    if isinstance(guess, (tuple, list)):
        low, high = guess
        return low <= truth <= high
    return abs(guess - truth) <= CLOSE * abs(truth)


def kept() -> dict[str, dict[str, Any]] | None:
    """The record beside the running notebook; None where none is kept. A broken file is begun anew."""
    path = Path(FILE)
    if not path.exists():
        return None
    try:
        record = json.loads(path.read_text())
        return {part: dict(record.get(part, {})) for part in ("exercises", "predictions")}
    except (ValueError, AttributeError, TypeError):
        return {"exercises": {}, "predictions": {}}


def write(record: dict[str, dict[str, Any]]) -> None:
    """Write the record whole, or not at all."""
    passing = Path(f"{FILE}.new")
    passing.write_text(json.dumps(record, indent=1))
    passing.replace(FILE)


def note_exercise(name: str, status: str) -> None:
    """Write down a verdict. What was right once stays right."""
    record = kept()
    if record is not None and record["exercises"].get(name) != "right":
        record["exercises"][name] = status
        write(record)


def note_guess(what: str, guess: Guess, truth: float | str) -> Guess:
    """Write down a guess, and return the *first* that was made: who has seen the truth guesses no more."""
    record = kept()
    if record is None:
        return guess
    first = record["predictions"].setdefault(what, {"guess": guess, "within": within(guess, truth)})
    write(record)
    return tuple(first["guess"]) if isinstance(first["guess"], list) else first["guess"]


def line(exercises: int) -> str:
    """ "17 of 25 exercises, 9 of 14 predictions within range", with the number of all exercises given."""
    record = kept()
    if record is None:
        return "no record is kept here; in the folder that `make lab` opens, one is"
    right = list(record["exercises"].values()).count("right")
    made = record["predictions"].values()
    hits = sum(bool(one.get("within")) for one in made)
    return f"{right} of {exercises} exercises, {hits} of {len(made)} predictions within range"
