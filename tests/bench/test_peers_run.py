"""The peers through the runner: preflight, answers, scores and report as for our own models."""

import subprocess
import sys

import numpy as np
import peer_cases
import pytest
from conftest import ROOT
from PIL import Image

from sfllava_bench.answers.counts import read_outcome
from sfllava_bench.answers.experiment import Experiment
from sfllava_bench.answers.video_model import VideoModel
from sfllava_bench.peers import LlavaNextVideo, Pllava, VideoLlava
from sfllava_bench.peers.loading import load_config, load_model
from sfllava_bench.peers.pllava import segment_frames
from sfllava_bench.peers.video_llava import TIME_ATTENTION
from sfllava_bench.questions.annotations import load_annotations
from sfllava_bench.questions.records import Question
from sfllava_bench.reports.methods import published_methods
from sfllava_bench.runs.preflight import check_memory
from sfllava_bench.runs.reproduce import reproduce
from sfllava_core.model import VideoLLM

FOLDERS = {"pllava": "unmerged_full", "video_llava": "checkpoint", "llava_next_video": "checkpoint"}
METHODS = {"pllava": Pllava(), "video_llava": VideoLlava(), "llava_next_video": LlavaNextVideo()}
PEERS = pytest.mark.parametrize("peer", FOLDERS)
NEW = 16


def checkpoint(peer: str) -> str:
    return str(peer_cases.checkpoint(peer, FOLDERS[peer]))


def as_film(frames: np.ndarray, places: list[int], total: int, folder) -> None:
    """A folder of images that shows the frames at these places, and black at the others."""
    folder.mkdir(parents=True)
    for number in range(total):
        picture = frames[places.index(number)] if number in places else np.zeros_like(frames[0])
        Image.fromarray(picture).save(folder / f"{number:04}.png")


def golden(peer: str) -> tuple[np.ndarray, list[int], int, dict]:
    """Frames of the released run, their places in a film of so many frames, and its case."""
    if peer == "pllava":
        total = next(total for total in range(16, 60) if len(set(segment_frames(total))) == 16)
        case = next(
            one
            for one in peer_cases.content(peer, peer_cases.OWN)["lora"]
            if one["bench"] == "videoqa" and one["lora_alpha"] == 4
        )
        return peer_cases.lora_frames(), segment_frames(total), total, case
    wanted = "eval_prompt" if peer == "video_llava" else "eval_prompt_rope2.0"
    case = next(one for one in peer_cases.content(peer, peer_cases.OWN)["runs"] if one["name"] == wanted)
    frames = peer_cases.array(peer, f"frames{case['frames']}", peer_cases.OWN)
    return frames, list(range(len(frames))), len(frames), case


@PEERS
def test_the_runner_gives_the_released_tokens(peer, tmp_path):
    """From a folder and a question to answers.jsonl and a report."""
    frames, places, total, case = golden(peer)
    as_film(frames, places, total, tmp_path / "videos" / "film")
    text = case.get("question") or case["prompt"].split("<video>\n")[1].removesuffix(" ASSISTANT:")
    question = Question("activitynet", "1", "film", (text,), "a word", "open_ended")
    experiment = Experiment(
        "golden", METHODS[peer], model=checkpoint(peer), max_new_tokens=NEW, asked=(question,),
        videos=tmp_path / "videos",
    )  # fmt: skip
    results = reproduce(experiment, tmp_path / "runs", progress=False, say=lambda line: None)
    assert results.counts.answered == 1
    outcome = read_outcome(tmp_path / "runs" / "golden" / "answers.jsonl")
    record = outcome.answers["1"]
    tokenizer = load_model(checkpoint(peer), device="cpu").tokenizer
    said = tokenizer.decode(case["generated_ids"][:NEW], skip_special_tokens=True).strip()
    assert record["answers"] == [said] and record["new_tokens"] == [len(case["generated_ids"])]
    assert record["prompt_tokens"] == [case["sequence_length"]]
    assert outcome.watched[0]["frames"] == places
    page = (tmp_path / "runs" / "golden" / "report.html").read_text()
    assert str(METHODS[peer]) in page
    assert (TIME_ATTENTION in page) == (peer == "video_llava"), "converted weights are labelled, and no others"


@PEERS
def test_choices_are_answered_shared_and_one_by_one_alike(peer, excerpts, tmp_path):
    questions = load_annotations("nextqa", excerpts / "annotations")[:3]
    asked = {"model": checkpoint(peer), "max_new_tokens": 4, "asked": tuple(questions), "videos": excerpts / "videos"}
    both = [Experiment("shared", METHODS[peer], **asked), Experiment("alone", METHODS[peer], share="nothing", **asked)]
    for one in both:
        results = reproduce(one, tmp_path, progress=False, say=lambda line: None)
        assert results.counts.answered == len(questions)
    shared, alone = (read_outcome(tmp_path / one.id / "answers.jsonl").answers for one in both)
    assert {key: record["answers"] for key, record in shared.items()} == {
        key: record["answers"] for key, record in alone.items()
    }


@PEERS
def test_a_peer_is_told_by_its_config(peer):
    llm = load_model(checkpoint(peer), device="cpu")
    assert isinstance(llm, VideoLLM) and isinstance(llm, VideoModel)
    assert llm.method == METHODS[peer]
    assert load_config(checkpoint(peer)).model_type == llm.model.config.model_type
    obstacles, notes = check_memory(checkpoint(peer), llm.method, free_bytes=10**12)
    assert not obstacles and f"with {llm.method.token_count(None, llm.grid)} visual tokens" in notes[0]


def test_our_own_models_are_loaded_as_before(llm):
    again = load_model(llm.name, device="cpu")
    assert type(again.backbone) is type(llm.backbone) and again.method == llm.method


def test_the_peers_stand_in_the_list_of_methods():
    rows = {row["method"]: row for row in published_methods()}
    found = {str(method): (rows[str(method)]["frames"], rows[str(method)]["tokens"]) for method in METHODS.values()}
    assert found == {"pllava16x12x12": (16, 2304), "videollava8": (8, 8 * 577), "llavanextvideo32": (32, 4608)}
    assert TIME_ATTENTION in rows["videollava8"]["differs"] and "2056" in rows["videollava8"]["published"]


def test_a_report_is_written_in_a_process_that_has_loaded_no_peer():
    """The method of a run is read from its text: the peers' are known wherever reports are made."""
    code = "import sfllava_bench.reports.report; from sfllava_core import parse_spec; print(parse_spec('pllava'))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert done.stdout == "pllava16x12x12\n", done.stderr
