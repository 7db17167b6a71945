"""How sure a number is: 95 % intervals clustered by video, paired comparison of two runs, verdict on a published value.

Questions about one video are right or wrong together, so videos are resampled, not questions: the interval of 6,415
questions about 245 videos is much wider than that of 6,415 independent ones.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from sfllava_bench.answers.shapes import Number

LEVEL = 0.95
RESAMPLES = 4000
SEED = 20240722
CELLS = 2**24  # resampled clusters held at once


@dataclass(frozen=True)
class Interval:
    """A mean and its 95 % interval. low and high are NaN where nothing can be said (a single video).

    questions, videos: what it rests on.
    """

    value: Number
    low: Number
    high: Number
    questions: int
    videos: int

    def scaled(self, factor: float) -> "Interval":
        """The same in other units (100 for per cent)."""
        return Interval(self.value * factor, self.low * factor, self.high * factor, self.questions, self.videos)

    def text(self, decimals: int = 1, signed: bool = False) -> str:
        """ "95.8 [87.5, 100.0]", with plus signs for differences; the value alone where nothing can be said."""
        rounded = (round(number, decimals) + 0.0 for number in (self.value, self.low, self.high))  # no -0.0
        value, low, high = (f"{number:{'+' if signed else ''}.{decimals}f}" for number in rounded)
        return value if np.isnan(self.low) else f"{value} [{low}, {high}]"


@dataclass(frozen=True)
class Paired:
    """Two runs on the same questions: `difference` is the mean of a minus b.

    p_value: two-sided, how often differences this large come about if each video's sign is a coin's toss.
    a_better, b_better, equal: questions.  unpaired: questions that only one of them has, left out.
    """

    difference: Interval
    p_value: float
    a_better: int
    b_better: int
    equal: int
    unpaired: int


def clustered_interval(
    values: list[float],
    videos: list[str],
    weights: list[float] | None = None,
    *,
    bounds: tuple[float, float] | None = None,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> Interval:
    """Mean of `values` and its interval, by bootstrap over videos (deterministic: the seed is fixed).

    Where all values lie at one of the bounds, no resample can differ; then the interval's other end is the mean at
    which that many *videos* alike would still come about 2.5 times in 100.

    Args:
        values: one for each question.  videos: the video that each question is about.
        weights: of each value in the mean; None is all the same.
        bounds: between which each value lies, if so: (0, 1) for right and wrong. The interval stays within.

    Raises:
        ValueError: no values, or lists of different lengths.
    """
    if not values or len(values) != len(videos):
        raise ValueError(
            f"{len(values)} values for {len(videos)} videos: give one video for each of one or more values"
        )
    sums, counts = by_video(values, videos, weights)
    mean = float(sums.sum() / counts.sum())
    if len(sums) == 1:
        return Interval(mean, float("nan"), float("nan"), len(values), 1)
    if bounds is not None and set(values) in ({bounds[0]}, {bounds[1]}):
        reach = (bounds[1] - bounds[0]) * (1 - ((1 - LEVEL) / 2) ** (1 / len(sums)))
        low, high = (mean, mean + reach) if values[0] == bounds[0] else (mean - reach, mean)
        return Interval(mean, float(low), float(high), len(values), len(sums))
    means = resampled_means(sums, counts, resamples, seed)
    spread = np.sqrt(len(sums) / (len(sums) - 1))  # the bootstrap's variance is short by (C - 1) / C
    low, high = mean + spread * (np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]) - mean)
    if bounds is not None:
        low, high = max(low, bounds[0]), min(high, bounds[1])
    return Interval(mean, float(low), float(high), len(values), len(sums))


def by_video(
    values: list[float], videos: list[str], weights: list[float] | None = None
) -> tuple[Float[np.ndarray, "videos"], Float[np.ndarray, "videos"]]:
    """Sum of weighted values, and sum of weights (by default the number of values), of each video."""
    _, place = np.unique(np.asarray(videos), return_inverse=True)
    each = np.ones(len(values)) if weights is None else np.asarray(weights, dtype=np.float64)
    sums = np.bincount(place, weights=each * np.asarray(values, dtype=np.float64))
    return sums, np.bincount(place, weights=each)


def resampled_means(
    sums: Float[np.ndarray, "videos"], counts: Float[np.ndarray, "videos"], resamples: int, seed: int
) -> Float[np.ndarray, "resamples"]:
    """Means of as many videos drawn with replacement, again and again."""
    rng, number = np.random.default_rng(seed), len(sums)
    step = max(1, CELLS // number)
    means = []
    for start in range(0, resamples, step):
        drawn = rng.multinomial(number, np.full(number, 1 / number), size=min(step, resamples - start))
        means.append((drawn @ sums) / (drawn @ counts))
    return np.concatenate(means)


def paired_comparison(
    a: dict[str, float],
    b: dict[str, float],
    videos: dict[str, str],
    *,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> Paired:
    """Compare two runs question by question.

    Args:
        a, b: value by question key.  videos: the video of each key.

    Raises:
        ValueError: they have no question in common.
    """
    keys = sorted(a.keys() & b.keys())
    if not keys:
        raise ValueError(f"runs of {len(a)} and {len(b)} questions have none in common: compare runs of one benchmark")
    differences = [float(a[key] - b[key]) for key in keys]
    of = [videos[key] for key in keys]
    sums, _ = by_video(differences, of)
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], size=(resamples, len(sums)))
    as_large = np.abs(signs @ sums) >= abs(sums.sum()) - 1e-9
    return Paired(
        clustered_interval(differences, of, resamples=resamples, seed=seed),
        float((1 + as_large.sum()) / (1 + resamples)),
        sum(d > 0 for d in differences),
        sum(d < 0 for d in differences),
        sum(d == 0 for d in differences),
        len(a.keys() ^ b.keys()),
    )


def verdict(published: float, interval: Interval, decimals: int = 1) -> str:
    """Where the published value lies with regard to the measured interval: "inside", "above" or "below" it.

    A published value is rounded to `decimals`, so half a unit of its last digit belongs to it; "unknown" where there
    is no interval.
    """
    half = 0.5 * 10**-decimals + 1e-9
    if np.isnan(interval.low):
        return "unknown"
    if published - half > interval.high:
        return "above"
    return "below" if published + half < interval.low else "inside"
