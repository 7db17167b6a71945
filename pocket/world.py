"""Stories of the pocket world and their pictures: a seeded story -> the frame at any moment of it.

A story has a place, a board of four coloured cards with digits (it stays all the time), a mover that crosses the
picture (or stays), things that come
one after another, and a bubble that shows a thing for a moment only. A comic looks at a story at 1 to 9 moments, a
video at 150.
Pictures are drawn at 192 x 192 and shrunk to the 96 x 96 that the model sees. Next in the data's way: `questions`,
`train`, `bench`.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw

from pocket.icons import icon

CANVAS = 192  # pixels a side, as drawn
PICTURE = 96  # pixels a side, as the model sees it
CELL = 48  # the canvas is laid out on 4 x 4 cells
ICON = 42  # pixels of the canvas
VIDEO_FRAMES = 150
FRAMES_PER_SECOND = 25
BRIEF_FRAMES = 5  # how long the bubble is there: at 32 or more uniformly sampled frames of 150, one always shows it

COLOURS = {
    "red": (214, 40, 48),
    "green": (30, 140, 60),
    "blue": (36, 80, 210),
    "yellow": (250, 214, 40),
    "purple": (140, 50, 180),
    "white": (250, 250, 250),
}
PLACES = {  # name: sky at the top, sky at the horizon, ground
    "meadow": ((150, 205, 250), (225, 242, 255), (142, 205, 120)),
    "beach": ((120, 200, 240), (250, 240, 210), (238, 214, 160)),
    "night": ((52, 56, 110), (120, 110, 170), (76, 84, 120)),
    "snow": ((186, 204, 226), (236, 242, 250), (248, 250, 255)),
    "desert": ((250, 190, 120), (255, 228, 180), (226, 170, 110)),
    "sea": ((170, 220, 240), (230, 246, 250), (86, 150, 206)),
}
DIGITS = (  # a 5 x 7 pixel alphabet of our own, a row of bits per line
    "01110 10001 10001 10001 10001 10001 01110",
    "00100 01100 00100 00100 00100 00100 01110",
    "01110 10001 00001 00110 01000 10000 11111",
    "11110 00001 00001 01110 00001 00001 11110",
    "10010 10010 10010 11111 00010 00010 00010",
    "11111 10000 11110 00001 00001 10001 01110",
    "01110 10000 10000 11110 10001 10001 01110",
    "11111 00001 00010 00100 00100 01000 01000",
    "01110 10001 10001 01110 10001 10001 01110",
    "01110 10001 10001 01111 00001 00001 01110",
)


@dataclass(frozen=True)
class Card:
    """A card on the board: its colour's name and its digit."""

    colour: str
    digit: int


@dataclass(frozen=True)
class Board:
    """Cards in reading order, two a row; `left` and `top` in canvas pixels."""

    left: int
    top: int
    cards: tuple[Card, ...]


@dataclass(frozen=True)
class Actor:
    """A thing that is visible for begin <= time < until (story time runs from 0 to 1) and goes from `start` to `end`
    (x, y of its centre,
    canvas pixels) over the whole story."""

    name: str
    start: tuple[float, float]
    end: tuple[float, float]
    begin: float = 0.0
    until: float = 1.01
    bubble: bool = False

    def at(self, time: float) -> tuple[float, float]:
        """Its centre at a story time, canvas pixels."""
        x, y = (a + (b - a) * time for a, b in zip(self.start, self.end, strict=True))
        return x, y

    def visible(self, time: float) -> bool:
        return self.begin <= time < self.until


@dataclass(frozen=True)
class Story:
    """Everything that a picture, a comic or a video of it shows. `mover` and `bubble` may be None, but not in
    a video."""

    place: str
    hills: int
    boards: tuple[Board, ...]
    mover: Actor | None
    sequence: tuple[Actor, ...]
    bubble: Actor | None

    @property
    def actors(self) -> tuple[Actor, ...]:
        """All actors, in drawing order."""
        return tuple(a for a in (self.bubble, *self.sequence, self.mover) if a is not None)


def draw(story: Story, time: float) -> Image.Image:
    """The story at a time between 0 and 1, as an RGB picture of CANVAS x CANVAS pixels."""
    picture = _background(story.place, story.hills).copy()
    for actor in story.actors:
        if actor.visible(time):
            sprite = _bubble(actor.name) if actor.bubble else icon(actor.name, ICON)
            x, y = actor.at(time)
            picture.paste(sprite, (round(x - sprite.width / 2), round(y - sprite.height / 2)), sprite)
    for board in story.boards:
        for index, card in enumerate(board.cards):
            picture.paste(_card(card), (board.left + 2 + 20 * (index % 2), board.top + 2 + 24 * (index // 2)))
        pen = ImageDraw.Draw(picture)
        rows = (len(board.cards) + 1) // 2
        pen.rectangle(
            [board.left, board.top, board.left + 43, board.top + 3 + 24 * rows], outline=(60, 52, 60), width=2
        )
    return picture


def shrink(picture: Image.Image) -> UInt8[np.ndarray, "96 96 3"]:
    """What the model sees of a drawn picture: PICTURE x PICTURE pixels, bicubic."""
    return np.asarray(picture.resize((PICTURE, PICTURE), Image.Resampling.BICUBIC))


def frame_times(frames: int = VIDEO_FRAMES) -> list[float]:
    """Story times of a video's frames: the middle of each of `frames` equal parts."""
    return [(index + 0.5) / frames for index in range(frames)]


@functools.lru_cache(maxsize=256)
def _background(place: str, hills: int) -> Image.Image:
    top, horizon, ground = (np.array(colour, dtype=np.float64) for colour in PLACES[place])
    rng = np.random.default_rng(hills)
    ramp = np.linspace(0, 1, CANVAS)[:, None, None]
    sky = np.broadcast_to(top + (horizon - top) * ramp, (CANVAS, CANVAS, 3))
    x = np.arange(CANVAS)
    level = rng.integers(90, 150) + rng.uniform(3, 14) * np.sin(x / rng.uniform(18, 45) + rng.uniform(0, 6))
    below = (np.arange(CANVAS)[:, None] > level[None, :])[..., None]
    shade = 1 - 0.12 * np.clip((np.arange(CANVAS)[:, None] - level[None, :]) / 80, 0, 1)[..., None]
    return Image.fromarray(np.where(below, ground * shade, sky).round().astype(np.uint8))


@functools.lru_cache(maxsize=64)
def _bubble(name: str) -> Image.Image:
    size, inner = 62, 36
    big = Image.new("RGBA", (size * 4, size * 4), (0, 0, 0, 0))
    pen = ImageDraw.Draw(big)
    pen.ellipse([4, 4, size * 4 - 5, size * 4 - 5], fill=(255, 255, 255, 235), outline=(40, 200, 255), width=20)
    pen.arc([30, 30, size * 4 - 31, size * 4 - 31], 190, 250, fill=(255, 120, 220), width=10)
    sprite = big.resize((size, size), Image.Resampling.LANCZOS)
    drawing = icon(name, inner)
    sprite.alpha_composite(drawing, ((size - inner) // 2, (size - inner) // 2))
    return sprite


@functools.lru_cache(maxsize=128)
def _card(card: Card) -> Image.Image:
    paper = COLOURS[card.colour]
    picture = Image.new("RGB", (20, 24), paper)
    pen = ImageDraw.Draw(picture)
    ink = (20, 20, 24) if card.colour in ("yellow", "white") else (255, 255, 255)
    for y, row in enumerate(DIGITS[card.digit].split()):
        for x, bit in enumerate(row):
            if bit == "1":
                pen.rectangle([5 + 2 * x, 5 + 2 * y, 6 + 2 * x, 6 + 2 * y], fill=ink)
    return picture
