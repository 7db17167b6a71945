"""The decoding service: long-lived workers that end with their parent and leave nothing behind."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import GRAND_PRIX, ROOT
from test_broken_videos import comes_true, is_running

from sfllava_core import HostError, VideoError, read_frames
from sfllava_core.video.service import DecodingService, Worker, service, set_workers, why_not


@pytest.fixture(autouse=True)
def own_service():
    service().close()
    yield
    set_workers(os.cpu_count())


def pids() -> list[int]:
    return [worker.process.pid for worker in service().free]


def test_a_worker_serves_many_requests():
    read_frames(GRAND_PRIX, 3)
    first = pids()
    for _ in range(5):
        read_frames(GRAND_PRIX, 3)
    assert pids() == first and len(first) == 1


def test_there_are_no_more_workers_than_allowed():
    set_workers(1)
    threads = [threading.Thread(target=read_frames, args=(GRAND_PRIX, 50)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(pids()) == 1
    with pytest.raises(ValueError, match="at least 1 worker"):
        set_workers(0)


def test_pixels_outlive_the_worker_and_may_be_written_to():
    frames = read_frames(GRAND_PRIX, 4)
    service().close()
    before = frames.pixels.copy()
    frames.pixels[0] = 7
    assert (frames.pixels[0] == 7).all()
    np.testing.assert_array_equal(frames.pixels[1:], before[1:])


def test_nothing_is_left_after_many_reads_and_errors(tmp_path):
    """Open files, mappings and processes are as many after 500 reads as after a few."""
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")

    def some(number: int) -> tuple[int, int]:
        for _ in range(number):
            read_frames(GRAND_PRIX, 4)
            with pytest.raises(VideoError):
                read_frames(broken, 4)
        maps = Path("/proc/self/maps").read_text().count("memfd:sfllava")
        return len(os.listdir("/proc/self/fd")), maps

    assert some(3) == some(250)
    assert not list(Path("/tmp").glob("sfllava-*.mp4"))


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_workers_end_with_their_parent_even_when_they_hang(how, tmp_path):
    """Idle workers and one that spins without end, in a parent that is killed: all are gone at once."""
    (tmp_path / "decord").mkdir()
    (tmp_path / "decord" / "__init__.py").write_text(
        f"import os\nopen({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\nwhile True: pass"
    )
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r})\nfrom sfllava_core import read_frames\n"
    code += f"read_frames({str(GRAND_PRIX)!r}, 3, decoder='decord', timeout_s=600)"
    parent = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(tmp_path)})
    try:
        assert comes_true(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text(), 60)
    finally:
        parent.send_signal(how)
        parent.wait()
    assert comes_true(lambda: not is_running(int((tmp_path / "pid").read_text())), 3)


def test_an_idle_worker_ends_with_its_parent(tmp_path):
    code = f"import sys, os; sys.path.insert(0, {str(ROOT)!r})\nfrom sfllava_core import read_frames\n"
    code += f"from sfllava_core.video.service import service\nread_frames({str(GRAND_PRIX)!r}, 3)\n"
    code += "print(service().free[0].process.pid, flush=True); os.kill(os.getpid(), 9)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert comes_true(lambda: not is_running(int(done.stdout)), 3)


def test_a_worker_that_cannot_start_is_the_machines_fault(monkeypatch):
    def no_process(*args, **kwargs):
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", no_process)
    with pytest.raises(HostError, match=r"no worker process can be started.*temporarily unavailable.*ulimit"):
        read_frames(GRAND_PRIX, 3)


def test_a_worker_that_dies_at_its_start_tells_its_last_words(monkeypatch):
    monkeypatch.setattr("sfllava_core.video.service.START", "raise SystemExit('no numpy here')")
    with pytest.raises(HostError, match=r"exit code 1.*no numpy here"):
        Worker()


def test_no_memory_for_the_pixels_is_the_machines_fault(monkeypatch, tmp_path):
    """A limit on the size of files holds for blocks of memory too: what a full memory does, without filling it."""
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r})\nimport resource, signal\n"
    code += "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\nresource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
    code += f"from sfllava_core import read_frames\nread_frames({str(GRAND_PRIX)!r}, 3)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "HostError: no memory for" in done.stderr and "fewer frames" in done.stderr, done.stderr


def test_a_request_that_is_broken_off_leaves_no_answer_for_the_next(monkeypatch):
    """Ctrl-C while a worker decodes: it is ended, so that its late answer is not taken for another's."""
    one = DecodingService(1)
    monkeypatch.setattr("sfllava_core.video.service.SERVICE", one)
    read_frames(GRAND_PRIX, 3)
    (worker,) = one.free

    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(worker, "answer", interrupted)
    with pytest.raises(KeyboardInterrupt):
        read_frames(GRAND_PRIX, 50)
    assert not one.free and not one.busy and worker.process.returncode is not None
    assert len(read_frames(GRAND_PRIX, 5)) == 5
    one.close()


def test_closing_ends_what_is_being_decoded(tmp_path):
    """So that one Ctrl-C ends everything: the threads that wait for a decoder are let go."""
    os.mkfifo(tmp_path / "a.mp4")
    causes = []

    def read() -> None:
        try:
            read_frames(GRAND_PRIX, 288, size=(1500, 1500), timeout_s=600)
        except VideoError as error:
            causes.append(error.cause)

    thread = threading.Thread(target=read)
    thread.start()
    assert comes_true(lambda: service().busy, 30)
    time.sleep(0.2)
    service().close()
    thread.join(5)
    assert not thread.is_alive() and "SIGKILL" in causes[0]


def test_why_a_file_does_not_open(tmp_path):
    (tmp_path / "bad.mp4").write_text("no video")
    assert why_not(GRAND_PRIX, 60) is None
    assert "no video" not in why_not(tmp_path / "bad.mp4", 60) and why_not(tmp_path / "none.mp4", 60)


def test_a_file_whose_first_frame_does_not_decode_costs_no_worker(tmp_path):
    """Its index is whole and its pictures are noughts: the preflight says what the decoder says, and goes on."""
    whole = GRAND_PRIX.read_bytes()
    place = whole.index(b"mdat") + 4
    size = int.from_bytes(whole[place - 8 : place - 4], "big") - 8
    (tmp_path / "noughts.mp4").write_bytes(whole[:place] + bytes(size) + whole[place + size :])
    assert why_not(GRAND_PRIX, 60) is None
    first = pids()
    cause = why_not(tmp_path / "noughts.mp4", 60)
    assert cause and "crashed" not in cause
    assert pids() == first
