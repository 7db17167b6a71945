"""The same promises on a CUDA GPU: `pytest -m gpu`."""

import numpy as np
import pytest
import torch
from conftest import TINY
from test_model import E2E, QUESTIONS, SMALL
from test_shared_attention import HALVES, plain, tensors
from transformers import CLIPVisionConfig, LlamaConfig, LlavaNextConfig, LlavaNextForConditionalGeneration

from sfllava_bench.answers.video_model import model_fingerprint
from sfllava_bench.gpu.exactness import half_precision
from sfllava_bench.gpu.memory import measured_peak
from sfllava_core import ModelShape, VideoLLM, open_ended_prompt, parse_spec, preprocess
from sfllava_core.answering.shared_prefix import attend, flash_is_there
from sfllava_core.checkpoints import load_tokenizer
from sfllava_course.attention import look

pytestmark = pytest.mark.gpu
ON = "cuda"
PROMPTS = [open_ended_prompt(question) for question in QUESTIONS[:8]]


@pytest.fixture(scope="module", autouse=True)
def full_float32():
    """Products and convolutions of float32 in full, so that they compare with the CPU's."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False


@pytest.fixture(scope="module")
def gpu_llm():
    """float32 on the GPU."""
    return VideoLLM.from_pretrained(TINY, device=ON, dtype="float32")


def large_heads(dtype: torch.dtype) -> VideoLLM:
    """34B's kind in small: heads of 128 values, several to a pair of keys and values; random weights in `dtype`."""
    torch.manual_seed(0)
    text = LlamaConfig(
        vocab_size=2064, hidden_size=512, intermediate_size=1024, num_hidden_layers=4, num_attention_heads=8,
        num_key_value_heads=2, head_dim=128, max_position_embeddings=4096,
    )  # fmt: skip
    vision = CLIPVisionConfig(
        hidden_size=64, intermediate_size=128, num_hidden_layers=3, num_attention_heads=4, image_size=336, patch_size=14
    )
    config = LlavaNextConfig(vision_config=vision, text_config=text, image_token_index=2000)
    model = LlavaNextForConditionalGeneration(config)
    with torch.no_grad():
        for name, weight in model.named_parameters():  # logits that differ, attention that is not even
            if weight.ndim == 2:
                weight.mul_(4 if "q_proj" in name or "k_proj" in name or "lm_head" in name else 1.5)
    return VideoLLM(model.to(ON, dtype), load_tokenizer(TINY))


@pytest.mark.parametrize("case", E2E, ids=lambda case: case["name"])
@pytest.mark.parametrize("share_prefix", [True, False])
def test_end_to_end_equals_the_released_code(gpu_llm, golden_frames, case, share_prefix):
    video = gpu_llm.watch_frames(golden_frames[: case["n_frames"]], parse_spec(case["temporal_aggregation"]))
    assert video.tokens.device.type == ON
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
    on_gpu = preprocess(golden_frames, (336, 336), resize="torch", device=ON).cpu()
    exact = preprocess(golden_frames, (336, 336))
    assert (on_gpu - exact).abs().max() <= 1.01 / 255 / 0.26


def test_half_precision_is_the_default_and_runs(golden_frames):
    half = VideoLLM.from_pretrained(TINY)
    assert half.model.dtype == torch.float16 and half.device.type == ON
    video = half.watch_frames(golden_frames)
    assert video.tokens.dtype == torch.float16
    assert np.isfinite(video.next_token_logits([open_ended_prompt("why?")]).numpy()).all()


@pytest.mark.parametrize("dtype", [torch.float32, *HALVES], ids=str)
@pytest.mark.parametrize("kv_heads", [1, 2, 8])
def test_the_merged_attention_is_no_less_exact_than_plain(dtype, kv_heads):
    """Heads of 128 values, grouped and not, left padding, a long prefix; half precision by CUDA's flash kernel."""
    given = [one.to(ON) for one in tensors(heads=8, kv_heads=kv_heads, prefix=3700, head_dim=128, dtype=dtype)]
    if dtype in HALVES and torch.cuda.get_device_capability() >= (8, 0):
        assert flash_is_there(given[0][:1, :kv_heads], given[4][None], given[5][None])
    exact = [one.double() if one.is_floating_point() else one for one in given]
    right = plain(*exact, 0.09)
    errors = [(way(*given, 0.09).double() - right).norm() / right.norm() for way in (attend, plain)]
    assert errors[0] <= 1.5 * errors[1], errors


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_shared_is_no_further_from_float32_than_plain(golden_frames, dtype):
    """And its tokens are plain's up to the first step at which plain's own choice is closer than both errors."""
    half = large_heads(dtype)
    found = half_precision(half, half.encode(golden_frames), PROMPTS)
    assert found.shared <= 1.5 * found.plain, found
    assert not found.clearly, "they part where the choice was clear"


def test_memory_grows_by_the_questions_alone(golden_frames):
    """At its peak. A copy of the prefix for each question, or scores over it, would be several times as much."""
    video = large_heads(torch.float16).watch_frames(golden_frames)
    video.ask(QUESTIONS[0], max_new_tokens=1)
    peaks = []
    for count in (1, 30):
        with measured_peak(torch.device(ON)) as peak:
            video.ask(QUESTIONS[:count], max_new_tokens=1)
        peaks.append(peak.bytes)
    one, many = peaks
    assert many - one < 29 * video.prefix_bytes / 4


def test_weights_come_straight_to_the_gpu():
    llm = VideoLLM.from_pretrained(TINY, device=ON)
    assert {weight.device.type for weight in llm.model.parameters()} == {ON}
    assert llm.model.hf_device_map == {"": torch.device(ON)}


def split_map(second) -> dict[str, object]:
    """Tower, projector, embeddings and the first layer on the first GPU; the other layer, norm and head elsewhere."""
    layers = ModelShape.from_config(VideoLLM.from_pretrained(TINY, device="cpu").model.config).layers
    return {
        "model.vision_tower": 0, "model.multi_modal_projector": 0, "model.image_newline": 0,
        "model.language_model.embed_tokens": 0, "model.language_model.rotary_emb": 0,
        "model.language_model.norm": second, "lm_head": second,
        **{f"model.language_model.layers.{n}": second if n else 0 for n in range(layers)},
    }  # fmt: skip


@pytest.mark.parametrize("second", [1, "cpu"])
def test_a_model_on_several_devices_answers_as_on_one(gpu_llm, golden_frames, second):
    """Two GPUs, or one with the host's memory behind it."""
    if second == 1 and torch.cuda.device_count() < 2:
        pytest.skip("one GPU here")
    llm = VideoLLM.from_pretrained(TINY, device_map=split_map(second), dtype="float32")
    mapped, whole = (one.watch_frames(golden_frames[:8], SMALL) for one in (llm, gpu_llm))
    for share in (True, False):
        answers = [video.ask(QUESTIONS[:3], max_new_tokens=8, share_prefix=share) for video in (mapped, whole)]
        assert answers[0] == answers[1]
    assert model_fingerprint(llm.model) == model_fingerprint(gpu_llm.model)
    looks = [look(video, PROMPTS[0], [5, 6]).weights for video in (mapped, whole)]
    torch.testing.assert_close(*looks, atol=1e-5, rtol=0)


@pytest.mark.parametrize("quantization", ["4bit", "8bit"])
def test_quantized_weights_answer(golden_frames, quantization):
    """The language model's layers alone are quantized."""
    pytest.importorskip("bitsandbytes")
    llm = VideoLLM.from_pretrained(TINY, device=ON, quantization=quantization)
    kinds = {name: type(module).__name__ for name, module in llm.model.named_modules()}
    quantized = {name for name, kind in kinds.items() if kind in ("Linear4bit", "Linear8bitLt")}
    assert quantized and all(name.startswith("model.language_model.layers.") for name in quantized)
    video = llm.watch_frames(golden_frames[:8], SMALL)
    assert video.next_token_logits(PROMPTS).isfinite().all()
    assert len(video.ask(QUESTIONS[:3], max_new_tokens=4)) == 3
