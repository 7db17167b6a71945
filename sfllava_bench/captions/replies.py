"""A language model's reply -> what it says, by the rules of the released codes, each under a name.

An option is its place, from 0; `UNREAD` where a reply names none.
"""

import re

UNREAD = -1
PLACES = {letter: place for place, letter in enumerate("ABCDE")}
ANCHOR = "The most correct answer is ("
RELEVANCE = re.compile(r"frame relevance: \[([0-9, ]+)\]")
PREDICTION = re.compile(r"prediction: ([A-E])", re.IGNORECASE)


class UnreadableReplyError(ValueError):
    """A reply that holds nothing of what was asked for; says what."""


def first_letter(reply: str | None) -> int:
    """The first character, if it is a capital A to E. So "Because" is B, and "(C)" is nothing."""
    return PLACES.get((reply or "")[:1], UNREAD)


def letter_after_anchor(reply: str | None) -> int:
    """The character after the first `ANCHOR`, for models that go on writing a prompt that ends with it.

    Such a text is the prompt and what follows. The released code crashes where nothing follows; that is `UNREAD` here.
    """
    _, _, after = (reply or "").partition(ANCHOR)
    return first_letter(after)


def prediction(reply: str | None, fallback: int = UNREAD) -> int:
    """The letter after the first "prediction: ", of either case. So "prediction: Because" is B.

    Args:
        fallback: where there is none; 0, option A, as released.
    """
    found = PREDICTION.search(reply or "")
    return PLACES[found[1].upper()] if found else fallback


def relevance(reply: str | None) -> list[int]:
    """The scores in the first "frame relevance: [...]", as many as there are.

    Raises:
        UnreadableReplyError: there is no such list, or something in it is no number; the released run ends there.
    """
    found = RELEVANCE.search(reply or "")
    if found is None:
        raise UnreadableReplyError("no 'frame relevance: [1, 2, ...]' in the reply")
    try:
        return [int(score) for score in found[1].split(",")]
    except ValueError:
        raise UnreadableReplyError(f"frame relevance [{found[1]:.200}]: not numbers with commas between") from None


def intervals(reply: str | None) -> list[list[int]]:
    """Spans of frames, "[5, 19]" or "[1, 10] and [50, 60]", up to the first full stop.

    As released, what is no span becomes one: [0, 0] without a comma, [0, 1] where an end is no number.

    Raises:
        UnreadableReplyError: no "]" in it, or two commas in a span.
    """
    text = (reply or "").split(".")[0].strip()
    end = text.rfind("]")
    if end < 0 or (end == 0 and text != "]"):
        raise UnreadableReplyError("no '[first, last]' in the reply")
    return [interval(part) for part in text[: end + 1].split("and")]


def interval(text: str) -> list[int]:
    """One span."""
    if "," not in text:
        return [0, 0]
    ends = [end.strip(" []") for end in text.split(",")]
    if len(ends) != 2:
        raise UnreadableReplyError(f"span {text!r:.200} has {len(ends)} ends")
    try:
        return [int({"None": default}.get(end, end)) for end, default in zip(ends, "01")]
    except ValueError:
        return [0, 1]


def whole(reply: str | None) -> str:
    """The reply as it is: a summary.

    Raises:
        UnreadableReplyError: there is none.
    """
    if not reply:
        raise UnreadableReplyError("the reply is empty")
    return reply


READERS = {
    "first_letter": first_letter,
    "letter_after_anchor": letter_after_anchor,
    "prediction": prediction,
    "relevance": relevance,
    "intervals": intervals,
    "whole": whole,
}
