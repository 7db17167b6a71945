"""A judge's reply -> a verdict: JSON wherever it stands in the text, checked against the scale, never evaluated."""

import ast
import json
import math
import re
from dataclasses import dataclass

OBJECT = re.compile(r"\{[^{}]*\}")
YES, NO = {"yes", "true", "y"}, {"no", "false", "n"}


class ReplyError(ValueError):
    """A reply that holds no verdict; says why."""


@dataclass(frozen=True)
class Verdict:
    """score: 0 to 5, as given (4.8 stays 4.8).  yes: whether the answer agrees; None where only a score is asked."""

    score: float
    yes: bool | None


def parse_reply(text: object, needs_yes: bool) -> Verdict:
    """Read a judge's reply, which may have prose around the object, single quotes, odd cases, numbers as text.

    Raises:
        ReplyError: no object with a score from 0 to 5 (and, if `needs_yes`, a `pred` of yes or no); or two that differ.
    """
    if not isinstance(text, str) or not text.strip():
        raise ReplyError(f"the reply is empty ({text!r})")
    verdicts, faults = [], []
    for found in OBJECT.findall(text):
        try:
            verdicts.append(read_object(found, needs_yes))
        except ReplyError as error:
            faults.append(str(error))
    if not verdicts:
        raise ReplyError(faults[0] if faults else f"no object in {text[:200]!r}")
    if any(verdict != verdicts[0] for verdict in verdicts):
        raise ReplyError(f"several verdicts that differ in {text[:200]!r}")
    return verdicts[0]


def read_object(text: str, needs_yes: bool) -> Verdict:
    """The verdict in one {...}: JSON, or a Python dictionary of plain values as older judges write it."""
    try:
        fields = json.loads(text)
    except json.JSONDecodeError:
        try:
            fields = ast.literal_eval(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            raise ReplyError(f"not JSON: {text[:200]!r}") from None
    if not isinstance(fields, dict):
        raise ReplyError(f"not an object: {text[:200]!r}")
    fields = {str(name).strip().lower(): value for name, value in fields.items()}
    return Verdict(read_score(fields.get("score")), read_yes(fields.get("pred")) if needs_yes else None)


def read_score(value: object) -> float:
    """A number from 0 to 5."""
    try:
        score = float(value) if isinstance(value, (int, float, str)) and not isinstance(value, bool) else math.nan
    except ValueError:
        score = math.nan
    if not 0 <= score <= 5:
        raise ReplyError(f"score {value!r} is no number from 0 to 5")
    return score


def read_yes(value: object) -> bool:
    """yes or no, in any case, with or without a full stop."""
    word = str(value).strip().strip(".!\"'").lower()
    if word not in YES | NO:
        raise ReplyError(f"pred {value!r} is neither yes nor no")
    return word in YES
