"""The released code's reading beside the right one: what published numbers saw."""

import csv

import numpy as np
import pytest
from conftest import DOG, GRAND_PRIX
from zoo import films

from sfllava_bench.runs.readings import compare_readings, is_same
from sfllava_core import VideoError
from sfllava_course.__main__ import command

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


def test_a_check_of_a_run_counts_the_videos_that_were_read_otherwise(tmp_path, capsys):
    """Two films of a benchmark, one of them in a container that decord reads wrongly."""
    (tmp_path / "videos").mkdir()
    for number, name in (("9100000001", "h264_B.mp4"), ("9100000002", "mpeg4_B.avi")):
        path = FILMS[name].make(tmp_path)[0]
        path.rename(tmp_path / "videos" / f"{number}{path.suffix}")
    options = dict(zip(("a0", "a1", "a2", "a3", "a4"), "abcde"))
    rows = [
        {"video_name": name, "question_id": name, "question": "What?", "answer": "a", "answer_number": "0", **options}
        for name in ("9100000001", "9100000002")
    ]
    with (tmp_path / "NExT_QA.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    where = ["--annotations", str(tmp_path), "--videos", str(tmp_path / "videos")]
    assert command(["bench", "check", "--run", "table2_7b", "--benchmark", "nextqa", *where, "--readings"]) == 0
    said = capsys.readouterr().out
    assert "differs on 1 of 2 videos" in said and "9100000002.avi" in said and "9100000001.mp4" not in said


def test_rounding_is_no_difference_and_another_picture_is():
    rng = np.random.default_rng(0)
    picture = rng.integers(10, 240, (40, 60, 3), dtype=np.uint8)
    assert is_same(picture, picture + 2)
    assert not is_same(picture, np.roll(picture, 1, axis=1))
