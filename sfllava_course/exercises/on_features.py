"""Exercises of chapter 2: a picture into patches, a tower's output back onto the picture, and what is alike."""

from collections.abc import Callable

import torch
from einops import rearrange, reduce
from torch import Tensor
from torch.nn.functional import normalize

from sfllava_course.exercises.judging import Wrong, expect_tensor, marks, random_features
from sfllava_course.similarity import GAP


def check_patches(answer: Callable) -> str:
    """patches(picture, size): (h, w, 3) to (patches, size * size * 3), patches and pixels in reading order."""
    for height, width, size in ((6, 8, 2), (28, 42, 14), (24, 24, 8)):
        picture = random_features(height, width, 3, seed=size)
        combs = rearrange(picture, "(p h) (q w) c -> (h w) (p q c)", p=size, q=size)
        mistakes = {
            "each of your patches is a comb of pixels from all over the picture: in (h p) the last letter is the "
            "neighbour": combs,
            "the patches are counted down the columns; reading order goes along the rows": rearrange(
                picture, "(h p) (w q) c -> (w h) (p q c)", p=size, q=size
            ),
            "the pixels inside a patch are out of order: rows, columns, then colours": rearrange(
                picture, "(h p) (w q) c -> (h w) (c p q)", p=size, q=size
            ),
            "a patch keeps all its pixels here; this is their mean": reduce(
                picture, "(h p) (w q) c -> (h w) c", "mean", p=size, q=size
            ),
        }
        wanted = rearrange(picture, "(h p) (w q) c -> (h w) (p q c)", p=size, q=size)
        otherwise = "the numbers differ: a patch is a square of neighbouring pixels"
        expect_tensor(answer(picture, size), wanted, picture[..., 0], mistakes, otherwise)
    return "A square of pixels has become one row of numbers."


def check_on_grid(answer: Callable) -> str:
    """on_grid(hidden, rows): (frames, 1 + patches, dim) without CLS, as (frames, rows, columns, dim)."""
    for frames, rows, columns, dim in ((2, 4, 4, 3), (1, 3, 5, 2)):
        hidden = random_features(frames, 1 + rows * columns, dim, seed=rows)
        flipped = rearrange(hidden[:, 1:], "t (w h) d -> t h w d", h=rows)
        mistakes = {
            "the *last* row is gone: CLS stands in front": rearrange(hidden[:, :-1], "t (h w) d -> t h w d", h=rows),
            "the picture is mirrored at its diagonal: patches run along the rows, so columns vary fastest": flipped,
            "leave the order of the axes: frames, rows, columns, numbers": rearrange(
                hidden[:, 1:], "t (h w) d -> t d h w", h=rows
            ),
            "CLS is gone; now give each patch its row and column": hidden[:, 1:],
        }
        wanted = rearrange(hidden[:, 1:], "t (h w) d -> t h w d", h=rows)
        expect_tensor(answer(hidden, rows), wanted, wanted, mistakes, "the numbers differ: see the grids")
    return "Every vector lies over the square of pixels that it came from."


def check_similarity(answer: Callable) -> str:
    """similarity(features): (frames, frames), the cosine of whole frames."""
    for shape in ((6, 2, 3, 4), (4, 3, 3, 8)):
        features = random_features(*shape, seed=shape[0]) + 0.3
        flat = rearrange(features, "t h w d -> t (h w d)")
        gist = normalize(features.mean(dim=(1, 2)), dim=-1)
        cells = normalize(features, dim=-1)
        mistakes = {
            "these are plain products: divide each frame by its length first, so that a frame is 1 like itself": flat
            @ flat.T,
            "these are distances: 0 for equal frames. A cosine is 1 there": torch.cdist(flat, flat),
            "the frame was averaged first, so *where* things are is lost: compare all its numbers": gist @ gist.T,
            "this is the mean of the cells' cosines: a frame is one long vector here": torch.einsum(
                "ahwd,bhwd->ab", cells, cells
            )
            / (shape[1] * shape[2]),
        }
        unit = normalize(flat, dim=-1)
        otherwise = "the numbers differ: cosine is the product of two vectors of length 1"
        expect_tensor(answer(features), unit @ unit.T, features, mistakes, otherwise)
    return "1 on the diagonal, and the same above and below it."


def check_came_and_went(answer: Callable) -> str:
    """came_and_went(alike): of a (frames, frames) similarity, the frame that leaves what was and comes back to it."""
    for total, event, cut in ((30, [9], 20), (40, [27, 28], 12), (25, [2], 15)):
        alike = similarity_of_a_film(total, event, cut)
        got = answer(alike)
        if isinstance(got, Tensor) and got.numel() == 1:
            got = got.item()
        if isinstance(got, bool) or not isinstance(got, int):
            raise Wrong(f"give one frame number (int) back, not {got!r:.60}")
        case = f"a film of {total} frames with a cut before frame {cut} and an event at {event}"
        drawn = {"yours": marks([min(max(got, 0), total - 1)], total), "wanted": marks(event, total)}
        if got in event:
            continue
        if got in (cut - 1, cut):
            raise Wrong(f"that is the cut, where something comes and *stays*: look at both sides (for {case})", **drawn)
        if got in (event[0] - 1, event[-1] + 1):
            raise Wrong(f"you found the change, one frame off the event itself (for {case})", **drawn)
        if not GAP <= got < total - GAP:
            raise Wrong(f"frame {got} has no frames on both sides to compare with (for {case})", **drawn)
        raise Wrong(f"you say {got} (for {case})", **drawn)
    return "A cut does not fool it, and neither does a slow change."


def similarity_of_a_film(total: int, event: list[int], cut: int) -> Tensor:
    """Similarity of made-up frames: a slow drift, a cut (a large change that stays) and a small brief event."""
    steps = 0.1 * random_features(total, 400, seed=total)
    steps[0] += random_features(400, seed=1)
    steps[cut] += 1.5 * random_features(400, seed=2)
    frames = steps.cumsum(dim=0)
    frames[event] += 0.7 * random_features(400, seed=3)
    unit = normalize(frames, dim=-1)
    return unit @ unit.T
