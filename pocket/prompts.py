"""The released code's Vicuna prompts in pieces, as the pocket model is trained and asked with (plain text and
tokenizer, nothing of sfllava_core).

A prompt is: text before the visual tokens, text after them that all questions share, and the question's own text.
Next in the data's way: `train` and `evaluate` embed the pieces around the visual tokens.
"""

from __future__ import annotations

from collections.abc import Sequence

DATA = "The input consists of a sequence of key frames from a video."
TASK = (
    "Answer concisely with overall content and context of the video, highlighting any significant events, "
    "characters, or objects that appear throughout the video."
)
CHOOSE = "You are a helpful expert in video analysis. Select the best option to answer the question."
LETTERS = "ABCDE"


def open_ended(question: str, task: bool = True, data: bool = True, answer: bool = True) -> tuple[str, str, str]:
    """(before the image, after it and shared, the question's own) of an open-ended prompt; parts can be left out as
    in the paper's table 7."""
    shared = "\n" + f"{DATA} " * data + f"{TASK} " * task + "Question:"
    return "USER: ", shared, f" {question} \nASSISTANT:" + "\nAnswer: In the video," * answer


def multiple_choice(
    question: str, options: Sequence[str], task: bool = True, data: bool = True, answer: bool = True
) -> tuple[str, str, str]:
    """The same three pieces of a multiple-choice prompt."""
    lines = "".join(f"({letter}) {option}\n" for letter, option in zip(LETTERS, options, strict=False))
    own = (
        f" {question}\nOptions:\n{lines}"
        + "Only give the best option." * answer
        + " \nASSISTANT:"
        + "\nAnswer: Best option:(" * answer
    )
    return f"{CHOOSE} " * task + "USER: ", "\n" + f"{DATA}\n" * data + "Question:", own
