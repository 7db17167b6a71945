"""What comes and goes: against made-up films, and against the stories that PocketBench's films were drawn from."""

import pytest
import torch
from conftest import ROOT

from sfllava_core import read_frames
from sfllava_course.similarity import brief_moment, frame_similarity, out_and_back


def film(frames: int = 20) -> torch.Tensor:
    """Frames that are all alike: random features, the same at every time."""
    picture = torch.randn(1, 4, 6, 16, generator=torch.Generator().manual_seed(0))
    return picture.repeat(frames, 1, 1, 1)


def test_similarity_is_one_on_the_diagonal_and_blind_to_length():
    features = torch.randn(5, 2, 3, 8, generator=torch.Generator().manual_seed(0))
    alike = frame_similarity(features)
    torch.testing.assert_close(alike.diagonal(), torch.ones(5))
    torch.testing.assert_close(alike, alike.T)
    scaled = features * torch.tensor([1.0, 2, 3, 4, 5])[:, None, None, None]
    torch.testing.assert_close(frame_similarity(scaled), alike)


@pytest.mark.parametrize("length", [1, 2])
def test_what_comes_and_goes_stands_out_and_what_stays_does_not(length):
    features = film()
    features[8 : 8 + length, 1, 2] *= -1  # brief
    features[12:, 3, 3] *= -1  # a cut
    moved = out_and_back(features)
    assert set(map(tuple, (moved > 0.5).nonzero().tolist())) == {(8 + i, 1, 2) for i in range(length)}
    assert moved[:, 3, 3].max() < 1e-5


def test_a_film_too_short_to_come_back_is_refused():
    with pytest.raises(ValueError, match="at least 5"):
        out_and_back(film(4))


def test_the_bubble_of_every_pocketbench_film_is_found_in_its_pixels():
    from pocket.bench import bench_story
    from pocket.world import frame_times

    for index, path in enumerate(sorted((ROOT / "data" / "pocketbench" / "videos").iterdir())):
        frames = read_frames(path, 50)
        bubble = bench_story(2024, index).bubble
        shown = [place for place, number in enumerate(frames.indices) if bubble.visible(frame_times()[number])]
        found, cells = brief_moment(torch.from_numpy(frames.pixels), (12, 12))
        assert found == shown, path.name
        x, y = (v / 16 - 0.5 for v in bubble.at(0))  # the bubble's centre, in cells of 16 pixels
        far = [max(abs(row - y), abs(column - x)) for row, column in cells.nonzero().tolist()]
        assert len(far) >= 5 and max(far) < 2.5, path.name
