"""Broken files: each gives a VideoError in bounded time, and the next good video goes on."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import numpy as np
import pytest
from conftest import GRAND_PRIX, ROOT
from PIL import Image
from videos import moving_noise, write_audio, write_video

from sfllava_core import VideoError, read_frames
from sfllava_core.video.decoders.pyav import PyAVReader
from sfllava_core.video.service import service

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
    "zeroed header", "pipe", "picture renamed to mp4 and cut", "playlist of other files", "name too long",
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
    elif kind == "playlist of other files":
        shutil.copy(good["mp4"], folder / "other.mp4")
        path.write_text("ffconcat version 1.0\nfile other.mp4\n")
    elif kind == "name too long":
        return folder / ("x" * 300 + ".mp4")
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


@pytest.fixture()
def false_decord(monkeypatch, tmp_path):
    """Puts a program in decord's place, for workers that start from now on."""

    def put(program: str) -> None:
        (tmp_path / "decord").mkdir()
        (tmp_path / "decord" / "__init__.py").write_text(program)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        service().close()

    yield put
    service().close()


def test_a_hanging_decoder_is_ended_in_time(false_decord, tmp_path):
    """The time limit itself, on a decoder that never comes back; its process is gone with its answer."""
    false_decord(f"import os\nopen({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\nwhile True: pass")
    start = time.monotonic()
    with pytest.raises(VideoError, match=r"no answer within 2 s.*timeout_s"):
        read_frames(GRAND_PRIX, 5, decoder="decord", timeout_s=2)
    assert not is_running(int((tmp_path / "pid").read_text())), "killed, and waited for"
    assert time.monotonic() - start < 12


def test_a_crashing_decoder_costs_its_own_request_alone(false_decord):
    false_decord("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)\n")
    for _ in range(2):
        with pytest.raises(VideoError, match=r"crashed \(signal SIGSEGV"):
            read_frames(GRAND_PRIX, 5, decoder="decord", timeout_s=30)
        assert read_frames(GRAND_PRIX, 5, timeout_s=60).total == 288


def test_an_empty_path_is_not_the_current_folder():
    with pytest.raises(VideoError, match="the path is empty"):
        read_frames("", 5)


def test_a_callable_that_raises_is_a_video_error():
    def broken(path):
        raise OSError("no such device")

    with pytest.raises(VideoError, match="broken cannot open it: no such device"):
        read_frames(GRAND_PRIX, 5, decoder=broken)


@pytest.mark.parametrize("name", ["12:30.mp4", "file:x.mp4", "-dash.mp4", "ünï 中文.mp4", "a b'c.mp4", "~x.mp4"])
def test_odd_names_are_names(tmp_path, monkeypatch, name):
    shutil.copy(GRAND_PRIX, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    for decoder in ("decord", "pyav"):
        assert read_frames(name, 3, decoder=decoder).total == 288


def test_modules_in_the_users_folder_do_not_disturb_the_worker(tmp_path, monkeypatch):
    (tmp_path / "jaxtyping.py").write_text("raise RuntimeError('wrong module')")
    monkeypatch.chdir(tmp_path)
    service().close()
    assert len(read_frames(GRAND_PRIX, 3, timeout_s=60)) == 3


def test_threads_may_decode_at_once():
    """In workers, and in this process through a reader of one's own (ffmpeg's log is one for all)."""
    for decoder in ("pyav", PyAVReader):
        with ThreadPoolExecutor(4) as pool:
            jobs = [pool.submit(read_frames, GRAND_PRIX, 3, decoder=decoder) for _ in range(8)]
            assert {job.result(timeout=120).total for job in jobs} == {288}


def test_a_broken_file_is_told_again_and_again(good, tmp_path):
    """ffmpeg leaves out a message that it has just given; a worker that has seen one cut file must see the next."""
    path = cut(good["mkv"], tmp_path / "cut.mkv", 0.6)
    for _ in range(4):
        with pytest.raises(VideoError, match="cut short or damaged"):
            read_frames(path, 5)


def is_running(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def comes_true(condition, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= end:
            return False
        time.sleep(0.1)
    return True


@pytest.mark.skipif(os.geteuid() == 0 and shutil.which("setpriv") is None, reason="root reads everything")
@pytest.mark.parametrize("locked", ["file", "folder"])
def test_no_permission(locked):
    """As an ordinary user, since root may read everything."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name) / "videos"
        folder.mkdir()
        path = folder / "secret.mp4"
        shutil.copy(GRAND_PRIX, path)
        Path(name).chmod(0o755)
        (path if locked == "file" else folder).chmod(0)
        code = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        code += f"from sfllava_core import read_frames\nread_frames({str(path)!r}, 5)"
        as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.geteuid() == 0 else []
        done = subprocess.run(
            [*as_nobody, sys.executable, "-c", code], capture_output=True, text=True, cwd="/", timeout=60
        )
        (path if locked == "file" else folder).chmod(0o755)
    assert "VideoError" in done.stderr and "permission" in done.stderr, done.stderr


def test_tags_that_are_not_utf_8_are_no_reason_to_refuse_a_file(tmp_path):
    path = tmp_path / "tagged.mp4"
    with av.open(str(path), "w") as file:
        file.metadata["title"] = "PLACEHOLDER"
        stream = file.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = 96, 128, "yuv420p"
        for pixels in moving_noise(10):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        file.mux(stream.encode())
    data = path.read_bytes()
    assert data.count(b"PLACEHOLDER") == 1
    path.write_bytes(data.replace(b"PLACEHOLDER", b"\xff\xfe\xfa" + b"\x80" * 8))
    with pytest.raises(UnicodeDecodeError), av.open(str(path)):
        pass  # so PyAV by itself
    assert read_frames(path, 3).total == 10


@pytest.mark.parametrize("decoder", ["auto", "decord"])
def test_a_file_with_sound_alone_says_what_is_missing(decoder, tmp_path):
    with pytest.raises(VideoError, match=r"no video stream \(it has: audio\).*give a file with pictures in it"):
        read_frames(write_audio(tmp_path / "sound.mp4"), 3, decoder=decoder)
