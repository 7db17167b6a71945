"""PocketBench: the same seed gives the same bytes, and the files hold what was drawn."""

import numpy as np
import pytest

from pocket.bench import bench_story, write_bench
from pocket.evaluate import read_bench, summarise
from pocket.layouts import read_video
from pocket.world import VIDEO_FRAMES, draw, frame_times, shrink

VIDEOS = 4


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bench")
    write_bench(3, folder, VIDEOS, progress=False)
    return folder


def test_regenerated_byte_for_byte(bench, tmp_path):
    write_bench(3, tmp_path, VIDEOS, progress=False)
    files = sorted(p.relative_to(bench) for p in bench.rglob("*") if p.is_file())
    assert len(files) == VIDEOS + 2
    assert {p.suffix for p in files} == {".mp4", ".webm", ".gif", ".csv"}
    for file in files:
        assert (bench / file).read_bytes() == (tmp_path / file).read_bytes(), file


def test_decoded_frames_are_the_drawn_ones(bench):
    for index, file in enumerate(sorted((bench / "videos").iterdir())):
        frames, story = read_video(file), bench_story(3, index)
        assert len(frames) == VIDEO_FRAMES, file
        for number in (0, 40, 149):
            drawn = shrink(draw(story, frame_times()[number])).astype(float)
            assert np.abs(frames[number] - drawn).mean() < 6, (file, number)


def test_annotations_name_their_videos(bench):
    films = read_bench(bench)
    assert sorted(films) == sorted(p.stem for p in (bench / "videos").iterdir())
    for open_ended, choices in films.values():
        assert (len(open_ended), len(choices)) == (7, 5)


def test_intervals_hold_the_truth_and_are_paired():
    """A layout that is right where the first is, and on a quarter more of the films: a lead of -25 % with an
    interval below zero."""
    rng = np.random.default_rng(1)
    better = rng.random(200) < 0.7
    worse = better & (np.arange(200) % 4 > 0)
    cells = [f"{f}/open" for f in ("detail", "brief", "order", "presence", "motion")]
    as_rows = {
        name: {cell: [(f"v{i}", bool(ok)) for i, ok in enumerate(right)] for cell in cells}
        for name, right in (("first", worse), ("second", better))
    }
    lead, low, high = summarise(as_rows, draws=500)["table"]["second"]["lead_of_first"]
    assert low < lead < high < 0
    assert abs(lead - 100 * (worse.mean() - better.mean())) < 0.06
