"""RoPE scaling of both types, against transformers' own."""

import pytest
import torch
from conftest import TINY
from transformers import AutoConfig, LlavaNextForConditionalGeneration

from sfllava_core import ContextError, VideoLLM, open_ended_prompt, uniform
from sfllava_core.answering.sharing import encode_prompt, exact_positions

QUESTIONS = ["What is there?", "Why does the car stop?"]
SHORT, LONG = uniform(8, (4, 4)), uniform(32, (12, 12))  # 128 tokens; 4,608, past the model's own 4,096 positions


@pytest.fixture(scope="module")
def linear() -> VideoLLM:
    return VideoLLM.from_pretrained(TINY, device="cpu", rope_type="linear")


@pytest.fixture(scope="module")
def theirs() -> LlavaNextForConditionalGeneration:
    """transformers' model, told of linear scaling in its own words."""
    config = AutoConfig.from_pretrained(TINY)
    config.text_config.rope_parameters = {"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0}
    return LlavaNextForConditionalGeneration.from_pretrained(TINY, config=config, dtype=torch.float32).eval()


def test_linear_rope_divides_every_position(llm, linear):
    assert linear.language_model.config.rope_parameters == {"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0}
    halved = linear.language_model.rotary_emb.inv_freq * 2
    torch.testing.assert_close(halved, llm.language_model.rotary_emb.inv_freq)
    assert linear.max_positions == llm.max_positions == 8192


@pytest.mark.parametrize("method", [SHORT, LONG], ids=["short", "long"])
@pytest.mark.parametrize("share_prefix", [True, False])
def test_answers_equal_transformers_within_and_past_its_own_positions(
    linear, theirs, golden_frames, method, share_prefix
):
    video = linear.watch_frames(golden_frames[: method.num_frames], method)
    prompts = [open_ended_prompt(question) for question in QUESTIONS]
    ours = video.generate(prompts, max_new_tokens=6, share_prefix=share_prefix)
    for prompt, answer in zip(prompts, ours):
        encoded = encode_prompt(prompt, linear.tokenizer)
        embeddings = video.sharing.embeddings(encoded.before, encoded.after)[None]
        mask = torch.ones(embeddings.shape[:2], dtype=torch.long)
        out = theirs.generate(inputs_embeds=embeddings, attention_mask=mask, max_new_tokens=6, do_sample=False)
        assert answer.token_ids == out[0].tolist()
    assert bool(video.prefix_bytes) == share_prefix, "a key depends on its place alone, so all lengths may share"


def test_the_two_types_give_other_logits_where_linear_acts_and_dynamic_does_not(llm, linear, golden_frames):
    prompt = [open_ended_prompt(QUESTIONS[0])]
    logits = [one.watch_frames(golden_frames[:8], SHORT).next_token_logits(prompt) for one in (llm, linear)]
    assert (logits[0] - logits[1]).abs().max() > 1e-3


def test_shared_prefixes_are_exact_so_far(llm, linear):
    assert exact_positions(llm.language_model.config) == 4096
    assert exact_positions(linear.language_model.config) == 8192


def test_a_factor_of_one_is_no_scaling_of_either_type(llm, golden_frames):
    off = VideoLLM.from_pretrained(TINY, device="cpu", rope_scaling=1.0, rope_type="linear")
    assert off.language_model.config.rope_parameters == {"rope_type": "default", "rope_theta": 10000.0}
    with pytest.raises(ContextError, match="leave no room in the 4096 positions"):
        off.watch_frames(golden_frames[:32], LONG)


def test_an_unknown_type_is_refused():
    with pytest.raises(ValueError, match="rope_type='yarn': choose one of dynamic, linear"):
        VideoLLM.from_pretrained(TINY, rope_type="yarn")
