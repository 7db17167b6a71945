"""Surroundings are no answers: a full disk or a folder that is gone stops a run, and the next start goes on."""

import errno
import os
import resource
import shutil
import subprocess
import sys
from contextlib import contextmanager

import pytest

from sfllava_bench.answers.counts import read_outcome
from sfllava_bench.answers.journal import Journal, read_journal
from sfllava_bench.answers.layouts import LAYOUTS
from sfllava_bench.answers.surroundings import check_room
from sfllava_bench.reports.pocketbench import pocketbench_experiments
from sfllava_bench.runs import reproduce
from sfllava_bench.runs.preflight import PreflightError, check_experiments
from sfllava_bench.runs.sweeps import sweep
from sfllava_core import VideoLLM, read_frames
from sfllava_core.checkpoints import ModelError
from sfllava_core.defaults import POCKET, ROOT
from sfllava_core.video import folder
from sfllava_core.video.folder import VideoFolder
from sfllava_core.video.integrity import HostError
from sfllava_course.__main__ import command

from .test_preflight import all_questions
from .test_runner import Forgetful
from .test_runner import answer as answer_all

QUIET = {"progress": False, "say": lambda text: None}


class Eventful(Forgetful):
    """A VideoLLM in whose second watching something happens to the machine."""

    def __init__(self, llm, event):
        super().__init__(llm)
        self.event = event

    def watch_frames(self, *args, **kwargs):
        if self.watched == 1:
            self.event()
        return super().watch_frames(*args, **kwargs)


@contextmanager
def no_file_above(size: int):
    """As on a disk that is full: a write beyond `size` bytes of a file is refused by the kernel, after a part of it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def root(excerpts, tmp_path):
    """The excerpts' videos, to be lost."""
    return shutil.copytree(excerpts / "videos", tmp_path / "videos")


@pytest.fixture
def answer(llm, excerpts, root, tmp_path):
    """Go on with a run of 35 questions about 13 videos."""
    questions, videos = all_questions(excerpts), VideoFolder(root, prefetch=1, workers=1)

    def going_on(model=llm):
        return answer_all(model, questions, videos, tmp_path / "a.jsonl", batch=2).counts(questions)

    return going_on


def nothing_failed(path) -> int:
    """How many questions are answered in a file in which none has failed."""
    outcome = read_outcome(path)
    assert outcome.failures == {}
    return len(outcome.answers)


def test_a_machine_at_fault_while_reading_stops_the_run_and_the_next_start_answers_all(answer, tmp_path, monkeypatch):
    read, reads = folder.read_frames, []

    def full(*args, **more):
        reads.append(args)
        if len(reads) == 4:
            raise HostError("/tmp: No space left on device: set TMPDIR")
        return read(*args, **more)

    monkeypatch.setattr(folder, "read_frames", full)
    with pytest.raises(HostError, match="TMPDIR"):
        answer()
    assert len(reads) == 4 and 0 < nothing_failed(tmp_path / "a.jsonl") < 35
    assert answer().answered == 35


def test_a_videos_folder_that_vanishes_stops_the_run(llm, answer, root, tmp_path):
    away = root.with_name("away")
    with pytest.raises(HostError, match=rf"{root}: it was there when the run began.*the same command"):
        answer(Eventful(llm, lambda: root.rename(away)))
    assert 0 < nothing_failed(tmp_path / "a.jsonl") < 35
    away.rename(root)
    assert answer().answered == 35


def test_a_video_that_vanishes_while_others_are_there_stops_the_run_too(llm, answer, root, tmp_path):
    """What was there when the run began is gone: somebody is at the folder. The preflight of the next start decides."""
    last = next(root.glob("intentqa/9100000001.mp4"))
    with pytest.raises(HostError, match=f"{last}: it was there when the run began"):
        answer(Eventful(llm, lambda: last.rename(root.parent / last.name)))
    assert 0 < nothing_failed(tmp_path / "a.jsonl") < 35
    assert str(answer()) == "35 expected = 32 answered + 3 failed"  # it is missing from the beginning now


@pytest.mark.parametrize("what", ["intentqa/9100000001.mp4", "."])
def test_permission_that_is_lost_stops_the_run_and_permission_that_never_was_fails_one_video(
    what, llm, answer, root, tmp_path, monkeypatch
):
    allowed = os.access

    def lose():  # made: whoever runs the tests as root may read everything
        inside = lambda path: root / what in (path, *path.parents)  # noqa: E731
        monkeypatch.setattr(os, "access", lambda path, how: not inside(path) and allowed(path, how))

    with pytest.raises(HostError, match="cannot be read any more"):
        answer(Eventful(llm, lose))
    assert 0 < nothing_failed(tmp_path / "a.jsonl") < 35
    if what == ".":
        with pytest.raises(HostError, match="cannot be read any more"):
            answer()
        nothing_failed(tmp_path / "a.jsonl")
    else:
        assert str(answer()) == "35 expected = 32 answered + 3 failed"


def test_a_broken_video_is_still_the_videos_own_fault(answer, root):
    next(root.glob("intentqa/9100000001.mp4")).write_bytes(b"404: not found")
    assert str(answer()) == "35 expected = 32 answered + 3 failed"


@pytest.mark.parametrize("size", [900, 5000])
def test_a_disk_that_is_full_stops_the_run_and_the_next_start_answers_all(size, answer, root, tmp_path):
    read_frames(next(root.rglob("*.mp4")), 1)  # a worker that starts below the limit would have it for its pixels too
    with no_file_above(size), pytest.raises(HostError, match=r"a\.jsonl: File too large: make room.*the same command"):
        answer()
    assert nothing_failed(tmp_path / "a.jsonl") < 35 and (tmp_path / "a.jsonl").read_bytes().endswith(b"}\n")
    assert answer().answered == 35


def no_room(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_records_that_are_half_written_are_cut_off_and_nothing_is_written_after_them(tmp_path, monkeypatch):
    path = tmp_path / "a.jsonl"
    with Journal(path, "answers", {}) as journal:
        journal.append({"key": "1"})
        sound = path.read_bytes()
        with no_file_above(len(sound) + 30), pytest.raises(HostError, match="File too large"):
            journal.append({"key": "2"}, {"key": "3", "text": "x" * 50}, {"key": "4"})
        assert path.read_bytes() == sound
        with pytest.raises(HostError, match="could not be written before"):
            journal.append({"key": "5"})
    assert path.read_bytes() == sound
    with Journal(path, "answers", {}) as journal:
        monkeypatch.setattr(os, "fsync", no_room)  # a network's disk that tells only now
        with pytest.raises(HostError, match=r"a\.jsonl: No space left on device"):
            journal.append({"key": "2"})
        monkeypatch.undo()
        assert path.read_bytes() == sound and journal.records == [{"key": "1"}]


def test_a_journal_that_cannot_be_begun_leaves_nothing_that_stands_in_the_way(tmp_path):
    path = tmp_path / "a.jsonl"
    with no_file_above(10), pytest.raises(HostError, match=r"a\.jsonl"):
        Journal(path, "answers", {"expected": 1})
    with Journal(path, "answers", {"expected": 1}) as journal:
        journal.append({"key": "1"})
    assert read_journal(path)[1] == [{"key": "1"}]


@pytest.fixture
def small_disk(tmp_path):
    """A real disk of one MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_real_disk_that_is_full(small_disk):
    with Journal(small_disk / "a.jsonl", "answers", {}) as journal:
        with pytest.raises(HostError, match="No space left on device"):
            for key in range(10):
                journal.append({"key": str(key), "text": "x" * 200_000})
        kept = len(journal.records)
    assert kept > 2
    assert [record["key"] for record in read_journal(small_disk / "a.jsonl")[1]] == [str(key) for key in range(kept)]
    assert "1 MB cannot be written there (No space left on device)" in check_room(small_disk, 1, 1 << 20)[0]


def experiments_of(films: int):
    return pocketbench_experiments(
        layouts={name: LAYOUTS[name] for name in ("fast only", "slow only")}, max_videos=films
    )


def test_a_sweep_stops_as_a_whole_and_goes_on(tmp_path):
    """The disk becomes full after the preflight: the second one is not tried on it, and no table names a failure."""
    experiments, model = experiments_of(2), VideoLLM.from_pretrained(POCKET, device="cpu")
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def load(name):
        resource.setrlimit(resource.RLIMIT_FSIZE, (5000, hard[1]))
        return model

    with no_file_above(hard[0]), pytest.raises(HostError, match="File too large"):
        sweep(experiments, tmp_path, load=load, **QUIET)
    for experiment in experiments:
        nothing_failed(tmp_path / experiment.id / "answers.jsonl")
    assert not list(tmp_path.glob("*/results.json")) and not (tmp_path / "table.json").exists()
    rows = sweep(experiments, tmp_path, load=lambda name: model, **QUIET)
    assert all("value" in row for row in rows)
    assert [nothing_failed(tmp_path / experiment.id / "answers.jsonl") for experiment in experiments] == [24, 24]


def test_results_that_cannot_be_written_stop_a_sweep_and_are_written_at_the_next_start(tmp_path, monkeypatch):
    experiments, model = experiments_of(1), VideoLLM.from_pretrained(POCKET, device="cpu")
    monkeypatch.setattr(reproduce, "write_results", no_room)
    with pytest.raises(HostError, match="No space left on device: make room"):
        sweep(experiments, tmp_path, load=lambda name: model, **QUIET)
    assert not (tmp_path / experiments[1].id / "report.html").exists(), "the second one is not tried on it"
    assert not (tmp_path / "table.json").exists()
    monkeypatch.undo()
    assert all("value" in row for row in sweep(experiments, tmp_path, load=lambda name: model, **QUIET))


def test_no_room_is_found_by_the_preflight(tmp_path):
    """Before a model is loaded and anything is made; to allow missing videos does not waive it."""
    experiments, out = experiments_of(1), tmp_path / "not" / "made"
    with no_file_above(1 << 20):
        with pytest.raises(PreflightError) as raised:
            reproduce.reproduce(experiments[0], out, load=None, allow_missing=True, **QUIET)
        obstacles = raised.value.preflight.obstacles
        assert check_experiments(experiments, out=out).obstacles == obstacles
    assert "16 MB cannot be written there (File too large): make room, or set TMPDIR=" in obstacles[0]
    assert (
        obstacles[1] == f"{tmp_path}: 4 MB cannot be written there (File too large): make room, or give another folder"
    )
    assert check_room(out) == [] and not list(tmp_path.iterdir())


def test_no_room_ends_the_command_with_what_to_do(tmp_path):
    words = ["bench", "run", "--run", "table2_7b", "--benchmark", "egoschema", "--profile", "toy", "--max-videos", "1"]
    done = subprocess.run(
        [sys.executable, "-m", "sfllava_course", *words, "--out", str(tmp_path)],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20)),
        capture_output=True, text=True, cwd=ROOT, timeout=120, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 1
    assert "TMPDIR=" in done.stderr and "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


SENSELESS = ModelError("data/pocket: its features are not finite: load it in another dtype")


class Senseless(Forgetful):
    """A VideoLLM whose numbers lose their sense at the second film: as it is watched, or as it is asked."""

    def __init__(self, llm, when):
        super().__init__(llm, fail=(2, SENSELESS) if when == "watch" else None)

    def watch_frames(self, *args, **kwargs):
        video = super().watch_frames(*args, **kwargs)
        if self.watched == 2:
            video.generate = self.say_nothing
        return video

    def say_nothing(self, *_, **__):
        raise SENSELESS


@pytest.mark.parametrize("when", ["watch", "answer"])
def test_numbers_without_sense_stop_the_run_in_one_line(when, tmp_path, monkeypatch, capsys):
    model = VideoLLM.from_pretrained(POCKET, device="cpu")
    words = ["bench", "run", "--run", "table2_7b", "--benchmark", "egoschema", "--profile", "toy", "--max-videos", "3",
             "--max-new-tokens", "4", "--out", str(tmp_path)]  # fmt: skip
    monkeypatch.setattr(reproduce, "load_model", lambda name: Senseless(model, when))
    assert command(words) == 1
    said = capsys.readouterr().err.replace("\r", "\n").splitlines()
    assert [line for line in said if line and "q/s]" not in line] == [f"error: {SENSELESS}"]  # below the bar
    (path,) = tmp_path.glob("*/answers.jsonl")
    assert 0 < nothing_failed(path) < 18
    monkeypatch.setattr(reproduce, "load_model", lambda name: model)
    assert command(words) == 0
    nothing_failed(path)
