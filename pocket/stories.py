"""The seeded story generator: a NumPy random generator -> a `Story` to look at once, a few times, or 150 times.

Still pictures, comics and videos come from this one generator; only the moments differ. Next in the data's way:
`questions`.
"""

from __future__ import annotations

import numpy as np

from pocket.icons import NAMES
from pocket.world import BRIEF_FRAMES, CELL, COLOURS, PLACES, VIDEO_FRAMES, Actor, Board, Card, Story, frame_times

DIRECTIONS = {"to the left": (-1, 0), "to the right": (1, 0), "up": (0, -1), "down": (0, 1), "it stays": (0, 0)}
EDGE = 24  # canvas pixels between a mover's centre and the picture's edge, at least


def tell(rng: np.random.Generator, motion: str | None = None) -> Story:
    """A video's story: board, mover, three things one after another, and a bubble of BRIEF_FRAMES frames. `motion`
    fixes the mover's direction."""
    first = int(rng.integers(6, VIDEO_FRAMES - BRIEF_FRAMES - 6))
    brief = (first / VIDEO_FRAMES, (first + BRIEF_FRAMES) / VIDEO_FRAMES)
    return _story(rng, 3, brief, motion, frame_times())


def comic(rng: np.random.Generator, panels: int) -> tuple[Story, list[float]]:
    """A comic: a story and the times of its `panels` pictures. The bubble is in one panel (in short comics also in
    none)."""
    times = [(i + u) / panels for i, u in enumerate(rng.uniform(0.05, 0.95, panels).tolist())]
    shown = panels > 2 or rng.random() < 0.6
    at = times[int(rng.integers(panels))]
    things = min(3, panels) if panels > 1 else int(rng.integers(1, 4))
    return _story(rng, things, (at - 1e-6, at + 1e-6) if shown else None, None, times), times


def still(rng: np.random.Generator) -> Story:
    """A single busy picture, with two to four boards and up to six things, all visible at time 0: what the vision
    tower learns from."""
    cells = [(int(c) % 4, int(c) // 4) for c in rng.permutation(16)]
    boards = tuple(_board(rng, cells.pop()) for _ in range(int(rng.integers(2, 5))))
    names = list(rng.permutation(NAMES))
    bubble = None
    if rng.random() < 0.6:
        bubble = _standing(rng, names.pop(), cells.pop(), 0.0, 1.0, bubble=True)
    things = tuple(
        _standing(rng, names.pop(), cells.pop(), 0.0, 1.0, loose=True) for _ in range(int(rng.integers(2, 7)))
    )
    return Story(str(rng.choice(list(PLACES))), int(rng.integers(200)), boards, None, things, bubble)


def _story(
    rng: np.random.Generator, things: int, brief: tuple[float, float] | None, motion: str | None, times: list[float]
) -> Story:
    names = [str(n) for n in rng.permutation(NAMES)]
    motion = motion or list(DIRECTIONS)[int(rng.integers(len(DIRECTIONS)))]
    mover, lane = _mover(rng, names.pop(), motion)
    cells = [(x, y) for x in range(4) for y in range(4) if (x, y) not in lane]
    cells = [cells[int(i)] for i in rng.permutation(len(cells))]
    board = _board(rng, cells.pop())
    bubble = _standing(rng, names.pop(), cells.pop(), *brief, bubble=True) if brief else None
    spans = _spans(rng, things, times) if len(times) > 1 else [(0.0, 1.01)] * things
    sequence = tuple(_standing(rng, names.pop(), cells.pop(), *span) for span in spans)
    return Story(str(rng.choice(list(PLACES))), int(rng.integers(200)), (board,), mover, sequence, bubble)


def _spans(rng: np.random.Generator, things: int, times: list[float]) -> list[tuple[float, float]]:
    """When each thing is there: one after another, each visible at one of the `times` or more, with gaps in between
    now and then."""
    while True:
        cuts = np.sort(rng.uniform(0, 1, things - 1)) if things > 1 else np.array([])
        edges = np.concatenate([[0.0], cuts, [1.01]])
        gaps = rng.uniform(0, 0.04, things) * (rng.random(things) < 0.5)
        spans = [(float(a), float(b - g)) for a, b, g in zip(edges[:-1], edges[1:], gaps, strict=True)]
        if all(b - a > 0.2 or len(times) < 6 for a, b in spans) and all(
            any(a <= t < b for t in times) for a, b in spans
        ):
            return spans


def _mover(rng: np.random.Generator, name: str, motion: str) -> tuple[Actor, set[tuple[int, int]]]:
    """The mover and the cells of its lane, a row for left and right, a column for up and down."""
    direction = DIRECTIONS[motion]
    room = 4 * CELL - 2 * EDGE
    distance = rng.uniform(0.35, 0.8) * room
    begin = EDGE + rng.uniform(0, room - distance)
    along = (begin, begin + distance) if sum(direction) > 0 else (begin + distance, begin)
    if motion == "it stays":
        along = (begin + distance * rng.random(),) * 2
    horizontal = direction[0] != 0 or (motion == "it stays" and rng.random() < 0.5)
    lane = int(rng.integers(4))
    across = lane * CELL + CELL / 2 + rng.uniform(-2, 2)
    if horizontal:
        return Actor(name, (along[0], across), (along[1], across)), {(x, lane) for x in range(4)}
    return Actor(name, (across, along[0]), (across, along[1])), {(lane, y) for y in range(4)}


def _standing(
    rng: np.random.Generator,
    name: str,
    cell: tuple[int, int],
    begin: float,
    until: float,
    bubble: bool = False,
    loose: bool = False,
) -> Actor:
    jitter = rng.uniform(-24, 24, 2) if loose else rng.uniform(-3, 3, 2)
    x, y = (float(np.clip(c * CELL + CELL / 2 + j, 22, 170)) for c, j in zip(cell, jitter, strict=True))
    return Actor(str(name), (x, y), (x, y), begin, until, bubble)


def _board(rng: np.random.Generator, cell: tuple[int, int]) -> Board:
    colours, digits = rng.permutation(list(COLOURS))[:4], rng.permutation(10)[:4]
    cards = tuple(Card(str(c), int(d)) for c, d in zip(colours, digits, strict=True))
    left, top = (
        min(max(c * CELL + free, 0), 192 - side) for c, free, side in zip(cell, (2, -2), (44, 52), strict=True)
    )
    return Board(left, top, cards)
