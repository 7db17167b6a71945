"""What is added from outside touches one file: a method, a benchmark, a model family, each defined in a file here."""

import importlib.util
import json

import pytest
import torch
from conftest import ROOT, TINY
from transformers import AutoTokenizer, LlavaNextForConditionalGeneration

from sfllava_bench.answers.experiment import Experiment
from sfllava_bench.answers.loop import run
from sfllava_bench.command_line import call
from sfllava_bench.commands import bench
from sfllava_bench.questions.annotations import AnnotationError, load_annotations
from sfllava_bench.questions.benchmarks.base import BENCHMARKS, Benchmark
from sfllava_bench.questions.records import Question
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
BENCHMARK = '''
from sfllava_bench.questions.benchmarks.base import Benchmark
from sfllava_bench.questions.records import OPEN_ENDED
from sfllava_bench.questions.rows import Row


class Contents(Benchmark):
    """Films and what is in their bubble; the file knows no question, and no key."""

    name, title, task = "contents", "What is in the bubble", OPEN_ENDED
    questions, videos = 40, 40
    video_column = "film"

    def questions_in(self, rows):
        return [
            question
            for row in rows.of()
            for question in self.make(rows, row, row.text("film"), ["What is in the bubble?"], row.text("thing"))
        ]

    def group(self, row: Row, part, question):
        return row.fields["size"]
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


@pytest.fixture
def known_benchmarks():
    """What a test defines is forgotten after it."""
    before = dict(BENCHMARKS)
    yield
    BENCHMARKS.clear()
    BENCHMARKS.update(before)


def test_a_benchmark_in_one_file_is_run_by_the_command_and_reported(tmp_path, known_benchmarks, capsys):
    load(tmp_path, "contents", BENCHMARK)
    (tmp_path / "films.csv").write_text("film,thing,size\npocket_0000,a flower,small\npocket_0001.mp4,a sun,large\n")
    films, seen = ROOT / "data" / "pocketbench" / "videos", "frames8_slow2-max1x2_fastall-to2x2"
    words = (
        f"run --benchmark contents --annotations {tmp_path}/films.csv --videos {films} --out {tmp_path} --method {seen}"
    )
    assert call(bench, [*words.split(), "--max-new-tokens", "6"]) == 0
    folder = tmp_path / f"contents_films_{seen}"
    shown, results = capsys.readouterr().out, json.loads((folder / "results.json").read_text())
    assert f"contents_films_{seen}" in shown and "2 expected = 2 answered" in shown
    assert (results["benchmark"], results["title"]) == ("contents", "What is in the bubble")
    assert results["set"]["published_questions"] == 40 and results["counts"]["answered"] == 2
    page = (folder / "report.html").read_text()
    for told in ("What is in the bubble", "not the whole set: 2 of 40", "<td>small</td>", "<td>large</td>", "a flower"):
        assert told in page, told


@pytest.mark.parametrize(
    ("lacks", "reason"),
    [
        ("task", "needs a task"), ("title", "needs a title"), ("questions_in", "needs questions_in or read"),
    ],
)  # fmt: skip
def test_a_benchmark_that_lacks_something_is_refused_where_it_is_defined(lacks, reason, known_benchmarks):
    body = {"name": "half", "title": "Half", "task": "open_ended", "questions_in": lambda self, rows: []}
    body.pop(lacks)
    with pytest.raises(TypeError, match=f"benchmark 'half' {reason}"):
        type("Half", (Benchmark,), body)
    assert "half" not in BENCHMARKS


def test_a_benchmark_that_is_defined_again_replaces_itself_and_a_task_must_be_one(known_benchmarks):
    """As a notebook's cell that is run twice does."""
    body = {"name": "twice", "title": "First", "task": "open_ended", "questions_in": lambda self, rows: []}
    type("Twice", (Benchmark,), body)
    type("Twice", (Benchmark,), body | {"title": "Second"})
    assert BENCHMARKS["twice"].title == "Second"
    with pytest.raises(TypeError, match="task 'choice': choose one of open_ended"):
        type("Twice", (Benchmark,), body | {"task": "choice"})


def test_a_benchmark_with_a_reading_of_its_own_may_not_repeat_a_key(known_benchmarks, tmp_path):
    one = Question("loose", "k", "v", ("what?",), "a", "open_ended")
    body = {"name": "loose", "title": "Loose", "task": "open_ended", "read": lambda self, path, repair: [one, one]}
    type("Loose", (Benchmark,), body)
    with pytest.raises(AnnotationError, match="several questions have the key 'k'"):
        load_annotations("loose", tmp_path)


def test_a_model_family_in_one_file_is_told_by_its_config_and_asked(tmp_path, golden_frames):
    """Another `model_type` in the config, and an adapter for it."""
    adapter = load(tmp_path, "other_llava", FAMILY).OtherLlava
    model = LlavaNextForConditionalGeneration.from_pretrained(TINY, dtype=torch.float32)
    model.config.model_type = "other_llava"
    other = VideoLLM(model, AutoTokenizer.from_pretrained(TINY))
    assert type(other.backbone) is adapter and other.prompt_style == "mistral"
    assert other.watch_frames(golden_frames[:4], "frames4_slow2-to2x2").ask("What is it?", max_new_tokens=3) is not None
