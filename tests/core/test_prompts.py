"""Prompts to the letter, and their token ids."""

import json
from dataclasses import replace

import pytest
from conftest import GOLDENS

from sfllava_core import PromptError, PromptParts, multiple_choice_prompt, open_ended_prompt, tokenize_prompt
from sfllava_core.prompts import DESCRIBE, IMAGE_TOKEN, INPUT_DATA, PRECISELY, SELECT, STYLES

PROMPTS = json.loads((GOLDENS / "prompts.json").read_text())
TOKENS = json.loads((GOLDENS / "prompt_token_ids.json").read_text())["cases"]


def style_of(case: dict) -> str:
    return "chatml" if "34b" in case["conv_mode"] else "vicuna"


def test_open_ended_prompts_equal_the_released_code():
    for case in PROMPTS["open"]:
        assert open_ended_prompt(case["question"], style_of(case)) == case["prompt"]


def test_multiple_choice_prompts_equal_the_released_code():
    for case in PROMPTS["multiple_choice"]:
        assert multiple_choice_prompt(case["question"], case["candidates"], style_of(case)) == case["prompt"]


def test_token_ids_equal_the_released_code(llm):
    for case in TOKENS:
        assert tokenize_prompt(case["prompt"], llm.tokenizer) == case["input_ids"], case["prompt"]


def test_tokenising_all_at_once_would_be_wrong(llm):
    """The trap that `tokenize_prompt` is there for."""
    prompt = TOKENS[0]["prompt"]
    at_once = llm.tokenizer(prompt).input_ids
    assert [i for i in at_once if i != llm.model.config.image_token_id] != [
        i for i in TOKENS[0]["input_ids"] if i != IMAGE_TOKEN
    ]


ALL = PromptParts(task_instruction=True)  # table 7's first row; the default of open questions has no instruction


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize(
    ("part", "in_open", "in_choice"),
    [
        ("task_instruction", PRECISELY, SELECT),
        ("input_data", INPUT_DATA, INPUT_DATA),
        ("structured_answer", "Answer: In the video,", "Answer: Best option:("),
    ],
)
def test_parts_can_be_left_out_one_by_one(style, part, in_open, in_choice):
    """Table 7: without a part its words are gone, the others' stay, and the question and the video's place too."""
    parts = PromptParts(**{part: False})
    options = ["a cat", "a dog"]
    for whole, less, words in (
        (
            open_ended_prompt("Why?", style, ALL),
            open_ended_prompt("Why?", style, replace(ALL, **{part: False})),
            in_open,
        ),
        (
            multiple_choice_prompt("Why?", options, style),
            multiple_choice_prompt("Why?", options, style, parts),
            in_choice,
        ),
    ):
        assert words in whole and words not in less
        assert less.count("<image>") == 1 and "Question: Why?" in less
        assert (
            "  " not in less
            and "\n \n" not in less
            and len(whole) - len(less) <= len(words) + len("Only give the best option. \n \n")
        )
        assert all(kept in less for kept in (in_open, in_choice, INPUT_DATA) if kept in whole and kept != words)


@pytest.mark.parametrize("style", STYLES)
def test_the_default_has_a_task_instruction_for_choices_alone(style):
    """Table 7 on ActivityNet-QA: 55.5, which is table 1, has none; 54.9 has the sentence, in front of the video."""
    without = PromptParts(task_instruction=False)
    assert open_ended_prompt("Why?", style, without) == open_ended_prompt("Why?", style)
    assert multiple_choice_prompt("Why?", ["a"], style, ALL) == multiple_choice_prompt("Why?", ["a"], style)
    told = open_ended_prompt("Why?", style, ALL)
    before, after = told.split("<image>")
    assert PRECISELY in before and DESCRIBE in after
    if style != "chatml":  # whose own system text gives way to it
        assert told.replace(f"{PRECISELY} ", "") == open_ended_prompt("Why?", style)
    assert all(
        DESCRIBE in open_ended_prompt("Why?", style, parts)
        for parts in (without, PromptParts(input_data=False), PromptParts(structured_answer=False))
    )  # it is none of the parts


def test_options_are_lettered_to_z():
    prompt = multiple_choice_prompt("Which?", [f"thing {n}" for n in range(26)])
    assert "(A) thing 0\n" in prompt and "(Z) thing 25\n" in prompt


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: open_ended_prompt("what is <image> ?"), "literal <image>"),
        (lambda: multiple_choice_prompt("which?", ["a", "the <image> tag"]), "option B"),
        (lambda: multiple_choice_prompt("which <image>?", ["a"]), "the question"),
        (lambda: multiple_choice_prompt("which?", []), "0 options"),
        (lambda: open_ended_prompt("\ud800"), "broken character"),
        (lambda: multiple_choice_prompt("which?", ["x"] * 27), "27 options"),
        (lambda: open_ended_prompt("why?", "alpaca"), "choose one of vicuna"),
    ],
)
def test_impossible_prompts_are_refused(make, message):
    with pytest.raises(PromptError, match=message):
        make()


@pytest.mark.parametrize("prompt", ["no place for the video", "<image> two <image>"])
def test_exactly_one_image_marker_is_needed(llm, prompt):
    with pytest.raises(PromptError, match="exactly 1"):
        tokenize_prompt(prompt, llm.tokenizer)
