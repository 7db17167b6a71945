"""Intervals that cover what they claim to, clustering that matters, and verdicts."""

import math

import numpy as np
import pytest

from sfllava_bench.scores.stats import Interval, clustered_interval, paired_comparison, verdict


def simulated(rng, videos=40, share=0.35):
    """Right or wrong for 8 questions about each video; videos differ in how hard they are."""
    ease = rng.beta(share, share, size=videos)
    values = (rng.random((videos, 8)) < ease[:, None]).astype(float).ravel().tolist()
    return values, [f"v{n // 8}" for n in range(videos * 8)]


def test_intervals_cover_the_truth_95_times_in_100_and_naive_ones_do_not():
    rng, clustered, naive = np.random.default_rng(3), 0, 0
    for _ in range(200):
        values, videos = simulated(rng)
        a = clustered_interval(values, videos, resamples=300)
        b = clustered_interval(values, [str(n) for n in range(len(values))], resamples=300)
        clustered += a.low <= 0.5 <= a.high
        naive += b.low <= 0.5 <= b.high
    assert 0.91 <= clustered / 200 <= 0.985
    assert naive / 200 < 0.75


def test_intervals_are_the_same_every_time_and_shrink_with_more_videos():
    values, videos = simulated(np.random.default_rng(0))
    assert clustered_interval(values, videos) == clustered_interval(values, videos)
    order = np.random.default_rng(1).permutation(len(values))
    shuffled = clustered_interval([values[i] for i in order], [videos[i] for i in order])
    assert shuffled == clustered_interval(values, videos)
    fewer = clustered_interval(values[:80], videos[:80])
    more = clustered_interval(values, videos)
    assert more.high - more.low < fewer.high - fewer.low
    assert (more.questions, more.videos) == (320, 40)


def test_one_question_a_video_agrees_with_the_normal_interval():
    values = [1.0] * 236 + [0.0] * 264
    got = clustered_interval(values, [str(n) for n in range(500)])
    half = 1.96 * math.sqrt(0.472 * 0.528 / 500)
    assert got.value == pytest.approx(0.472)
    assert got.low == pytest.approx(0.472 - half, abs=0.004)
    assert got.high == pytest.approx(0.472 + half, abs=0.004)


def test_all_right_or_all_wrong_is_still_not_certain():
    wrong = clustered_interval([0.0] * 60, [str(n) for n in range(60)], bounds=(0.0, 1.0))
    assert (wrong.low, wrong.value) == (0.0, 0.0)
    assert wrong.high == pytest.approx(1 - 0.025 ** (1 / 60))
    right = clustered_interval([5.0] * 60, [str(n % 20) for n in range(60)], bounds=(0.0, 5.0))
    assert (right.value, right.high) == (5.0, 5.0)
    assert right.low == pytest.approx(5 * 0.025 ** (1 / 20))  # 20 videos, however many questions
    few = clustered_interval([1.0, 0.0, 0.0, 0.0], ["a", "b", "c", "d"], bounds=(0.0, 1.0))
    assert 0.0 == few.low < few.value < few.high <= 1.0
    assert math.isnan(clustered_interval([1.0, 0.0], ["only", "only"]).low)
    with pytest.raises(ValueError, match="0 values"):
        clustered_interval([], [])


def test_paired_comparison_sees_what_separate_intervals_cannot():
    rng = np.random.default_rng(5)
    values, videos = simulated(rng)
    keys = [str(n) for n in range(len(values))]
    a = dict(zip(keys, values))
    b = {key: 0.0 if rng.random() < 0.12 else value for key, value in a.items()}  # b loses one in eight
    paired = paired_comparison(a, b, dict(zip(keys, videos)))
    assert paired.b_better == 0 < paired.a_better
    assert paired.a_better + paired.equal == len(keys)
    assert paired.difference.value == pytest.approx(paired.a_better / len(keys))
    assert paired.difference.low > 0
    assert paired.p_value < 0.001
    apart = [clustered_interval(list(run.values()), videos) for run in (a, b)]
    assert apart[0].low < apart[1].high  # the two intervals overlap
    swapped = paired_comparison(b, a, dict(zip(keys, videos)))
    assert swapped.difference.value == -paired.difference.value


def test_weights_make_a_mean_of_means():
    """Two kinds of question, 30 and 3 of them, that weigh the same: as the mean of VCGBench's aspects."""
    values, videos = [4.0] * 30 + [1.0] * 3, [f"v{n % 11}" for n in range(33)]
    weights = [1 / (2 * 30)] * 30 + [1 / (2 * 3)] * 3
    assert clustered_interval(values, videos, weights).value == pytest.approx(2.5)
    assert clustered_interval(values, videos, weights).low < 2.5


def test_numbers_are_told_without_a_negative_zero_and_without_an_unknown_interval():
    assert Interval(0.83, -0.02, 2.5, 100, 20).text(signed=True) == "+0.8 [+0.0, +2.5]"
    assert Interval(45.824, 40.0, 50.0, 100, 20).text(decimals=2) == "45.82 [40.00, 50.00]"
    assert Interval(45.8, math.nan, math.nan, 10, 1).text() == "45.8"


def test_equal_runs_do_not_differ_and_unpaired_questions_are_counted():
    videos = {str(n): f"v{n % 7}" for n in range(30)}
    a = {key: float(int(key) % 2) for key in videos}
    same = paired_comparison(a, dict(a), videos)
    assert (same.difference.value, same.p_value, same.equal) == (0.0, 1.0, 30)
    part = {key: value for key, value in a.items() if int(key) < 20}
    assert paired_comparison(a, part, videos).unpaired == 10
    with pytest.raises(ValueError, match="none in common"):
        paired_comparison(a, {"other": 1.0}, videos)


@pytest.mark.parametrize(
    ("published", "expected"),
    [(47.2, "inside"), (43.0, "inside"), (51.0, "inside"), (51.2, "above"), (42.8, "below"), (51.04, "inside")],
)
def test_verdict(published, expected):
    assert verdict(published, Interval(47.0, 43.0, 51.0, 500, 500)) == expected


def test_no_verdict_without_an_interval():
    assert verdict(50.0, Interval(50.0, math.nan, math.nan, 3, 1)) == "unknown"
