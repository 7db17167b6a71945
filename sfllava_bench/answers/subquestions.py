"""D-CoDe's sub-questions, as texts: a language model takes a question apart, the video's model answers the parts, and
their answers stand as captions in the prompt of the question itself.

    question -> `messages` -> (a language model) -> `read_subquestions` -> `answer_in_parts`
                `ask_for_subquestions` is these three

The language model is whoever `ask` reaches (captions/reasoner.py has one behind a server); nothing here does.
"""

import ast
import re
from collections.abc import Callable, Sequence

from sfllava_core.methods.dcode import DCoDe
from sfllava_core.prompts import IMAGE, INPUT_DATA, checked_text

MODEL, TEMPERATURE = "gpt-3.5-turbo", 0.5  # as released; which gpt-3.5-turbo that was is not known
CAPTION_TOKENS, CHOICE_TOKENS, OPEN_TOKENS = 64, 16, 128
SYSTEM = "You are an expert in video understanding."
INDENT = "\n" + 12 * " "
ASK_FOR_LIST = f"Output the subquestions as a Python list of strings.{INDENT}"
WORDINGS = {  # "original" is the one that the released scripts use, the others are the paper's ablation
    "original": (
        "I am working on a video understanding task. Your job is to break down the given question into a series of "
        "subquestions that guide the model toward solving the problem. The subquestions should focus on temporal and "
        "dynamic aspects of the video, rather than just static information that could be answered from a single "
        "frame. I will provide a question, and you should output the corresponding subquestions in English.",
        'Question: "{question}"',
        ASK_FOR_LIST,
    ),
    "no_background": (
        "Your job is to break down the given question into a series of subquestions that guide the model toward "
        "solving the problem. The subquestions should focus on temporal and dynamic aspects of the video, rather than "
        "just static information.",
        'Question: "{question}"',
        ASK_FOR_LIST,
    ),
    "no_temporal_focus": (
        "I am working on a video understanding task. Your job is to break down the given question into subquestions "
        "that guide the model toward solving the problem.",
        'Question: "{question}"',
        ASK_FOR_LIST,
    ),
    "re": (
        "You're assisting with a task that involves understanding events in videos over time. When given a question, "
        "your role is to transform it into several focused subquestions that explore how things change, move, or "
        "unfold throughout the video. Avoid questions that could be answered by looking at a single frame—prioritize "
        "those that require analyzing sequences, transitions, actions, or time-based dependencies.",
        "I'll provide a main question about the video. Your output should be a list of specific, time-aware "
        "subquestions in English, formatted as a Python list of strings.",
        "Main Question: “{question}”",
        "Your Output (Python list of strings):",
        "",
    ),
}
Generate = Callable[[tuple[str, str], int], str]  # a prompt in two pieces, and the most new tokens -> text


def messages(question: str, wording: str = "original") -> list[dict[str, str]]:
    """The request that asks a language model to take a question apart, to the letter, indents and all.

    Raises:
        ValueError: an unknown wording.
    """
    if wording not in WORDINGS:
        raise ValueError(f"wording {wording!r}: choose one of {', '.join(WORDINGS)}")
    text = INDENT + f"\n{INDENT}".join(WORDINGS[wording]).replace("{question}", question)
    return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": text}]


def ask_for_subquestions(
    ask: Callable[[list[dict[str, str]]], str], question: str, wording: str = "original", tries: int = 3
) -> list[str]:
    """A question taken apart by a language model; it is asked again where its reply holds no list of texts.

    Args:
        ask: a request's messages -> the reply's text.

    Raises:
        ValueError: an unknown wording, or no list after so many tries.
    """
    request = messages(question, wording)
    for left in reversed(range(tries)):
        try:
            found = read_subquestions(ask(request))
            if not all(isinstance(one, str) for one in found):
                raise ValueError(f"sub-questions {found!r:.200} are not all texts: ask again")
            return [one for one in found if isinstance(one, str)]
        except ValueError:
            if not left:
                raise
    raise ValueError(f"tries={tries}: give at least 1")


def without_percent(reply: str) -> str:
    """A reply without any "%", which the released code would trip over when it fills its prompts."""
    return reply.replace("%", "")


def read_subquestions(reply: str) -> list[object]:
    """The list in a language model's reply: from its first "[" to its last "]", read as Python; [] where none is.

    Raises:
        ValueError: what stands there is no Python list.
    """
    found = re.search(r"\[.*\]", reply, re.DOTALL)
    if found is None:
        return []
    try:
        return list(ast.literal_eval(found[0]))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise ValueError(f"sub-questions {found[0]!r:.200} are no Python list of texts: ask again") from error


def complete_sentences(text: str) -> str:
    """The sentences that have an end, one space between them; every . ! ? is an end, so 3.5 becomes 3. 5."""
    return " ".join(sentence.strip() for sentence in re.findall(r"[^.!?]*[.!?]", text))


def of_a_video(text: str) -> str:
    """An answer that speaks of an image, made to speak of a video: "An image" is "An video" then."""
    return text.replace("image", "video").replace("Image", "Video")


def subquestion_prompt(question: str) -> tuple[str, str]:
    """The prompt of a sub-question in two pieces, for Vicuna; the options are not shown.

    Raises:
        PromptError: no prompt can be made of it.
    """
    checked_text(question, "sub-question")
    system = "You are a helpful expert in video analysis. Answer the question."
    return f"{system} USER: {IMAGE}\n{INPUT_DATA}\nQuestion: ", f"{question}\n ASSISTANT:\nA short sentence: "


def released_choice_prompt(question: str, options: Sequence[str], captions: str) -> str:
    """The prompt with captions as the released code makes it: it pastes them into its template and fills that then, so
    that a "%" in them is a format. `DCoDe.multiple_choice` leaves them as they are.

    Raises:
        TypeError, ValueError: a "%" that is no format, or one too many.
    """
    shared, own = DCoDe().multiple_choice("%s", ["%s"], "vicuna", captions=captions)
    before, _, after = own.rpartition("(A) ")
    lines = "".join(f"({letter}) {option}\n" for letter, option in zip("ABCDEFGHIJKLMNOPQRSTUVWXYZ", options))
    return shared + (before + after.replace("%s\n", "%s", 1)) % (question, lines)


def answer_in_parts(
    generate: Generate, method: DCoDe, question: str, options: Sequence[str] = (), subquestions: Sequence[str] = ()
) -> tuple[str, list[str]]:
    """A question's answer by way of its sub-questions, and their answers.

    Args:
        options: without any the question is open. Then the answers to sub-questions are cut to whole sentences and not
            used: the released scripts crash there, and what is left when they are mended has no place for captions.
        subquestions: none is the plain way.

    Raises:
        PromptError: a question that no prompt can be made of.
    """
    if not options:
        asked = [method.open_ended(one, "vicuna") for one in subquestions]
        captions = [of_a_video(complete_sentences(generate(one, CAPTION_TOKENS).strip())) for one in asked]
        return of_a_video(generate(method.open_ended(question, "vicuna"), OPEN_TOKENS).strip()), captions
    captions = [of_a_video(generate(subquestion_prompt(one), CAPTION_TOKENS).strip()) for one in subquestions]
    told = " ".join(captions) if captions else None
    prompt = method.multiple_choice(question, options, "vicuna", captions=told)
    return generate(prompt, CHOICE_TOKENS).strip().replace("In the image", "In the video"), captions
