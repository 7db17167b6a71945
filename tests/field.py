"""Numbers that the released codes of rival methods gave (tests/data/field, or the folder SFLLAVA_FIELD_GOLDENS)."""

import json
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest

FIELD = Path(os.environ.get("SFLLAVA_FIELD_GOLDENS") or Path(__file__).parent / "data" / "field")


@cache
def cases(method: str) -> list[dict]:
    """All cases of a method: id, group, inputs, outputs."""
    return json.loads((FIELD / method / "cases.json").read_text())["cases"]


@cache
def arrays(method: str) -> dict[str, np.ndarray]:
    with np.load(FIELD / method / "arrays.npz") as stored:
        return dict(stored)


def value(method: str, stored: object) -> object:
    """A stored value with its arrays put in, at any depth; small integer types stay as they are stored."""
    if isinstance(stored, dict) and "npz" in stored:
        return arrays(method)[stored["npz"]]
    if isinstance(stored, dict):
        return {name: value(method, one) for name, one in stored.items()}
    if isinstance(stored, list):
        return [value(method, one) for one in stored]
    return stored


@cache
def whole(method: str) -> dict:
    """A file of goldens that is no list of cases: meta, inputs, and one entry a group."""
    return json.loads((FIELD / method / "cases.json").read_text())


def each_of_groups(method: str, checks: dict[str, Callable], inputs: tuple[str, ...] = ("meta", "inputs")):
    """Parametrise a test by such a file: every entry but `inputs` is a group, its members (of a list, or of a dict of
    lists) are cases. A group that no check is for fails the test loudly.

    Use: @field.each_of_groups("llovi", CHECKS)
         def test_llovi(check, case): check(case)
    """

    def unknown(case) -> None:
        pytest.fail("no check is written for this group")

    found = []
    for group, entry in whole(method).items():
        if group in inputs:
            continue
        lists = (
            entry.items() if isinstance(entry, dict) and all(isinstance(one, list) for one in entry.values()) else ()
        )
        members = {f"{group}-{name}": ones for name, ones in lists} or {
            group: entry if isinstance(entry, list) else [entry]
        }
        found += [pytest.param(checks.get(name, unknown), case, id=f"{name}-{place}")
                  for name, ones in members.items() for place, case in enumerate(ones)]  # fmt: skip
    return pytest.mark.parametrize(("check", "case"), found)


def each(method: str, checks: dict[str, Callable]):
    """Parametrise a test by the cases of a method; a group that no check is for fails it loudly.

    Use: @field.each("freeva", CHECKS)
         def test_freeva(check, inputs, outputs): check(inputs, outputs)
    """

    def unknown(inputs, outputs) -> None:
        pytest.fail("no check is written for this group")

    found = [
        pytest.param(checks.get(case["group"], unknown), *(value(method, case[part]) for part in ("inputs", "outputs")),
                     id=f"{case['group']}-{case['id']}")
        for case in cases(method)
    ]  # fmt: skip
    return pytest.mark.parametrize(("check", "inputs", "outputs"), found)
