"""Broken files: each gives a VideoError in bounded time, and the next good video goes on."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import GRAND_PRIX, ROOT
from PIL import Image
from videos import moving_noise, write_audio, write_video

from sfllava_core import VideoError, read_frames

LIMIT = 20.0


def cut(source: Path, target: Path, share: float) -> Path:
    data = source.read_bytes()
    target.write_bytes(data[: int(len(data) * share)])
    return target


def lie_about_frame_count(source: Path, target: Path, times: int = 20) -> Path:
    """Multiply the frame count in the mp4's sample tables without adding frames (stts, stsz, and the durations)."""
    data = bytearray(source.read_bytes())
    for box, offset in ((b"stts", 12), (b"stsz", 12)):
        place = data.find(box) + offset
        count = int.from_bytes(data[place : place + 4], "big")
        data[place : place + 4] = (count * times).to_bytes(4, "big")
    target.write_bytes(data)
    return target


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("good")
    return {
        "mp4": write_video(folder / "good.mp4"),
        "faststart.mp4": write_video(folder / "faststart.mp4", options={"movflags": "faststart"}),
        "fragmented.mp4": write_video(folder / "frag.mp4", options={"movflags": "frag_keyframe+empty_moov"}),
        "webm": write_video(folder / "good.webm", codec="libvpx-vp9"),
        "mkv": write_video(folder / "good.mkv"),
        "avi": write_video(folder / "good.avi", codec="mpeg4"),
        "gif": write_video(folder / "good.gif", codec="gif", pixel_format="rgb8"),
        "mov": write_video(folder / "good.mov"),
    }


SHARES = (0.02, 0.3, 0.6, 0.9)
CONTAINERS = ("mp4", "faststart.mp4", "fragmented.mp4", "webm", "mkv", "avi", "gif", "mov")
TRUNCATED = [f"{container} at {share:.0%}" for container in CONTAINERS for share in SHARES]
OTHERS = [
    "empty", "random bytes", "text renamed", "html renamed", "audio only", "no frames", "lying frame count",
    "zeroed middle of the index", "folder without images", "empty folder", "missing", "broken image in a folder",
    "zeroed header", "pipe", "picture renamed to mp4 and cut",
]  # fmt: skip


def make_broken(kind: str, good: dict[str, Path], folder: Path) -> Path:
    """Build one of the broken files by its name."""
    path = folder / "broken.mp4"
    if " at " in kind:
        source = good[kind.split(" at ")[0]]
        return cut(source, folder / f"cut{source.suffix}", float(kind.split(" at ")[1].rstrip("%")) / 100)
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "random bytes":
        path.write_bytes(np.random.default_rng(1).bytes(50_000))
    elif kind == "text renamed":
        path.write_text("this is a shopping list\n" * 200)
    elif kind == "html renamed":
        path.write_text("<html><body>404 not found</body></html>")
    elif kind == "audio only":
        return write_audio(folder / "sound.mp4")
    elif kind == "no frames":
        return write_video(path, np.zeros((0, 96, 128, 3), dtype=np.uint8))
    elif kind == "lying frame count":
        return lie_about_frame_count(good["mp4"], path)
    elif kind == "zeroed middle of the index":
        data = bytearray(good["mp4"].read_bytes())
        place = data.find(b"stsd")
        data[place : place + 60] = bytes(60)
        path.write_bytes(data)
    elif kind == "folder without images":
        (folder / "notes").mkdir()
        (folder / "notes" / "a.txt").write_text("a")
        return folder / "notes"
    elif kind == "empty folder":
        (folder / "nothing").mkdir()
        return folder / "nothing"
    elif kind == "missing":
        return folder / "not_there.mp4"
    elif kind == "broken image in a folder":
        Image.new("RGB", (20, 10)).save(folder / "2.png")
        cut(folder / "2.png", folder / "1.png", 0.5)
        return folder
    elif kind == "zeroed header":
        data = bytearray(good["mkv"].read_bytes())
        data[:200] = bytes(200)
        path.write_bytes(data)
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "picture renamed to mp4 and cut":
        Image.fromarray(moving_noise(1)[0]).save(folder / "a.jpg")
        return cut(folder / "a.jpg", path, 0.1)
    return path


@pytest.mark.parametrize("kind", TRUNCATED + OTHERS)
def test_broken_file_is_a_video_error_and_life_goes_on(kind, good, tmp_path):
    path = make_broken(kind, good, tmp_path)
    start = time.monotonic()
    with pytest.raises(VideoError) as caught:
        read_frames(path, 50, timeout_s=LIMIT)
    assert time.monotonic() - start < LIMIT + 5
    assert str(tmp_path) in str(caught.value) and caught.value.cause and caught.value.remedy
    assert len(read_frames(good["mp4"], 4, timeout_s=LIMIT)) == 4


def test_there_are_more_than_twenty_kinds():
    assert len(TRUNCATED + OTHERS) >= 20


def test_good_files_of_every_kind_are_read(good):
    for path in good.values():
        assert len(read_frames(path, 50, timeout_s=LIMIT)) == 50, path


def test_lying_frame_count_really_hangs_decord(good, tmp_path):
    """Why there is a worker: decord by itself does not come back from the last frames of such a file."""
    path = lie_about_frame_count(good["mp4"], tmp_path / "lie.mp4")
    code = f"import decord; v = decord.VideoReader({str(path)!r}, num_threads=1); v.get_batch([len(v) - 1])"
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        child.communicate(timeout=6)
        fine = child.returncode == 0
    except subprocess.TimeoutExpired:
        fine = False
    finally:
        child.kill()
        child.communicate()
    assert not fine


def test_a_hanging_decoder_is_ended_in_time(monkeypatch, tmp_path):
    """The time limit itself, on a decoder that never comes back (a stand-in for decord in the child process)."""
    package = tmp_path / "decord"
    package.mkdir()
    (package / "__init__.py").write_text("while True: pass\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    start = time.monotonic()
    with pytest.raises(VideoError, match=r"no answer within 3 s.*timeout_s"):
        read_frames(GRAND_PRIX, 5, decoder="decord", timeout_s=3)
    assert time.monotonic() - start < 13


def test_a_crashing_decoder_is_reported(monkeypatch, tmp_path):
    package = tmp_path / "decord"
    package.mkdir()
    (package / "__init__.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(VideoError, match=r"crashed \(signal SIGSEGV"):
        read_frames(GRAND_PRIX, 5, decoder="decord", timeout_s=30)
    assert read_frames(GRAND_PRIX, 5, timeout_s=60).decoder == "pyav", "auto goes on to the next decoder"


@pytest.mark.skipif(shutil.which("setpriv") is None and os.geteuid() == 0, reason="root reads everything")
def test_no_permission(tmp_path):
    path = tmp_path / "secret.mp4"
    shutil.copy(GRAND_PRIX, path)
    path.chmod(0)
    if os.geteuid() != 0:
        with pytest.raises(VideoError, match="no permission"):
            read_frames(path, 5)
        return
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == 0 and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o055)
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        f"from sfllava_core import read_frames\nread_frames({str(path)!r}, 5)"
    )
    asked = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", sys.executable, "-c", code]
    done = subprocess.run(asked, capture_output=True, text=True, cwd="/", timeout=60)
    assert "VideoError" in done.stderr and "no permission" in done.stderr, done.stderr
