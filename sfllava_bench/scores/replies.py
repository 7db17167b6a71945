"""What a judge's server sends -> a verdict. It is not to be trusted: read into typed values here, never evaluated.

A body is read as the protocol has it, and its text for the JSON of a verdict, wherever that stands. No error repeats
what was read: whoever tells of it shows the text, cut and with the key taken out.
"""

import ast
import json
import math
import re
from dataclasses import dataclass

from sfllava_bench.scores.wire import LIMIT

OBJECT = re.compile(r"\{[^{}]*\}")
YES, NO = {"yes", "true", "y"}, {"no", "false", "n"}
LONGEST = 100_000  # characters of a reply
MOST_TOKENS = 2**53
UNREADABLE = (ValueError, TypeError, SyntaxError, RecursionError, MemoryError)


class BodyError(ValueError):
    """A body that is not what the protocol says; says why."""


class ReplyError(ValueError):
    """A reply that holds no verdict; says why."""


@dataclass(frozen=True)
class Answer:
    """A body's text, the model that it says it is from ("" if it says none), and tokens used (None: unknown)."""

    text: str
    model: str
    tokens: int | None


@dataclass(frozen=True)
class Verdict:
    """score: 0 to 5, as given (4.8 stays 4.8).  yes: whether the answer agrees; None where only a score is asked."""

    score: float
    yes: bool | None


def read_body(body: bytes) -> Answer:
    """Read the body of an answer.

    Raises:
        BodyError: it is no JSON, too long, or holds no text where the protocol has it.
    """
    if len(body) > LIMIT:
        raise BodyError(f"more than {LIMIT:,} bytes")
    match read_json(body):
        case {"choices": [{"message": {"content": str(text)}}, *_], **others}:
            pass
        case _:
            raise BodyError("no text in its first choice")
    try:
        text.encode()
    except UnicodeEncodeError:  # JSON can spell half a letter
        raise BodyError("its text is no Unicode") from None
    match others:
        case {"usage": {"total_tokens": int(told)}} if type(told) is int and 0 <= told < MOST_TOKENS:
            tokens: int | None = told
        case _:
            tokens = None
    model = others.get("model")
    return Answer(text, model if isinstance(model, str) else "", tokens)


def read_refusal(body: bytes) -> str:
    """The server's own words in the body of a refusal, or all of it where they are not where the protocol has them."""
    try:
        content = read_json(body)
    except BodyError:
        content = None
    match content:
        case {"error": {"message": str(message)}} | {"error": str(message)} | {"message": str(message)} if message:
            return message
    return body.decode(errors="replace")


def read_json(body: bytes) -> object:
    """JSON in its strict form: NaN is none."""

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    try:
        return json.loads(body, parse_constant=refuse)
    except (ValueError, RecursionError):
        raise BodyError("no JSON") from None


def parse_reply(text: object, needs_yes: bool) -> Verdict:
    """Read a judge's reply, which may have prose around the object, single quotes, odd cases, numbers as text.

    Raises:
        ReplyError: no object with a score from 0 to 5 (and, if `needs_yes`, a `pred` of yes or no); or two that differ.
    """
    if not isinstance(text, str) or not text.strip():
        raise ReplyError("it is empty")
    if len(text) > LONGEST:
        raise ReplyError(f"it is longer than {LONGEST:,} characters")
    verdicts, faults = set(), []
    for found in OBJECT.findall(text):
        try:
            verdicts.add(read_object(found, needs_yes))
        except ReplyError as error:
            faults.append(error)
    if len(verdicts) > 1:
        raise ReplyError("several verdicts that differ")
    if not verdicts:
        raise faults[0] if faults else ReplyError("no object")
    return verdicts.pop()


def read_object(text: str, needs_yes: bool) -> Verdict:
    """The verdict in one {...}: JSON, or a Python dictionary of plain values as older judges write it."""
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        try:
            fields = ast.literal_eval(text)
        except UNREADABLE:
            raise ReplyError("an object that is no JSON") from None
    if not isinstance(fields, dict):
        raise ReplyError("an object that is no JSON")
    fields = {name.strip().lower(): value for name, value in fields.items() if isinstance(name, str)}
    return Verdict(read_score(fields.get("score")), read_yes(fields.get("pred")) if needs_yes else None)


def read_score(value: object) -> float:
    """A number from 0 to 5."""
    try:
        score = float(value) if isinstance(value, (int, float, str)) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        score = math.nan
    if not 0 <= score <= 5:
        raise ReplyError("no score from 0 to 5")
    return score


def read_yes(value: object) -> bool:
    """yes or no, in any case, with or without a full stop."""
    word = str(value).strip().strip(".!\"'").lower() if isinstance(value, (str, bool)) else ""
    if word not in YES | NO:
        raise ReplyError("no pred of yes or no")
    return word in YES
