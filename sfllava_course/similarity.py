"""How alike frames and their cells are: what repeats in a film, and what comes and goes again.

Beside the method's way, for the course: it looks at frame features, or at plain pixels, and at no question.
"""

from collections.abc import Callable

import torch
from einops import rearrange, reduce
from jaxtyping import Bool, Float, UInt8
from torch import Tensor
from torch.nn.functional import normalize

GAP = 2  # sampled frames: an event that fills one or two of them is brief


def cosine(one: Float[Tensor, "*places dim"], other: Float[Tensor, "*places dim"]) -> Float[Tensor, "*places"]:
    """Cosine of the angle between two vectors at each place: 1 where they point the same way."""
    return (normalize(one, dim=-1) * normalize(other, dim=-1)).sum(dim=-1)


def minus_distance(one: Float[Tensor, "*places dim"], other: Float[Tensor, "*places dim"]) -> Float[Tensor, "*places"]:
    """Minus the mean absolute difference at each place: 0 where both are the same."""
    return -(one - other).abs().mean(dim=-1)


def frame_similarity(features: Float[Tensor, "frames rows columns dim"]) -> Float[Tensor, "frames frames"]:
    """Cosine of each frame with each other one, all its features taken as one long vector."""
    unit = normalize(rearrange(features, "t h w d -> t (h w d)"), dim=-1)
    return unit @ unit.T


def out_and_back(
    features: Float[Tensor, "frames rows columns dim"], gap: int = GAP, alike: Callable = cosine
) -> Float[Tensor, "frames rows columns"]:
    """How much each cell leaves what it was `gap` frames ago and comes back to it `gap` frames later.

    The likeness of before and after, less that of now to the nearer of both. About 0 where nothing happens; 0 or
    below where something comes and stays; high where something comes and goes. The first and the last `gap` frames
    have no before or no after: 0.

    Raises:
        ValueError: fewer than 2 * gap + 1 frames.
    """
    if len(features) <= 2 * gap:
        raise ValueError(f"{len(features)} frames: to see something come and go takes at least {2 * gap + 1}")
    before, now, after = features[: -2 * gap], features[gap:-gap], features[2 * gap :]
    inside = alike(before, after) - torch.maximum(alike(now, before), alike(now, after))
    return torch.cat([torch.zeros_like(inside[:gap]), inside, torch.zeros_like(inside[:gap])])


def brief_moment(
    pixels: UInt8[Tensor, "frames h w 3"], grid: tuple[int, int]
) -> tuple[list[int], Bool[Tensor, "rows columns"]]:
    """The frames and the cells of the briefest event of a film, from its pixels alone: no model takes part.

    The cell whose mean colour goes out and comes back the most tells when; all cells that do so at least a sixth as
    much, at that moment, tell where. `grid` must divide the picture. On all 80 films of PocketBench it names the
    bubble's frames and place (tests/test_similarity.py); a film without a brief event gets an answer too.
    """
    rows, columns = grid
    colours = reduce(pixels.float() / 255, "t (h a) (w b) c -> t h w c", "mean", h=rows, w=columns)
    moved = out_and_back(colours, alike=minus_distance)
    when, row, column = (int(i) for i in torch.unravel_index(moved.argmax(), moved.shape))
    near = range(max(when - 1, 0), min(when + 2, len(moved)))
    frames = [t for t in near if moved[t, row, column] > 0.5 * moved[when, row, column]]
    return frames, moved[when] > moved[when, row, column] / 6
