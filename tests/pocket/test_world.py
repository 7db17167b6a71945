"""The world: deterministic by seed, and hard in the way that PocketBench needs."""

import numpy as np
import pytest

from pocket.icons import NAMES, icon
from pocket.layouts import Stream, uniform
from pocket.stories import comic, tell
from pocket.world import PICTURE, VIDEO_FRAMES, draw, frame_times, shrink


def pictures(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    story, times = comic(rng, 4)
    return np.stack([shrink(draw(story, t)) for t in times])


def test_same_seed_same_pictures_other_seed_others():
    assert pictures(3).shape == (4, PICTURE, PICTURE, 3)
    assert (pictures(3) == pictures(3)).all()
    assert (pictures(3) != pictures(4)).mean() > 0.2


def test_icons_differ_where_they_are_painted():
    painted = {name: np.asarray(icon(name, 21)).astype(float) for name in NAMES}
    for one in NAMES:
        assert 0.2 < (painted[one][..., 3] > 128).mean() < 0.95
        for other in NAMES[NAMES.index(one) + 1 :]:
            assert np.abs(painted[one] - painted[other]).mean() > 15, (one, other)


@pytest.mark.parametrize("frames", [32, 40, 48, 50])
def test_uniform_frames_always_show_the_bubble_and_slow_ones_seldom(frames):
    slow_hits = []
    for seed in range(200):
        bubble = tell(np.random.default_rng(seed)).bubble
        times = frame_times()
        assert any(bubble.visible(times[i]) for i in uniform(VIDEO_FRAMES, frames)), seed
        slow_hits.append(any(bubble.visible(times[i]) for i in Stream(frames, "max 1x2", 8).frames(VIDEO_FRAMES)))
    assert 0.1 < np.mean(slow_hits) < 0.45


def test_things_come_one_after_another_and_each_is_seen_by_eight_slow_frames():
    for seed in range(100):
        story = tell(np.random.default_rng(seed))
        times = frame_times()
        slow = [times[i] for i in Stream(50, "max 1x2", 8).frames(VIDEO_FRAMES)]
        for thing in story.sequence:
            assert any(thing.visible(t) for t in slow)
        for one, two in zip(story.sequence, story.sequence[1:]):
            assert not any(one.visible(t) and two.visible(t) for t in times)
        assert len({actor.name for actor in story.actors}) == 5
