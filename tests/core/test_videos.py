"""Video names to files: all the ways in which data sets lie on disk, and never a file outside the folder."""

import pytest
from PIL import Image

from sfllava_bench.questions.annotations import load_annotations
from sfllava_bench.questions.benchmarks.base import BENCHMARKS
from sfllava_core import VideoError
from sfllava_core.video.folder import VideoFolder, without_extension


@pytest.fixture
def folder(tmp_path):
    """Files with nothing in them: resolving names opens none."""
    for name in (
        "plain.mp4", "UPPER.MP4", "sub/deep/inner.webm", "v_abc.mkv", "xyz.avi", "walk_0.5_10.25.mp4", "both.mp4",
        "both.gif", "a/twice.mp4", "b/twice.mp4", "-dash_9.mov", "frames/clip7/1.jpg", "frames/clip7/2.jpg",
        "1164/4010.mp4", "notes.txt", ".hidden.mp4",
    ):  # fmt: skip
        file = tmp_path / "videos" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return tmp_path / "videos"


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("plain", "plain.mp4"), ("plain.mp4", "plain.mp4"), ("plain.avi", "plain.mp4"), ("UPPER", "UPPER.MP4"),
        ("inner", "sub/deep/inner.webm"), ("abc", "v_abc.mkv"), ("v_abc", "v_abc.mkv"), ("v_xyz", "xyz.avi"),
        ("walk_0.5_10.25", "walk_0.5_10.25.mp4"), ("walk_0.5_10.25.mp4", "walk_0.5_10.25.mp4"),
        ("both", "both.mp4"), ("-dash_9", "-dash_9.mov"), ("clip7", "frames/clip7"), ("1164/4010", "1164/4010.mp4"),
        ("a/twice", "a/twice.mp4"),
    ],
)  # fmt: skip
def test_names_are_found(folder, name, file):
    assert VideoFolder(folder).find(name) == folder / file


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("gone", "no video of this name"), ("upper", "there is 'UPPER'"), ("notes", "no video"),
        (".hidden", "no video"), ("walk_0", "no video"), ("twice", "2 videos have this name"),
        ("../videos/plain", "no video"), ("/etc/passwd", "no video"), ("1164/plain", "no video"),
    ],
)  # fmt: skip
def test_names_that_are_not_there_say_why(folder, name, reason):
    with pytest.raises(VideoError, match=reason):
        VideoFolder(folder).find(name)


def test_links_that_lead_out_are_followed_only_if_asked(folder, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "secret.mp4").touch()
    (folder / "linked.mp4").symlink_to(tmp_path / "elsewhere" / "secret.mp4")
    (folder / "door").symlink_to(tmp_path / "elsewhere")
    (folder / "loop").symlink_to(folder)
    (folder / "inside.mp4").symlink_to(folder / "plain.mp4")
    strict = VideoFolder(folder)
    assert strict.find("inside") == folder / "inside.mp4"
    with pytest.raises(VideoError, match="follow_links=True"):
        strict.find("linked")
    with pytest.raises(VideoError):
        strict.find("secret")
    trusting = VideoFolder(folder, follow_links=True)
    assert trusting.find("linked") == folder / "linked.mp4"
    assert trusting.find("secret") == folder / "door" / "secret.mp4"


def test_a_missing_folder_is_said(tmp_path):
    with pytest.raises(VideoError, match="no such folder"):
        VideoFolder(tmp_path / "nowhere")


def test_every_excerpt_resolves_in_csv_and_json_spelling(excerpts):
    videos = VideoFolder(excerpts / "videos")
    names = {
        question.video
        for benchmark in [name for name, one in BENCHMARKS.items() if one.csv]
        for source in ("annotations", f"released/{benchmark}")
        for question in load_annotations(benchmark, excerpts / source)
    }
    assert len({videos.find(name) for name in names}) == 13 == len(videos)


def test_only_a_videos_extension_is_taken_off():
    assert [without_extension(n) for n in ("a.mp4", "a.MKV", "a.5", "a.b.gif", ".mp4", "x.25_3.5")] == [
        "a", "a", "a.5", "a.b", ".mp4", "x.25_3.5",
    ]  # fmt: skip


def test_a_folder_whose_name_only_begins_alike_is_outside(folder, tmp_path):
    """videos2 is not below videos, though its path as a text begins with that of videos."""
    sibling = tmp_path / "videos2"
    sibling.mkdir()
    (sibling / "secret.mp4").touch()
    (folder / "linked.mp4").symlink_to(sibling / "secret.mp4")
    (folder / "door").symlink_to(sibling)
    strict = VideoFolder(folder)
    with pytest.raises(VideoError, match="follow_links=True"):
        strict.find("linked")
    with pytest.raises(VideoError, match="no video of this name"):
        strict.find("secret")
    assert {path.name for path in strict.outside} == {"linked.mp4", "door"}


def test_the_plain_name_comes_before_the_one_with_v(folder):
    for name in ("twin.mp4", "v_twin.mp4", "v_v_twin.mp4"):
        (folder / name).touch()
    videos = VideoFolder(folder)
    assert videos.find("twin") == folder / "twin.mp4"
    assert videos.find("v_twin") == folder / "v_twin.mp4"
    (folder / "twin.mp4").unlink()
    assert VideoFolder(folder).find("twin") == folder / "v_twin.mp4"


def test_a_folder_of_images_with_a_link_that_leads_out_is_not_read(tmp_path):
    """A picture from elsewhere must not get into a run by a link that nobody allowed."""
    frames, elsewhere = tmp_path / "videos" / "film", tmp_path / "elsewhere"
    frames.mkdir(parents=True)
    elsewhere.mkdir()
    Image.new("RGB", (8, 8)).save(elsewhere / "secret.png")
    Image.new("RGB", (8, 8)).save(frames / "1.png")
    (frames / "2.png").symlink_to(elsewhere / "secret.png")
    with pytest.raises(VideoError, match=r"2.png is a link that leads out.*follow_links"):
        VideoFolder(tmp_path / "videos").find("film")
    assert VideoFolder(tmp_path / "videos", follow_links=True).find("film") == frames
    (frames / "2.png").unlink()
    (frames / "2.png").symlink_to(frames / "1.png")  # within the videos' folder
    assert VideoFolder(tmp_path / "videos").find("film") == frames
