"""Exercises of chapter 3: both pathways, from frame features to visual tokens."""

from collections.abc import Callable

import torch
from einops import rearrange, reduce

from sfllava_core.methods.pooling import Pool
from sfllava_core.methods.slowfast import Pathway, SlowFast, slow_frame_indices
from sfllava_course.exercises.judging import expect_indices, expect_tensor, random_features


def check_slow_frames(answer: Callable) -> str:
    """slow_frames(num_frames, num_slow): the start of each of num_slow equal pieces."""
    for total, n in ((50, 10), (50, 8), (41, 10), (7, 10)):
        mistakes = {
            "the last frame is in it: cut into pieces and take the start of each": [
                int(i * (total - 1) / (n - 1)) for i in range(n)
            ],
            "these are the middles: right for sampling a file, but the slow pathway takes the starts": [
                int((i + 0.5) * total / n) for i in range(n)
            ],
            "these are the first frames: spread them over the whole film": [min(i, total - 1) for i in range(n)],
            "these are the ends of the pieces: take the starts": [
                min(int((i + 1) * total / n), total - 1) for i in range(n)
            ],
            "a fixed whole step leaves the end of the film out": [i * (total // n) for i in range(n)],
        }
        wanted = slow_frame_indices(total, n)
        expect_indices(answer(total, n), wanted, total, f"{n} of {total} frames", mistakes)
    return "With fewer frames than places, some come twice, as in the released code."


def check_slow_pool(answer: Callable) -> str:
    """slow_pool(features): the larger of each two horizontal neighbours, channel by channel."""
    features = random_features(3, 4, 6, 5)
    longer = features.norm(dim=-1).reshape(3, 4, 3, 2).argmax(dim=-1)
    pairs = rearrange(features, "t h (w b) d -> t h w b d", b=2)
    mistakes = {
        "you paired patches above each other: pair those side by side": Pool.window("max", 2, 1)(features),
        "this is the average: keep the larger of the two": Pool.window("avg", 1, 2)(features),
        "this is the smaller of the two: keep the larger": -Pool.window("max", 1, 2)(-features),
        "you paired column 0 with column 3: neighbours vary fastest, so write (w b), not (b w)": reduce(
            features, "t h (b w) d -> t h w d", "max", b=2
        ),
        "you kept the longer *vector*; each channel takes its own maximum": torch.take_along_dim(
            pairs, longer[..., None, None], dim=3
        )[..., 0, :],
        "this drops every second column: nothing of it is left": features[:, :, ::2],
        "windows of 2 x 2 halve the rows too: the slow pathway keeps all its rows": Pool.window("max", 2, 2)(features),
    }
    wanted = Pool.window("max", 1, 2)(features)
    expect_tensor(answer(features), wanted, features, mistakes, "some tokens differ: compare the grids")
    return "24 x 24 becomes 24 x 12."


def check_fast_pool(answer: Callable) -> str:
    """fast_pool(features, rows, columns): the mean of each block."""
    features = random_features(3, 6, 12, 5)
    blocks = {"rows": 3, "columns": 2}
    mistakes = {
        "this is the maximum: take the mean of each block": reduce(
            features, "t (h a) (w b) d -> t h w d", "max", h=3, w=2
        ),
        "this takes one patch of each block and drops the others: take the mean": features[:, ::2, ::6],
        "this adds the block up: divide by its number of patches": Pool.to(3, 2)(features) * 12,
        "your blocks are combs: neighbours belong together, so write (h a), not (a h)": reduce(
            features, "t (a h) (b w) d -> t h w d", "mean", h=3, w=2
        ),
        "rows and columns are swapped": Pool.to(2, 3)(features),
        "you averaged over the frames: each frame is pooled by itself": reduce(
            features, "t (h a) (w b) d -> h w d", "mean", h=3, w=2
        ),
        "this mixes the frames: each frame is pooled by itself": Pool.to(3, 2)(features)
        .mean(dim=0, keepdim=True)
        .expand(3, -1, -1, -1),
    }
    wanted = Pool.to(3, 2)(features)
    expect_tensor(answer(features, *blocks.values()), wanted, features, mistakes, "some tokens differ: see the grids")
    return "A picture of one colour keeps its colour, however hard it is pooled."


def check_two_eyes(answer: Callable) -> str:
    """two_eyes(features, num_slow): the whole method, from frame features to visual tokens."""
    for frames, n in ((10, 4), (7, 2)):
        features = random_features(frames, 8, 8, 3, seed=frames)
        spec = SlowFast(frames, Pathway(n, Pool.window("max", 1, 2)), Pathway(None, Pool.to(4, 4)))
        some = features[slow_frame_indices(frames, n)]
        slow, fast = Pool.window("max", 1, 2)(some), Pool.to(4, 4)(features)
        flat = [rearrange(pathway, "t h w d -> (t h w) d") for pathway in (slow, fast)]
        mistakes = {
            "fast came first: slow, then fast": torch.cat(flat[::-1]),
            "you read down the columns: read along the rows": torch.cat(
                [rearrange(pathway, "t h w d -> (t w h) d") for pathway in (slow, fast)]
            ),
            "only the slow tokens are here": flat[0],
            "only the fast tokens are here": flat[1],
            "one row per token, please: drop the extra first axis": torch.cat(flat)[None],
            "the slow eye takes all frames here: it takes num_slow of them": torch.cat(
                [rearrange(Pool.window("max", 1, 2)(features), "t h w d -> (t h w) d"), flat[1]]
            ),
            "the fast eye takes *all* frames, not those of the slow one": torch.cat(
                [flat[0], rearrange(Pool.to(4, 4)(some), "t h w d -> (t h w) d")]
            ),
        }
        wanted = spec.visual_tokens(features)
        expect_tensor(answer(features, n), wanted, wanted, mistakes, "the tokens differ: compare the grids")
    return "The whole method, and no separator: the language model is not told where slow ends."
