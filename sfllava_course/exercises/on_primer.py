"""Exercises of chapter P: a bracket of einops, and attention in three lines."""

from collections.abc import Callable

from einops import rearrange

from sfllava_course.exercises.judging import expect_tensor, random_features


def check_to_rows(answer: Callable) -> str:
    """to_rows(features): (frames, rows, columns, width) becomes (frames * rows * columns, width), in reading order."""
    features = random_features(2, 3, 4, 5)
    mistakes = {
        "you read down the columns: rows come before columns in the bracket": rearrange(
            features, "t h w d -> (t w h) d"
        ),
        "you went place by place through all frames: finish a frame before the next": rearrange(
            features, "t h w d -> (h w t) d"
        ),
        "the frames are still an axis of their own: put t into the bracket too": rearrange(
            features, "t h w d -> t (h w) d"
        ),
        "width and places changed their roles: d stays outside the bracket, at the end": rearrange(
            features, "t h w d -> d (t h w)"
        ),
    }
    wanted = rearrange(features, "t h w d -> (t h w) d")
    expect_tensor(answer(features), wanted, wanted, mistakes, "the order of the rows differs")
    return "That is how a film becomes one long row of tokens."


def check_attend(answer: Callable) -> str:
    """attend(queries, keys, values): for each query the mean of the values, weighted by softmax of the products."""
    queries, keys, values = (random_features(n, 4, seed=n) for n in (3, 5, 5))
    values = random_features(5, 6, seed=9)
    products = queries @ keys.T
    mistakes = {
        "products are no weights yet: a softmax over the keys makes them add up to 1": products @ values,
        "the softmax runs over the wrong axis: for each *query*, the weights of all keys add up to 1": products.softmax(
            dim=0
        )
        @ values,
        "these are the weights: now mix the values with them": products.softmax(dim=1),
        "this divides by the root of the width, as real models do; the task leaves it out": (products / 2).softmax(
            dim=1
        )
        @ values,
    }
    expect_tensor(answer(queries, keys, values), products.softmax(dim=1) @ values, values, mistakes, "numbers differ")
    return "Who asks, what fits, what is read: all of attention but its training."
