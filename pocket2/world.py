"""What a story is, what of it is there at a moment, and how that looks.

A story is one scene or several, one after another; each has a place, a board of coloured cards with digits, and things
that stand about. Over the scenes there may be a hopper, which leaves its corner once, for a moment, and bubbles, which
show a thing for a moment only. Times are story times, from 0 to 1; lengths are pixels of the canvas.
Pictures are drawn at 192 x 192 and shrunk to the 96 x 96 that the model sees. Next in the data's way: `stories`.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw

from pocket.icons import NAMES as DRAWN
from pocket.icons import icon
from pocket.world import DIGITS

CANVAS, PICTURE = 192, 96  # pixels a side: as drawn, and as the model sees it
CELL = 48  # the canvas is laid out on 4 x 4 cells
ICON, BUBBLE = 42, 62  # pixels a side

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
    "beach": ((110, 200, 240), (250, 240, 210), (240, 220, 150)),
    "night": ((30, 30, 80), (80, 70, 130), (44, 50, 84)),
    "snow": ((186, 204, 226), (230, 238, 250), (244, 246, 255)),
    "desert": ((250, 190, 110), (255, 220, 170), (222, 150, 84)),
    "sea": ((160, 215, 235), (210, 240, 246), (30, 130, 170)),
    "city": ((150, 152, 160), (190, 190, 194), (104, 106, 112)),
    "forest": ((70, 120, 90), (120, 160, 110), (36, 84, 44)),
    "moon": ((8, 8, 16), (24, 24, 34), (150, 146, 140)),
    "garden": ((246, 200, 226), (252, 226, 240), (190, 222, 96)),
    "sunset": ((120, 60, 140), (250, 130, 90), (110, 56, 70)),
    "cave": ((70, 50, 40), (96, 70, 54), (58, 42, 36)),
}
NAMES = tuple(name for name in DRAWN if name != "key")  # the prompts' "key frames" name no thing
CARD_SIZES = ((16, 18), (20, 24), (26, 30))  # width and height: the dial of how hard a card is to read


@dataclass(frozen=True)
class Card:
    """A card on a board: its colour's name and its digit."""

    colour: str
    digit: int


@dataclass(frozen=True)
class Board:
    """Cards in reading order, two a row, of CARD_SIZES[size]; `left` and `top` of the first."""

    left: int
    top: int
    size: int
    cards: tuple[Card, ...]

    def boxes(self) -> list[tuple[Card, int, int, int, int]]:
        """(card, left, top, right, bottom) of each card."""
        wide, high = CARD_SIZES[self.size]
        corners = [(self.left + wide * (i % 2), self.top + high * (i // 2)) for i in range(len(self.cards))]
        return [(card, x, y, x + wide, y + high) for card, (x, y) in zip(self.cards, corners, strict=True)]


@dataclass(frozen=True)
class Thing:
    """A thing that stands about; x and y of its centre."""

    name: str
    x: float
    y: float


@dataclass(frozen=True)
class Scene:
    """begin <= time < until in one place, over a ground of its own."""

    place: str
    ground: int
    begin: float
    until: float
    things: tuple[Thing, ...]
    boards: tuple[Board, ...]


@dataclass(frozen=True)
class Hopper:
    """A thing that is at `home` all the time but for begin <= time < until, when it is at `visit`."""

    name: str
    home: tuple[float, float]
    visit: tuple[float, float]
    begin: float
    until: float

    def at(self, time: float) -> Thing:
        return Thing(self.name, *(self.visit if self.begin <= time < self.until else self.home))


@dataclass(frozen=True)
class Bubble:
    """A bubble of a colour with a thing in it, there for begin <= time < until."""

    name: str
    colour: str
    x: float
    y: float
    begin: float
    until: float


@dataclass(frozen=True)
class Moment:
    """All that a picture of a story shows."""

    scene: Scene
    things: tuple[Thing, ...]
    bubbles: tuple[Bubble, ...]


@dataclass(frozen=True)
class Story:
    """Everything that a picture, a comic or a film of it shows."""

    scenes: tuple[Scene, ...]
    hopper: Hopper | None = None
    bubbles: tuple[Bubble, ...] = field(default=())

    def at(self, time: float) -> Moment:
        """What is there at a story time."""
        scene = next(s for s in self.scenes if time < s.until)
        things = scene.things if self.hopper is None else (*scene.things, self.hopper.at(time))
        return Moment(scene, things, tuple(b for b in self.bubbles if b.begin <= time < b.until))


def frame_times(frames: int) -> list[float]:
    """Story times of a film's frames: the middle of each of `frames` equal parts."""
    return [(index + 0.5) / frames for index in range(frames)]


def draw(story: Story, time: float) -> Image.Image:
    """The story at a time from 0 to 1, as an RGB picture of CANVAS x CANVAS pixels."""
    moment = story.at(time)
    picture = _background(moment.scene.place, moment.scene.ground).copy()
    for bubble in moment.bubbles:
        _paste(picture, _bubble(bubble.name, bubble.colour), bubble.x, bubble.y)
    for thing in moment.things:
        _paste(picture, icon(thing.name, ICON), thing.x, thing.y)
    for board in moment.scene.boards:
        for card, left, top, *_ in board.boxes():
            picture.paste(_card(card, board.size), (left, top))
    return picture


def shrink(picture: Image.Image) -> UInt8[np.ndarray, "96 96 3"]:
    """What the model sees of a drawn picture: PICTURE x PICTURE pixels, bicubic."""
    return np.asarray(picture.resize((PICTURE, PICTURE), Image.Resampling.BICUBIC))


def _paste(picture: Image.Image, sprite: Image.Image, x: float, y: float) -> None:
    picture.paste(sprite, (round(x - sprite.width / 2), round(y - sprite.height / 2)), sprite)


@functools.lru_cache(maxsize=512)
def _background(place: str, ground: int) -> Image.Image:
    top, horizon, below = (np.array(colour, dtype=np.float64) for colour in PLACES[place])
    rng = np.random.default_rng(ground)
    ramp = np.linspace(0, 1, CANVAS)[:, None, None]
    sky = np.broadcast_to(top + (horizon - top) * ramp, (CANVAS, CANVAS, 3))
    x, y = np.arange(CANVAS), np.arange(CANVAS)[:, None]
    level = rng.integers(80, 140) + rng.uniform(3, 14) * np.sin(x / rng.uniform(18, 45) + rng.uniform(0, 6))
    shade = 1 - 0.12 * np.clip((y - level[None, :]) / 80, 0, 1)[..., None]
    return Image.fromarray(np.where((y > level[None, :])[..., None], below * shade, sky).round().astype(np.uint8))


@functools.lru_cache(maxsize=128)
def _bubble(name: str, colour: str) -> Image.Image:
    inner, size = 36, BUBBLE
    big = Image.new("RGBA", (size * 4, size * 4), (0, 0, 0, 0))
    pen = ImageDraw.Draw(big)
    pen.ellipse([4, 4, size * 4 - 5, size * 4 - 5], fill=(235, 235, 240, 255), outline=(30, 30, 36), width=6)
    pen.ellipse([10, 10, size * 4 - 11, size * 4 - 11], outline=COLOURS[colour], width=30)
    sprite = big.resize((size, size), Image.Resampling.LANCZOS)
    sprite.alpha_composite(icon(name, inner), ((size - inner) // 2, (size - inner) // 2))
    return sprite


@functools.lru_cache(maxsize=256)
def _card(card: Card, size: int) -> Image.Image:
    wide, high = CARD_SIZES[size]
    picture = Image.new("RGB", (wide, high), COLOURS[card.colour])
    pen = ImageDraw.Draw(picture)
    pen.rectangle([0, 0, wide - 1, high - 1], outline=(60, 52, 60))
    ink = (20, 20, 24) if card.colour in ("yellow", "white") else (255, 255, 255)
    dot = 3 if size == 2 else 2
    left, top = (wide - 5 * dot) // 2, (high - 7 * dot) // 2
    for y, row in enumerate(DIGITS[card.digit].split()):
        for x, bit in enumerate(row):
            if bit == "1":
                at = (left + dot * x, top + dot * y)
                pen.rectangle([*at, at[0] + dot - 1, at[1] + dot - 1], fill=ink)
    return picture
