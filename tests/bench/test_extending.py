"""What is added from outside touches one file: a method, and a model family, each defined here in a file of its own."""

import importlib.util

import torch
from conftest import TINY
from transformers import AutoTokenizer, LlavaNextForConditionalGeneration

from sfllava_bench.answers.experiment import Experiment
from sfllava_bench.answers.loop import run
from sfllava_bench.questions.annotations import load_annotations
from sfllava_bench.reports.report import write_report
from sfllava_bench.reports.results import make_results
from sfllava_core import VideoLLM, parse_spec
from sfllava_core.video.folder import VideoFolder

METHOD = '''
from dataclasses import dataclass

import torch
from sfllava_core.methods.base import Method


@dataclass(frozen=True)
class FirstAndLast(Method):
    """The first and the last of the sampled frames, as they are."""

    num_frames: int = 4

    def token_counts(self, num_frames=None, grid=(24, 24)):
        return {"both": 2 * grid[0] * grid[1]}

    def visual_tokens(self, features, newline=None):
        return features[[0, -1]].flatten(0, 2)

    def token_frames(self, num_frames, grid):
        return torch.tensor([0, num_frames - 1]).repeat_interleave(grid[0] * grid[1])

    def __str__(self):
        return f"firstandlast{self.num_frames}"

    @classmethod
    def parse(cls, text, num_frames=50):
        head, _, number = text.partition("firstandlast")
        return cls(int(number)) if not head and number.isdecimal() else None
'''
FAMILY = '''
from sfllava_core.backbones.llava_next import LlavaNext


class OtherLlava(LlavaNext):
    """A family of its own name."""

    model_type = "other_llava"

    @classmethod
    def prompt_style(cls, config, tokenizer):
        return "mistral"
'''


def load(folder, name, text):
    """A module from a file that somebody has written."""
    path = folder / f"{name}.py"
    path.write_text(text)
    found = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def test_a_method_in_one_file_is_parsed_watched_run_and_reported(llm, excerpts, tmp_path):
    method = load(tmp_path, "first_and_last", METHOD).FirstAndLast(6)
    assert parse_spec("firstandlast6") == parse_spec(method.to_json()) == method
    questions = load_annotations("nextqa", excerpts / "annotations")
    videos = VideoFolder(excerpts / "videos")
    video = llm.watch(videos.find(questions[0].video), "firstandlast6")
    assert video.tokens.shape == (2 * 24 * 24, llm.dim)
    mine = Experiment("mine", method, max_new_tokens=4, asked=tuple(questions))
    outcome = run(llm, [mine], videos, tmp_path, progress=False)["mine"]
    assert outcome.counts(questions).answered == len(questions)
    assert {record["visual_tokens"] for record in outcome.watched} == {1152}
    results = make_results(questions, outcome, run="mine")
    page = write_report(results, questions, outcome, tmp_path / "report.html", videos=videos)
    assert "firstandlast6" in page.read_text()


def test_a_model_family_in_one_file_is_told_by_its_config_and_asked(tmp_path, golden_frames):
    """Another `model_type` in the config, and an adapter for it."""
    adapter = load(tmp_path, "other_llava", FAMILY).OtherLlava
    model = LlavaNextForConditionalGeneration.from_pretrained(TINY, dtype=torch.float32)
    model.config.model_type = "other_llava"
    other = VideoLLM(model, AutoTokenizer.from_pretrained(TINY))
    assert type(other.backbone) is adapter and other.prompt_style == "mistral"
    assert other.watch_frames(golden_frames[:4], "frames4_slow2-to2x2").ask("What is it?", max_new_tokens=3) is not None
