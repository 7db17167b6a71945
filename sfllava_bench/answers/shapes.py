"""What JSON that is read back must look like: a file may have been edited by hand, and then it is refused with a word.

A shape is a type: a frozen dataclass for results.json, a TypedDict for a line of a journal, which stays the dict that
it is. pydantic checks types strictly (no "5" for 5); here its findings become one plain sentence. Further names are let
through.
"""

import math
from functools import cache
from typing import Annotated, Any, TypeVar, cast

from pydantic import BeforeValidator, TypeAdapter, ValidationError
from typing_extensions import TypedDict

Shape = TypeVar("Shape")
# A number for which JSON has no word, NaN, is null in the file.
Number = Annotated[float, BeforeValidator(lambda value: math.nan if value is None else value)]


class Header(TypedDict):
    """The first line of a journal."""

    journal: str
    schema: int
    fingerprint: str
    settings: dict[str, Any]


class SessionRecord(TypedDict):
    """One start of a run."""

    started: str
    device: str
    model_name: str
    questions_left: int
    versions: dict[str, str]


class AnswerRecord(TypedDict, total=False):
    """What a line of a run's file may hold, wherever it stands: in an answer, a failure, a watching, a start."""

    key: str | None
    video: str | None
    error: str | None
    answers: list[str] | None
    letter: str | None
    watched: str | None
    frames: list[int] | None
    questions: int | None
    visual_tokens: int | None
    session: SessionRecord | None


class WatchedRecord(TypedDict):
    """What the record of a watching must hold."""

    watched: str
    questions: int
    seconds: dict[str, float]


class Judged(TypedDict):
    """What every judgement must hold."""

    key: str
    kind: str
    prediction: str


class JudgementRecord(Judged, total=False):
    """A judgement, or why there is none."""

    error: str | None
    served_model: str | None
    score: float | None
    yes: bool | None


class ShapeError(ValueError):
    """JSON that has not the shape it should have; it names the place, the value and what was expected."""


@cache
def adapter(shape: Any) -> TypeAdapter:
    """pydantic's checker of a shape, made once."""
    return TypeAdapter(shape)


def check(value: object, shape: type) -> None:
    """Check a value that JSON was read into.

    Raises:
        ShapeError: it has not the shape.
    """
    try:
        adapter(shape).validate_python(value, strict=True)
    except ValidationError as error:
        raise ShapeError(first_fault(error)) from None


def parse(text: str, shape: type[Shape]) -> Shape:
    """JSON as a value of the shape.

    Raises:
        ShapeError: it is no JSON, or has not the shape.
    """
    try:
        checker: TypeAdapter[Shape] = adapter(cast(Any, shape))
        return checker.validate_json(text, strict=True)
    except ValidationError as error:
        raise ShapeError(first_fault(error)) from None


def check_record(record: dict, kind: str) -> None:
    """Check a record of a journal of this kind.

    Raises:
        ShapeError: it has not the shape.
    """
    check(record, JudgementRecord if kind == "judgements" else AnswerRecord)
    if "watched" in record:
        check(record, WatchedRecord)


def first_fault(error: ValidationError) -> str:
    """ "counts.failed is 'none', which is no whole number", or "judge lacks counts, failures"."""
    faults = error.errors(include_url=False, include_context=False)
    first = faults[0]
    if first["type"] == "missing":
        around = first["loc"][:-1]
        absent = [one["loc"][-1] for one in faults if one["type"] == "missing" and one["loc"][:-1] == around]
        return f"{place(around)} lacks {', '.join(map(str, absent))}"
    noun = NOUNS.get(first["type"])
    wrong = f"which is no {noun}" if noun else first["msg"]
    return f"{place(first['loc'])} is {first['input']!r:.60}, {wrong}"


def place(steps: tuple[str | int, ...]) -> str:
    """ "metrics[0].name" for ("metrics", 0, "name"); "it" for the whole."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)
    return text.removeprefix(".") or "it"


NOUNS = {
    "string_type": "text",
    "int_type": "whole number",
    "int_from_float": "whole number",
    "float_type": "number",
    "bool_type": "true or false",
    "list_type": "list",
    "tuple_type": "list",
    "dict_type": "object",
    "dataclass_type": "object",
}
