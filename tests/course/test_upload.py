"""Uploads, as a browser that lies might send them."""

import pytest

from sfllava_course.app.upload import Upload


@pytest.fixture
def upload():
    arrived = []
    taken = Upload(lambda path, name: arrived.append((path.read_bytes(), path.name, name)), limit=10)
    taken.arrived = arrived
    yield taken
    taken.folder.cleanup()


def send(upload: Upload, kind: str, *pieces: bytes, **more) -> None:
    upload._take(upload, {"kind": kind, **more}, list(map(memoryview, pieces)))


def test_a_file_comes_in_pieces_under_a_name_of_ours(upload):
    send(upload, "begin", name="../../etc/a film.m p4!", size=5)
    send(upload, "piece", b"abc")
    send(upload, "piece", b"de")
    send(upload, "end")
    assert upload.arrived == [(b"abcde", "video.mp4", "../../etc/a film.m p4!")]
    assert upload.said == "../../etc/a film.m p4!: 0.0 MiB"


@pytest.mark.parametrize(
    "messages, word",
    [
        ([("begin", {"name": "a.mp4", "size": 11})], "0 MiB, and 0 are taken at most"),
        ([("begin", {"name": "a.mp4", "size": 0})], "a.mp4 is empty"),
        ([("begin", {"name": "a.mp4", "size": 2}), ("piece", b"abc")], "more than the 2 bytes"),
        ([("begin", {"name": "a.mp4", "size": 9}), ("piece", b"abc"), ("end", {})], "3 of 9 bytes have come"),
        ([("begin", {"name": "a.mp4", "size": 9}), ("stop", {"why": "gone"})], "could not read it (gone)"),
    ],
    ids=["too large", "empty", "more than said", "less than said", "unreadable"],
)
def test_what_is_not_as_it_was_said_to_be_is_refused_and_removed(upload, messages, word):
    for kind, what in messages:
        send(upload, kind, what) if isinstance(what, bytes) else send(upload, kind, **what)
    assert upload.said.startswith("error: a.mp4") and word in upload.said
    assert upload.path is None and not upload.arrived


def test_pieces_without_a_beginning_are_passed_over(upload):
    send(upload, "piece", b"abc")
    send(upload, "end")
    assert not upload.arrived and not upload.said
