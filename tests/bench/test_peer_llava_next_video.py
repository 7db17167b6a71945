"""LLaVA-NeXT-Video: every case of its released code, and transformers' own generate."""

import json

import numpy as np
import peer_cases
import pytest
import torch
from conftest import GRAND_PRIX
from PIL import Image
from transformers import CLIPImageProcessorPil, LlavaNextVideoConfig, LlavaNextVideoForConditionalGeneration

from sfllava_bench.peers.llava_next_video import STOPS, LlavaNextVideo, later_demo_frames, load_llava_next_video
from sfllava_core.backbones.base import ModelError
from sfllava_core.features import preprocess
from sfllava_core.methods.base import SpecError
from sfllava_core.methods.specs import parse_spec
from sfllava_core.prompts import PromptError

PEER = "llava_next_video"
CHECKPOINT = peer_cases.checkpoint(PEER)
STYLES = {"vicuna_v1": "vicuna", "mistral_direct": "chatml"}
LOADED: dict[float, object] = {}


def loaded(rope: float):
    """The tiny checkpoint, at one RoPE scaling; each is loaded once."""
    if rope not in LOADED:
        LOADED[rope] = load_llava_next_video(CHECKPOINT, device="cpu", rope_scaling=rope)
    return LOADED[rope]


def check_frames(case):
    assert LlavaNextVideo(case["num_frames"]).sample(case["total"]) == case["indices"]


def check_demo_frames(case):
    assert later_demo_frames(case["total"], case["fps"], case["num_frames"]) == case["indices"]


def check_prompt(case):
    assert "".join(LlavaNextVideo().open_ended(case["question"], STYLES[case["mode"]])) == case["prompt"]


def check_stops(case):
    assert {mode: STOPS[STYLES[mode]] for mode in case} == case


def check_rope(case):
    assert case["tokens"] == LlavaNextVideo(case["frames"], case["stride"]).token_count()
    assert LlavaNextVideo(case["frames"], case["stride"]).rope_factor() == case["factor"]


def check_pooling(case):
    stored = torch.from_numpy(peer_cases.array(PEER, f"pool_{case['name']}_in")).float()
    expected = torch.from_numpy(peer_cases.array(PEER, f"pool_{case['name']}_out"))
    method, side = LlavaNextVideo(stride=case["stride"], mode=case["mode"]), case["side"]
    pooled = method.pool_patches(stored.unflatten(1, (side, side))).flatten(1, 2)
    assert pooled.shape[1] == case["tokens_out"]
    torch.testing.assert_close(pooled, expected, rtol=0, atol=1e-5)
    assert method.token_count(1, (side, side)) == case["tokens_out"]


def rope_of(case) -> float:
    """2.5 is what the config says; "rope1" is none."""
    return float(case["name"].rpartition("rope")[2])


def check_run(case):
    llm = loaded(rope_of(case))
    if "inv_freq_layer" in case:
        found = llm.language_model.rotary_emb.inv_freq
        torch.testing.assert_close(found, torch.tensor(case["inv_freq_layer"]), rtol=1e-6, atol=0)
    video = llm.watch_frames(peer_cases.array(PEER, f"frames{case['frames']}"), LlavaNextVideo(case["frames"]))
    assert list(video.tokens.shape) == case["features_shape"]
    peer_cases.close(
        peer_cases.rows(video.tokens, case["feature_rows"]), peer_cases.array(PEER, f"{case['name']}_video_features")
    )
    prompt = case["prompt"].replace("<video>", "<image>")
    ids, place = case["input_ids_with_one_video_token"], case["video_position"]
    peer_cases.check_answer(llm, video, prompt, ids, place, case, PEER)


def check_names(case):
    """The checkpoint has these names, and is loaded without one too many or too few (it would be refused)."""
    from safetensors import safe_open

    with safe_open(CHECKPOINT / "model.safetensors", "pt") as file:
        assert sorted(file.keys()) == sorted(case)
    assert loaded(2.0)


def check_pixels(case):
    """Pictures against CLIP's own preparation of the same class, and against those that were stored."""
    llm = loaded(2.0)
    for count in (32, 8):
        frames, stored = peer_cases.array(PEER, f"frames{count}"), peer_cases.array(PEER, f"pixel_values{count}")
        pixels = preprocess(LlavaNextVideo().arrange(frames, llm.image_size), llm.image_size)
        ours = pixels[:: len(pixels) // len(stored), :, ::4, ::4]
        torch.testing.assert_close(ours, torch.from_numpy(stored), rtol=0, atol=1e-6)
        settings = json.loads((CHECKPOINT / "preprocessor_config.json").read_text())
        processor = CLIPImageProcessorPil(**{k: v for k, v in settings.items() if not k.endswith(("_type", "_class"))})
        plain = processor([Image.fromarray(frame) for frame in frames], return_tensors="pt")["pixel_values"]
        torch.testing.assert_close(pixels, plain, rtol=0, atol=1e-6)


CHECKS = {
    "frames": check_frames,
    "frames_later_demo_rule": check_demo_frames,
    "prompts_released": check_prompt,
    "stop_strings": check_stops,
    "rope_factor_rule": check_rope,
    "pooling": check_pooling,
    "runs": check_run,
    "weight_names": check_names,
    "pixel_values": check_pixels,
}


@peer_cases.each(PEER, CHECKS)
def test_llava_next_video_does_as_its_released_code(check, case):
    check(case)


def told_by_transformers(case, rope: dict, new_tokens: int = 16) -> list[int]:
    """New ids of transformers' own `generate`, of a model loaded by itself."""
    config = LlavaNextVideoConfig.from_pretrained(CHECKPOINT)
    config.text_config.rope_parameters = rope
    model = LlavaNextVideoForConditionalGeneration.from_pretrained(
        CHECKPOINT, config=config, dtype=torch.float32
    ).eval()
    frames = peer_cases.array(PEER, f"frames{case['frames']}", peer_cases.OWN)
    pictures = preprocess(LlavaNextVideo().arrange(frames, (56, 56)), (56, 56))
    ids, place = case["input_ids_with_one_video_token"], case["video_position"]
    tokens, values = case["n_video_tokens"], {"pixel_values_videos": pictures[None]}
    return peer_cases.told_by_transformers(model, ids, place, tokens, new_tokens, **values)


def test_all_tokens_are_those_of_plain_transformers():
    runs = [case for case in peer_cases.content(PEER, peer_cases.OWN)["runs"] if rope_of(case) == 2]
    assert runs
    for case in runs:
        rope = {"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0}
        frames = peer_cases.array(PEER, f"frames{case['frames']}", peer_cases.OWN)
        video = loaded(2.0).watch_frames(frames, LlavaNextVideo(case["frames"]))
        ours = video.generate([case["prompt"].replace("<video>", "<image>")], max_new_tokens=16)[0].token_ids
        assert ours == told_by_transformers(case, rope)


def test_past_the_models_own_positions_all_questions_share_the_video():
    """4096 positions are trained; with linear scaling the shared prefix is as exact behind them as before."""
    llm = loaded(2.0)
    frames = np.random.default_rng(0).integers(0, 255, (1050, 20, 20, 3), dtype=np.uint8)
    video = llm.watch_frames(frames, LlavaNextVideo(1050))
    assert len(video.tokens) == 4200
    prompts = [video.method.open_ended(question, "vicuna") for question in ("What is it?", "Who comes in first?")]
    plain = video.next_token_logits(prompts, share_prefix=False)
    assert video.prefix_bytes == 0
    torch.testing.assert_close(video.next_token_logits(prompts), plain, rtol=0, atol=1e-4)
    assert video.prefix_bytes > 0


def test_a_file_is_watched_in_its_published_way():
    llm = load_llava_next_video(str(CHECKPOINT), device="cpu")
    assert llm.method == LlavaNextVideo(32, 2) and llm.max_positions == 8192
    assert llm.language_model.config.rope_parameters["factor"] == 2.0, "not the config's 2.5"
    video = llm.watch(GRAND_PRIX)
    assert video.frames.indices == LlavaNextVideo().sample(video.frames.total)
    assert len(video.tokens) == 32 * 4 == video.method.token_count(32, llm.grid)
    assert llm.watch_frames(video.frames).ask("What is it?", max_new_tokens=4) == video.ask(
        "What is it?", max_new_tokens=4
    )
    assert video.method.token_frames(32, llm.grid).tolist() == [frame for frame in range(32) for _ in range(4)]


def test_a_choice_is_asked_in_the_models_own_chat():
    before, after = LlavaNextVideo().multiple_choice("What is it?", ["a cat", "a dog"], "vicuna")
    assert before == LlavaNextVideo().open_ended("", "vicuna")[0]
    assert after == ("What is it?\nOptions:\n(A) a cat\n(B) a dog\nOnly give the best option. ASSISTANT: Best option:(")
    with pytest.raises(PromptError, match="'mistral'"):
        LlavaNextVideo().open_ended("What is it?", "mistral")


@pytest.mark.parametrize("text", ["llavanextvideo32", "llavanextvideo8_stride4", "llavanextvideo8_max"])
def test_it_is_read_back_from_its_text(text):
    method = parse_spec(text)
    assert str(method) == text and parse_spec(method.to_json()) == method


def changed(folder, tmp_path, **settings):
    """A copy of a checkpoint with another config."""
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    config = {**json.loads((copy / "config.json").read_text()), **settings}
    (copy / "config.json").write_text(json.dumps(config))
    return copy


def test_an_early_revision_calls_itself_llava_next(tmp_path):
    llm = load_llava_next_video(changed(CHECKPOINT, tmp_path, model_type="llava_next"), device="cpu")
    assert type(llm.model) is LlavaNextVideoForConditionalGeneration


def test_what_is_not_as_published_is_refused(tmp_path):
    with pytest.raises(ModelError, match="'conv'"):
        load_llava_next_video(changed(CHECKPOINT, tmp_path, spatial_pool_mode="conv"), device="cpu")
    with pytest.raises(ValueError, match=r"rope_scaling=0\.5"):
        load_llava_next_video(CHECKPOINT, device="cpu", rope_scaling=0.5)
    with pytest.raises(ModelError, match="no such folder"):
        load_llava_next_video(tmp_path / "nowhere")
    with pytest.raises(SpecError, match="'min'"):
        LlavaNextVideo(mode="min")
    with pytest.raises(ValueError, match="at least 1 frame"):
        LlavaNextVideo().sample(0)
