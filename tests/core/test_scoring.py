"""Reading a choice from a model's words, by both rules; and matching open-ended answers without a judge."""

import json
from pathlib import Path

import pytest

from sfllava_bench.scores.matching import match
from sfllava_core.answering.choices import parse_choice

GOLDENS = json.loads((Path(__file__).parents[1] / "data/goldens/mc_parse.json").read_text())["cases"]


@pytest.mark.parametrize("case", GOLDENS, ids=lambda case: repr(case["input"])[:40])
def test_the_reference_rule_is_the_released_parser_without_its_crash(case):
    expected = case.get("option", "none")
    assert parse_choice(case["input"]) == (None if expected == "none" else expected)


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("B", "b"), ("(b)", "b"), ("B) the dog", "b"), ("C: jumping", "c"), (" D. ", "d"), ("e", "e"), ("(A", "a"),
        ("A man is walking", None), ("an apple", None), ("The answer is B)", None), ("", None), ("F)", None),
        ("(B,", "b"), ("\nC\n", "c"), ("b) or c)", "b"), (None, None), (3, None), ("Because", None),
    ],
)  # fmt: skip
def test_the_strict_rule_wants_a_letter_that_stands_alone(text, letter):
    assert parse_choice(text, rule="strict") == letter


def test_an_unknown_rule_is_refused():
    with pytest.raises(ValueError, match="reference"):
        parse_choice("A", rule="lenient")


@pytest.mark.parametrize(
    ("prediction", "answer", "exact", "contains", "f1"),
    [
        ("guitar", "guitar", 1, 1, 1.0), ("A guitar.", "the Guitar", 1, 1, 1.0), ("", "guitar", 0, 0, 0.0),
        ("a man plays the guitar", "guitar", 0, 1, 2 / 4), ("guitars", "guitar", 0, 0, 0.0),
        ("playing a red ball", "ball red", 0, 0, 4 / 5), ("two", "2", 0, 0, 0.0),
        ("man, woman", "woman man", 0, 0, 1.0), ("it", "the", 0, 0, 0.0), ("é", "É", 1, 1, 1.0),
    ],
)  # fmt: skip
def test_matching(prediction, answer, exact, contains, f1):
    got = match(prediction, answer)
    assert (got["exact_match"], got["contains_answer"]) == (exact, contains)
    assert got["token_f1"] == pytest.approx(f1)
