"""Exercises of chapter 6: one eye with as many tokens, an interval by hand, a paired lead, and what carries over."""

from collections.abc import Callable
from typing import Any

import numpy as np

from sfllava_bench.scores.stats import Interval, clustered_interval, paired_comparison
from sfllava_core.methods.pooling import Pool
from sfllava_core.methods.slowfast import SlowFast
from sfllava_course.exercises.judging import Wrong
from sfllava_course.figures.ablations import carries_over


def check_equal_tokens(answer: Callable) -> str:
    """equal_tokens(tokens, num_frames): all frames pooled to the square grid that comes nearest to `tokens`."""
    for tokens, frames in ((776, 50), (3680, 50), (2000, 100), (400, 40)):
        side = min(range(1, 13), key=lambda s: abs(frames * s * s - tokens))
        got, case = answer(tokens, frames), f"{tokens} tokens, {frames} frames"
        if not isinstance(got, SlowFast):
            raise Wrong(f"give a SlowFast back, not {type(got).__name__}")
        if got.slow is not None or got.fast is None:
            raise Wrong("the slow eye is still open: slow=None closes it")
        if got.num_frames != frames or got.fast.frames not in (None, frames):
            raise Wrong(f"for {case} the fast pathway must take all {frames} frames; yours is {got}")
        if got.fast.pool != Pool.to(side, side):
            count, floor = got.token_count(frames, (24, 24)), int((tokens / frames) ** 0.5)
            hint = "another square comes nearer: a side of s gives num_frames * s * s tokens"
            if got.fast.pool.kind != "to" or len(set(got.fast.pool.size)) > 1:
                hint = "the grid must be a square that is pooled `to` its size by average"
            elif got.fast.pool == Pool.to(floor, floor):
                hint = "you rounded the side down: one more comes nearer"
            best = frames * side * side
            raise Wrong(f"{hint} (for {case} yours has {count:,} tokens, {best:,} are possible)")
    return "For the pocket model that is 50 frames of 4 x 4: 800 tokens beside 776."


def check_film_interval(answer: Callable) -> str:
    """film_interval(right, draws, rng): 2.5 % and 97.5 % points of the mean, whole films drawn with replacement."""
    for films, each, seed in ((24, 6, 0), (40, 4, 1)):
        rng = np.random.default_rng(seed)
        skill = rng.beta(0.5, 0.5, films)  # films differ much: questions about one are right or wrong together
        right = [(rng.random(each) < chance).astype(float).tolist() for chance in skill]
        names = [str(film) for film in range(films) for _ in range(each)]
        flat = [mark for film in right for mark in film]
        wanted = clustered_interval(flat, names)
        loose = clustered_interval(flat, list(map(str, range(len(flat)))))
        low, high = two_numbers(answer([list(film) for film in right], 4000, np.random.default_rng(seed)))
        width, ends = high - low, (wanted.low, wanted.high)
        if abs(width - (loose.high - loose.low)) < 0.12 * (loose.high - loose.low):
            raise Wrong("you drew single questions: draw whole *films*, with all their questions, and it gets wider")
        if width > 2 * (wanted.high - wanted.low):
            raise Wrong("this is how much films differ; we want how much their *mean* would, from draw to draw")
        if width < 0.02:
            raise Wrong("your draws are all alike: draw with replacement, as many films as there are")
        if max(abs(low - ends[0]), abs(high - ends[1])) > 0.15 * (wanted.high - wanted.low):
            raise Wrong(
                f"it should be near [{ends[0]:.2f}, {ends[1]:.2f}], yours is [{low:.2f}, {high:.2f}]: "
                "take the 2.5 % and the 97.5 % point of the means"
            )
    return "The library's `clustered_interval` does the same, and widens it a little for small numbers of films."


def check_lead_of(answer: Callable) -> str:
    """lead_of(a, b, films): (mean difference, low, high) of two layouts on the same questions, clustered by film."""
    for films, seed in ((30, 0), (50, 1)):
        rng = np.random.default_rng(seed)
        hard = np.repeat(rng.random(films), 4)
        a, b = ((hard + shift + 0.1 * rng.standard_normal(4 * films) < 0.7).astype(float) for shift in (0.0, 0.08))
        names = [f"film{number}" for number in np.repeat(np.arange(films), 4)]
        keys = list(map(str, range(len(names))))
        paired = paired_comparison(dict(zip(keys, a)), dict(zip(keys, b)), dict(zip(keys, names))).difference
        alone = [clustered_interval(list(x), names) for x in (a, b)]
        value, low, high = three_numbers(answer(a.tolist(), b.tolist(), list(names)))
        if abs(value - paired.value) > 1e-6:
            hint = "take a minus b" if abs(value + paired.value) < 1e-6 else "the first number is the mean of a minus b"
            raise Wrong(f"{hint}: {paired.value:.3f}, yours is {value:.3f}")
        unpaired = (alone[0].low - alone[1].high, alone[0].high - alone[1].low)
        if np.allclose((low, high), unpaired, atol=1e-6) or np.allclose(
            (low, high), (alone[0].low - alone[1].low, alone[0].high - alone[1].high), atol=1e-6
        ):
            raise Wrong("you took the difference of two intervals: take the interval of the *differences*")
        single = clustered_interval(list(a - b), keys)
        if np.allclose((low, high), (single.low, single.high), atol=1e-6):
            raise Wrong("each question counts as a film of its own here: hand the films on")
        if not np.allclose((low, high), (paired.low, paired.high), atol=0.02):
            raise Wrong(
                f"the interval should be [{paired.low:.3f}, {paired.high:.3f}], yours is [{low:.3f}, {high:.3f}]"
            )
    return "Hard films are hard for both layouts, so most of the luck drops out of the difference."


def two_numbers(got: Any) -> tuple[float, float]:
    """Low and high end."""
    low, high = numbers(got, 2, "(low, high)")
    return low, high


def three_numbers(got: Any) -> tuple[float, float, float]:
    """Value, low and high end."""
    value, low, high = numbers(got, 3, "(value, low, high)")
    return value, low, high


def numbers(got: Any, count: int, form: str) -> tuple[float, ...]:
    """So many numbers in a row.

    Raises:
        Wrong: it is something else.
    """
    try:
        found = tuple(float(number) for number in got)
    except (TypeError, ValueError):
        raise Wrong(f"give {form} back, not {type(got).__name__}") from None
    if len(found) != count:
        raise Wrong(f"give {form} back: {count} numbers, not {len(found)}")
    return found


def check_same_way(answer: Callable) -> str:
    """same_way(paper, error, low, high): what our interval says about a published difference."""
    words = ("paper near zero", "cannot tell", "same way", "other way")
    for paper, error, low, high in (
        (-7.8, 3.2, -9.0, -2.0),
        (+6.0, 3.2, -13.0, -2.0),
        (-7.8, 3.2, -9.0, +2.0),
        (-0.6, 3.2, -15.0, -2.0),
        (-8.2, 3.2, +1.0, +4.0),
        (+6.0, 3.2, +1.0, +4.0),
        (+4.0, 3.2, 0.0, +3.8),
    ):
        wanted = carries_over(paper, error, Interval((low + high) / 2, low, high, 1, 1))
        got, case = answer(paper, error, low, high), f"{paper:+} in the paper, ours [{low:+}, {high:+}]"
        if got not in words:
            raise Wrong(f"give one of {words} back; for {case} it was {got!r:.60}")
        if got == wanted:
            continue
        if wanted == "cannot tell":
            raise Wrong(f"an interval that holds zero, its ends included, tells no direction ({case})")
        if wanted == "paper near zero":
            raise Wrong(f"a published difference below its own error has no direction to follow ({case})")
        raise Wrong(f"for {case} it should be {wanted!r}, you say {got!r}: which side of zero is each on?")
    return "Four words, and only two of them are findings."
