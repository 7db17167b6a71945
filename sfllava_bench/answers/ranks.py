"""KTV's keyframes and their ranks for each question, from a file: every question then sees tokens of its own.

The file is the one that KTV's released code answers from: JSON, {question: [[frame of the video, rank], ...], ...}, a
question by its key. `rank_frames` and `clip_similarities` (sfllava_core/methods/keyframes.py) make such pairs.
"""

import json
from pathlib import Path

from sfllava_bench.questions.records import Question, fingerprint
from sfllava_bench.questions.tables import AnnotationError
from sfllava_core.methods.base import Method, SpecError
from sfllava_core.methods.ktv import KTV, PATCHES

SHOWN = 5  # questions that are named in an error


class RanksError(AnnotationError):
    """A file of ranks that cannot be used; says what is wrong with it."""


def load_ranks(path: str | Path) -> dict[str, list[tuple[int, int]]]:
    """Question's key -> (frame, rank) of its keyframes, as the file has them.

    Raises:
        RanksError: there is no such file, or it is not of that form.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        return {key: [checked_pair(pair) for pair in pairs] for key, pairs in content.items()}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        form = "not a file of ranks, which is JSON as {question: [[frame, rank], ...]}"
        raise RanksError([f"{path}: {form}: {error}"]) from None


def checked_pair(pair: list) -> tuple[int, int]:
    """(frame, rank), two whole numbers from 0 on."""
    frame, rank = pair
    if not all(type(number) is int and number >= 0 for number in pair):
        raise ValueError(f"{pair!r} is not a frame's number and its rank")
    return frame, rank


def ranks_fingerprint(path: str | Path) -> str:
    """Stands for a file's content. Raises RanksError."""
    return fingerprint(load_ranks(path))


def ranked_methods(method: Method, path: str | Path, questions: list[Question]) -> dict[str, Method]:
    """Question's key -> the method with the keyframes and ranks of that question.

    Raises:
        RanksError: a question has none in the file, or some that cannot be; or the method is none that has ranks.
    """
    if not isinstance(method, KTV) or method.frames:
        raise RanksError([f"{path}: ranks are of KTV's keyframes; {method} takes none"])
    ranks, found = load_ranks(path), dict[str, Method]()
    if lacking := [question.key for question in questions if not ranks.get(question.key)]:
        named = ", ".join(lacking[:SHOWN]) + (" ..." if len(lacking) > SHOWN else "")
        raise RanksError([f"{path}: no ranks of {len(lacking)} of {len(questions)} questions: {named}"])
    # Budgets are sums on the published grid, whatever the model's.
    tokens = round(method.tokens * PATCHES / method.patches)
    for question in questions:
        try:
            found[question.key] = KTV.of(
                ranks[question.key],
                keyframes=method.keyframes, tokens=tokens, rate=method.rate, patches=method.patches,
            )  # fmt: skip
        except SpecError as error:
            raise RanksError([f"{path}: ranks of question {question.key}: {error}"]) from None
    return found
