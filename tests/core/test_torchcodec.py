"""torchcodec on the CPU: the frames that were asked for, to the pixel, or a refusal; never another frame."""

import sys
from functools import partial

import numpy as np
import pytest
from conftest import DOG, GRAND_PRIX
from zoo import BFRAMES, X264, X265, Film, read_number

from sfllava_core import VideoError, read_frames, sample_frame_indices
from sfllava_core.video.decoders.opening import open_reader
from sfllava_core.video.decoders.torchcodec import TorchCodecReader

try:
    import torchcodec.decoders  # noqa: F401
except Exception as error:  # it wants FFmpeg's shared libraries
    why = str(error).strip().splitlines()[0]
    pytestmark = pytest.mark.skip(reason=f"torchcodec does not load here: {why}")


def turn(matrix):
    return {"options": X264["B"], "matrix": matrix}


RIGHT = [
    Film("B.mp4", options=X264["B"]), Film("open.mkv", options=X264["open"]),
    Film("hevc.mp4", "libx265", options=X265["open"]),
    Film("mpeg4.mov", "mpeg4", options=BFRAMES["B"]), Film("ten.mp4", options=X264["B"], pixel_format="yuv420p10le"),
    Film("turned.mp4", turn=lambda p: np.rot90(p, 1), **turn((0, 1, -1, 0))),
    Film("uneven.mkv", options=X264["B"], times=lambda number: number * 0.04 + (number // 20) * 0.5),
]  # fmt: skip


@pytest.mark.parametrize("film", RIGHT, ids=lambda film: film.name)
def test_its_frames_are_those_of_pyav_to_the_pixel(film, tmp_path):
    path, numbers = film.make(tmp_path)
    one, other = (read_frames(path, 20, decoder=name) for name in ("torchcodec", "pyav"))
    assert one.decoder == "torchcodec" and one.total == len(numbers)
    assert one.indices == other.indices == sample_frame_indices(len(numbers), 20)
    assert [read_number(picture) for picture in one.pixels] == [numbers[index] for index in one.indices]
    np.testing.assert_array_equal(one.pixels, other.pixels)
    np.testing.assert_allclose(one.timestamps, other.timestamps, atol=1e-6)


@pytest.mark.parametrize("path", [GRAND_PRIX, DOG], ids=lambda path: path.stem)
def test_camera_clips_are_read_alike(path):
    one, other = (read_frames(path, 12, decoder=name) for name in ("torchcodec", "pyav"))
    assert one.indices == other.indices
    np.testing.assert_array_equal(one.pixels, other.pixels)


WRONG = [
    (Film("B.ts", options=X264["B"]), "by their times"),
    (Film("B.avi", options=X264["B"]), "by their times"),
    (Film("refresh.mp4", options=X264["refresh"]), "torchcodec gives that of"),
    (Film("trim.mp4", options=X264["B"], count=300, trim=(5.3, 4.0)), "torchcodec gives that of"),
    (Film("mirrored.mp4", turn=lambda p: p[:, ::-1], **turn((-1, 0, 0, 1))), "does not mirror"),
]  # fmt: skip


@pytest.mark.parametrize(("film", "cause"), WRONG, ids=lambda one: getattr(one, "name", ""))
def test_where_it_would_give_other_frames_it_is_refused(film, cause, tmp_path):
    path, _ = film.make(tmp_path)
    with pytest.raises(VideoError, match=rf"{cause}.*decoder='auto'"):
        read_frames(path, 50, decoder="torchcodec")
    assert len(read_frames(path, 50)) == 50


def test_resized_on_its_device_it_is_pillows_picture_but_for_rounding():
    read = read_frames(GRAND_PRIX, 4, decoder=partial(TorchCodecReader, size=(150, 170)))
    expected = read_frames(GRAND_PRIX, 4, size=(150, 170))
    assert read.indices == expected.indices and read.pixels.shape == expected.pixels.shape
    assert np.abs(read.pixels.astype(int) - expected.pixels).max() <= 2


def test_without_ffmpeg_it_says_what_to_install(monkeypatch):
    class Broken:
        def find_spec(self, name, path=None, target=None):
            if name == "torchcodec.decoders":
                raise RuntimeError("Could not load libtorchcodec")

    monkeypatch.delitem(sys.modules, "torchcodec.decoders", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    with pytest.raises(VideoError, match=r"does not load here \(what to do: install FFmpeg"):
        open_reader("torchcodec", GRAND_PRIX)
