"""LLaVA-1.5 and LLaVA-OneVision as tiny random checkpoints, against plain transformers code."""

import json
import logging

import pytest
import torch
from conftest import TINY
from einops import rearrange
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AutoTokenizer,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
    MistralConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
)

from sfllava_core import FreeVA, ImageGrid, ModelError, SlowFast, SpecError, TSLLaVA, VideoLLM
from sfllava_core.features import CLIP_MEAN, CLIP_STD, normalize, resize_frames
from sfllava_core.prompts import tokenize_prompt

TEXT = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "max_position_embeddings": 4096}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2}
TOWER = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2}
CLIP = {"model_type": "clip_vision_model", "image_size": 96, "patch_size": 8, **TOWER}
SIGLIP = {"model_type": "siglip_vision_model", "image_size": 384, "patch_size": 14, "vision_use_head": False, **TOWER}
CLASSES = {"llava": LlavaForConditionalGeneration, "llava_onevision": LlavaOnevisionForConditionalGeneration}


def qwen_like_tokenizer() -> PreTrainedTokenizerFast:
    """Bytes as tokens and ChatML's marks; no beginning-of-sequence token, as Qwen2's."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={letter: number for number, letter in enumerate(letters)}, merges=[]))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<image>"])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>")


def save_llava(folder, **changes):
    """LLaVA-1.5's sizes in small: a CLIP tower of 12 x 12 patches, Llama; no preprocessor file."""
    torch.manual_seed(0)
    fields = {"vision_config": CLIP, "text_config": LlamaConfig(vocab_size=2064, **TEXT, **HEADS), **changes}
    LlavaForConditionalGeneration(LlavaConfig(image_token_index=2000, **fields)).save_pretrained(folder)
    AutoTokenizer.from_pretrained(TINY).save_pretrained(folder)
    return folder


def save_onevision(folder, **changes):
    """LLaVA-OneVision's: a SigLIP tower of 27 x 27 patches, Qwen2, its own mean and deviation of colours."""
    torch.manual_seed(0)
    text = Qwen2Config(vocab_size=272, eos_token_id=258, **TEXT, **HEADS)
    fields = {"vision_config": SIGLIP, "text_config": text, **changes}
    LlavaOnevisionForConditionalGeneration(LlavaOnevisionConfig(image_token_index=259, **fields)).save_pretrained(
        folder
    )
    qwen_like_tokenizer().save_pretrained(folder)
    statistics = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
    (folder / "preprocessor_config.json").write_text(json.dumps(statistics))
    return folder


SAVE = {"llava": save_llava, "llava_onevision": save_onevision}


@pytest.fixture(scope="module", params=SAVE)
def family(request, tmp_path_factory):
    """The family's name, a checkpoint folder of it, and the loaded `VideoLLM`."""
    folder = SAVE[request.param](tmp_path_factory.mktemp(request.param))
    return request.param, folder, VideoLLM.from_pretrained(folder, device="cpu")


def plain(name, folder):
    """transformers' own model, with no part of this kit."""
    return CLASSES[name].from_pretrained(folder, dtype=torch.float32).eval()


def test_sizes_and_prompts_come_from_the_checkpoint(family):
    name, _, llm = family
    expected = {
        "llava": ((12, 12), (96, 96), "vicuna", tuple(CLIP_MEAN), tuple(CLIP_STD)),
        "llava_onevision": ((27, 27), (384, 384), "chatml", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    }
    assert (llm.grid, llm.image_size, llm.prompt_style, llm.image_mean, llm.image_std) == expected[name]
    assert (llm.backbone.newline is None) == (name == "llava")


def test_features_equal_transformers_own(family, golden_frames):
    name, folder, llm = family
    frames = golden_frames[:3]
    values = normalize(torch.from_numpy(resize_frames(frames, llm.image_size)), llm.image_mean, llm.image_std)
    model = plain(name, folder).model
    with torch.inference_mode():
        if name == "llava":
            features = torch.stack(list(model.get_image_features(values).pooler_output))
        else:  # several pictures of one prompt: one view each, and a newline after it, which is left out here
            views, sizes = values[:, None], torch.tensor([llm.image_size] * len(values))
            found = model.get_image_features(views, sizes, batch_num_images=torch.tensor([len(values)])).pooler_output
            features = torch.stack([one[: llm.grid[0] * llm.grid[1]] for one in found])
    got = rearrange(llm.encode(frames), "t h w d -> t (h w) d")
    torch.testing.assert_close(got, features, rtol=1e-5, atol=1e-5)


def test_logits_and_greedy_tokens_equal_transformers_own(family, golden_frames):
    """Visual tokens put in by hand, then `generate`; both ways of this kit give the same."""
    name, folder, llm = family
    video = llm.watch_frames(golden_frames[:4], "frames4_slow1-none_fastall-to3x3")
    pieces = [video.method.open_ended(text, llm.prompt_style) for text in ("What is there?", "who?")]
    model = plain(name, folder)
    for pair in pieces:
        ids = tokenize_prompt("".join(pair), llm.tokenizer)
        place, embed = ids.index(-200), model.get_input_embeddings()
        before, after = (embed(torch.tensor(part)) for part in (ids[:place], ids[place + 1 :]))
        with torch.inference_mode():
            whole = torch.cat([before, video.tokens, after])[None]
            expected = model(inputs_embeds=whole).logits[0, -1]
            tokens = model.generate(
                inputs_embeds=whole, attention_mask=torch.ones(whole.shape[:2]), max_new_tokens=12, do_sample=False
            )[0]
        for share in (True, False):
            logits = video.next_token_logits([pair], share_prefix=share)[0]
            torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)
            answer = video.generate([pair], max_new_tokens=12, share_prefix=share)[0].token_ids
            assert answer == [token for token in tokens.tolist() if token not in llm.stop_ids] and answer


def test_the_default_method_is_the_papers_in_proportion(family, golden_frames, caplog):
    name, folder, llm = family
    method = "frames50_slow10-max1x2_fastall-to2x2" if name == "llava" else "frames50_slow10-max1x3_fastall-to5x5"
    assert str(llm.method) == method
    video = llm.watch_frames(golden_frames[:10])
    assert len(video.tokens) == {"llava": 10 * 72 + 10 * 4, "llava_onevision": 10 * 243 + 10 * 25}[name]
    assert video.choose("which?", ["a", "b"]).letter in "AB"
    with caplog.at_level(logging.WARNING):
        VideoLLM.from_pretrained(folder, device="cpu")
    assert f"the default method is {method}, in proportion to {SlowFast()}" in caplog.text


def test_a_pool_that_does_not_divide_is_refused_with_one_that_does(family):
    name, _, llm = family
    if name == "llava_onevision":
        scaled = "in proportion to this grid it is frames50_slow10-max1x3_fastall-to5x5"
        with pytest.raises(SpecError, match=rf"max1x2 does not fit a grid of 27 x 27.*{scaled}"):
            llm.checked_method(SlowFast())
        with pytest.raises(SpecError, match="does not fit a grid of 27 x 27"):
            llm.checked_method("freeva8-D2")
    else:
        assert llm.checked_method(SlowFast()) == SlowFast()


@pytest.mark.parametrize("method", [FreeVA(2), FreeVA(2, pad=True), TSLLaVA(6, 200)], ids=str)
def test_rivals_run_on_it(family, golden_frames, method):
    _, _, llm = family
    video = llm.watch_frames(golden_frames[: method.num_frames], method)
    assert len(video.tokens) == method.token_count(grid=llm.grid)
    assert isinstance(video.ask("What is there?", max_new_tokens=3), str)


def test_an_image_grid_needs_the_vector_for_a_rows_end(family, golden_frames):
    name, _, llm = family
    if name == "llava":
        with pytest.raises(
            SpecError, match=r"grid3x2_tiles2x2 needs the model's image_newline .* 'llava' model, has none"
        ):
            llm.checked_method(ImageGrid())
        return
    features = torch.randn(5, 27, 27, llm.dim)
    packed, _ = llm.model.model.pack_image_features(
        [features.flatten(1, 2)], torch.tensor([[768, 768]]), llm.backbone.newline, "anyres_max_9"
    )
    torch.testing.assert_close(llm.watch_features(features, ImageGrid()).tokens, packed[0])


def test_dynamic_rope_acts_past_the_own_positions_only(family, golden_frames):
    _, folder, llm = family
    off = VideoLLM.from_pretrained(folder, device="cpu", rope_scaling=1.0)
    assert (off.max_positions, llm.max_positions) == (4096, 8192)
    logits = [one.watch_frames(golden_frames[:2], FreeVA(2)).next_token_logits(["a <image> b"]) for one in (off, llm)]
    torch.testing.assert_close(*logits, rtol=0, atol=0)


YARN = {"rope_type": "yarn", "factor": 4.0, "rope_theta": 1e4, "original_max_position_embeddings": 4096}
REFUSED = {
    "a SigLIP tower in LLaVA-1.5": ("llava", {"vision_config": SIGLIP}, "'siglip_vision_model'; this kit needs a CLIP"),
    "a CLS token": ("llava", {"vision_feature_select_strategy": "full"}, "no CLS token"),
    "a CLIP tower in OneVision": ("llava_onevision", {"vision_config": CLIP}, "this kit needs a SigLIP tower"),
    "a patch left out": ("llava_onevision", {"vision_feature_select_strategy": "default"}, "this kit needs 'full'"),
    "another RoPE": (
        "llava_onevision",
        {"text_config": Qwen2Config(vocab_size=272, rope_parameters=YARN, **TEXT, **HEADS)},
        "its RoPE is 'yarn'",
    ),
}


@pytest.mark.parametrize(("name", "changes", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_used_is_refused(tmp_path, name, changes, message):
    with pytest.raises(ModelError, match=message):
        VideoLLM.from_pretrained(SAVE[name](tmp_path, **changes), device="cpu")


def test_what_a_siglip_tower_does_not_give_is_refused(family, golden_frames, monkeypatch):
    name, _, llm = family
    if name == "llava_onevision":
        monkeypatch.setattr(FreeVA, "wants", ("class_attention",))
        with pytest.raises(ModelError, match="needs class_attention of the vision tower"):
            llm.watch_frames(golden_frames[:1], FreeVA(1))


def test_llava_on_mistral_asks_as_mistral(tmp_path):
    text = MistralConfig(vocab_size=2064, head_dim=8, sliding_window=None, **TEXT, **HEADS)
    assert VideoLLM.from_pretrained(save_llava(tmp_path, text_config=text), device="cpu").prompt_style == "mistral"
