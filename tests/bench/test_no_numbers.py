"""A model that computes NaN stops a run: nothing counts as answered, and nothing as failed."""

import math

import pytest

from sfllava_bench.answers.counts import read_outcome
from sfllava_bench.answers.experiment import Experiment
from sfllava_bench.answers.loop import run
from sfllava_bench.questions.annotations import load_annotations
from sfllava_core import ModelError, VideoLLM, parse_spec
from sfllava_core.video.folder import VideoFolder

SPEC = parse_spec("frames4_slow2-to2x2_fastall-to1x1")


@pytest.mark.parametrize("stage", ["frame features", "logits"])
@pytest.mark.parametrize("by", ["generation", "likelihood"])
def test_nan_stops_a_run_and_is_no_failed_question(llm, excerpts, tmp_path, by, stage):
    path, questions = tmp_path / "a.jsonl", load_annotations("nextqa", excerpts / "annotations")
    one = Experiment(tmp_path.name, SPEC, max_new_tokens=3, by=by, asked=tuple(questions))
    broken = VideoLLM.from_pretrained(llm.name, device="cpu")
    part = broken.model.lm_head if stage == "logits" else broken.model.model.multi_modal_projector.linear_1
    part.weight.data[0, 0] = math.nan
    with pytest.raises(ModelError, match=f"its {stage} hold NaN"):
        run(broken, [one], VideoFolder(excerpts / "videos"), tmp_path.parent, file="a.jsonl", progress=False)
    outcome = read_outcome(path)
    assert (outcome.answers, outcome.failures, outcome.watched) == ({}, {}, [])
