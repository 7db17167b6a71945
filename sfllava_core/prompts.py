"""Question -> prompt -> token ids with one place left for the visual tokens.

Fourth step of the way: frames -> features -> pathways -> **prompt** -> answer.

Section 4.5 of the paper gives a prompt three parts beside the question (table 7): a task instruction, which its default
has for questions with options alone, a sentence on the input data, and a structured answer that the model goes on from.
Styles: "vicuna" and "chatml" are the released code's 7B and 34B prompts to the letter; "mistral" puts the same text
into the [INST] form of LLaVA-NeXT-Mistral, which the paper does not use.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_uppercase

IMAGE = "<image>"
IMAGE_TOKEN = -200  # stands for all visual tokens in the ids of `tokenize_prompt`, as in the released code

INPUT_DATA = "The input consists of a sequence of key frames from a video."
DESCRIBE = (
    "Answer concisely with overall content and context of the video, highlighting any significant events, "
    "characters, or objects that appear throughout the video."
)
PRECISELY = "Answer the question precisely based on the input."
SELECT = "You are a helpful expert in video analysis. Select the best option to answer the question."
ONLY_BEST = "Only give the best option."


class PromptError(ValueError):
    """A question or a set of options that no prompt can be made of."""


@dataclass(frozen=True)
class Style:
    """A chat format: what stands around the system text, before the user's turn, and at the assistant's.

    assistant opens the assistant's turn; before_answer and before_question join what follows.
    """

    system: str
    default_system: str
    user: str
    assistant: str
    before_answer: str
    before_question: str


STYLES = {
    "vicuna": Style("{system} ", "", "USER: ", " \nASSISTANT:", "\n", "\n"),
    "chatml": Style(
        system="<|im_start|>system\n {system} <|im_end|>\n",
        default_system="Answer the question.",
        user="<|im_start|>user\n ",
        assistant=" <|im_end|>\n<|im_start|>assistant\n",
        before_answer="",
        before_question=" ",
    ),
    "mistral": Style("", "", "[INST] ", " [/INST]", "\n", "\n"),
}


# LLaVA's own conversations, before and after what the user says: its vicuna_v1, chatml_direct and mistral_instruct.
CHAT = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)
CONVERSATIONS = {
    "vicuna": (f"{CHAT} USER: ", " ASSISTANT:"),
    "chatml": (
        "<|im_start|>system\nAnswer the questions.<|im_end|><|im_start|>user\n",
        "<|im_end|><|im_start|>assistant\n",
    ),
    "mistral": ("[INST] ", " [/INST]"),
}


@dataclass(frozen=True)
class PromptParts:
    """Which of the three parts of section 4.5 are there; leaving one out is a row of table 7.

    task_instruction: None is the paper's default: with options there is one, for open questions there is none.

    The paper does not say to the letter what these prompts look like. Here a part goes with the space or newline that
    joins it to the rest, the chat format's own stay, "Only give the best option." counts as part of the structured
    answer, and the instruction of an open question stands in front, as that of a choice does.
    """

    task_instruction: bool | None = None
    input_data: bool = True
    structured_answer: bool = True


ALL_PARTS = PromptParts()


def open_ended_prompt(question: str, style: str = "vicuna", parts: PromptParts = ALL_PARTS) -> str:
    """The prompt for a question answered in words.

    Args:
        question: put in as it is, spaces and all.
        style: "vicuna" (7B), "chatml" (34B) or "mistral".
        parts: which of the paper's three parts to keep.

    Raises:
        PromptError: the question holds a literal `<image>`, or the style is unknown.

    Source: section 4.5; wording and spaces of the released code.
    """
    return "".join(open_ended_pieces(question, style, parts))


def open_ended_pieces(question: str, style: str, parts: PromptParts) -> tuple[str, str]:
    """`open_ended_prompt` in two pieces: what all questions share, and what is this question's own."""
    chat = checked_style(style)
    checked_text(question, "question")
    data = f"{INPUT_DATA} " if parts.input_data else ""
    shared = f"{before_image(chat, PRECISELY if parts.task_instruction else '')}{IMAGE}\n{data}{DESCRIBE} Question: "
    answer = f"{chat.before_answer}Answer: In the video," if parts.structured_answer else ""
    return shared, f"{question}{chat.assistant}{answer}"


def multiple_choice_prompt(
    question: str, options: Sequence[str], style: str = "vicuna", parts: PromptParts = ALL_PARTS
) -> str:
    """The prompt for a question with options, lettered (A), (B), ... in the order given.

    Args:
        question: put in as it is.
        options: 1 to 26 texts, put in as they are.
        style, parts: as in `open_ended_prompt`.

    Raises:
        PromptError: no options or more than 26, a literal `<image>`, or an unknown style.

    Source: section 4.5; wording and spaces of the released code.
    """
    return "".join(multiple_choice_pieces(question, options, style, parts))


def multiple_choice_pieces(question: str, options: Sequence[str], style: str, parts: PromptParts) -> tuple[str, str]:
    """`multiple_choice_prompt` in two pieces: what all questions share, and what is this question's own."""
    chat = checked_style(style)
    checked_text(question, "question")
    letters = option_letters(options)
    for letter, option in zip(letters, options):
        checked_text(option, f"option {letter}")
    lines = "".join(f"({letter}) {option}\n" for letter, option in zip(letters, options))
    instruction = "" if parts.task_instruction is False else SELECT
    data = f"{INPUT_DATA}{chat.before_question}" if parts.input_data else ""
    shared = f"{before_image(chat, instruction)}{IMAGE}\n{data}Question: "
    if parts.structured_answer:
        end = f"{ONLY_BEST}{chat.assistant}{chat.before_answer}Answer: Best option:("
    else:
        end = chat.assistant.lstrip()  # the options' last line has ended already
    return shared, f"{question}\nOptions:\n{lines}{end}"


def before_image(chat: Style, instruction: str) -> str:
    """What stands before the video: the instruction where the chat format has it, else the format's own."""
    instruction = instruction or chat.default_system
    if not chat.system:
        return f"{chat.user}{instruction} ".replace("  ", " ")
    return (chat.system.format(system=instruction) if instruction else "") + chat.user


def conversation_pieces(text: str, style: str) -> tuple[str, str]:
    """A text in LLaVA's own conversation, after the video, in two pieces as in `open_ended_pieces`."""
    checked_style(style)
    checked_text(text, "question")
    before, after = CONVERSATIONS[style]
    return f"{before}{IMAGE}\n", f"{text}{after}"


def check_whole(parts: PromptParts, whose: str) -> None:
    """Refuse to leave a part of the paper's prompt out of one that does not have these parts."""
    if parts != ALL_PARTS:
        raise PromptError(f"{parts}: the prompt of {whose} has no such parts; keep them all")


def option_letters(options: Sequence[str]) -> str:
    """ "ABC" for three options.

    Raises:
        PromptError: no options, more than 26, or one string in place of a list.
    """
    if isinstance(options, str) or not isinstance(options, Sequence):
        raise PromptError(f"options={options!r}: give a list of texts")
    if not 1 <= len(options) <= len(ascii_uppercase):
        raise PromptError(f"{len(options)} options: give 1 to {len(ascii_uppercase)}")
    return ascii_uppercase[: len(options)]


def tokenize_prompt(prompt: str, tokenizer) -> list[int]:
    """Token ids of a prompt, `IMAGE_TOKEN` (-200) where the visual tokens go.

    The pieces around `<image>` are tokenised one by one, each with the tokenizer's own leading space, and the
    beginning-of-sequence token is kept once: tokenising the whole text at once gives other ids.

    Raises:
        PromptError: not exactly one `<image>` in the prompt.
    """
    if prompt.count(IMAGE) != 1:
        raise PromptError(
            f"the prompt holds {prompt.count(IMAGE)} {IMAGE} markers, it needs exactly 1: {prompt[:200]!r}"
        )
    before, after = (tokenizer(piece).input_ids for piece in prompt.split(IMAGE))
    bos = tokenizer.bos_token_id
    if bos is not None and after[:1] == [bos]:
        after = after[1:]
    return [*before, IMAGE_TOKEN, *after]


def checked_style(style: str) -> Style:
    """The chat format called `style`."""
    if style not in STYLES:
        raise PromptError(f"prompt style {style!r}: choose one of {', '.join(STYLES)}")
    return STYLES[style]


def checked_text(text: object, what: str) -> None:
    """Refuse what is no text, or holds a literal `<image>`, which would be taken for the place of the video."""
    if not isinstance(text, str):
        raise PromptError(f"the {what} {text!r} is a {type(text).__name__}, not a text")
    if IMAGE in text:
        raise PromptError(
            f"the {what} {text!r} holds a literal {IMAGE}, which marks the video's place; "
            "write it otherwise, such as 'image'"
        )
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise PromptError(f"the {what} {text!r} holds a broken character: {error.reason}") from None
