"""The other checkpoints of the same classes, as tiny random ones: Mistral, Yi's grouped-query 34B, tied embeddings."""

import pytest
import torch
from conftest import TINY
from transformers import AutoTokenizer, LlamaConfig, LlavaNextConfig, LlavaNextForConditionalGeneration, MistralConfig

from sfllava_core import VideoLLM

SMALL_TEXT = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "vocab_size": 2064,
    "max_position_embeddings": 4096, "pad_token_id": 2001,
}  # fmt: skip
VISION = {
    "model_type": "clip_vision_model", "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 3,
    "num_attention_heads": 2, "image_size": 96, "patch_size": 8,
}  # fmt: skip
FAMILIES = {
    "mistral": MistralConfig(
        **SMALL_TEXT, num_attention_heads=4, num_key_value_heads=2, head_dim=8, sliding_window=None
    ),
    "34b": LlamaConfig(**SMALL_TEXT, num_attention_heads=4, num_key_value_heads=1, head_dim=16),
    "tied": LlamaConfig(**SMALL_TEXT, num_attention_heads=2, num_key_value_heads=2, tie_word_embeddings=True),
}


@pytest.fixture(scope="module", params=FAMILIES)
def family(request, tmp_path_factory):
    """A checkpoint folder of this family, with real files, and its name."""
    folder = tmp_path_factory.mktemp(request.param)
    torch.manual_seed(0)
    text = FAMILIES[request.param]
    config = LlavaNextConfig(
        vision_config=VISION, text_config=text, image_token_index=2000, tie_word_embeddings=text.tie_word_embeddings
    )
    LlavaNextForConditionalGeneration(config).save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(TINY)
    if request.param == "34b":
        tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    tokenizer.save_pretrained(folder)
    return request.param, folder


def test_it_loads_watches_and_answers_the_same_both_ways(family, golden_frames):
    name, folder = family
    llm = VideoLLM.from_pretrained(folder, device="cpu")
    assert llm.prompt_style == {"mistral": "mistral", "34b": "chatml", "tied": "vicuna"}[name]
    assert llm.grid == (12, 12) and llm.image_size == (96, 96)
    video = llm.watch_frames(golden_frames)
    assert video.tokens.shape == (10 * 72 + 50 * 4, 32), "the paper's pathways, scaled to the grid"
    questions = ["why?", "what is it that the man holds?", "who is there?"]
    assert video.ask(questions, max_new_tokens=10) == video.ask(questions, max_new_tokens=10, share_prefix=False)
    shared, plain = (video.choose("which?", ["a", "b"], share_prefix=share).scores for share in (True, False))
    assert shared == pytest.approx(plain, abs=1e-5)


def test_a_sliding_window_is_not_shared_across(tmp_path, golden_frames):
    """Mistral with a window shorter than the video: sharing would drop the prefix, so the plain way is taken."""
    torch.manual_seed(0)
    windowed = MistralConfig(**SMALL_TEXT, num_attention_heads=4, num_key_value_heads=2, head_dim=8, sliding_window=256)
    config = LlavaNextConfig(vision_config=VISION, text_config=windowed, image_token_index=2000)
    model = LlavaNextForConditionalGeneration(config)
    video = VideoLLM(model, AutoTokenizer.from_pretrained(TINY)).watch_frames(golden_frames)
    logits = [video.next_token_logits(["a <image> b"], share_prefix=share) for share in (True, False)]
    torch.testing.assert_close(*logits, atol=0, rtol=0)
    assert video.prefix_bytes == 0


def test_dynamic_rope_keeps_the_checkpoints_own_base(family):
    _, folder = family
    plain, scaled = (VideoLLM.from_pretrained(folder, device="cpu", rope_scaling=f) for f in (1.0, 2.0))
    base = plain.language_model.config.rope_parameters["rope_theta"]
    assert scaled.language_model.config.rope_parameters == {"rope_type": "dynamic", "factor": 2.0, "rope_theta": base}
    torch.testing.assert_close(scaled.language_model.rotary_emb.inv_freq, plain.language_model.rotary_emb.inv_freq)
    assert (plain.max_positions, scaled.max_positions) == (4096, 8192)
