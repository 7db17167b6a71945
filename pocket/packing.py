"""Comics and questions -> training sequences: one visual prefix, several questions behind it that do not see each
other.

    [BOS text] [visual tokens] [text all questions share] [question 1 answer 1] [question 2 answer 2] ...

A block mask and restarted positions make each question believe it is alone, so one prefix pays for many answers.
Next in the data's way: `train`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from pocket import prompts
from pocket.questions import Question
from pocket.world import Story

EXTENT = (200, 800)  # divided by the panels: places from where a panel begins to where the next does, at least
CLOCK = 90  # places a tick of the clock that visual tokens are hinted at

# Where a question's key word is, counted from its "?".
KEYS = {"detail": -2, "brief": -1, "presence": -1, "motion": -2, "where": -1}


@dataclass
class Packed:
    """One comic's sequence: ids (visual places hold 0), positions, which part each place belongs to (0 shared, 1..
    questions), targets (-100 none), and hints: places inside a question where the answer's telling word is to be
    known already (training only)."""

    before: int
    visual: int
    ids: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    part: list[int] = field(default_factory=list)
    target: list[int] = field(default_factory=list)
    hint: dict[int, int] = field(default_factory=dict)
    telling: list[tuple[str, int]] = field(default_factory=list)  # (family, place whose target tells the answer)

    def add(self, ids: list[int], start: int, part: int, answer: int = 0) -> None:
        """Append ids from position `start`; the last `answer` of them are learned."""
        first = len(self.ids)
        self.ids += ids
        self.positions += range(start, start + len(ids))
        self.part += [part] * len(ids)
        self.target += [-100] * len(ids)
        for place in range(first + len(ids) - answer, first + len(ids)):
            self.target[place - 1] = self.ids[place]


def choose(
    rng: np.random.Generator,
    asked: dict[str, list[Question]],
    often: dict[str, float],
    count: int,
    choice: bool,
    coarse: bool,
) -> list[Question]:
    """`count` questions, families drawn as `often` says; detail is asked seldom of pictures too coarse for it."""
    families = [f for f, questions in asked.items() if not choice or questions[0].options]
    weights = np.array([often[f] * (0.15 if coarse and f == "detail" else 1) for f in families])
    picked = rng.choice(families, count, p=weights / weights.sum())
    return [asked[f][int(rng.integers(len(asked[f])))] for f in picked]


def pack(
    rng: np.random.Generator,
    tokenizer: Callable[[str], list[int]],
    questions: list[Question],
    choice: bool,
    panels: int,
    tokens: int,
    offsets: bool = True,
) -> Packed:
    """The sequence of one comic of `panels` x `tokens` visual tokens. Prompt parts, position offsets and gaps
    between panels are drawn from `rng`; without `offsets` everything stands next to each other."""
    parts = {name: bool(rng.random() > 0.12) for name in ("task", "data", "answer")}
    pieces = [
        prompts.multiple_choice(q.choice_text, q.options, **parts) if choice else prompts.open_ended(q.text, **parts)
        for q in questions
    ]
    before, shared = tokenizer(pieces[0][0]), tokenizer(pieces[0][1])
    packed = Packed(1 + len(before), panels * tokens)
    packed.add([1, *before], 0, 0)
    at = packed.before + offsets * int(rng.integers(0, 24))
    stride = max(offsets * int(rng.integers(*EXTENT)) / panels, tokens)
    for panel in range(panels):
        begin, first = int(panel * stride), len(packed.ids)
        packed.add([0] * tokens, at + begin, 0)
        place = int(rng.integers(tokens))
        packed.hint[first + place] = tokenizer(f" {min(9, (begin + place) // CLOCK)}")[0]
    at += int((panels - 1) * stride) + tokens + offsets * int(rng.integers(0, 60))
    packed.add(shared, at, 0)
    at += len(shared)
    for number, (question, piece) in enumerate(zip(questions, pieces, strict=True), start=1):
        answer = (
            f"{prompts.LETTERS[question.options.index(question.choice_answer)]}) {question.choice_answer}"
            if choice
            else f" {question.answer}"
        )
        ids, learned = tokenizer(piece[2]), [*tokenizer(answer if parts["answer"] or not choice else f"({answer}"), 2]
        first = len(packed.ids)
        packed.add([*ids, *learned], at, number, len(learned))
        told = 0 if question.family == "where" or (choice and parts["answer"]) else 1 if choice else len(learned) - 2
        packed.telling.append((f"{question.family}/{'choice' if choice else 'open'}", first + len(ids) + told - 1))
        packed.hint |= {first + place: word for place, word in hints(tokenizer, question, ids, choice).items()}
    return packed


def hints(tokenizer: Callable[[str], list[int]], question: Question, ids: list[int], choice: bool) -> dict[int, int]:
    """Place in `ids` -> the token to know there: at the question's key word and at its "?" the answer's telling
    word, behind each option yes or no, at the two things of an order question which is first and which is last.

    Without them the model needs very many more steps to find out that it has to look for what the question names.
    """
    one = {word: tokenizer(word)[0] for word in ("?", " yes", " no")}
    answer = question.choice_answer if choice else question.answer
    found, end = {}, ids.index(one["?"])
    if question.family != "list":
        words = answer.split()
        telling = tokenizer(f" {words[0] if question.family == 'where' else words[-1]}")[0]
        found[end] = telling
        if question.family in KEYS and not (choice and question.family == "presence"):
            place = KEYS[question.family]
            found[end + place] = telling
    if question.family == "order" and not choice:
        asked, other = (" first", " last") if " first" in question.text else (" last", " first")
        for place in (end - 4, end - 1):
            found[place] = tokenizer(asked if ids[place] == telling else other)[0]
    if choice:
        newline = tokenizer("\n")[0]
        ends = [i for i, token in enumerate(ids) if token == newline][
            2:
        ]  # not the ends of the question and of "Options:"
        for place, option in zip(ends, question.options, strict=False):
            found[place] = one[" yes"] if option == question.choice_answer else one[" no"]
    return found


def collate(sequences: list[Packed]) -> dict[str, Tensor]:
    """Right-padded ids, positions, targets and the additive (batch, 1, length, length) attention mask."""
    length = max(len(s.ids) for s in sequences)
    ids, positions, part = (torch.zeros(len(sequences), length, dtype=torch.long) for _ in range(3))
    target, hint = torch.full_like(ids, -100), torch.full_like(ids, -100)
    part -= 1  # padding
    for row, s in enumerate(sequences):
        n = len(s.ids)
        ids[row, :n], positions[row, :n], part[row, :n], target[row, :n] = map(
            torch.tensor, (s.ids, s.positions, s.part, s.target)
        )
        for place, word in s.hint.items():
            hint[row, place] = word
    return {"ids": ids, "positions": positions, "target": target, "hint": hint, "mask": block_mask(part)}


def block_mask(part: Int64[Tensor, "batch length"]) -> Float[Tensor, "batch 1 length length"]:
    """0 where a place may look: back within its own part and at the shared part (0); -1e9 elsewhere."""
    query, key = part[:, :, None], part[:, None, :]
    back: Bool[Tensor, "length length"] = torch.ones(part.shape[1], part.shape[1], dtype=torch.bool).tril()
    allowed = back & ((key == 0) | (key == query))
    return torch.zeros(allowed.shape).masked_fill(~allowed, -1e9)[:, None]


def sample(
    rng: np.random.Generator,
    tokenizer: Callable,
    story: Story,
    times: list[float],
    asked: dict,
    often: dict[str, float],
    choice: bool,
    tokens: int,
    pages: bool,
    offsets: bool = True,
    count: int = 6,
) -> Packed:
    """Draw questions about one comic and pack them."""
    panels = 1 if pages else len(times)
    questions = choose(rng, asked, often, count, choice, tokens <= 16)
    return pack(rng, tokenizer, questions, choice, panels, tokens, offsets)
