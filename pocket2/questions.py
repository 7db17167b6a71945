"""What can be asked of a story seen at some moments: questions with their answer in words and its options.

PocketBench's families: plate, scene, brief, order, hop, key, long. Training also asks where things are and what there
is. Next in the data's way: `prompts` writes them into the released code's prompts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pocket.questions import Question
from pocket2.world import NAMES, Story

FAMILIES = ("plate", "scene", "brief", "order", "hop", "key", "long")
CORNERS = ("top left", "top right", "bottom left", "bottom right")


def a(name: str) -> str:
    """The name with its indefinite article."""
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def corner(x: float, y: float) -> str:
    """The corner of the picture that a place on the canvas is nearest to."""
    return f"{'top' if y < 96 else 'bottom'} {'left' if x < 96 else 'right'}"


def ask(rng: np.random.Generator, story: Story, times: Sequence[float]) -> dict[str, list[Question]]:
    """Every question, by family, that the pictures of `story` at `times` answer. Order, guesses and options are drawn
    from `rng`."""
    asked = {
        "plate": _plate(rng, story),
        "scene": _scene(rng, story),
        "brief": _brief(rng, story),
        "order": _order(rng, story),
        "hop": _hop(rng, story),
        "key": _key(rng, story),
        "long": _long(rng, story, times),
        "where": _where(rng, story),
    }
    return {family: questions for family, questions in asked.items() if questions}


def _same(family: str, text: str, answer: str, options: tuple[str, ...]) -> Question:
    return Question(family, text, answer, text, options, answer)


def _shuffled(rng: np.random.Generator, options: Sequence[str]) -> tuple[str, ...]:
    return tuple(options[int(i)] for i in rng.permutation(len(options)))


def _digits(rng: np.random.Generator, story: Story, first: Sequence[int]) -> tuple[str, ...]:
    """Five digits: `first`, then those of other cards of the story, then any."""
    others = [card.digit for scene in story.scenes for board in scene.boards for card in board.cards]
    pool = dict.fromkeys([*first, *map(int, rng.permutation(others)), *map(int, rng.permutation(10))])
    return _shuffled(rng, [str(d) for d in list(pool)[:5]])


def _absent(rng: np.random.Generator, story: Story) -> list[str]:
    cast = {thing.name for scene in story.scenes for thing in scene.things} | {b.name for b in story.bubbles}
    cast |= {story.hopper.name} if story.hopper else set()
    return [str(n) for n in rng.permutation([n for n in NAMES if n not in cast])]


def _plate(rng, story: Story) -> list[Question]:
    if len(story.scenes) > 1:
        return []
    cards = story.scenes[0].boards[0].cards
    return [
        _same("plate", f"What number is on the {card.colour} card?", str(card.digit), _digits(rng, story, [card.digit]))
        for card in cards
    ]


def _scene(rng, story: Story) -> list[Question]:
    if len(story.scenes) < 2:
        return []
    found = []
    for scene in story.scenes:
        for card in scene.boards[0].cards:
            text = f"In the {scene.place}, what number is on the {card.colour} card?"
            own = [c.digit for c in scene.boards[0].cards]
            found.append(_same("scene", text, str(card.digit), _digits(rng, story, [card.digit, *own])))
    return found


def _brief(rng, story: Story) -> list[Question]:
    if len(story.bubbles) != 1:
        return []
    no = {story.bubbles[0].name} | ({story.hopper.name} if story.hopper else set())
    others = [str(n) for n in rng.permutation([n for n in NAMES if n not in no])[:4]]  # standing or not: as the answer
    answer = story.bubbles[0].name
    return [_same("brief", "What is in the bubble?", answer, _shuffled(rng, [answer, *others]))]


def _order(rng, story: Story) -> list[Question]:
    if len(story.bubbles) != 2:
        return []
    pair, found = [b.name for b in story.bubbles], []
    for end, index in (("first", 0), ("last", 1)):
        one, two = _shuffled(rng, pair)
        options = _shuffled(rng, [*pair, *_absent(rng, story)[:3]])
        text = f"Which bubble comes {end}, the {one} or the {two}?"
        found.append(_same("order", text, pair[index], options))
    return found


def _hop(rng, story: Story) -> list[Question]:
    if story.hopper is None:
        return []
    text, answer = f"Where does the {story.hopper.name} hop?", corner(*story.hopper.visit)
    return [_same("hop", text, answer, _shuffled(rng, CORNERS))]


def _key(rng, story: Story) -> list[Question]:
    if len(story.bubbles) != 1 or len(story.scenes) > 1:
        return []
    [digit] = [c.digit for c in story.scenes[0].boards[0].cards if c.colour == story.bubbles[0].colour]
    text = "What number is on the card with the colour of the bubble?"
    return [_same("key", text, str(digit), _digits(rng, story, [digit]))]


def _long(rng, story: Story, times: Sequence[float]) -> list[Question]:
    at = np.asarray(times)
    scenes = [scene for scene in story.scenes if ((scene.begin <= at) & (at < scene.until)).any()]
    seen = {thing.name for scene in scenes for thing in scene.things} | ({story.hopper.name} if story.hopper else set())
    there, absent = [str(n) for n in rng.permutation(sorted(seen))], _absent(rng, story)
    found = []
    for name, other in zip(there, absent, strict=False):  # as many yes as no
        options = _shuffled(rng, [name, *map(str, rng.choice(absent, 4, replace=False))]) if len(absent) > 3 else ()
        choice = ("Which of these can be seen?", options, name) if options else ()
        found.append(Question("long", f"Is there {a(name)}?", "yes", *choice))
        found.append(Question("long", f"Is there {a(other)}?", "no", *choice))
    return found


def _where(rng, story: Story) -> list[Question]:
    bubbled = {bubble.name for bubble in story.bubbles}  # such a name would be in two places
    standing = [thing for scene in story.scenes for thing in scene.things if thing.name not in bubbled]
    things = [thing for thing in standing if abs(thing.x - 96) > 10 and abs(thing.y - 96) > 10]
    return [_same("where", f"Where is the {t.name}?", corner(t.x, t.y), _shuffled(rng, CORNERS)) for t in things]
