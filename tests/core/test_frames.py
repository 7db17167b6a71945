"""Which frames are taken, and that every decoder gives the same ones."""

import json
import re
import sys
from functools import partial

import numpy as np
import pytest
from conftest import DOG, GOLDENS, GRAND_PRIX
from PIL import Image
from videos import moving_noise, write_video

from sfllava_core import VideoError, read_frames, sample_frame_indices
from sfllava_core.video.decoders.images import natural_key
from sfllava_core.video.decoders.opening import open_reader
from sfllava_core.video.decoders.pyav import PyAVReader
from sfllava_core.video.frames import choose, decode

CASES = json.loads((GOLDENS / "frame_indices.json").read_text())


def test_indices_equal_the_released_code():
    for case in CASES:
        assert sample_frame_indices(case["total"], case["requested"]) == case["indices"], case


@pytest.mark.parametrize("num_frames", [1, 7, 50])
def test_indices_are_in_range_and_in_order(num_frames):
    for total in range(1, 400):
        indices = sample_frame_indices(total, num_frames)
        assert len(indices) == min(total, num_frames)
        assert indices == sorted(indices)
        assert 0 <= indices[0] and indices[-1] <= total - 1


@pytest.mark.parametrize(("total", "num_frames"), [(0, 5), (-3, 5), (5, 0), (5, -1)])
def test_impossible_numbers_are_refused(total, num_frames):
    with pytest.raises(ValueError, match="at least 1"):
        sample_frame_indices(total, num_frames)


@pytest.mark.parametrize("path", [GRAND_PRIX, DOG], ids=lambda path: path.stem)
def test_decord_and_pyav_agree_to_the_bit(path):
    """Real camera clips, one with a variable frame rate: pixels, indices and times do not depend on the decoder."""
    one, other = (read_frames(path, 12, decoder=name) for name in ("decord", "pyav"))
    assert one.decoder == "decord" and other.decoder == "pyav"
    assert one.indices == other.indices == sample_frame_indices(one.total, 12)
    assert one.total == other.total
    np.testing.assert_array_equal(one.pixels, other.pixels)
    np.testing.assert_allclose(one.timestamps, other.timestamps, atol=1e-4)


def test_worker_and_this_process_give_the_same():
    inside = decode(PyAVReader(GRAND_PRIX), GRAND_PRIX, partial(choose, [20], GRAND_PRIX), None)
    apart = read_frames(GRAND_PRIX, 20)
    np.testing.assert_array_equal(inside.pixels, apart.pixels)
    np.testing.assert_array_equal(inside.timestamps, apart.timestamps)
    assert (inside.indices, inside.fps, inside.total) == (apart.indices, apart.fps, apart.total)


def test_a_rule_of_ones_own_picks_frames(tmp_path):
    """It runs here, though decoding runs in a worker; repeats are kept, several rules share what they read."""
    frames = np.broadcast_to(np.arange(30, dtype=np.uint8)[:, None, None, None], (30, 32, 48, 3)).copy()
    path = write_video(tmp_path / "numbers.mkv", frames, codec="ffv1", pixel_format="bgr0")
    lengths = []

    def ends(total: int) -> list[int]:
        lengths.append(total)
        return [0, 0, total - 1]

    read = read_frames(path, ends)
    assert read.indices == read.pixels[:, 0, 0, 0].tolist() == [0, 0, 29] and lengths == [30]
    both = read_frames(path, [ends, 4])
    assert both.indices == sorted({0, 29, *sample_frame_indices(30, 4)})
    np.testing.assert_array_equal(both.sampled(ends).pixels, read.pixels)


@pytest.mark.parametrize("bad", [[], [3, 2], [-1], [30]])
def test_frames_that_no_video_has_are_refused(bad, tmp_path):
    frames = np.zeros((30, 32, 48, 3), dtype=np.uint8)
    path = write_video(tmp_path / "v.mkv", frames, codec="ffv1", pixel_format="bgr0")
    with pytest.raises(VideoError, match=rf"frames {re.escape(str(bad))} of a video of 30: give numbers from 0 to 29"):
        read_frames(path, lambda total: bad)
    assert read_frames(path, 2).indices == sample_frame_indices(30, 2), "the next request is answered"


def test_frames_are_the_ones_asked_for(tmp_path):
    """Each frame of a lossless video carries its own number as its grey level."""
    frames = np.broadcast_to(np.arange(200, dtype=np.uint8)[:, None, None, None], (200, 32, 48, 3)).copy()
    path = write_video(tmp_path / "numbers.mkv", frames, codec="ffv1", pixel_format="bgr0")
    read = read_frames(path, 50, decoder="pyav")
    assert read.pixels[:, 0, 0, 0].tolist() == read.indices == sample_frame_indices(200, 50)


@pytest.mark.parametrize(
    ("name", "codec", "pixel_format"),
    [
        ("h264.mp4", "libx264", "yuv420p"),
        ("h264_10bit.mp4", "libx264", "yuv420p10le"),
        ("mpeg4.avi", "mpeg4", "yuv420p"),
        ("vp8.webm", "libvpx", "yuv420p"),
        ("vp9.webm", "libvpx-vp9", "yuv420p"),
        ("h264.mkv", "libx264", "yuv420p"),
        ("h264.mov", "libx264", "yuv420p"),
        ("clip.gif", "gif", "rgb8"),
    ],
)
def test_auto_reads_every_format(tmp_path, name, codec, pixel_format):
    path = write_video(tmp_path / name, moving_noise(30), codec=codec, pixel_format=pixel_format)
    read = read_frames(path, 8)
    assert read.decoder == "pyav"
    assert read.pixels.shape == (8, 96, 128, 3)
    assert read.total == 30
    assert read.fps == pytest.approx(25, rel=0.02)
    error = np.abs(read.pixels.astype(int) - moving_noise(30)[read.indices].astype(int)).mean()
    assert error < 25, "the pictures are not those that were written"


def test_variable_frame_rate_keeps_its_times(tmp_path):
    times = [0.0, 0.1, 0.15, 0.9, 1.0, 2.0, 2.04, 2.5, 3.1, 3.9]
    path = write_video(tmp_path / "vfr.mp4", moving_noise(10), times=times)
    for decoder in ("decord", "pyav"):
        read = read_frames(path, 5, decoder=decoder)
        np.testing.assert_allclose(read.timestamps, np.array(times)[read.indices], atol=2e-3)


def test_size_resizes_as_the_reference_does():
    whole, small = read_frames(GRAND_PRIX, 3), read_frames(GRAND_PRIX, 3, size=(40, 30))
    expected = [np.asarray(Image.fromarray(picture).resize((30, 40))) for picture in whole.pixels]
    np.testing.assert_array_equal(small.pixels, np.stack(expected))


def test_image_folders_are_read_in_natural_order(tmp_path):
    for number in (1, 2, 9, 10, 11, 100):
        Image.new("RGB", (20, 10), (number, 0, 0)).save(tmp_path / f"frame{number}.png")
    (tmp_path / "notes.txt").write_text("not a picture")
    read = read_frames(tmp_path, 50)
    assert read.total == 6 and np.isnan(read.fps) and np.isnan(read.timestamps).all()
    reds = np.array([1, 2, 9, 10, 11, 100])[read.indices]
    assert read.pixels[:, 0, 0, 0].tolist() == reds.tolist()


def test_names_that_differ_by_a_zero_have_an_order(tmp_path):
    """f01 before f1, whatever order the file system gives them in."""
    paths = [tmp_path / name for name in ("f1.png", "f01.png", "f001.png", "f2.png")]
    for order in (paths, paths[::-1]):
        assert [path.name for path in sorted(order, key=natural_key)] == ["f001.png", "f01.png", "f1.png", "f2.png"]


def test_names_with_digits_that_are_no_numbers_are_sorted_too(tmp_path):
    assert sorted([tmp_path / "f\u00b2.png", tmp_path / "f1.png"], key=natural_key)[0].name == "f1.png"


def test_16_bit_pictures_keep_their_greys(tmp_path):
    ramp = np.linspace(0, 65535, 64, dtype=np.uint16).reshape(8, 8)
    Image.fromarray(ramp).save(tmp_path / "grey.png")
    pixels = read_frames(tmp_path, 1).pixels[0, :, :, 0]
    np.testing.assert_array_equal(pixels, ramp >> 8)


@pytest.mark.parametrize("kind", [np.float32, np.int32])
def test_pictures_of_numbers_without_a_scale_are_refused(tmp_path, kind):
    Image.fromarray(np.linspace(0, 1, 64).reshape(8, 8).astype(kind)).save(tmp_path / "numbers.tiff")
    with pytest.raises(VideoError, match=r"no scale.*8 bits"):
        read_frames(tmp_path, 1)


def test_pictures_are_turned_as_their_camera_says(tmp_path):
    pixels = np.zeros((8, 16, 3), dtype=np.uint8)
    pixels[:, :8] = 250  # the left half is bright
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter, clockwise
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    shown = read_frames(tmp_path, 1).pixels[0]
    assert shown.shape == (16, 8, 3) and shown[:8].min() == 250 and shown[8:].max() == 0


def test_image_folder_of_unequal_sizes_needs_a_size(tmp_path):
    for number, side in enumerate((10, 12, 14)):
        Image.new("RGB", (side, side)).save(tmp_path / f"{number}.png")
    with pytest.raises(VideoError, match=r"frame 1 is 12 x 12 but frame 0 is 10 x 10.*size="):
        read_frames(tmp_path, 3)
    assert read_frames(tmp_path, 3, size=(8, 8)).pixels.shape == (3, 8, 8, 3)


def test_a_reader_of_your_own_can_be_put_in():
    class Grey:
        name, total, fps = "grey", 10, 5.0

        def __init__(self, path):
            self.path = path

        def read(self, indices):
            for index in indices:
                yield np.full((4, 6, 3), index, dtype=np.uint8), index / self.fps

    read = read_frames(GRAND_PRIX, 4, decoder=Grey)
    assert read.decoder == "grey"
    assert read.pixels[:, 0, 0, 0].tolist() == sample_frame_indices(10, 4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"decoder": "opencv"}, "choose 'auto'"),
        ({"num_frames": 0}, "at least 1"),
        ({"timeout_s": 0}, "above 0"),
        ({"size": (0, 5)}, "at least 1"),
    ],
)
def test_wrong_arguments_say_what_is_possible(arguments, message):
    with pytest.raises(ValueError, match=message):
        read_frames(GRAND_PRIX, **{"num_frames": 5, **arguments})


def test_a_decoder_that_is_not_installed_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "decord", None)
    with pytest.raises(VideoError, match=r"the decoder decord is not installed \(what to do: pip install decord\)"):
        open_reader("decord", GRAND_PRIX)
