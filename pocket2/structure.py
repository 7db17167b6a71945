"""Known structure: the language model's first wires, laid before it has seen a single question.

Each head here does one thing that can be said in a sentence: find what a word names and copy what is beside it. From
random weights such heads form late, suddenly, and in some seeds not at all. Everything is trained afterwards, wires
included. Next in the data's way: `train`.

A head is wired by what is matched (a dimension of the asking token, one of the token looked at, a gain), by what is
copied (from, to, gain), and by how much it rests on the sequence's beginning where nothing matches. Matches use the
slow RoPE pairs, which turn by next to nothing over the longest prompt. Gains are for layer-normed tokens, in which a
mark of size 1 reads 5 to 10.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import LlavaNextForConditionalGeneration, PreTrainedTokenizerBase

from pocket2.code import DIMS, at, every
from pocket2.model import HEAD, ROPE
from pocket2.world import COLOURS, NAMES, PLACES

HALF = HEAD // 2
SLOW = [*range(6, HALF), *range(HALF + 6, HEAD)]  # 20 coordinates of a head that barely turn
CLOCK, NOON = 5, 600  # the RoPE pair that tells time (0.00075 a place), and the place where the clock reads nothing
GLIMPSE = 0.2  # how much of a thing a visual token has to show
SHARP = 40.0  # of a neuron's bend
CLOCK_AT_BEGIN = 0.05 * 13.9  # what the clock writes into the beginning itself
READ = 1.5  # how much of a logit one mark is worth
MARK = 3.0  # how large the mark of a visual token is
Match = list[tuple[int, int, float]]


@dataclass
class Head:
    """One attention head of a layer: rows of the query, key and value weights, columns of the output's."""

    query: Float[Tensor, "head width"]
    key: Float[Tensor, "head width"]
    value: Float[Tensor, "head width"]
    out: Float[Tensor, "width head"]

    def match(self, pairs: Match, rest: float, blind: str = "text") -> None:
        """Look at tokens whose dimensions fit, never at those of kind `blind`; rest on the beginning by `rest`."""
        rows: dict[int, int] = {}
        for query, key, gain in pairs:
            row = rows.setdefault(key, SLOW[len(rows)])
            self.key[row, key] = 1.0
            self.query[row, query] = gain
        row, wall = SLOW[len(rows)], SLOW[len(rows) + 1]
        strongest = max([abs(gain) for *_, gain in pairs], default=10.0)
        self.key[wall, at(blind)], self.query[wall, at("text")] = -1.0, 2 * strongest
        self.key[row, at("begin")] = 1.0
        self.query[row, at("text")], self.query[row, at("visual")] = rest, 2 * rest + 1

    def copy(self, pairs: Match) -> None:
        """Write what the tokens looked at hold in one dimension into another."""
        for row, source in enumerate(dict.fromkeys(source for source, *_ in pairs)):
            self.value[row, source] = 1.0
            for origin, target, gain in pairs:
                if origin == source:
                    self.out[target, row] = gain

    def turn(self, pair: int, query: int, keys: list[int], gain: float, angle: float = 0.0) -> None:
        """Score `gain` times the cosine of `pair`'s turn from key to query, less `angle`."""
        self.query[pair, query] = gain
        for key in keys:
            self.key[pair, key], self.key[pair + HALF, key] = math.cos(angle), math.sin(angle)


def head(model: LlavaNextForConditionalGeneration, layer: int, number: int) -> Head:
    """Views on a head's weights, all set to nothing."""
    attention = model.model.language_model.layers[layer].self_attn
    rows = slice(number * HEAD, (number + 1) * HEAD)
    query, key, value = (getattr(attention, f"{n}_proj").weight[rows] for n in "qkv")
    found = Head(query, key, value, attention.o_proj.weight[:, rows])
    for weight in (found.query, found.key, found.value, found.out):
        weight.zero_()
    return found


def pairs(source: str, target: str, gain: float) -> Match:
    """One of `source` for one of `target`, in order."""
    return [(s, t, gain) for s, t in zip(every(source), every(target), strict=True)]


def turn_a_place(pair: int) -> float:
    """The angle by which a RoPE pair turns from one place to the next."""
    return ROPE ** (-pair / HALF)


@torch.no_grad()
def lay(model: LlavaNextForConditionalGeneration, tokenizer: PreTrainedTokenizerBase) -> None:
    """Lay all wires: words, heads layer by layer, the read-out."""
    for layer in model.model.language_model.layers:  # what is not wired says little at first
        layer.self_attn.o_proj.weight.mul_(0.2)
        layer.mlp.down_proj.weight.mul_(0.2)
    _words(model, tokenizer)
    _read_the_question(model)
    _find(model)
    _find_again(model)
    _gather(model)
    _choose_the_letter(model)


def _words(model, tokenizer) -> None:
    """A word that pictures show points where they do; the read-out looks where answers are gathered."""
    embedding, read, free = model.model.language_model.embed_tokens.weight, model.lm_head.weight, DIMS["words"]
    directions = torch.randn(len(embedding), free.stop - free.start)
    directions = directions / directions.norm(dim=-1, keepdim=True)
    embedding.zero_()
    embedding[:, free], embedding[:, at("text")] = directions, 1.0
    one = lambda word: tokenizer(word, add_special_tokens=False).input_ids[0]  # noqa: E731

    def word(text: str, shows: int, value: float = 1.0, answer: int | None = None) -> None:
        embedding[one(text), free] *= 0.3
        embedding[one(text), shows] = value
        if answer is not None:
            read[one(text), answer] = READ * value

    for i, name in enumerate(NAMES):
        word(f" {name}", at("thing", i), 1.0, at("answer_thing", i))
    for i, colour in enumerate(COLOURS):
        word(f" {colour}", at("paper", i))
    for i in range(10):
        word(f" {i}", at("digit", i), 1.0, at("answer_digit", i))
        read[one(f" {i}"), at("answer_digit", i)] = 2 * READ
    for i, place in enumerate(PLACES):
        word(f" {place}", at("place", i))
    for i, letter in enumerate("ABCDE"):
        word(letter, at("letter", i), 1.0, at("answer_letter", i))
    sides = ((" left", "across", -1), (" right", "across", 1), (" top", "down", -1), (" bottom", "down", 1))
    for text, axis, value in sides:
        word(text, at(axis), value, at(f"answer_{axis}"))
    for i, end in enumerate((" first", " last")):
        word(end, at("asked_end", i))
    word(" bubble", at("bubble_word"))
    word(" seen", at("asked_seen"))
    for i, kind in enumerate((" number", " Where", " there")):
        word(kind, at("asked_kind", i))
    _grammar(model, one)
    embedding[1] = 0.0
    embedding[1, at("begin")] = 1.0


def _grammar(model, one) -> None:
    """What comes after what, and which kind of answer is wanted.

    A mark that is there reads READ, so that what is found counts if its kind is asked for, and not else.
    """
    embedding, read = model.model.language_model.embed_tokens.weight, model.lm_head.weight
    rows, sides, yes, no = [one(" top"), one(" bottom")], [one(" left"), one(" right")], one(" yes"), one(" no")
    things, digits = [one(f" {name}") for name in NAMES], [one(f" {i}") for i in range(10)]
    letters, brackets = [one(letter) for letter in "ABCDE"], [one("("), one(":(")]
    embedding[[*things, *digits, yes, no, *sides, one(")")], at("ended")] = 1.0
    embedding[rows, at("row_word")] = 1.0
    embedding[brackets, at("opened")] = 1.0
    number, where, there = every("asked_kind")
    read[things, number], read[things, where], read[things, there] = -3 * READ, -READ, -READ
    for words, kind in ((digits, number), (rows, where), (letters, at("opened")), (sides, at("row_word"))):
        sure = 2 * READ if words is digits else READ
        read[words, kind], read[words, at("text")] = sure, -sure
    for word, seen in ((yes, READ), (no, -READ)):
        read[word, at("answer_seen")], read[word, at("text")] = seen, -READ
        read[word, there] = 1.5 * READ - 0.5 * seen
    for other in (things, digits, rows, [yes, no]):
        read[other, at("opened")], read[other, at("row_word")], read[other, at("ended")] = -3 * READ, -READ, -2 * READ
    read[letters, DIMS["letter"]] = -2 * READ
    read[2, at("ended")], read[one(")"), DIMS["letter"]] = 2 * READ, 2 * READ


def _read_the_question(model) -> None:
    """Layer 0: clocks, and what the question asks."""
    clock = head(model, 0, 0)  # a visual token looks at the beginning, the less the farther it stands from it
    clock.turn(CLOCK, at("visual"), [at("begin")], 0.25, NOON * turn_a_place(CLOCK) - math.pi / 2)
    clock.query[SLOW[0], at("visual")], clock.key[SLOW[0], at("visual")] = 2.0, -1.0
    clock.query[SLOW[1], at("text")], clock.key[SLOW[1], at("begin")] = 0.4, 1.0
    clock.value[0, at("begin")], clock.value[0, at("text")] = 1.0, -1.4
    clock.out[at("clock"), 0] = 0.05

    asked = head(model, 0, 1)  # words after it know which place or end the question names
    marks = every("asked_end", "asked_seen", "asked_kind")
    asked.match([(at("text"), d, 0.9) for d in [*every("place"), *marks]], rest=0.45, blind="visual")
    asked.copy([*pairs("place", "asked_place", 0.1), *[(d, d, 0.1) for d in marks]])

    line = head(model, 0, 2)  # words of an option know its letter
    line.query[SLOW[0], [at("text"), at("visual")]], line.key[SLOW[0], at("begin")] = torch.tensor([0.4, 2.0]), 1.0
    line.turn(1, at("text"), every("letter"), 0.5)
    line.turn(2, at("text"), every("letter"), 0.8)
    line.copy(pairs("letter", "line", 0.1))

    corner = head(model, 0, 3)  # "left" knows that "top" stands before it
    corner.query[SLOW[0], at("visual")], corner.key[SLOW[0], at("begin")] = 2.0, 1.0
    for pair in range(3):
        corner.turn(pair, at("text"), [at("text")], 0.6, turn_a_place(pair))
    corner.copy([(at("down"), at("down"), 0.1)])

    _sure(model)


def _sure(model) -> None:
    """Neurons of layer 0 that turn how much of a thing a visual token shows into whether it shows it.

    From GLIMPSE on it counts in full, below half of that not at all: what a coarse token shows of a thing (a fifth and
    more) says as much as a close look, and the fine tokens' doubts say nothing.
    """
    mlp = model.model.language_model.layers[0].mlp
    read = 13.86 * MARK / (MARK**2 + 2.0) ** 0.5  # a visual token's mark after the norm
    neuron = 0
    for dim in every("thing", "bubbled", "ring"):
        for least, slope in ((0.0, -1.0), (GLIMPSE / 2, 2 / GLIMPSE), (GLIMPSE, -2 / GLIMPSE)):
            for weight in (mlp.gate_proj.weight[neuron], mlp.up_proj.weight[neuron], mlp.down_proj.weight[:, neuron]):
                weight.zero_()
            mlp.gate_proj.weight[neuron, dim], mlp.gate_proj.weight[neuron, at("visual")] = SHARP, -SHARP * least / MARK
            mlp.up_proj.weight[neuron, at("visual")] = 1.0
            mlp.down_proj.weight[dim, neuron] = slope * MARK / (SHARP * read**2)
            neuron += 1


def _find(model) -> None:
    """Layer 1: words find what they name."""
    things = head(model, 1, 0)  # "cat" finds cats: where they are, and that there is one
    things.match(pairs("thing", "thing", 2.3), rest=0.76)
    things.copy(
        [
            (at("across"), at("mean_across"), 0.4),
            (at("down"), at("mean_down"), 0.4),
            (at("visual"), at("seen"), 0.08),
            (at("visual"), at("found"), 0.06),
        ]
    )
    bubbled = head(model, 1, 1)  # "cat" finds the latest bubble with a cat: when it is
    bubbled.match(pairs("thing", "bubbled", 8.0), rest=1.5)
    bubbled.turn(4, at("text"), [at("visual")], 0.8)
    bubbled.value[0, at("begin")] = -CLOCK_AT_BEGIN
    bubbled.copy([(at("clock"), at("found_time"), 0.2), (at("visual"), at("seen_bubbled"), 0.08)])

    cards = head(model, 1, 2)  # "red" finds red cards, in the place asked for: their digits
    cards.match([*pairs("paper", "paper", 2.2), *pairs("asked_place", "place", 0.8)], rest=0.65)
    cards.copy([*pairs("digit", "found_digit", 0.3), (at("visual"), at("found"), 0.06)])

    bubble = head(model, 1, 3)  # "bubble" finds bubbles: their colour, and what is in them
    bubble.match([(at("bubble_word"), at("ring"), 3.0)], rest=0.5)
    bubble.key[SLOW[0], every("ring")] = 1.0  # of any colour
    bubble.copy(
        [*pairs("bubbled", "found_thing", 0.25), *pairs("ring", "found_ring", 0.25), (at("visual"), at("found"), 0.06)]
    )


def _find_again(model) -> None:
    """Layer 2: what was found finds something else."""
    visit = head(model, 2, 0)  # "cat" finds the cats that are not where cats mostly are
    visit.match(
        [*pairs("thing", "thing", 12.0), (at("mean_across"), at("across"), -5.0), (at("mean_down"), at("down"), -5.0)],
        rest=2.0,
    )
    visit.copy([(at("across"), at("visit_across"), 0.4), (at("down"), at("visit_down"), 0.4)])

    keyed = head(model, 2, 1)  # the bubble's colour finds the card of that colour
    keyed.match(pairs("found_ring", "paper", 6.0), rest=1.0)
    keyed.copy(pairs("digit", "found_digit", 0.3))


def _gather(model) -> None:
    """Layer 3: the answer's place collects what the question's words found."""
    gather = head(model, 3, 0)
    gather.match([(at("text"), at("found"), 4.0)], rest=0.6, blind="visual")
    for line in every("line"):
        gather.key[SLOW[0], line] = -3.0
    gather.copy(
        [*pairs("found_thing", "answer_thing", 0.2), *pairs("found_digit", "answer_digit", 0.2)]
        + [(at(f"visit_{axis}"), at(f"answer_{axis}"), 0.2) for axis in ("across", "down")]
        + [(at("seen"), at("answer_seen"), 0.2)]
    )
    order = head(model, 3, 1)  # first or last: of the things that were in bubbles, the earlier or the later
    order.match([(at("asked_end", 1), at("found_time"), -60.0)], rest=3.0, blind="visual")
    order.query[SLOW[0], at("asked_end", 0)] = 60.0  # the clock falls
    order.query[SLOW[5], at("text")], order.key[SLOW[5], at("seen_bubbled")] = 40.0, 1.0
    order.copy(pairs("thing", "answer_thing", 0.2))


def _choose_the_letter(model) -> None:
    """Layer 4: of the options, the one that says what the answer is."""
    name = head(model, 4, 0)
    name.match(pairs("answer_thing", "thing", 3.0), rest=0.6, blind="visual")
    name.copy(pairs("line", "answer_letter", 0.2))
    number = head(model, 4, 1)
    number.match(
        [*pairs("answer_digit", "digit", 3.0), *[(at(f"answer_{axis}"), at(axis), 1.5) for axis in ("across", "down")]],
        rest=0.6,
        blind="visual",
    )
    number.copy(pairs("line", "answer_letter", 0.2))
    seen = head(model, 4, 2)
    seen.match([(at("asked_seen"), at("seen"), 10.0)], rest=0.6, blind="visual")
    seen.copy(pairs("line", "answer_letter", 0.2))
