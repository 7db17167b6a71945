"""Before a run: what is missing is listed and stops it, in bounded time, whatever the files are."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from sfllava_bench.answers.experiment import Experiment
from sfllava_bench.questions.annotations import load_annotations
from sfllava_bench.runs.opening import check_files
from sfllava_bench.runs.preflight import Preflight, PreflightError, check_memory, check_videos
from sfllava_core import SlowFast, parse_spec
from sfllava_core.video.folder import VideoFolder
from sfllava_core.video.service import service

from .test_runner import answer

ROOT = Path(__file__).parents[2]
BENCHMARKS = ("msvd", "msrvtt", "tgif", "activitynet", "nextqa", "egoschema", "intentqa")


def all_questions(excerpts):
    return [
        replace(question, benchmark="pocketbench", key=f"{name}/{question.key}")
        for name in BENCHMARKS
        for question in load_annotations(name, excerpts / "annotations")
    ]


@pytest.fixture
def damaged(excerpts, tmp_path):
    """The excerpts' videos: one gone, four broken in different ways, the others oddly named as they are."""
    root = tmp_path / "videos"
    shutil.copytree(excerpts / "videos", root)
    (root / "intentqa/9100000001.mp4").unlink()
    (root / "msvd/pL-9Shapes02_12_20.mp4").write_bytes(b"")
    (root / "msrvtt/video9001.mp4").write_text("404: not found")
    whole = root / "nextqa/1164/9000000001.mp4"
    whole.write_bytes(whole.read_bytes()[:900])
    shutil.rmtree(root / "egoschema/5ha9e500-0000-4000-8000-000000000002")
    return root


def test_whole_folders_pass(excerpts):
    preflight = check_videos(all_questions(excerpts), VideoFolder(excerpts / "videos"))
    assert (preflight.videos, preflight.lost) == ({}, 0)
    assert preflight.require() is preflight
    assert "13 of 13 videos can be used, for 35 of 35 questions" in str(preflight)


def test_missing_and_broken_videos_are_listed_and_stop_the_run(excerpts, damaged, llm, tmp_path):
    questions, videos = all_questions(excerpts), VideoFolder(damaged)
    preflight = check_videos(questions, videos)
    assert preflight.videos.keys() == {
        "9100000001", "pL-9Shapes02_12_20", "video9001", "9000000001", "5ha9e500-0000-4000-8000-000000000002",
    }  # fmt: skip
    assert "no video of this name" in preflight.videos["9100000001"]
    assert "empty" in preflight.videos["pL-9Shapes02_12_20"]
    assert preflight.lost == 3 + 3 + 3 + 3 + 1
    with pytest.raises(PreflightError, match=r"8 of 13 videos can be used, for 22 of 35 questions(.|\n)*allow_missing"):
        preflight.require()
    assert preflight.require(allow_missing=True).lost == 13

    settings = Experiment("a", parse_spec("frames4_slow2-to2x2_fastall-to1x1"), max_new_tokens=2)
    some = [question for question in questions if question.key.startswith(("msvd", "nextqa", "intentqa"))]
    outcome = answer(llm, some, videos, tmp_path / "a.jsonl", settings)
    assert str(outcome.counts(some)) == "15 expected = 6 answered + 9 failed"
    assert {q.video for q in some if q.key in outcome.failures} == {q.video for q in some} & preflight.videos.keys()


def test_found_only_is_said(excerpts, damaged):
    preflight = check_videos(all_questions(excerpts), VideoFolder(damaged), open_files=False)
    assert preflight.videos.keys() == {"9100000001", "5ha9e500-0000-4000-8000-000000000002"}
    assert "not opened" in str(preflight)


def test_what_was_watched_already_is_not_opened_again(excerpts, damaged):
    preflight = check_videos(all_questions(excerpts), VideoFolder(damaged), watched=frozenset({"video9001"}))
    assert "video9001" not in preflight.videos
    assert "10 files were opened" in str(preflight)


def test_a_file_that_hangs_the_decoder_is_named_and_the_others_are_checked(excerpts, tmp_path):
    hanging = tmp_path / "hanging"
    hanging.mkdir()
    os.mkfifo(hanging / "1.png")  # opening it waits for a writer that never comes
    good = sorted((excerpts / "videos/msvd").iterdir())
    causes = check_files([good[0], hanging, good[1]], workers=1, timeout_s=5)
    assert causes == {hanging: "the decoder gave no answer within 5 s"}


def test_a_file_that_crashes_the_decoder_is_named_and_the_others_are_checked(excerpts, tmp_path, monkeypatch):
    """The crash is made: a module in the child's path ends the process when the file's name says so."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os, PIL.Image as I\nopened = I.open\n"
        "I.open = lambda f, *a: os.abort() if 'crash' in str(f) else opened(f, *a)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    service().close()
    frames = next((excerpts / "videos/egoschema").glob("*/1.png")).parent
    shutil.copytree(frames, tmp_path / "crash")
    assert check_files([frames, tmp_path / "crash", frames], workers=1) == {
        tmp_path / "crash": "the decoder crashed (signal SIGABRT): no message"
    }


def test_memory_is_compared_before_anything_is_loaded(llm):
    obstacles, notes = check_memory(llm.name, SlowFast(), free_bytes=10**9)
    assert (obstacles, len(notes)) == ([], 1)
    assert "3680 visual tokens" in notes[0]
    obstacles, _ = check_memory(llm.name, SlowFast(), free_bytes=10**6)
    assert "quantization" in obstacles[0]
    obstacles, _ = check_memory(llm.name, parse_spec("frames50_fastall-none"), free_bytes=10**9)
    assert "do not fit its 8192" in obstacles[0]


def test_an_obstacle_stops_a_run_whatever_may_be_missing():
    """Missing videos may be waived; memory and judge may not."""
    missing = Preflight({"v": "no video of this name"}, {"v": 2, "w": 1})
    assert missing.require(allow_missing=True) is missing
    for videos in ({}, missing.videos):
        blocked = replace(missing, videos=videos, obstacles=["the judge 'x' does not answer"])
        for allow in (False, True):
            with pytest.raises(PreflightError, match="the judge 'x' does not answer"):
                blocked.require(allow_missing=allow)


def test_allow_missing_is_true_or_false_and_no_text():
    """papermill hands "no" on as a text, and a text is true. Without the tests' own checker of types."""
    code = (
        "from sfllava_bench.runs.preflight import Preflight\n"
        "try: Preflight({'v': 'gone'}, {'v': 1}).require('no')\n"
        "except ValueError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert (done.returncode, done.stdout) == (0, "allow_missing='no': give True or False\n"), done.stderr


def test_names_in_the_list_of_what_is_missing_are_one_line_each():
    said = str(Preflight({"a\x1b[2J\nb": "gone"}, {"a\x1b[2J\nb": 1}, ["no\x9bjudge"])).splitlines()
    assert said[1:3] == ["  a\\u001b[2J\\u000ab (1 questions): gone", "  no\\u009bjudge"]


def test_at_least_one_file_is_opened_at_a_time(excerpts):
    with pytest.raises(ValueError, match="workers=0"):
        VideoFolder(excerpts / "videos", workers=0)
