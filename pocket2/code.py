"""The language model's width, dimension by dimension, as training begins: what each of the 192 numbers of a token says.

A visual token is a sum: of what its patch shows, its place in the picture, and a mark that it is visual. A word has its
own dimension where a picture can show it, else a direction of its own. The rest of the width is empty at first and
takes what attention finds. Training may change all of it. Next in the data's way: `structure` lays the first wires.
"""

from __future__ import annotations

from pocket2.tower import WORDS

WIDTH = 192
_SIZES = {
    # what is there
    "thing": 15,
    "bubbled": 15,
    "ring": 6,  # the colour of a bubble
    "paper": 6,  # the colour of a card
    "digit": 10,
    "place": 12,
    "across": 1,  # -1 left, 1 right
    "down": 1,  # -1 top, 1 bottom
    "visual": 1,
    "text": 1,
    "begin": 1,
    "clock": 1,  # how far a visual token stands from the beginning
    # what a word found
    "found_thing": 15,
    "found_digit": 10,
    "found_ring": 6,
    "mean_across": 1,
    "mean_down": 1,
    "visit_across": 1,
    "visit_down": 1,
    "seen": 1,
    "seen_bubbled": 1,
    "found_time": 1,
    "found": 1,
    # what the question asks
    "asked_place": 12,
    "asked_end": 2,  # first, last
    "asked_seen": 1,  # "Which of these can be seen?"
    "asked_kind": 3,  # "number", "Where", "there": a digit, a corner, or yes or no is wanted
    "bubble_word": 1,
    "row_word": 1,  # "top" or "bottom": "left" or "right" comes next
    "opened": 1,  # an open bracket: a letter comes next
    "ended": 1,  # a word that ends an answer
    "letter": 5,
    "line": 5,  # the letter of the option's line
    # what the answer will be
    "answer_thing": 15,
    "answer_digit": 10,
    "answer_across": 1,
    "answer_down": 1,
    "answer_seen": 1,
    "answer_letter": 5,
}


def _slices() -> dict[str, slice]:
    found, at = {}, 0
    for name, size in _SIZES.items():
        found[name] = slice(at, at + size)
        at += size
    found["words"] = slice(at, WIDTH)  # directions of words that no picture shows
    return found


DIMS: dict[str, slice] = _slices()
SHOWN = slice(0, len(WORDS))  # the dimensions that a picture's patches fill, in the order of `tower.WORDS`
assert DIMS["across"].start == len(WORDS)


def at(name: str, index: int = 0) -> int:
    """The dimension of `name`, or of its `index`-th word."""
    return DIMS[name].start + index


def every(*names: str) -> list[int]:
    """All dimensions of these names, in order."""
    return [d for name in names for d in range(DIMS[name].start, DIMS[name].stop)]
