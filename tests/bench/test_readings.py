"""The released code's reading beside the right one: what published numbers saw."""

import numpy as np
import pytest
from conftest import DOG, GRAND_PRIX
from zoo import films

from sfllava_core import VideoError
from sfllava_core.bench.readings import compare_readings, is_same

FILMS = {film.name: film for film in films()}


def made(folder, *names):
    return [FILMS[name].make(folder)[0] for name in names]


def test_files_that_decord_reads_rightly_do_not_differ(tmp_path):
    found = compare_readings([*made(tmp_path, "h264_B.mp4", "vp9.webm"), GRAND_PRIX, DOG], 12)
    assert [(one.wrong, one.differs, one.frames) for one in found] == [(0, False, 12)] * 4


def test_files_that_it_reads_wrongly_are_counted_frame_by_frame(tmp_path):
    avi, trim, gif = compare_readings(made(tmp_path, "mpeg4_B.avi", "trim.mp4", "gif.gif"), 50)
    assert avi.differs and 20 <= avi.wrong <= 50 and "of 50 frames are others" in str(avi)
    assert trim.released_total > trim.total == 102 and f"counts {trim.released_total} frames of 102" in str(trim)
    assert gif.differs and "cannot read it" in str(gif)


def test_what_cannot_be_read_rightly_is_an_error_and_not_a_difference(tmp_path):
    (tmp_path / "bad.mp4").write_text("no video")
    with pytest.raises(VideoError):
        compare_readings([tmp_path / "bad.mp4"])


def test_rounding_is_no_difference_and_another_picture_is():
    rng = np.random.default_rng(0)
    picture = rng.integers(10, 240, (40, 60, 3), dtype=np.uint8)
    assert is_same(picture, picture + 2)
    assert not is_same(picture, np.roll(picture, 1, axis=1))
