"""Exercises of chapter 1: which frames are looked at, and what slips through."""

from collections.abc import Callable

import numpy as np

from sfllava_core.video.frames import sample_frame_indices
from sfllava_course.exercises.judging import Wrong, expect_indices, expect_number


def check_sample(answer: Callable) -> str:
    """sample(total, n): the middle of each of n equal pieces, edges rounded first."""
    for total, n in ((22, 4), (288, 50), (1000, 8), (50, 50)):
        edges = np.arange(n + 1) * ((total - 1) / n)
        mistakes = {
            "these are where the pieces begin: take the middle of each": np.rint(edges[:-1]),
            "these are where the pieces end: take the middle of each": np.rint(edges[1:]),
            "first and last frame are in it: cut the film into n pieces and take their middles": np.rint(
                np.linspace(0, total - 1, n)
            ),
            "a fixed step from frame 0 leaves the end of the film unseen": np.arange(n) * (total // n),
            "these are the first frames of the film": np.arange(n),
            "round the edges to whole frames first, then take the middle": (edges[:-1] + edges[1:]) // 2,
        }
        wanted = sample_frame_indices(total, n)
        known = {hint: list(map(int, guess)) for hint, guess in mistakes.items()}
        expect_indices(answer(total, n), wanted, total, f"total={total}, n={n}", known)
    return "It gives the library's frames, also for 50 of 50, where one frame comes twice."


def check_catch_chance(answer: Callable) -> str:
    """catch_chance(total, n, length): the share of starts at which a sampled frame falls into the event."""
    for total, n, length in ((100, 7, 5), (288, 50, 2), (300, 10, 60), (40, 4, 1)):
        taken = np.isin(np.arange(total), sample_frame_indices(total, n))
        starts = total - length + 1
        hits = np.array([taken[start : start + length].any() for start in range(starts)])
        alone = np.array([taken[start] for start in range(starts)])
        mistakes = {
            "a good rule of thumb, but count it: try every place where the event can begin": min(1, length * n / total),
            "a chance above 1? an event longer than a gap is caught once, not twice": length * n / total,
            "this looks at the event's first frame only: any of its frames will do": alone.mean(),
            "this is the chance to miss it": 1 - hits.mean(),
            "the event ends inside the film: it can begin at total - length + 1 places": hits.sum() / total,
        }
        expect_number(answer(total, n, length), float(hits.mean()), f"{total}, {n}, {length}", mistakes)
    return "Counting every start agrees with the curve above."


def check_sample_by_time(answer: Callable) -> str:
    """sample_by_time(timestamps, n): the frames nearest to the middles of n equal spans of time."""
    rng = np.random.default_rng(0)
    for count, n in ((30, 5), (41, 8), (60, 12)):
        times = np.cumsum(rng.exponential(0.1, count))
        middles = times[0] + (np.arange(n) + 0.5) * (times[-1] - times[0]) / n
        wanted = np.abs(times[None] - middles[:, None]).argmin(axis=1)
        ends = np.linspace(times[0], times[-1], n)
        mistakes = {
            "this samples by frame number: the clock is not looked at": sample_frame_indices(count, n),
            "these are the first frames *after* each moment: one before it may be nearer": np.searchsorted(
                times, middles
            ),
            "these are the ends of the spans: take the middles": np.abs(times[None] - ends[:, None]).argmin(axis=1),
            "the film does not begin at 0 seconds: measure from its first timestamp": np.abs(
                times[None] - ((np.arange(n) + 0.5) * times[-1] / n)[:, None]
            ).argmin(axis=1),
        }
        got = answer(times, n)
        if isinstance(got, np.ndarray):
            raise Wrong("give a list of whole numbers (int) back, not an array: `.tolist()` makes one")
        known = {hint: list(map(int, guess)) for hint, guess in mistakes.items()}
        expect_indices(got, wanted.tolist(), count, f"{count} frames, n={n}", known)
    return "Evenly spaced in time, whatever the camera did."


def check_frames_decoded(answer: Callable) -> str:
    """frames_decoded(keyframes, index): how many frames are decoded to get this one, from the last keyframe on."""
    keyframes = [0, 1, 129, 257]
    for index in (200, 129, 128, 1, 0, 287):
        before = max(key for key in keyframes if key <= index)
        mistakes = {
            "the wanted frame is decoded too: count both ends": index - before,
            "a keyframe is complete: it needs none before it, only itself": index
            - max((key for key in keyframes if key < index), default=0)
            + 1,
            "begin at the last keyframe, not at the beginning of the film": index + 1,
            "a later keyframe is of no help: differences look back": min(abs(index - key) for key in keyframes) + 1,
        }
        wanted = index - before + 1
        known = {hint: value for hint, value in mistakes.items() if value != wanted}
        expect_number(answer(list(keyframes), index), wanted, f"frame {index}, keyframes {keyframes}", known)
    return "72 frames for frame 200 of the race, one for a keyframe."
