"""Multiple choice: the scores are the letters' probabilities, and generated text is read as the released code does."""

import numpy as np
import pytest
import torch

from sfllava_core import PromptParts, multiple_choice_prompt, parse_choice


def test_choose_scores_every_option(small_video):
    options = ["a cat", "a dog", "a bird"]
    choice = small_video.choose("Which is it?", options)
    assert len(choice.scores) == 3 and sum(choice.scores) == pytest.approx(1)
    best = int(np.argmax(choice.scores))
    assert (choice.letter, choice.option) == ("ABC"[best], options[best])
    plain = small_video.choose("Which is it?", options, share_prefix=False)
    assert plain.letter == choice.letter and plain.scores == pytest.approx(choice.scores, abs=1e-5)


def test_choice_scores_are_the_letters_probabilities(llm, small_video):
    options = ["a cat", "a dog"]
    logits = small_video.next_token_logits([multiple_choice_prompt("Which?", options)])[0].double()
    letters = [llm.tokenizer.convert_tokens_to_ids(letter) for letter in "AB"]
    expected = torch.softmax(logits[letters], dim=0).tolist()
    assert small_video.choose("Which?", options).scores == pytest.approx(expected, abs=1e-6)


def test_choose_by_generation_reads_the_text_as_the_released_code_does(small_video):
    questions = [f"Which of these is number {n}?" for n in range(8)]
    options = [["red", "green", "blue", "black", "white"]] * 8
    for choice, texts in zip(small_video.choose(questions, options, by="generation", max_new_tokens=8), options):
        letter = parse_choice(choice.text)
        assert choice.letter == (letter.upper() if letter else None)
        assert choice.option == (texts["abcde".index(letter)] if letter else None)


def test_without_the_structured_answer_the_letter_begins_a_word(llm, small_video):
    parts = PromptParts(structured_answer=False)
    prompt = multiple_choice_prompt("Which?", ["a", "b"], parts=parts)
    logits = small_video.next_token_logits([prompt])[0]
    words = [llm.tokenizer.convert_tokens_to_ids(f"\N{LOWER ONE EIGHTH BLOCK}{letter}") for letter in "AB"]
    expected = torch.softmax(logits[words], dim=0).tolist()
    assert small_video.choose("Which?", ["a", "b"], parts=parts).scores == pytest.approx(expected, abs=1e-6)
