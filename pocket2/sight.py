"""What pooled tokens can show of a moment: a rule, in geometry alone, with no model.

A pooled token is a sum of what its cell of the picture shows. Two things follow, and they are the rule:

- **Seen.** What is drawn must make up enough of the sum: its strokes cover at least SEEN of the token's cell. A
  digit's strokes cover a sixth of its card or so, an icon's about half of its square. SEEN lies between a bubble in
  the one token of a whole picture (1.9 %), which is seen, and the largest digit in a quarter of it (1.4 %), which is
  not; all that is drawn is seen in cells of 4 x 4 a picture and finer.
- **Told apart.** A sum of a red card, a 3, a blue card and a 7 does not say which number is on which card, unless one
  card outweighs: some token must see this card, and no other card covers more than APART of what this one covers
  there. Else the token says only that the number is one of those that it sees. Two tokens are not reasoned together:
  what the one leaves open, the other does not settle.

A pool by maximum keeps, of the patches in its window, the strongest: there a cell covers what its best patch does.
Patches are 8 x 8 pixels of the 96 x 96 picture, 16 x 16 of the canvas. What covers what is ignored, for things keep
to cells of their own. Next in the data's way: `oracle`.
"""

from __future__ import annotations

import functools

import numpy as np
from einops import reduce
from jaxtyping import Float

from pocket.world import DIGITS
from pocket2.world import CANVAS, ICON, Board, Bubble, Thing

PATCHES = 12  # a side
SEEN = 1 / 60  # of a token's cell, strokes
APART = 1 / 2  # of a card's cover, another's
STROKES = 0.55  # of an icon's square; a digit's are counted
INNER = 36  # canvas pixels a side of the icon in a bubble

Cover = Float[np.ndarray, "rows columns"]


def cover(left: float, top: float, right: float, bottom: float) -> Float[np.ndarray, "12 12"]:
    """The share of each patch that a box of canvas pixels covers."""
    edges = np.linspace(0, CANVAS, PATCHES + 1)
    along = lambda low, high: np.clip(np.minimum(high, edges[1:]) - np.maximum(low, edges[:-1]), 0, None)  # noqa: E731
    return along(top, bottom)[:, None] * along(left, right)[None, :] / (CANVAS / PATCHES) ** 2


def pool(patches: Float[np.ndarray, "12 12"], how: str) -> Cover:
    """Shares pooled as a stream pools features: "none" (so is each tile of a "page"), "max 1x2", "mean 2x2",
    "to 4x4"."""
    if how in ("none", "page"):
        return patches
    kind, _, size = how.partition(" ")
    sides = [int(side) for side in size.split("x")] if kind in ("max", "mean", "to") and "x" in size else []
    if kind == "to":
        sides = [PATCHES // side if PATCHES % side == 0 else 0 for side in sides]
    if len(sides) != 2 or any(side < 1 or PATCHES % side for side in sides):
        raise ValueError(f"pooling {how!r}: write 'none', 'page', or such as 'max 1x2', 'mean 2x2', 'to 4x4'")
    return reduce(patches, "(h i) (w j) -> h w", "max" if kind == "max" else "mean", i=sides[0], j=sides[1])


@functools.lru_cache(maxsize=4096)
def choices(board: Board, how: str) -> dict[str, int]:
    """For each card of a board, by its colour: among how many numbers the tokens leave it; 1 where it is read, 0
    where its number is not seen."""
    covers = {card.colour: pool(cover(*box), how) for card, *box in board.boxes()}
    boxes = {card.colour: (right - left) * (bottom - top) for card, left, top, right, bottom in board.boxes()}
    seen = {c.colour: covers[c.colour] * strokes(c.digit, board.size) / boxes[c.colour] >= SEEN for c in board.cards}
    found = {}
    for colour, own in covers.items():
        others = np.max([*(one for other, one in covers.items() if other != colour), np.zeros_like(own)], axis=0)
        rivals = np.sum([one.astype(int) for one in seen.values()], axis=0)[seen[colour]]
        read = (seen[colour] & (others <= APART * own)).any()
        found[colour] = 1 if read else int(rivals.min(initial=len(covers))) if rivals.size else 0
    return found


def strokes(digit: int, size: int) -> int:
    """Canvas pixels that a digit's strokes cover on a card of a size, as `world` draws it."""
    return DIGITS[digit].count("1") * (3 if size == 2 else 2) ** 2


@functools.lru_cache(maxsize=65536)
def shows(x: float, y: float, side: float, how: str) -> bool:
    """Whether an icon of `side` pixels at a place is seen in some token."""
    box = (x - side / 2, y - side / 2, x + side / 2, y + side / 2)
    return bool((pool(cover(*box), how) * STROKES >= SEEN).any())


def shows_thing(thing: Thing, how: str) -> bool:
    return shows(thing.x, thing.y, ICON, how)


def shows_bubble(bubble: Bubble, how: str) -> bool:
    """Whether its thing is seen; its colour, a broad ring around it, then is, too."""
    return shows(bubble.x, bubble.y, INNER, how)


def shows_corner(how: str) -> bool:
    """Whether each token lies within one quarter of the picture, so that it says in which corner its things are."""
    rows, columns = pool(np.zeros((PATCHES, PATCHES)), how).shape
    return rows % 2 == 0 and columns % 2 == 0
