"""`python -m pocket2.shortcuts`: can PocketBench's questions be answered from what should not be enough?

A guesser is given less than the film: one moment, the first and the last frame, the question alone, the options alone,
another film, or the film's number. It learns on half of the films and answers those of the other half; everything is
symbols from the story's state, nothing is drawn. BLOCKED says which families block what, and what chance is there.
The moment is one without the event (a bubble, a visit): who sees the event sees the answer, which is no shortcut.

The guesser is a conditional logit: each candidate answer (an option, or all that the family answers with) has a score,
the sum of the weights of its features, and the softmax of the scores is the guess. Features pair what is seen with the
candidate, say how the candidate stands to what is seen, and to the other candidates.

A cell gets as many questions as chance needs (`enough`): so many that MARGIN is ERRORS standard errors of a guesser at
chance, and two thousand at least, that there is enough to learn from.
"""

from __future__ import annotations

import argparse
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise

import numpy as np
from scipy import optimize, sparse

from pocket2.bench import CYCLE, SCENES, Film, bench_film, bench_questions
from pocket2.questions import CORNERS, Question, corner
from pocket2.world import NAMES, Story

OPEN, CHOICE = "open", "choice"
LESS = ("one moment", "first and last frame", "question alone", "options alone", "another film", "film's number")
QUARTER, THIRD, FIFTH = 1 / 4, 1 / 3, 1 / 5
NUMBER = {OPEN: 1 / 10, CHOICE: FIFTH}
ELSEWHERE = ("another film", "film's number")


def _blocked(
    alone: dict[str, float], options: float, seen: dict[str, float] | None = None
) -> dict[tuple[str, str], float]:
    """Chance by (what is given, form): of text and other films alone, of options alone, and of moments where they are
    blocked."""
    found = {(less, form): alone[form] for less in ELSEWHERE for form in (OPEN, CHOICE)}
    found |= {("question alone", OPEN): alone[OPEN], ("options alone", CHOICE): options}
    if seen:
        found |= {(less, form): seen[form] for less in LESS[:2] for form in (OPEN, CHOICE)}
    return found


# A moment shows the cards of a plate, one scene in twelve of a scene or a long question: these block texts only.
# Of a hop it shows where the thing is at home, and of a key the board's four numbers: that much is left to guess among.
BLOCKED: dict[str, dict[tuple[str, str], float]] = {
    "plate": _blocked(NUMBER, FIFTH),
    "scene": _blocked(NUMBER, FIFTH),
    "long": _blocked({OPEN: 1 / 2, CHOICE: FIFTH}, FIFTH),
    "brief": _blocked({OPEN: 1 / 14, CHOICE: FIFTH}, FIFTH, {OPEN: 1 / 14, CHOICE: FIFTH}),
    "order": _blocked({OPEN: 1 / 2, CHOICE: 1 / 2}, FIFTH, {OPEN: 1 / 2, CHOICE: 1 / 2}),
    "hop": _blocked({OPEN: QUARTER, CHOICE: QUARTER}, QUARTER, {OPEN: THIRD, CHOICE: THIRD}),
    "key": _blocked(NUMBER, FIFTH, {OPEN: QUARTER, CHOICE: QUARTER}),
}
MARGIN = 0.03  # above chance
ERRORS = 3  # standard errors that the margin is wide
FEWEST = 2000  # questions of a cell
KINDS = {"plate": "one bubble", "brief": "one bubble", "hop": "one bubble", "key": "one bubble"}
KINDS |= {"order": "two bubbles", "scene": "12 scenes", "long": "12 scenes"}
ANSWERS = {"hop": CORNERS, "long": ("yes", "no"), "brief": NAMES, "order": NAMES}  # else a number

Asked = tuple[int, Film, tuple[list[Question], list[Question]]]  # a film's index, the film, what is asked
Seen = tuple[list[str], set[tuple[str, str]]]  # symbols; (relation, candidate) that hold


@dataclass(frozen=True)
class Guess:
    """A question as the guesser gets it: which candidate is right, the candidates' names, symbols that are seen, each
    to be paired with each name, and what holds of each candidate."""

    right: int
    names: tuple[str, ...]
    symbols: tuple[str, ...]
    holds: tuple[tuple[str, ...], ...]


def films(seed: int, kind: str, questions: int) -> Iterable[Asked]:
    """The first films of a kind of an endless bench: one a question, or half as many where a film has two."""
    for rank in range(questions // 2 if kind in SCENES else questions):
        turn, place = divmod(rank, CYCLE.count(kind))
        index = turn * len(CYCLE) + [i for i, one in enumerate(CYCLE) if one == kind][place]
        yield index, bench_film(seed, index), bench_questions(seed, index)


def bare(answer: str) -> str:
    """An answer without its article."""
    head, _, rest = answer.partition(" ")
    return rest if head in ("a", "an", "the") else answer


def _quiet(rng: np.random.Generator, film: Film) -> float:
    """A moment of no event."""
    spans = [(event.begin, event.until) for event in (*film.story.bubbles, film.story.hopper) if event]
    while True:
        time = (int(rng.integers(film.frames)) + 0.5) / film.frames  # as `frame_times` has it
        if not any(begin <= time < until for begin, until in spans):
            return time


def _moment(story: Story, time: float, q: Question) -> Seen:
    moment, home = story.at(time), None
    symbols, holds = [f"place {moment.scene.place}"], set()
    crowd = dict.fromkeys(CORNERS, 0)
    for thing in moment.things:
        where = corner(thing.x, thing.y)
        crowd[where] += 1
        symbols.append(f"{thing.name} there")
        holds.add(("stands", thing.name))
        if story.hopper and thing.name == story.hopper.name:
            home = where
    [board] = moment.scene.boards
    crowd[corner(board.left + 16, board.top + 16)] += 1
    holds.add(("board", corner(board.left + 16, board.top + 16)))
    for place, card in enumerate(board.cards):
        symbols += [f"card {place} {card.colour}", f"{card.colour} card {card.digit}"]
        holds |= {("number", str(card.digit)), (f"card {place}", str(card.digit)), (card.colour, str(card.digit))}
        if f" {card.colour} card" in q.text:
            holds.add(("named card", str(card.digit)))
    holds |= {(f"crowd {count}", where) for where, count in crowd.items()}
    if home:
        symbols.append(f"home {home}")
        holds.add(("home", home))
    return symbols, holds


def _question(q: Question, form: str) -> Seen:
    """The whole text, its words, and which bubble is named first."""
    text = q.choice_text if form == CHOICE else q.text
    words = text.rstrip("?").replace(",", "").split()
    holds = {("named", word) for word in words}
    if q.family == "order":
        holds |= {("named first", words[-4]), ("named last", words[-1])}
        holds |= {(f"{words[3]} of two, named first", words[-4])}
    return [text, *words], holds


def _other(story: Story, asked: tuple[list[Question], list[Question]], q: Question) -> Seen:
    """What another film shows, all of it, and its answers; where those are numbers, also how they go on."""
    holds = {("bubble there", bubble.name) for bubble in story.bubbles}
    holds |= {("stands there", thing.name) for scene in story.scenes for thing in scene.things}
    symbols = []
    for name, other in [("choice", o) for o in asked[1]] + [("open", o) for o in asked[0]]:
        answer = bare(other.choice_answer if name == "choice" else other.answer)
        holds.add((f"answer to {other.family}", answer))
        if other.family == q.family:
            symbols.append(f"answer {answer}")
            if name == "choice":
                symbols.append(f"letter {other.options.index(other.choice_answer)}")
            if answer.isdigit():
                holds |= {(f"{step} on", str((int(answer) + step) % 10)) for step in range(10)}
    for place, card in enumerate(story.scenes[0].boards[0].cards):
        holds |= {(f"card {place}, {step} on", str((card.digit + step) % 10)) for step in range(10)}
    if story.hopper:
        holds |= {("home there", corner(*story.hopper.home)), ("visit there", corner(*story.hopper.visit))}
    return symbols, holds


def see(less: str, form: str, this: Asked, other: Asked, q: Question) -> Seen:
    """What a guesser is given besides the candidates; all but those with options alone know what the question names."""
    index, film, _ = this
    if less == "options alone":
        return [], set()
    symbols, holds = _question(q, form)
    if less == "question alone":
        return symbols, holds
    if less == "one moment":
        symbols, more = _moment(film.story, _quiet(np.random.default_rng(index), film), q)
    elif less == "first and last frame":
        ends = 0.5 / film.frames, 1 - 0.5 / film.frames
        (symbols, more), (last, of_last) = (_moment(film.story, time, q) for time in ends)
        symbols += [f"at last {symbol}" for symbol in last if symbol not in symbols]
        more = more | {(f"at last {relation}", of) for relation, of in of_last - more}
    elif less == "another film":
        symbols, more = _other(other[1].story, other[2], q)
    elif less == "film's number":
        symbols, more = [f"{index % turn} of {turn}" for turn in (3, 4, 5, 7, 8, 10, 12, 16, 20)], set()
    else:
        raise ValueError(f"{less!r}: choose one of {', '.join(LESS)}")
    return symbols, holds | more


def candidates(q: Question, form: str) -> tuple[list[str], int]:
    """What can be answered, and which is right."""
    if form == CHOICE:
        return list(q.options), q.options.index(q.choice_answer)
    found = list(ANSWERS.get(q.family, tuple(map(str, range(10)))))
    return found, found.index(bare(q.answer))


def guess(less: str, form: str, this: Asked, other: Asked, q: Question) -> Guess:
    """The question with the features of each candidate."""
    (symbols, holds), (answers, right) = see(less, form, this, other, q), candidates(q, form)
    names, lengths, ranked, found = tuple(map(bare, answers)), list(map(len, answers)), sorted(answers), []
    held = defaultdict(list)
    for relation, of in holds:
        held[of].append(relation)
    placed = [symbol for symbol in symbols if symbol.startswith("letter") or " of " in symbol]
    for place, answer in enumerate(answers):
        own = list(held.get(names[place], ()))
        if form == CHOICE:
            own += [f"letter {place}", f"rank {ranked.index(answer)}"]
            own += [f"{symbol}, letter {place}" for symbol in placed]
            own += ["longest"] * (len(answer) == max(lengths)) + ["shortest"] * (len(answer) == min(lengths))
        found.append(tuple(own))
    return Guess(right, names, ("any", *symbols), tuple(found))


def learnt_accuracy(guesses: Sequence[Guess], ridge: float = 5.0) -> float:
    """How often a conditional logit that has learnt on the first half is right on the second."""
    learn, test = guesses[: len(guesses) // 2], guesses[len(guesses) // 2 :]
    known = (
        _numbers(symbol for one in learn for symbol in one.symbols),
        _numbers(name for one in learn for name in one.names),
        _numbers(relation for one in learn for holds in one.holds for relation in holds),
    )
    rows = Rows(learn, *known)

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        scores = rows.scores(weights)
        scores = np.exp(scores - np.maximum.reduceat(scores, rows.starts)[rows.question])
        shares = scores / np.add.reduceat(scores, rows.starts)[rows.question]
        cost = -np.log(np.maximum(shares[rows.right], 1e-12)).sum() + ridge / 2 * weights @ weights
        shares[rows.right] -= 1
        return cost, rows.slope(shares) + ridge * weights

    start = np.zeros(len(known[0]) * (len(known[1]) + 1) + len(known[2]))
    weights = optimize.minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 40}).x
    rows = Rows(test, *known)
    scores = rows.scores(weights)
    scores += 1e-9 * np.random.default_rng(0).random(len(scores))  # ties fall at random
    return float((scores[rows.right] == np.maximum.reduceat(scores, rows.starts)).mean())


def _numbers(keys: Iterable[str]) -> dict[str, int]:
    return {key: number for number, key in enumerate(sorted(set(keys)))}


class Rows:
    """Questions as numbers, a row for each candidate. What was not known when it learnt says nothing.

    Weights are those of each pair of a symbol and a name, the last name standing for any that is not known, then those
    of relations.
    """

    def __init__(
        self, guesses: Sequence[Guess], symbols: dict[str, int], names: dict[str, int], relations: dict[str, int]
    ) -> None:
        counts = [len(one.names) for one in guesses]
        self.question = np.repeat(np.arange(len(guesses)), counts)
        self.starts = np.cumsum([0, *counts[:-1]])
        self.right = self.starts + [one.right for one in guesses]
        self.name = np.array([names.get(name, len(names)) for one in guesses for name in one.names])
        self.shape = len(symbols), len(names) + 1
        self.seen = _sparse([one.symbols for one in guesses], symbols)  # questions x symbols
        self.holds = _sparse([holds for one in guesses for holds in one.holds], relations)  # candidates x relations

    def scores(self, weights: np.ndarray) -> np.ndarray:
        """Of each candidate."""
        pairs, own = np.split(weights, [self.shape[0] * self.shape[1]])
        return (self.seen @ pairs.reshape(self.shape))[self.question, self.name] + self.holds @ own

    def slope(self, of_scores: np.ndarray) -> np.ndarray:
        """The gradient by weight, given that by score."""
        spread = np.zeros((self.seen.shape[0], self.shape[1]))
        np.add.at(spread, (self.question, self.name), of_scores)
        return np.concatenate([(self.seen.T @ spread).ravel(), self.holds.T @ of_scores])


def _sparse(rows: Sequence[Sequence[str]], numbers: dict[str, int]) -> sparse.csr_matrix:
    """How often each row has each key."""
    found = [[numbers[key] for key in row if key in numbers] for row in rows]
    places, ends = np.array([place for row in found for place in row], dtype=int), np.cumsum([0, *map(len, found)])
    matrix = sparse.csr_matrix((np.ones(len(places)), places, ends), (len(rows), len(numbers)))
    matrix.sum_duplicates()
    return matrix


def enough(chance: float) -> int:
    """How many questions a cell needs, half of them to test: see the module's docstring."""
    return max(FEWEST, math.ceil(2 * chance * (1 - chance) * (ERRORS / MARGIN) ** 2))


def leaks(
    asked: Sequence[Asked], family: str, cells: Iterable[tuple[str, str]] | None = None
) -> dict[tuple[str, str], float]:
    """How much above chance a guesser is on a family, by (what is given, form). The other film is the one before it of
    its kind."""
    found = {}
    for less, form in BLOCKED[family] if cells is None else cells:
        chance = BLOCKED[family][less, form]
        guesses = (
            guess(less, form, this, other, q)
            for other, this in pairwise(asked)
            for q in this[2][form == CHOICE]
            if q.family == family
        )
        found[less, form] = learnt_accuracy(list(islice(guesses, enough(chance)))) - chance
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m pocket2.shortcuts", description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=2024)
    parser.add_argument("--questions", type=int, default=5000)
    args = parser.parse_args()
    for kind in dict.fromkeys(KINDS.values()):
        asked = list(films(args.seed, kind, args.questions))
        for family in (family for family, of in KINDS.items() if of == kind):
            for (less, form), above in leaks(asked, family).items():
                chance = BLOCKED[family][less, form]
                print(f"{'ok   ' if above <= MARGIN else 'LEAKS'} {family:6} {form:6} {less:22}", end="")
                print(f" {100 * (chance + above):5.1f} % (chance {100 * chance:.1f})")


if __name__ == "__main__":
    main()
