"""Reading a choice out of an answer, with the released parser's faults and without its crash."""

import json

import pytest
from conftest import GOLDENS

from sfllava_core import parse_choice

CASES = json.loads((GOLDENS / "mc_parse.json").read_text())["cases"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: repr(case["input"]))
def test_choices_equal_the_released_parser(case):
    assert (parse_choice(case["input"]) or "none") == case.get("option", "none")


def test_an_empty_answer_is_no_choice_and_no_crash():
    assert [case["raises"] for case in CASES if case["input"] == ""] == ["IndexError"]
    assert parse_choice("") is None and parse_choice("", rule="strict") is None


@pytest.mark.parametrize(
    ("answer", "reference", "strict"),
    [
        ("B", "b", "b"), ("(b)", None, "b"), ("C: jumping", "c", "c"), ("D.", "d", "d"), ("A man", "a", None),
        ("everyone laughs", "e", None), ("The answer is B) because A) is wrong", "a", None), ("F)", None, None),
        ("B) not A)", "a", "b"),
    ],
)  # fmt: skip
def test_the_strict_rule_takes_a_letter_that_stands_alone(answer, reference, strict):
    assert parse_choice(answer) == reference
    assert parse_choice(answer, rule="strict") == strict


def test_an_unknown_rule_is_refused():
    with pytest.raises(ValueError, match="'reference' or 'strict'"):
        parse_choice("A", rule="lenient")
