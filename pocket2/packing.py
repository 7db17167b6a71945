"""Comics and questions -> training sequences: one visual prefix, several questions behind it that do not see each
other.

    [BOS text] [visual tokens] [text all questions share] [question 1 answer 1] [question 2 answer 2] ...

A block mask and restarted positions make each question believe it is alone, so one prefix pays for many answers.
Next in the data's way: `train`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pocket import prompts
from pocket.packing import Packed
from pocket2.questions import Question

STRETCH = 600  # places that a comic's panels are spread over at most, beyond their own tokens


def choose(
    rng: np.random.Generator, asked: dict[str, list[Question]], often: dict[str, float], count: int, choice: bool
) -> list[Question]:
    """`count` questions, families drawn as `often` says."""
    families = [
        f for f, questions in asked.items() if often.get(f) and (not choice or any(q.options for q in questions))
    ]
    weights = np.array([often[f] for f in families])
    drawn: list[Question] = []
    for family in rng.choice(families, count, p=weights / weights.sum()) if families else ():
        questions = [q for q in asked[family] if q.options] if choice else asked[family]
        drawn.append(questions[int(rng.integers(len(questions)))])
    return drawn


def pack(
    rng: np.random.Generator,
    tokenizer: Callable[[str], list[int]],
    questions: list[Question],
    choice: bool,
    panels: int,
    tokens: int,
) -> Packed:
    """The sequence of one comic of `panels` x `tokens` visual tokens. Prompt parts, position offsets and gaps between
    panels are drawn from `rng`."""
    parts = {name: bool(rng.random() > 0.12) for name in ("task", "data", "answer")}
    pieces = [
        prompts.multiple_choice(q.choice_text, q.options, **parts) if choice else prompts.open_ended(q.text, **parts)
        for q in questions
    ]
    before, shared = tokenizer(pieces[0][0]), tokenizer(pieces[0][1])
    packed = Packed(1 + len(before), panels * tokens)
    packed.add([1, *before], 0, 0)
    at = packed.before + int(rng.integers(0, 24))
    gap = float(rng.uniform(0, STRETCH)) / panels * (rng.random() < 0.7)
    for panel in range(panels):
        packed.add([0] * tokens, at + int(panel * (tokens + gap)), 0)
    at += int((panels - 1) * (tokens + gap)) + tokens + int(rng.integers(0, 60))
    packed.add(shared, at, 0)
    at += len(shared)
    for number, (question, piece) in enumerate(zip(questions, pieces, strict=True), start=1):
        answer = (
            f"{prompts.LETTERS[question.options.index(question.choice_answer)]})" if choice else f" {question.answer}"
        )
        ids, learned = tokenizer(piece[2]), [*tokenizer(answer if parts["answer"] or not choice else f"({answer}"), 2]
        first = len(packed.ids)
        packed.add([*ids, *learned], at, number, len(learned))
        told = int(choice and not parts["answer"])
        packed.telling.append((f"{question.family}/{'choice' if choice else 'open'}", first + len(ids) + told - 1))
    return packed
