"""Sixteen small drawings, made in code with Pillow: the objects of the pocket world.

Each icon is a function that draws on a 100 x 100 sheet. `icon(name, size)` renders it large and shrinks it, so edges
are smooth at any size.
Our own drawings, no outside artwork. Next in the data's way: `world` pastes them into pictures.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

from PIL import Image, ImageDraw

INK = (46, 42, 58)
SCALE = 4  # supersampling: the 100-unit sheet is drawn on 400 pixels
DRAWINGS: dict[str, Callable[[Sheet], None]] = {}


class Sheet:
    """A transparent 100 x 100 drawing sheet with outlined shapes; coordinates are units of the sheet, y points down."""

    def __init__(self) -> None:
        self.image = Image.new("RGBA", (100 * SCALE, 100 * SCALE), (0, 0, 0, 0))
        self._pen = ImageDraw.Draw(self.image)

    def polygon(self, points: list[tuple[float, float]], fill: tuple, width: float = 4) -> None:
        scaled = [(x * SCALE, y * SCALE) for x, y in points]
        self._pen.polygon(scaled, fill=fill)
        if width:
            self._pen.line([*scaled, scaled[0], scaled[1]], fill=INK, width=int(width * SCALE), joint="curve")

    def oval(
        self, x0: float, y0: float, x1: float, y1: float, fill: tuple | None, width: float = 4, ink: tuple = INK
    ) -> None:
        box = [x0 * SCALE, y0 * SCALE, x1 * SCALE, y1 * SCALE]
        self._pen.ellipse(box, fill=fill, outline=ink if width else None, width=int(width * SCALE))

    def slice(self, x0: float, y0: float, x1: float, y1: float, start: float, end: float, fill: tuple) -> None:
        self._pen.pieslice([x0 * SCALE, y0 * SCALE, x1 * SCALE, y1 * SCALE], start, end, fill=fill)

    def box(self, x0: float, y0: float, x1: float, y1: float, fill: tuple, radius: float = 0, width: float = 4) -> None:
        box = [x0 * SCALE, y0 * SCALE, x1 * SCALE, y1 * SCALE]
        self._pen.rounded_rectangle(
            box, radius * SCALE, fill=fill, outline=INK if width else None, width=int(width * SCALE)
        )

    def line(self, points: list[tuple[float, float]], width: float = 4, ink: tuple = INK) -> None:
        self._pen.line([(x * SCALE, y * SCALE) for x, y in points], fill=ink, width=int(width * SCALE), joint="curve")

    def arc(
        self, x0: float, y0: float, x1: float, y1: float, start: float, end: float, width: float = 4, ink: tuple = INK
    ) -> None:
        self._pen.arc([x0 * SCALE, y0 * SCALE, x1 * SCALE, y1 * SCALE], start, end, fill=ink, width=int(width * SCALE))


def drawing(function: Callable[[Sheet], None]) -> Callable[[Sheet], None]:
    """Register a drawing under its function's name."""
    DRAWINGS[function.__name__] = function
    return function


@drawing
def cat(s: Sheet) -> None:
    orange = (247, 152, 60)
    s.polygon([(14, 52), (14, 8), (46, 30)], orange)
    s.polygon([(86, 52), (86, 8), (54, 30)], orange)
    s.oval(8, 24, 92, 94, orange)
    for x in (34, 66):
        s.oval(x - 7, 46, x + 7, 64, (190, 240, 120), 2)
        s.oval(x - 2, 48, x + 2, 62, INK, 0)
    s.polygon([(44, 68), (56, 68), (50, 75)], (240, 110, 130), 0)
    for y in (70, 78):
        s.line([(2, y - 4), (30, y)], 3)
        s.line([(98, y - 4), (70, y)], 3)


@drawing
def dog(s: Sheet) -> None:
    s.oval(18, 12, 82, 88, (196, 140, 88))
    s.oval(4, 16, 32, 70, (112, 68, 40))
    s.oval(68, 16, 96, 70, (112, 68, 40))
    s.oval(43, 72, 57, 98, (240, 100, 120), 3)
    s.oval(30, 50, 70, 84, (244, 222, 196), 3)
    s.oval(41, 50, 59, 64, INK, 0)
    for x in (38, 62):
        s.oval(x - 5, 32, x + 5, 44, INK, 0)


@drawing
def fish(s: Sheet) -> None:
    teal = (40, 176, 196)
    s.polygon([(66, 50), (96, 22), (96, 78)], (20, 120, 160))
    s.polygon([(34, 28), (54, 8), (62, 32)], (20, 120, 160))
    s.oval(4, 22, 78, 78, teal)
    s.arc(10, 20, 44, 80, -60, 60, 4, (230, 250, 255))
    s.oval(16, 38, 30, 52, (255, 255, 255), 2)
    s.oval(20, 42, 27, 49, INK, 0)


@drawing
def bird(s: Sheet) -> None:
    yellow = (255, 216, 60)
    s.line([(44, 84), (44, 98)], 5, (230, 120, 30))
    s.line([(58, 84), (58, 98)], 5, (230, 120, 30))
    s.polygon([(76, 24), (98, 34), (76, 44)], (240, 120, 30), 3)
    s.oval(12, 40, 80, 90, yellow)
    s.oval(38, 6, 82, 54, yellow)
    s.slice(10, 48, 60, 84, 20, 200, (226, 160, 30))
    s.oval(60, 20, 70, 30, INK, 0)


@drawing
def car(s: Sheet) -> None:
    blue = (60, 106, 220)
    s.polygon([(20, 46), (34, 22), (70, 22), (84, 46)], (190, 225, 250))
    s.line([(52, 22), (52, 46)], 4)
    s.box(2, 44, 98, 74, blue, 10)
    for x in (26, 74):
        s.oval(x - 13, 60, x + 13, 86, (70, 70, 78))
        s.oval(x - 5, 68, x + 5, 78, (220, 220, 220), 0)


@drawing
def boat(s: Sheet) -> None:
    s.line([(50, 6), (50, 66)], 5)
    s.polygon([(54, 8), (54, 60), (92, 60)], (255, 255, 255))
    s.polygon([(45, 16), (45, 60), (14, 60)], (236, 70, 70))
    s.polygon([(4, 66), (96, 66), (80, 92), (20, 92)], (150, 94, 48))


@drawing
def rocket(s: Sheet) -> None:
    s.polygon([(38, 76), (62, 76), (50, 99)], (255, 170, 30), 0)
    s.polygon([(30, 54), (12, 82), (32, 78)], (220, 50, 60))
    s.polygon([(70, 54), (88, 82), (68, 78)], (220, 50, 60))
    s.polygon([(50, 2), (66, 24), (70, 50), (66, 80), (34, 80), (30, 50), (34, 24)], (236, 238, 244))
    s.polygon([(50, 2), (65, 24), (35, 24)], (220, 50, 60))
    s.oval(40, 36, 60, 56, (90, 170, 240))


@drawing
def tree(s: Sheet) -> None:
    s.box(42, 60, 58, 98, (134, 84, 44))
    for x0, y0, x1, y1 in ((6, 28, 60, 76), (40, 28, 94, 76), (22, 4, 78, 60)):
        s.oval(x0, y0, x1, y1, (40, 150, 66))
    s.oval(22, 34, 78, 70, (40, 150, 66), 0)
    for x, y in ((34, 30), (62, 46), (30, 58)):
        s.oval(x, y, x + 12, y + 10, (110, 200, 100), 0)


@drawing
def house(s: Sheet) -> None:
    s.box(68, 10, 80, 40, (150, 90, 80))
    s.box(16, 44, 84, 96, (250, 232, 190))
    s.polygon([(50, 6), (98, 48), (2, 48)], (206, 74, 54))
    s.box(42, 64, 60, 96, (120, 72, 40), 0, 3)
    s.box(24, 58, 36, 72, (130, 200, 240), 0, 3)
    s.box(66, 58, 78, 72, (130, 200, 240), 0, 3)


@drawing
def ball(s: Sheet) -> None:
    s.oval(6, 6, 94, 94, (255, 255, 255))
    for start, colour in ((0, (236, 60, 70)), (120, (50, 110, 220)), (240, (60, 180, 90))):
        s.slice(8, 8, 92, 92, start, start + 60, colour)
    s.oval(6, 6, 94, 94, None)
    s.oval(42, 42, 58, 58, (255, 255, 255), 3)


@drawing
def star(s: Sheet) -> None:
    radii = [(50, 20)[i % 2] for i in range(10)]
    points = [(50 + r * math.sin(math.pi * i / 5), 54 - r * math.cos(math.pi * i / 5)) for i, r in enumerate(radii)]
    s.polygon(points, (255, 206, 40))


@drawing
def apple(s: Sheet) -> None:
    red = (220, 40, 50)
    s.oval(6, 26, 60, 94, red)
    s.oval(40, 26, 94, 94, red)
    s.oval(24, 32, 76, 90, red, 0)
    s.line([(50, 34), (54, 6)], 6, (100, 60, 30))
    s.oval(54, 6, 86, 24, (90, 190, 70), 3)
    s.oval(18, 40, 30, 58, (255, 170, 170), 0)


@drawing
def cup(s: Sheet) -> None:
    s.oval(60, 40, 98, 78, None, 9)
    s.oval(64, 44, 94, 74, None, 4, (240, 130, 170))
    s.polygon([(10, 34), (78, 34), (70, 94), (18, 94)], (250, 150, 184))
    s.oval(10, 26, 78, 42, (120, 70, 40))
    for x in (30, 48):
        s.line([(x, 20), (x + 6, 12), (x, 4)], 4, (250, 250, 250))


@drawing
def key(s: Sheet) -> None:
    gold = (190, 140, 30)
    s.line([(40, 50), (96, 50)], 16)
    for x in (72, 88):
        s.line([(x, 50), (x, 74)], 14)
        s.line([(x, 50), (x, 71)], 7, gold)
    s.line([(40, 50), (93, 50)], 9, gold)
    s.oval(2, 24, 54, 76, gold)
    s.oval(18, 40, 38, 60, (250, 240, 210))


@drawing
def flower(s: Sheet) -> None:
    s.line([(50, 60), (50, 99)], 8, (50, 150, 60))
    s.oval(52, 74, 82, 90, (70, 180, 80), 3)
    for turn in range(6):
        x, y = 50 + 22 * math.cos(turn * math.pi / 3), 38 + 22 * math.sin(turn * math.pi / 3)
        s.oval(x - 15, y - 15, x + 15, y + 15, (236, 100, 200), 3)
    s.oval(36, 24, 64, 52, (255, 220, 60), 3)


@drawing
def umbrella(s: Sheet) -> None:
    s.line([(50, 4), (50, 86)], 5)
    s.arc(50, 72, 74, 98, 0, 180, 5)
    s.slice(4, 10, 96, 102, 180, 360, (128, 70, 200))
    s.slice(32, 10, 68, 102, 180, 360, (190, 150, 240))
    s.arc(4, 10, 96, 102, 180, 360, 4)
    s.line([(4, 56), (96, 56)], 4)


NAMES: tuple[str, ...] = tuple(DRAWINGS)


@functools.lru_cache(maxsize=2048)
def icon(name: str, size: int) -> Image.Image:
    """The drawing of `name` as an RGBA picture of `size` x `size` pixels. Raises KeyError for a name outside
    `NAMES`."""
    sheet = Sheet()
    DRAWINGS[name](sheet)
    return sheet.image.resize((size, size), Image.Resampling.LANCZOS)
