"""Seeking to keyframes: the same frames to the pixel as going through, on every kind of file, or it is not done."""

import av
import numpy as np
import pytest
from av.video.reformatter import VideoReformatter
from zoo import KEPT, X265, Film, films, make_zoo, paint, read_number

from sfllava_core.video.decoders import pyav
from sfllava_core.video.decoders.pyav import PyAVReader, picture_of

NAMES = [*KEPT, *(film.name for film in films())]
# Where no frame ever is a key (intra refresh; old decoders that do not say so), the first jump is the last.
GONE_THROUGH = {"h264_refresh.mp4", "h264_refresh.mkv", "h264_refresh.mov", "qtrle.mov", "svq1.mov"}


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    return make_zoo(tmp_path_factory.mktemp("zoo"))


class Jumping(PyAVReader):
    """Counts its jumps, and how often the file is gone through."""

    def __init__(self, path):
        super().__init__(path)
        self.jumps, self.through = [], 0

    def from_keyframe(self, container, time):
        self.jumps.append(time)
        return super().from_keyframe(container, time)

    def by_count(self, indices):
        self.through += 1
        return super().by_count(indices)


@pytest.mark.parametrize("name", NAMES)
def test_jumping_to_every_keyframe_gives_the_same_pixels_as_going_through(name, zoo, monkeypatch):
    monkeypatch.setattr(pyav, "WORTH_SEEKING", 1)
    path, numbers = zoo[name]
    reader, indices = Jumping(path), list(range(0, len(numbers), 9))
    read, through = list(reader.read(indices)), list(PyAVReader(path).by_count(indices))
    assert [read_number(picture) for picture, _ in read] == [numbers[index] for index in indices]
    for (one, at), (other, time) in zip(read, through, strict=True):
        np.testing.assert_array_equal(one, other)
        assert at == time or np.isnan([at, time]).all()
    keys = int((reader.packets.keys & reader.packets.shown).sum())
    assert bool(reader.jumps) == (reader.packets.indexed and keys > 1)
    assert bool(reader.through) == (not reader.packets.indexed or name in GONE_THROUGH)


# Of the other codecs ffmpeg looks at the packets itself, and does not take the container's word.
FILMS = [
    Film("hevc.mp4", "libx265", options=X265["B"]), Film("hevc.mkv", "libx265", options=X265["noB"]),
    Film("mpeg4.mp4", "mpeg4", options={"g": "24", "bf": "2"}), Film("mpeg4.mov", "mpeg4", options={"g": "24"}),
]  # fmt: skip


@pytest.mark.parametrize("film", FILMS, ids=lambda film: film.name)
def test_a_container_that_calls_every_packet_a_keyframe_is_not_believed(film, tmp_path, monkeypatch):
    """What it sends a decoder to is a picture made from others: grey, torn, or none at all. The pixels stay right."""
    monkeypatch.setattr(pyav, "WORTH_SEEKING", 1)
    honest, numbers = film.make(tmp_path)
    lying = tmp_path / f"lying_{film.name}"
    with av.open(str(honest)) as source, av.open(str(lying), "w") as out:
        copy = out.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream, packet.is_keyframe = copy, True
                out.mux(packet)
    reader, indices = Jumping(lying), [10, 33, 67, 110]
    assert reader.packets.keys.sum() > 0.9 * len(numbers), "it lies"
    read = list(reader.read(indices))
    assert [read_number(picture) for picture, _ in read] == indices
    for (one, _), (other, _) in zip(read, PyAVReader(honest).by_count(indices), strict=True):
        np.testing.assert_array_equal(one, other)
    assert reader.jumps


def test_few_frames_are_decoded_where_keyframes_are_near_and_none_twice(tmp_path):
    """A jump is made where it spares frames: never back, and not for the sake of a few."""
    path, _ = Film("near.mp4", options={"g": "12", "bf": "0", "x264-params": "scenecut=0"}).make(tmp_path)
    for indices, jumps in (([3, 9, 14, 20, 27], 0), ([3, 40, 100], 2), ([100, 100, 101], 1)):
        reader = Jumping(path)
        assert [read_number(picture) for picture, _ in reader.read(indices)] == indices
        assert (len(reader.jumps), reader.through) == (jumps, 0)


@pytest.mark.parametrize(
    "pixel_format", ["yuv420p", "yuvj420p", "yuv420p10le", "yuv444p", "yuv422p10le", "gray", "rgb24"]
)
def test_one_converter_for_all_frames_gives_the_pixels_that_one_for_each_gives(pixel_format):
    """Also where size, format, colour space or range change from frame to frame."""
    colours, rng = VideoReformatter(), np.random.default_rng(0)
    for height, width, space in ((64, 96, 1), (64, 96, 5), (66, 98, 1), (480, 640, 9)):
        pixels = np.clip(paint(5, height, width) + rng.integers(-30, 30, (height, width, 3)), 0, 255).astype(np.uint8)
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format=pixel_format)
        frame.colorspace = space
        for color_range in (1, 2):
            frame.color_range = color_range
            np.testing.assert_array_equal(picture_of(frame, colours)[0], frame.to_ndarray(format="rgb24"))
