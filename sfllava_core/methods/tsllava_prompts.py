"""TS-LLaVA's prompts, to the letter: its defaults are SlowFast-LLaVA's, the others name the thumbnail or ask shorter.

Questions with options: "v4" the default, "v5" names the thumbnail, "letter" is its --use_onlychoice_prompt, "videomme1"
and "videomme2" are those of Video-MME. Open questions: "v3" the default, "v2" with the expert's sentence.
"""

from collections.abc import Sequence

from sfllava_core.prompts import (
    CHAT,
    IMAGE,
    INPUT_DATA,
    ONLY_BEST,
    STYLES,
    PromptError,
    PromptParts,
    check_whole,
    checked_text,
    conversation_pieces,
    multiple_choice_pieces,
    open_ended_pieces,
    option_letters,
)

CHOICE_PROMPTS = ("v4", "v5", "letter", "videomme1", "videomme2")
OPEN_PROMPTS = ("v3", "v2")

EXPERT = "You are a helpful expert in video analysis."
GRID_TOO = (
    "The input consists of an image arranging key frames from a video in a grid view, "
    "along with a sequence of key frames from the video."
)
SELECT_LETTER = (
    "Select the best answer to the following multiple-choice question based on the video. "
    "Respond with only the letter ({letters}) of the correct option."
)
GIVE_LETTER = "Answer with the option's letter from the given choices directly."


def open_pieces(question: str, style: str, parts: PromptParts, version: str) -> tuple[str, str]:
    """The prompt of an open question in two pieces, as `Method.open_ended` gives it."""
    shared, own = open_ended_pieces(question, style, parts)
    if version == "v2":
        chat = STYLES[style]
        if chat.default_system:
            shared = shared.replace(chat.default_system, f"{EXPERT} {chat.default_system}", 1)
        else:
            system = chat.system.format(system=EXPERT)
            shared = shared.replace(chat.user, f"{system}{chat.user}" if system else f"{chat.user}{EXPERT} ", 1)
    return shared, own


def choice_pieces(
    question: str, options: Sequence[str], style: str, parts: PromptParts, version: str
) -> tuple[str, str]:
    """The prompt of a question with options in two pieces, as `Method.multiple_choice` gives it."""
    shared, own = multiple_choice_pieces(question, options, style, parts)
    if version == "v5":
        return shared.replace(INPUT_DATA, GRID_TOO), own
    if version != "v4":
        check_whole(parts, f"TS-LLaVA's {version!r}")
        pieces = letter_pieces if version == "letter" else videomme_pieces
        return pieces(question, options, style, version)
    return shared, own


def letter_pieces(question: str, options: Sequence[str], style: str, version: str) -> tuple[str, str]:
    """Only the letter is asked for. The 34B's has a turn of its own before the last sentence, and no space."""
    chat, letters = STYLES[style], option_letters(options)
    system = chat.system.format(system=CHAT)
    chatml = style == "chatml"
    lines = "".join(f"{letter}. {option}\n" for letter, option in zip(letters, options))
    head, tail = SELECT_LETTER.split("{letters}")
    turn = chat.assistant if chatml else " \n"
    end = " [/INST]" if style == "mistral" else " ASSISTANT:"
    own = f"{','.join(letters)}{tail}{'' if chatml else ' '}\nQuestion: {question}\nOptions:\n{lines}"
    return f"{system}{chat.user}{IMAGE}\n{head}", f"{own}{ONLY_BEST}{turn}{GIVE_LETTER}{end}"


def videomme_pieces(question: str, options: Sequence[str], style: str, version: str) -> tuple[str, str]:
    """Video-MME's four options, printed as Python prints a list, in LLaVA's own conversation."""
    if len(options) != 4:
        raise PromptError(f"{len(options)} options: TS-LLaVA's prompt for Video-MME names the letters of 4")
    checked_text(question, "question")
    listed = [f"{letter}. {option}" for letter, option in zip("ABCD", options)]
    last = GIVE_LETTER if version == "videomme1" else "The best answer is:"
    select = SELECT_LETTER.format(letters="A, B, C, or D")
    return conversation_pieces(f"{select}\n{question}\n{listed}\n{last}", style)
