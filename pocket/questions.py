"""What can be asked of a story seen at some moments: questions with their answer in words and five options.

Families that PocketBench asks: detail, brief, order, presence, motion. Training also asks where things are and what
there is.
Next in the data's way: `prompts` writes them into the released code's prompts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pocket.icons import NAMES
from pocket.stories import DIRECTIONS
from pocket.world import Actor, Story

FAMILIES = ("detail", "brief", "order", "presence", "motion")


@dataclass(frozen=True)
class Question:
    """An open question, the question that its five options answer (often the same), and the answers to both.

    `choice_text` and `options` are empty where the question is asked in the open form only, `text` where it is a
    choice only.
    """

    family: str
    text: str
    answer: str
    choice_text: str = ""
    options: tuple[str, ...] = ()
    choice_answer: str = ""


def a(name: str) -> str:
    """The name with its indefinite article."""
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def ask(rng: np.random.Generator, story: Story, times: Sequence[float]) -> dict[str, list[Question]]:
    """Every question, by family, that the pictures of `story` at `times` answer. Order, guesses and options are
    drawn from `rng`."""
    asked = {
        "detail": _detail(rng, story),
        "presence": _presence(rng, story, times),
        "brief": _brief(rng, story, times),
        "order": _order(rng, story, times),
        "motion": _motion(rng, story, times),
        "where": _where(rng, story, times),
        "list": _list(story, times),
    }
    return {family: questions for family, questions in asked.items() if questions}


def seen(actors: Sequence[Actor], times: Sequence[float]) -> list[str]:
    """Names of the actors that are visible at one of the times."""
    return [actor.name for actor in actors if any(actor.visible(t) for t in times)]


def _standing(story: Story) -> list[Actor]:
    """The actors that are no bubble."""
    return [actor for actor in (story.mover, *story.sequence) if actor is not None]


def _absent(rng: np.random.Generator, story: Story) -> list[str]:
    cast = {actor.name for actor in story.actors}
    return [str(n) for n in rng.permutation([n for n in NAMES if n not in cast])]


def _shuffled(rng: np.random.Generator, options: Sequence[str]) -> tuple[str, ...]:
    return tuple(options[int(i)] for i in rng.permutation(len(options)))


def _detail(rng: np.random.Generator, story: Story) -> list[Question]:
    cards = story.boards[0].cards
    digits = [str(card.digit) for card in cards]
    found = []
    for card in cards:
        other = str(rng.choice([str(d) for d in range(10) if str(d) not in digits]))
        text = f"What number is on the {card.colour} card?"
        found.append(Question("detail", text, str(card.digit), text, _shuffled(rng, [*digits, other]), str(card.digit)))
    return found


def _presence(rng: np.random.Generator, story: Story, times: Sequence[float]) -> list[Question]:
    there, absent = seen(_standing(story), times), _absent(rng, story)
    found = []
    for name, other in zip(there, absent):  # as many yes as no
        options = _shuffled(rng, [a(name), *map(a, rng.choice(absent, 4, replace=False))])
        choice = ("Which of these can be seen?", options, a(name))
        found.append(Question("presence", f"Is there {a(name)}?", "yes", *choice))
        found.append(Question("presence", f"Is there {a(other)}?", "no", *choice))
    return found


def _brief(rng: np.random.Generator, story: Story, times: Sequence[float]) -> list[Question]:
    if story.bubble is None or not seen([story.bubble], times):
        return []
    there, absent = seen(_standing(story), times), _absent(rng, story)
    others = [*map(str, rng.permutation(there)[:2])]
    others += absent[: 4 - len(others)]
    answer, text = a(story.bubble.name), "What is in the bubble?"
    return [Question("brief", text, answer, text, _shuffled(rng, [answer, *map(a, others)]), answer)]


def _order(rng: np.random.Generator, story: Story, times: Sequence[float]) -> list[Question]:
    names = seen(story.sequence, times)
    if len(times) < 2 or len(names) < 2:
        return []
    absent, found = _absent(rng, story), []
    for end, index in (("first", 0), ("last", -1)):
        pair = [names[i] for i in sorted(rng.choice(len(names), 2, replace=False))]
        one, two = _shuffled(rng, pair)
        options = _shuffled(rng, [f"the {n}" for n in (*names, *absent[: 5 - len(names)])])
        found.append(
            Question(
                "order",
                f"Which comes {end}, the {one} or the {two}?",
                f"the {pair[index]}",
                f"Which of these comes {end}?",
                options,
                f"the {names[index]}",
            )
        )
    return found


def _motion(rng: np.random.Generator, story: Story, times: Sequence[float]) -> list[Question]:
    if story.mover is None or len(times) < 2:
        return []
    (x0, y0), (x1, y1) = story.mover.at(times[0]), story.mover.at(times[-1])
    step = (x1 - x0, y1 - y0)
    if 0 < abs(step[0]) + abs(step[1]) < 24:
        return []
    answer = next(words for words, (x, y) in DIRECTIONS.items() if (x, y) == (np.sign(step[0]), np.sign(step[1])))
    text = f"Which way does the {story.mover.name} move?"
    return [Question("motion", text, answer, text, _shuffled(rng, list(DIRECTIONS)), answer)]


def _where(rng: np.random.Generator, story: Story, times: Sequence[float]) -> list[Question]:
    found = []
    for actor in _standing(story):
        visible = [t for t in times if actor.visible(t)]
        still = actor.start == actor.end or len(times) == 1
        for word, time in (("", visible[:1]),) if still else ((" first", visible[:1]), (" last", visible[-1:])):
            x, y = actor.at(time[0]) if time else (96, 96)
            if abs(x - 96) > 10 and abs(y - 96) > 10:
                corner = f"{'top' if y < 96 else 'bottom'} {'left' if x < 96 else 'right'}"
                found.append(Question("where", f"Where is the {actor.name}{word}?", corner))
    return found


def _list(story: Story, times: Sequence[float]) -> list[Question]:
    names = [a(n) for n in seen(_standing(story), times)]
    words = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""
    return [Question("list", "What can be seen?", words)] if words else []
