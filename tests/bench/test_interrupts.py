"""One Ctrl-C, or one SIGTERM, ends a command and its children within five seconds, with one line of how to go on."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import nbformat
import pytest

from sfllava_bench.answers.journal import count_answered
from sfllava_bench.answers.prefetch import prefetch
from sfllava_core.defaults import ROOT
from sfllava_core.video.integrity import VideoError

SIGNALS = pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])


def start(*words: object, warnings: str = "default") -> subprocess.Popen:
    """A command, as a user starts it but for warnings; in a session of its own, so that a signal goes to it alone."""
    return subprocess.Popen(
        [sys.executable, *map(str, words)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": warnings},
    )  # fmt: skip


def wait_for(reached, process: subprocess.Popen, seconds: float = 60):
    """What `reached()` gives, as soon as it is something; the process must be alive till then."""
    until = time.monotonic() + seconds
    while not (found := reached()):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < until, "it never came so far"
        time.sleep(0.02)
    return found


def end(process: subprocess.Popen, number: int, code: int) -> str:
    """Send a signal; the last line on standard error. It must come in time, with the right code and no traceback."""
    began = time.monotonic()
    process.send_signal(number)
    _, said = process.communicate(timeout=20)
    assert time.monotonic() - began < 5
    assert process.returncode == code, said
    assert "Traceback" not in said and "Warning" not in said, said
    lines = [line for line in re.split(r"[\r\n]+", said) if line]
    assert sum(line.startswith("stopped; ") for line in lines) == 1
    return lines[-1]


def children(pid: int) -> list[int]:
    """Processes that a process has started, and those that these have started."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            pid_of, parent = int(stat.parent.name), int(stat.read_text().rsplit(")", 1)[1].split()[1])
        except OSError:
            continue
        found += [pid_of, *children(pid_of)] if parent == pid else []
    return found


def alive(pids: list[int], seconds: float = 2) -> list[int]:
    """Those that are still there after a moment."""
    until = time.monotonic() + seconds
    while (left := [pid for pid in pids if running(pid)]) and time.monotonic() < until:
        time.sleep(0.02)
    return left


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


RUN = ("-m", "sfllava_course", "bench", "run", "--run", "table2_7b", "--benchmark", "egoschema", "--profile", "toy",
       "--max-videos", 5, "--max-new-tokens", 4)  # fmt: skip


@SIGNALS
def test_a_run_says_what_is_kept_and_goes_on(number, code, tmp_path):
    process = start(*RUN, "--out", tmp_path)
    journal = tmp_path / "table2_7b_egoschema_toy" / "answers.jsonl"
    wait_for(lambda: count_answered(journal)[0] > 0, process)
    below = children(process.pid)
    said = end(process, number, code)
    answered, expected = count_answered(journal)
    assert 0 < answered < expected == 25
    assert said == f"stopped; {answered} of {expected} questions are answered and kept: the same command goes on"
    assert alive(below) == []
    if number == signal.SIGINT:
        again = start(*RUN, "--out", tmp_path)
        assert "25 expected = 25 answered + 0 failed" in again.communicate(timeout=120)[0]
        assert again.returncode == 0


def test_a_run_that_is_stopped_in_its_preflight_has_lost_nothing(tmp_path):
    process = start(*RUN[:-4], "--out", tmp_path)
    wait_for(lambda: children(process.pid), process)
    said = end(process, signal.SIGINT, 130)
    assert said == "stopped; 0 of 400 questions are answered and kept: the same command goes on"


@SIGNALS
@pytest.mark.parametrize("seconds", [0, 0.1, 0.5, 1.5])
def test_the_first_seconds_are_one_line_too(seconds, number, code, hanging):
    """While it imports what it needs: from the moment on at which it listens.

    As a user starts it: Python itself leaves the file open whose import is broken off, and warns of that if asked to.
    """
    words = RUN[3:] if seconds > 1 else ("run", "--run", "table2_7b")
    where = ("--annotations", hanging, "--videos", hanging)
    process = start("-m", "sfllava_course", "bench", *words, *where, warnings="ignore::ResourceWarning")
    wait_for(lambda: listens(process.pid), process)
    time.sleep(seconds)
    assert end(process, number, code).endswith("the same command starts again")


def listens(pid: int) -> bool:
    """Whether a process has a handler of its own for SIGTERM."""
    (caught,) = re.findall(r"^SigCgt:\s*(\w+)", Path(f"/proc/{pid}/status").read_text(), re.M)
    return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)


@pytest.fixture
def hanging(tmp_path) -> Path:
    """A folder of images whose decoder waits for a writer that never comes."""
    folder = tmp_path / "hanging"
    folder.mkdir()
    os.mkfifo(folder / "1.png")
    return folder


@SIGNALS
def test_ask_ends_its_decoder_too(number, code, hanging):
    process = start("-m", "sfllava_course", "ask", hanging, "why?", "--model", "data/tiny")
    below = wait_for(lambda: children(process.pid), process)
    time.sleep(0.5)  # in the midst of it
    assert end(process, number, code) == "stopped; nothing is kept: the same command starts again"
    assert alive(below) == []


HANGS_AHEAD = """
import sys, threading
from pathlib import Path
from sfllava_bench.answers.prefetch import prefetch
from sfllava_core.video.reading import read_frames
from sfllava_bench.stopping import run_command, stopped

def main():
    threading.Thread(target=threading.Event().wait).start()  # one for which Python itself would wait
    try:
        for decoded in prefetch([sys.argv[1]], lambda name: read_frames(name, 4)):
            raise AssertionError(decoded)
    except KeyboardInterrupt as error:
        return stopped(error, "go on")

run_command(main)
"""


@SIGNALS
def test_decoding_ahead_that_hangs_is_not_waited_for_and_its_child_ends_too(number, code, hanging):
    process = start("-c", HANGS_AHEAD, hanging)
    below = wait_for(lambda: children(process.pid), process)
    time.sleep(0.5)
    assert end(process, number, code) == "stopped; go on"
    assert alive(below) == []


HANGS_ON_ITS_WAY_OUT = """
import sys, threading, time
from sfllava_bench.stopping import run_command
def main():
    try:
        print("there", flush=True)
        time.sleep(60)
    finally:
        threading.Event().wait()  # what nobody had thought of
run_command(main)
"""


@SIGNALS
def test_what_hangs_on_the_way_out_is_left(number, code):
    process = start("-c", HANGS_ON_ITS_WAY_OUT)
    assert process.stdout.readline() == "there\n"
    assert end(process, number, code) == "stopped; what is answered is kept: the same command goes on"


CELL = """
import pathlib, time
from sfllava_bench.answers.journal import Journal
with Journal(pathlib.Path(out_dir, "plan", "answers.jsonl"), "answers", {"expected": 7}) as journal:
    journal.append({"key": "1", "answers": ["a"]}, {"key": "2", "error": "broken"})
pathlib.Path(out_dir, "begun").touch()
time.sleep(60)
"""


@SIGNALS
def test_the_notebook_ends_with_its_kernel(number, code, tmp_path):
    parameters = nbformat.v4.new_code_cell("out_dir = ''", metadata={"tags": ["parameters"]})
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    cells = [parameters, nbformat.v4.new_code_cell(CELL)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=metadata), tmp_path / "long.ipynb")
    out = tmp_path / "out"
    process = start("-m", "sfllava_course", "run", tmp_path / "long.ipynb", "--out", out)
    wait_for((out / "begun").exists, process)
    below = children(process.pid)
    assert below
    said = end(process, number, code)
    assert said == f"stopped; 1 of 7 questions are answered and kept: the same command with --out {out} goes on"
    assert alive(below) == []


def test_closing_does_not_wait_and_reads_nothing_more():
    """One read hangs, others wait for their turn: the generator is closed at once, and those are never begun."""
    begun, go_on = [], threading.Event()

    def read(name):
        begun.append(name)
        if name != "first":
            go_on.wait(30)
        raise VideoError(name, "no such thing")

    decoding = prefetch(["first", "hangs", "a", "b"], read, workers=1, count=3)
    assert next(decoding).error.cause == "no such thing"
    before = time.monotonic()
    decoding.close()
    assert time.monotonic() - before < 1
    go_on.set()
    for thread in threading.enumerate():
        if thread.name.startswith("decode-"):
            assert thread.daemon  # or a script that has closed it would not end
            thread.join(10)
            assert not thread.is_alive()
    assert begun in (["first"], ["first", "hangs"])
