"""Right frames: each file of the zoo shows, by the default decoder, the very numbers that were asked for."""

import numpy as np
import pytest
from zoo import KEPT, films, make_zoo, paint, read_number

from sfllava_core import VideoError, read_frames, sample_frame_indices
from sfllava_core.video.decoders.pyav import PyAVReader

NAMES = [*KEPT, *(film.name for film in films())]


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    return make_zoo(tmp_path_factory.mktemp("zoo"))


def numbers_of(frames) -> list[int | None]:
    return [read_number(picture) for picture in frames.pixels]


def test_a_painted_number_is_read_back_and_only_upright():
    for number in (0, 1, 511, 600, 1023):
        picture = paint(number)
        assert read_number(picture) == number
        turned = [np.rot90(picture, k) for k in (1, 2, 3)] + [picture[::-1], picture[:, ::-1]]
        assert [read_number(one) for one in turned] == [None] * 5


def test_the_zoo_has_a_hundred_files_and_more():
    assert len(NAMES) == len(set(NAMES)) >= 100


@pytest.mark.parametrize("name", NAMES)
def test_each_sampled_frame_is_the_one_asked_for_alone_and_with_others(name, zoo):
    """50 frames, then 50, 11 and 4 at once: right numbers, and the same pictures to the last pixel."""
    path, numbers = zoo[name]
    alone, together = read_frames(path, 50), read_frames(path, [50, 11, 4])
    assert alone.total == together.total == len(numbers)
    assert numbers_of(alone) == [numbers[index] for index in sample_frame_indices(len(numbers), 50)]
    assert numbers_of(together) == [numbers[index] for index in together.indices]
    np.testing.assert_array_equal(together.sampled(50).pixels, alone.pixels)
    np.testing.assert_array_equal(together.sampled(11).pixels, read_frames(path, 11).pixels)


@pytest.mark.parametrize("name", ["h264_open.mp4", "hevc_open.mkv", "hevc_open.mp4", "trim_hevc.mp4", "vp9.webm"])
def test_every_frame_can_be_read_by_itself(name, zoo):
    """Also those that are shown before a keyframe but stored behind it, which need the group before."""
    path, numbers = zoo[name]
    reader = PyAVReader(path)
    for index in range(0, len(numbers), 3 if len(numbers) > 200 else 1):
        ((picture, _),) = reader.by_time([index])
        assert read_number(picture) == numbers[index]


@pytest.mark.parametrize(
    "name", ["h264_noB.mp4", "h264_B.mkv", "h264_open.mov", "hevc_open.mp4", "vp8.webm", "av1.mp4"]
)
def test_seeking_and_going_through_give_the_same_pixels(name, zoo):
    path, numbers = zoo[name]
    reader, indices = PyAVReader(path), list(range(5, len(numbers), 61))
    for sought, counted in zip(reader.by_time(indices), reader.by_count(indices), strict=True):
        np.testing.assert_array_equal(sought[0], counted[0])
        assert sought[1] == counted[1]


def test_what_lies_before_the_next_keyframe_is_not_decoded(zoo):
    """Of 600 frames with a keyframe at every 24th, three that lie far apart cost few."""
    decoded = 0

    class Counting(PyAVReader):
        def frames(self, container):
            nonlocal decoded
            for frame in super().frames(container):
                decoded += 1
                yield frame

    reader = Counting(zoo["h264_B.mp4"][0])
    assert [read_number(picture) for picture, _ in reader.read([10, 300, 590])] == [10, 300, 590]
    assert 3 <= decoded < 100


def test_a_file_whose_times_lie_is_gone_through(zoo):
    """Where frames do not come at the times that their packets promise, they are counted."""
    reader = PyAVReader(zoo["h264_B.mp4"][0])
    reader.packets.times[300:] += 1
    assert [read_number(picture) for picture, _ in reader.read([10, 300, 590])] == [10, 300, 590]


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("mpeg4_B.avi", "B-frames in avi"),
        ("mpeg2video_B.mpg", "MPEG-2"),
        ("hevc_10bit.mkv", "HEVC"),
        ("h264_open.flv", "open groups of pictures"),
        ("h264_B.ts", "a transport stream"),
        ("turned_hflip.mp4", "a mirrored display matrix"),
    ],
)
def test_decord_gives_other_frames_than_were_asked_for(name, fault, zoo):
    """The released code's reading, kept as it is: the numbers are right, the pictures are not."""
    path, numbers = zoo[name]
    read = read_frames(path, 50, decoder="decord")
    assert read.decoder == "decord" and read.indices == sample_frame_indices(len(numbers), 50)
    wrong = sum(got != numbers[index] for got, index in zip(numbers_of(read), read.indices))
    assert wrong > 10, f"{fault} is read right by this decord: say so in the README"


def test_decords_times_look_right_where_its_pictures_are_not(zoo):
    path, _ = zoo["hevc_10bit.mkv"]
    one, other = (read_frames(path, 50, decoder=name) for name in ("decord", "pyav"))
    np.testing.assert_allclose(one.timestamps, other.timestamps, atol=0.05)
    assert numbers_of(one) != numbers_of(other)


def test_decord_counts_frames_that_an_edit_list_hides(zoo):
    path, numbers = zoo["trim.mp4"]
    assert read_frames(path, 50).total == len(numbers) < read_frames(path, 50, decoder="decord").total


def test_decord_is_not_asked_for_several_numbers_at_once(zoo):
    with pytest.raises(ValueError, match="one number at a time"):
        read_frames(zoo["h264_B.mp4"][0], [50, 11], decoder="decord")


CUT = [
    "h264_B.mp4", "h264_B.mkv", "h264_B.mov", "h264_B.ts", "h264_B.avi", "h264_B.flv", "hevc_open.ts", "vp9.webm",
    "mpeg2video_B.mpg", "mpeg2video_B.vob", "mpeg4_noB.avi", "wmv2.wmv", "theora.ogv", "gif.gif", "h263.3gp",
    "fragmented.mp4", "sound.ts", "xvid_B.avi",
]  # fmt: skip


@pytest.mark.parametrize("share", [0.18, 0.3, 0.6, 0.9])
@pytest.mark.parametrize("name", CUT)
def test_a_cut_file_is_refused_in_every_container(name, share, zoo, tmp_path):
    path, _ = zoo[name]
    data, cut = path.read_bytes(), tmp_path / path.name
    cut.write_bytes(data[: int(len(data) * share) | 1])
    with pytest.raises(VideoError):
        read_frames(cut, 50)


def test_a_transport_stream_cut_between_two_packets_is_a_whole_one(zoo, tmp_path):
    """Nothing in it says that it was longer: it cannot be refused, and its frames are the right ones."""
    path, numbers = zoo["hevc_noB.ts"]
    data, cut = path.read_bytes(), tmp_path / path.name
    cut.write_bytes(data[: len(data) // 188 // 2 * 188])
    read = read_frames(cut, 10)
    assert 1 < read.total < len(numbers)
    assert numbers_of(read) == [numbers[index] for index in read.indices]


def test_a_file_that_promises_more_than_it_stores_but_is_whole_is_read(zoo):
    """Xvid's own B-frames: 120 promised, 118 stored, all of them decodable."""
    path, numbers = zoo["xvid_B.avi"]
    assert read_frames(path, 50).total == len(numbers) == 118


def test_an_avi_with_empty_packets_shows_the_frames_that_it_stores(zoo, tmp_path):
    """An empty chunk stands for a frame that was dropped; the header counts it."""
    path, numbers = zoo["mjpeg.avi"]
    data = bytearray(path.read_bytes())
    places = [place for place in range(len(data) - 8) if data[place : place + 4] == b"00dc"][10:20:3]
    for place in reversed(places):
        if place > data.find(b"movi") and place < data.rfind(b"idx1"):
            length = int.from_bytes(data[place + 4 : place + 8], "little")
            data[place : place + 8 + length + length % 2] = b"JUNK" + data[place + 4 : place + 8 + length + length % 2]
    emptied = tmp_path / "emptied.avi"
    emptied.write_bytes(data)
    read = read_frames(emptied, 50)
    assert read.total < len(numbers)
    assert None not in numbers_of(read)
