"""`python -m pocket2.shortcuts`: can PocketBench's questions be answered from what should not be enough?

A guesser is given less than the film: one moment, the first and the last frame, the question alone, the options alone,
another film, or the film's number. It learns on half of the films and answers those of the other half; everything is
symbols from the story's state, nothing is drawn. BLOCKED says which families block what, and what chance is there.
The moment is one without the event (a bubble, a visit): who sees the event sees the answer, which is no shortcut.

The guesser is a conditional logit: each candidate answer (an option, or all that the family answers with) has a score,
the sum of the weights of its features, and the softmax of the scores is the guess. Features pair what is seen with the
candidate, say how the candidate stands to what is seen, and to the other candidates.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy import optimize, sparse

from pocket2.bench import CYCLE, SCENES, Film, bench_film, bench_questions
from pocket2.questions import CORNERS, Question, corner
from pocket2.world import NAMES, Story, frame_times

OPEN, CHOICE = "open", "choice"
LESS = ("one moment", "first and last frame", "question alone", "options alone", "another film", "film's number")
QUARTER, THIRD, FIFTH = 1 / 4, 1 / 3, 1 / 5
NUMBER = {OPEN: 1 / 10, CHOICE: FIFTH}
ELSEWHERE = ("another film", "film's number")


def _blocked(alone: dict[str, float], options: float, seen: dict[str, float] | None = None) -> dict:
    """Chance by (what is given, form): of text and other films alone, of options alone, and of moments where they are
    blocked."""
    found = {(less, form): alone[form] for less in ELSEWHERE for form in (OPEN, CHOICE)}
    found |= {("question alone", OPEN): alone[OPEN], ("options alone", CHOICE): options}
    for less in LESS[:2] if seen else ():
        found |= {(less, form): seen[form] for form in (OPEN, CHOICE)}
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
    events = [*film.story.bubbles, *([film.story.hopper] if film.story.hopper else [])]
    while True:
        time = frame_times(film.frames)[int(rng.integers(film.frames))]
        if not any(event.begin <= time < event.until for event in events):
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
        (symbols, more), (last, of_last) = (
            _moment(film.story, t, q) for t in np.array(frame_times(film.frames))[[0, -1]]
        )
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
    names, lengths, found = tuple(map(bare, answers)), list(map(len, answers)), []
    placed = [symbol for symbol in symbols if symbol.startswith("letter") or " of " in symbol]
    for place, answer in enumerate(answers):
        own = [relation for relation, of in holds if of == names[place]]
        if form == CHOICE:
            own += [f"letter {place}", f"rank {sorted(answers).index(answer)}"]
            own += [f"{symbol}, letter {place}" for symbol in placed]
            own += ["longest"] * (len(answer) == max(lengths)) + ["shortest"] * (len(answer) == min(lengths))
        found.append(tuple(own))
    return Guess(right, names, ("any", *symbols), tuple(found))


def learnt_accuracy(guesses: Sequence[Guess], ridge: float = 5.0) -> float:
    """How often a conditional logit that has learnt on the first half is right on the second."""
    learn, test = guesses[: len(guesses) // 2], guesses[len(guesses) // 2 :]
    known = tuple(
        {key: number for number, key in enumerate(dict.fromkeys(keys))}
        for keys in (
            (name for one in learn for name in one.names),
            (symbol for one in learn for symbol in one.symbols),
            (relation for one in learn for holds in one.holds for relation in holds),
        )
    )
    matrix, starts, right = _matrix(learn, *known)
    counts = np.diff([*starts, matrix.shape[0]])

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        scores = matrix @ weights
        scores = np.exp(scores - np.repeat(np.maximum.reduceat(scores, starts), counts))
        shares = scores / np.repeat(np.add.reduceat(scores, starts), counts)
        cost = -np.log(np.maximum(shares[right], 1e-12)).sum() + ridge / 2 * weights @ weights
        shares[right] -= 1
        return cost, matrix.T @ shares + ridge * weights

    weights = optimize.minimize(loss, np.zeros(matrix.shape[1]), jac=True, method="L-BFGS-B", options={"maxiter": 40}).x
    matrix, starts, right = _matrix(test, *known)
    scores = matrix @ weights + 1e-9 * np.random.default_rng(0).random(matrix.shape[0])  # ties fall at random
    return float((scores[right] == np.maximum.reduceat(scores, starts)).mean())


def _matrix(
    guesses: Sequence[Guess], names: dict[str, int], symbols: dict[str, int], relations: dict[str, int]
) -> tuple[sparse.csr_matrix, np.ndarray, np.ndarray]:
    """Candidates x features, where each question's candidates begin, and the right ones' rows. What was not known when
    it learnt says nothing."""
    columns, sizes, starts, right = [], [0], [], []
    for one in guesses:
        starts.append(len(sizes) - 1)
        right.append(len(sizes) - 1 + one.right)
        seen = np.array([symbols[symbol] for symbol in one.symbols if symbol in symbols]) * len(names)
        for name, holds in zip(one.names, one.holds, strict=True):
            pairs = seen + names[name] if name in names else seen[:0]
            own = [len(names) * len(symbols) + relations[relation] for relation in holds if relation in relations]
            columns += [pairs, np.array(own, dtype=int)]
            sizes.append(len(pairs) + len(own))
    width = len(names) * len(symbols) + len(relations)
    places, ends = np.concatenate(columns), np.cumsum(sizes)
    return (
        sparse.csr_matrix((np.ones(len(places)), places, ends), (len(ends) - 1, width)),
        np.array(starts),
        np.array(right),
    )


def leaks(
    asked: Sequence[Asked], family: str, cells: Iterable[tuple[str, str]] | None = None
) -> dict[tuple[str, str], float]:
    """How much above chance a guesser is on a family, by (what is given, form). The other film is the one before it of
    its kind."""
    found = {}
    for less, form in BLOCKED[family] if cells is None else cells:
        guesses = [
            guess(less, form, this, other, q)
            for other, this in pairwise(asked)
            for q in this[2][form == CHOICE]
            if q.family == family
        ]
        found[less, form] = learnt_accuracy(guesses) - BLOCKED[family][less, form]
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
