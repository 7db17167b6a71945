"""The seeded story generator: a NumPy random generator -> a `Story` to look at once, a few times, or as a film.

Still pictures, comics and films come from this one generator; only the moments differ. Next in the data's way:
`questions`.
"""

from __future__ import annotations

import numpy as np

from pocket2.world import (
    CARD_SIZES,
    CELL,
    COLOURS,
    NAMES,
    PLACES,
    Board,
    Bubble,
    Card,
    Hopper,
    Scene,
    Story,
    Thing,
)

SHORT_FRAMES, LONG_FRAMES = 150, 1500  # 6 s and 60 s
FRAMES_PER_SECOND = 25
BRIEF = (3, 4, 6, 9)  # frames that a bubble is there: the dial of the brief event
HOP = 4  # frames of a visit
CAST = 11  # things that scenes take turns with: four at least stay away, to be asked for
EDGE, BETWEEN = 6, 20  # frames from either end of a short film to an event, and between two, at least
GROUNDS = 200  # grounds below this number are trained on, those from it to twice it are for films

Cell = tuple[int, int]
Span = tuple[float, float]


def short_film(
    rng: np.random.Generator,
    bubbles: int = 1,
    size: int | None = None,
    brief: int | None = None,
    quarter: Cell | None = None,
) -> Story:
    """6 s in one scene: a hopper that visits `quarter` (column and row of 2 x 2) for HOP frames, and one or two bubbles
    of `brief` frames each."""
    brief = brief or int(rng.choice(BRIEF))
    return _one_scene(rng, _spans(rng, bubbles, brief), _spans(rng, 1, HOP)[0], size, quarter, film=True)


def long_film(rng: np.random.Generator, scenes: int = 12, size: int | None = None) -> Story:
    """60 s in `scenes` scenes of equal length, each in another place with another thing and other cards."""
    return _scenes(rng, scenes, [(i / scenes, (i + 1) / scenes) for i in range(scenes)], size, film=True)


def comic(rng: np.random.Generator, panels: int, scenes: bool) -> tuple[Story, list[float]]:
    """A comic: a story and the times of its `panels` pictures; with `scenes` each panel is one of its own, else it is
    one scene with a bubble or two, each in one panel, and a visit in one."""
    times = [(i + u) / panels for i, u in enumerate(rng.uniform(0.05, 0.95, panels).tolist())]
    spans = [(t - 1e-6, t + 1e-6) for t in times]
    if scenes:
        return _scenes(rng, panels, [(i / panels, (i + 1) / panels) for i in range(panels)], None), times
    bubbles = 1 if panels < 2 else int(rng.integers(1, 3))
    at = rng.choice(panels, bubbles, replace=False)
    visit = spans[int(rng.integers(panels))] if panels > 2 else None
    return _one_scene(rng, [spans[int(i)] for i in sorted(at)], visit, None), times


def still(rng: np.random.Generator) -> Story:
    """A single busy picture with two to four boards, up to two bubbles and up to six things: what the vision tower
    learns from."""
    cells = _cells(rng)
    boards = tuple(_board(rng, cells.pop(), None) for _ in range(int(rng.integers(2, 5))))
    names = _names(rng)
    bubbles = tuple(
        Bubble(names.pop(), str(rng.choice(list(COLOURS))), *_spot(rng, cells.pop(), 24), 0.0, 1.0)
        for _ in range(int(rng.integers(0, 3)))
    )
    things = tuple(Thing(names.pop(), *_spot(rng, cells.pop(), 24)) for _ in range(int(rng.integers(2, 7))))
    scene = Scene(str(rng.choice(list(PLACES))), int(rng.integers(GROUNDS)), 0.0, 1.01, things, boards)
    return Story((scene,), None, bubbles)


def _one_scene(
    rng, brief: list[Span], visit: Span | None, size: int | None, quarter: Cell | None = None, film: bool = False
) -> Story:
    names, cells = _names(rng), _cells(rng)
    home, away = _apart(rng, cells, quarter)
    board = _board(rng, cells.pop(), size)
    colours = rng.permutation([card.colour for card in board.cards])
    hopper = Hopper(names.pop(), _spot(rng, home, 3), _spot(rng, away, 3), *visit) if visit else None
    bubbled = rng.permutation(names)  # what stands about may be in a bubble, too: so it excludes no answer
    bubbles = tuple(
        Bubble(str(name), str(colour), *_spot(rng, cells.pop(), 3), *span)
        for name, colour, span in zip(bubbled, colours, brief, strict=False)
    )
    things = tuple(Thing(names.pop(), *_spot(rng, cells.pop(), 3)) for _ in range(int(rng.integers(1, 4))))
    place = str(rng.choice(list(PLACES)))
    return Story((Scene(place, _ground(rng, film), 0.0, 1.01, things, (board,)),), hopper, bubbles)


def _scenes(rng, count: int, spans: list[Span], size: int | None, film: bool = False) -> Story:
    places, names, scenes = rng.permutation(list(PLACES)), _names(rng)[:CAST], []
    for number, (begin, until) in enumerate(spans):
        cells = _cells(rng)
        things = tuple(Thing(names[(number + i) % len(names)], *_spot(rng, cells.pop(), 3)) for i in range(1))
        board = _board(rng, cells.pop(), size, cards=2)
        until = 1.01 if number == count - 1 else until
        scenes.append(Scene(str(places[number % len(places)]), _ground(rng, film), begin, until, things, (board,)))
    return Story(tuple(scenes))


def _names(rng) -> list[str]:
    return [str(n) for n in rng.permutation(NAMES)]


def _cells(rng) -> list[Cell]:
    return [(int(c) % 4, int(c) // 4) for c in rng.permutation(16)]


def _ground(rng, film: bool) -> int:
    return int(rng.integers(GROUNDS)) + GROUNDS * film


def _apart(rng, cells: list[Cell], visited: Cell | None) -> tuple[Cell, Cell]:
    """Two cells of different quarters of the picture, the second of the quarter that is `visited` (None: of any). A
    cell of each other quarter is taken out of `cells` with them, as if it were visited: else the quarters with much in
    them, seen at any moment, would be less likely."""
    home = next(cell for cell in cells if _quarter(cell) != visited)
    free = {_quarter(cell): cell for cell in cells if _quarter(cell) != _quarter(home)}
    cells[:] = [cell for cell in cells if cell not in (home, *free.values())]
    return home, free[visited] if visited else list(free.values())[int(rng.integers(3))]


def _quarter(cell: Cell) -> Cell:
    return cell[0] // 2, cell[1] // 2


def _spans(rng, count: int, frames: int) -> list[Span]:
    """Story times of `count` events of `frames` frames of a short film, at least BETWEEN apart, in their order."""
    while True:
        first = np.sort(rng.integers(EDGE, SHORT_FRAMES - frames - EDGE, count))
        if count < 2 or np.diff(first).min() >= frames + BETWEEN:
            return [(float(f) / SHORT_FRAMES, float(f + frames) / SHORT_FRAMES) for f in first]


def _spot(rng, cell: Cell, loose: int) -> tuple[float, float]:
    x, y = (float(np.clip(c * CELL + CELL / 2 + rng.uniform(-loose, loose), 22, 170)) for c in cell)
    return x, y


def _board(rng, cell: Cell, size: int | None, cards: int = 4) -> Board:
    size = int(rng.integers(len(CARD_SIZES))) if size is None else size
    wide, high = CARD_SIZES[size][0] * 2, CARD_SIZES[size][1] * ((cards + 1) // 2)
    left, top = (
        int(np.clip(c * CELL + CELL / 2 - side / 2 + rng.integers(-3, 4), 0, 192 - side))
        for c, side in zip(cell, (wide, high), strict=True)
    )
    colours, digits = rng.permutation(list(COLOURS))[:cards], rng.permutation(10)[:cards]
    return Board(left, top, size, tuple(Card(str(c), int(d)) for c, d in zip(colours, digits, strict=True)))
