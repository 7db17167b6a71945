"""What JSON that is read back must look like: a file may have been edited by hand, and then it is refused with a word.

A shape is a type, a list of one shape, a dict of shapes by name ("*" stands for every name), or `maybe` of a shape. A
dict's names must be there, unless their shape is `maybe`; further names are let through.
"""

from dataclasses import dataclass
from numbers import Real

Shape = object


@dataclass(frozen=True)
class Maybe:
    """A name that may be absent, or null."""

    shape: Shape


def wrong_shape(value: object, shape: Shape, name: str = "") -> str | None:
    """The first place where the value has not the shape, such as "counts.failed is 'none'"; None where it has."""
    if isinstance(shape, Maybe):
        return None if value is None else wrong_shape(value, shape.shape, name)
    wanted = shape if isinstance(shape, type) else type(shape)
    if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
        return f"{name or 'it'} is {value!r:.60}, which is no {NAMES[wanted]}"
    if isinstance(shape, list):
        parts = [(f"{name}[{place}]", one, shape[0]) for place, one in enumerate(value)]
    elif isinstance(shape, dict):
        needed = [key for key, one in shape.items() if key != "*" and not isinstance(one, Maybe)]
        if absent := [key for key in needed if key not in value]:
            return f"{name or 'it'} lacks {', '.join(absent)}"
        shapes = [(key, shape.get(key, shape.get("*"))) for key in value]
        parts = [(f"{name}.{key}" if name else key, value[key], part) for key, part in shapes if part is not None]
    else:
        return None
    return next((wrong for key, one, part in parts if (wrong := wrong_shape(one, part, key)) is not None), None)


NAMES = {str: "text", int: "whole number", Real: "number", bool: "true or false", list: "list", dict: "object"}

# What a record's fields are, wherever they stand: of an answer, a failure, a watching, a start.
RECORD = {
    "key": Maybe(str),
    "video": Maybe(str),
    "error": Maybe(str),
    "answers": Maybe([str]),
    "letter": Maybe(str),
    "watched": Maybe(str),
    "frames": Maybe([int]),
    "questions": Maybe(int),
    "visual_tokens": Maybe(int),
    "session": Maybe({"started": str, "device": str, "model_name": str, "questions_left": int, "versions": {"*": str}}),
}
WATCHED = {"watched": str, "questions": int, "seconds": {"*": Real}}
JUDGEMENT = {
    "key": str,
    "kind": str,
    "prediction": str,
    "error": Maybe(str),
    "served_model": Maybe(str),
    "score": Maybe(Real),
    "yes": Maybe(bool),
}
INTERVAL = {"value": Maybe(Real), "low": Maybe(Real), "high": Maybe(Real), "questions": int, "videos": int}
COUNTS = {"expected": int, "answered": int, "failed": int, "pending": int, "text": str}
RESULTS = {
    "run": str,
    "plan": {"*": str},
    "benchmark": str,
    "settings": {},
    "counts": COUNTS,
    "judge": Maybe({"settings": {}, "counts": COUNTS, "failures": {"*": int}}),
    "one_by_one": Maybe({"text": str}),
    "set": {},
    "metrics": [{"name": str, "over_expected": INTERVAL}],
    "timing": {},
    "table": [{}],
}


def wrong_record(record: dict, kind: str) -> str | None:
    """What is wrong with a record of a journal of this kind; None for a sound one."""
    wrong = wrong_shape(record, JUDGEMENT if kind == "judgements" else RECORD)
    return wrong_shape(record, WATCHED) if wrong is None and "watched" in record else wrong
