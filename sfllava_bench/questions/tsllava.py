"""What TS-LLaVA's code has for benchmarks that are not in this kit: frames of MVBench, prompts of Video-MME and others.

tingyu215/TS-LLaVA at 03cdeaee, to the letter. The method itself is `sfllava_core.methods.tsllava`.
"""

from collections.abc import Sequence

import numpy as np

from sfllava_core.prompts import CHAT, IMAGE, ONLY_BEST, STYLES, PromptError, conversation_pieces, option_letters

MAX_NEW_TOKENS = {"mvbench": 256, "videomme": 16}  # elsewhere 128
SELECT_LETTER = (
    "Select the best answer to the following multiple-choice question based on the video. "
    "Respond with only the letter ({letters}) of the correct option."
)
GIVE_LETTER = "Answer with the option's letter from the given choices directly."


def mvbench_frames(
    total: int, num_frames: int, fps: float, bounds: Sequence[float] | None = None, first: int = 0
) -> list[int]:
    """Frame numbers of an MVBench question, which may be about a part of a video.

    Args:
        total: frames of the video; or files of a folder, whose `first` is 1 and which has 3 a second.
        num_frames: at most so many; fewer where the video has fewer.
        bounds: (start, end) in seconds; None is the whole video.
    """
    start, end = first, total
    if bounds is not None:
        start, end = max(first, round(bounds[0] * fps)), min(round(bounds[1] * fps), total)
    count = min(total, num_frames)
    length = (end - start) / count
    return [int(start + length / 2 + np.round(length * k)) for k in range(count)]


def letter_prompt(question: str, options: Sequence[str], style: str) -> str:
    """The prompt of its switch --use_onlychoice_prompt, which no released script sets.

    The 34B's opens the assistant's turn before the last sentence, and still ends as the 7B's.

    Args:
        style: "vicuna" (7B) or "chatml" (34B).

    Raises:
        PromptError: another style, no options, or too many.
    """
    if style not in ("vicuna", "chatml"):
        raise PromptError(f"prompt style {style!r}: TS-LLaVA has this prompt for 'vicuna' and 'chatml' only")
    chat, letters = STYLES[style], option_letters(options)
    space, turn = (" ", " \n") if style == "vicuna" else ("", chat.assistant)
    lines = "".join(f"{letter}. {option}\n" for letter, option in zip(letters, options))
    return (
        f"{chat.system.format(system=CHAT)}{chat.user}{IMAGE}\n{SELECT_LETTER.format(letters=','.join(letters))}{space}\n"
        f"Question: {question}\nOptions:\n{lines}{ONLY_BEST}{turn}{GIVE_LETTER} ASSISTANT:"
    )


def videomme_prompt(question: str, options: Sequence[str], style: str = "vicuna", version: int = 1) -> str:
    """The prompt of a Video-MME question: its four options ("A. ..."), printed as Python prints a list.

    Args:
        version: 1 asks for the letter, 2 ends in "The best answer is:".
    """
    last = {1: GIVE_LETTER, 2: "The best answer is:"}[version]
    select = SELECT_LETTER.format(letters="A, B, C, or D")
    return "".join(conversation_pieces(f"{select}\n{question}\n{list(options)}\n{last}", style))
