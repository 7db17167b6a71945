"""The same promises on a CUDA GPU: `pytest -m gpu`."""

import numpy as np
import pytest
import torch
from conftest import TINY
from test_model import E2E, QUESTIONS, SMALL

from sfllava_core import VideoLLM, open_ended_prompt, parse_spec, preprocess

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def gpu_llm():
    """float32 on the GPU, with full float32 matrix products so that it compares with the CPU."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    return VideoLLM.from_pretrained(TINY, device="cuda", dtype="float32")


@pytest.mark.parametrize("case", E2E, ids=lambda case: case["name"])
@pytest.mark.parametrize("share_prefix", [True, False])
def test_end_to_end_equals_the_released_code(gpu_llm, golden_frames, case, share_prefix):
    video = gpu_llm.watch_frames(golden_frames[: case["n_frames"]], parse_spec(case["temporal_aggregation"]))
    assert video.tokens.device.type == "cuda"
    (answer,) = video.generate([case["prompt"]], max_new_tokens=16, share_prefix=share_prefix)
    assert answer.token_ids == case["generated_ids"]


def test_logits_equal_the_cpus(llm, gpu_llm, golden_frames):
    prompts = [open_ended_prompt(question) for question in QUESTIONS[:5]]
    on_cpu, on_gpu = (
        model.watch_frames(golden_frames[:8], SMALL).next_token_logits(prompts) for model in (llm, gpu_llm)
    )
    torch.testing.assert_close(on_gpu, on_cpu, atol=1e-3, rtol=0)


@pytest.mark.parametrize("count", [1, 2, 30])
def test_shared_and_plain_answers_are_equal(gpu_llm, golden_frames, count):
    video = gpu_llm.watch_frames(golden_frames[:8], SMALL)
    asked = QUESTIONS[:count]
    assert video.ask(asked, max_new_tokens=12) == video.ask(asked, max_new_tokens=12, share_prefix=False)


def test_resizing_on_the_gpu_is_within_one_grey_level(golden_frames):
    on_gpu = preprocess(golden_frames, (336, 336), resize="torch", device="cuda").cpu()
    exact = preprocess(golden_frames, (336, 336))
    assert (on_gpu - exact).abs().max() <= 1.01 / 255 / 0.26


def test_half_precision_is_the_default_and_runs(golden_frames):
    half = VideoLLM.from_pretrained(TINY)
    assert half.model.dtype == torch.float16 and half.device.type == "cuda"
    video = half.watch_frames(golden_frames)
    assert video.tokens.dtype == torch.float16
    assert np.isfinite(video.next_token_logits([open_ended_prompt("why?")]).numpy()).all()


def test_memory_grows_by_the_questions_alone(gpu_llm, golden_frames):
    """30 questions must take less than a second copy of the prefix's keys and values more than one does."""
    video = gpu_llm.watch_frames(golden_frames)
    video.ask(QUESTIONS[0], max_new_tokens=1)
    before = torch.cuda.memory_allocated()
    video.ask(QUESTIONS, max_new_tokens=1)
    assert torch.cuda.memory_allocated() - before < video.prefix_bytes
