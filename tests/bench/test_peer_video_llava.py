"""Video-LLaVA: every case of its released code, the original tower too, and transformers' own generate."""

import json
import shutil
from pathlib import Path

import peer_cases
import pytest
import torch
from conftest import GRAND_PRIX
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file
from transformers import CLIPImageProcessorPil, VideoLlavaForConditionalGeneration

from sfllava_bench.peers.video_llava import VideoLlava, card_frames, load_video_llava
from sfllava_bench.peers.video_llava_tower import PREFIX, OriginalVideoTower
from sfllava_core.backbones.base import ModelError
from sfllava_core.features import preprocess
from sfllava_core.methods.base import SpecError
from sfllava_core.methods.specs import parse_spec
from sfllava_core.prompts import PromptError

PEER = "video_llava"
CHECKPOINT = peer_cases.checkpoint(PEER)
LOADED: list = []


def loaded():
    """The tiny checkpoint, loaded once."""
    if not LOADED:
        LOADED.append(load_video_llava(CHECKPOINT, device="cpu"))
    return LOADED[0]


def pixels_of(count: int) -> torch.Tensor:
    """The stored frames as the model gets them."""
    llm = loaded()
    return preprocess(VideoLlava().arrange(peer_cases.array(PEER, f"frames{count}"), llm.image_size), llm.image_size)


def check_frames(case):
    assert VideoLlava(case["num_frames"]).sample(case["total"]) == case["indices"]
    assert card_frames(case["total"], case["num_frames"]) == case["hf_card_rule"]


def check_prompt(case):
    """The release writes <image> once a frame where there is one mark here."""
    assert case["mode"] == "llava_v1"
    ours = "".join(VideoLlava().open_ended(case["question"], "vicuna"))
    assert ours.replace("<image>", 8 * "<image>") == case["prompt"]


def check_run(case):
    llm = loaded()
    video = llm.watch_frames(peer_cases.array(PEER, f"frames{case['frames']}"), VideoLlava(case["frames"]))
    assert list(video.tokens.shape) == case["features_shape"]
    ours = peer_cases.rows(video.tokens, case["feature_rows"])
    peer_cases.close(ours, peer_cases.array(PEER, f"{case['name']}_video_features"))
    ids, place = case["input_ids_with_one_video_token"], case["video_position"]
    peer_cases.check_answer(llm, video, case["prompt"].replace("<video>", "<image>"), ids, place, case, PEER)


def check_names(case):
    with safe_open(CHECKPOINT / "model.safetensors", "pt") as file:
        assert sorted(file.keys()) == sorted(case)
    assert loaded()


def check_pixels(case):
    """Pictures against CLIP's own preparation of the same class, and against those that were stored."""
    settings = json.loads((CHECKPOINT / "preprocessor_config.json").read_text())
    processor = CLIPImageProcessorPil(**{k: v for k, v in settings.items() if not k.endswith(("_type", "_class"))})
    for count in (8, 4):
        pixels = pixels_of(count)
        peer_cases.close(pixels[:, :, ::3, ::3], peer_cases.array(PEER, f"pixel_values{count}"), within=1e-6)
        pictures = [Image.fromarray(frame) for frame in peer_cases.array(PEER, f"frames{count}")]
        peer_cases.close(pixels, processor(pictures, return_tensors="np")["pixel_values"], within=1e-6)


def check_towers(case):
    """Layer -2 of frame 0 through each of the two towers: it is the video tower that the frames go through."""
    model, first = loaded().model.model, pixels_of(8)[:1]
    for name in ("video_tower", "image_tower"):
        with torch.inference_mode():
            states = getattr(model, name)(first, output_hidden_states=True).hidden_states
        peer_cases.close(states[-2][0], peer_cases.array(PEER, f"{name}_hidden_minus2"))


def check_original_tower(case):
    tower_folder = peer_cases.checkpoint(PEER, Path(case["weights"]).parent.name)
    tower = OriginalVideoTower(json.loads((tower_folder / Path(case["config"]).name).read_text()))
    weights = load_file(tower_folder / Path(case["weights"]).name)
    assert set(case["weight_names"]) == weights.keys()
    found = tower.load_state_dict({name.removeprefix(PREFIX): weight.float() for name, weight in weights.items()})
    assert not found.missing_keys and not found.unexpected_keys
    with torch.inference_mode():
        states = tower(pixels_of(8))
    peer_cases.close(states[-2], peer_cases.array(PEER, "original_tower_hidden_minus2"))
    peer_cases.close(states[1], peer_cases.array(PEER, "original_tower_hidden_1"))


CHECKS = {
    "frames": check_frames,
    "prompts_released": check_prompt,
    "runs": check_run,
    "weight_names": check_names,
    "pixel_values": check_pixels,
    "single_frame_video_tower": check_towers,
    "original_video_tower": check_original_tower,
}


@peer_cases.each(PEER, CHECKS)
def test_video_llava_does_as_its_released_code(check, case):
    check(case)


def test_all_tokens_are_those_of_plain_transformers():
    runs = peer_cases.content(PEER, peer_cases.OWN)["runs"]
    assert runs
    model = VideoLlavaForConditionalGeneration.from_pretrained(CHECKPOINT, dtype=torch.float32).eval()
    for case in runs:
        video = loaded().watch_frames(peer_cases.array(PEER, f"frames{case['frames']}"), VideoLlava(case["frames"]))
        ours = video.generate([case["prompt"].replace("<video>", "<image>")], max_new_tokens=16)[0].token_ids
        ids, place = case["input_ids_with_one_video_token"], case["video_position"]
        tokens, values = case["n_video_tokens"], {"pixel_values_videos": pixels_of(case["frames"])[None]}
        assert ours == peer_cases.told_by_transformers(model, ids, place, tokens, 16, **values)


def test_a_file_is_watched_in_its_published_way():
    llm = load_video_llava(str(CHECKPOINT), device="cpu")
    assert llm.method == VideoLlava() and llm.prompt_style == "vicuna"
    video = llm.watch(GRAND_PRIX)
    assert video.frames.indices == VideoLlava().sample(video.frames.total)
    assert len(video.tokens) == 8 * 10 == video.method.token_count(8, llm.grid)
    assert video.method.token_frames(8, llm.grid).tolist() == [frame for frame in range(8) for _ in range(10)]
    shared = video.ask(["What is it?", "Who wins?"], max_new_tokens=5)
    assert shared == video.ask(["What is it?", "Who wins?"], max_new_tokens=5, share_prefix=False)
    assert video.choose("Which?", ["a cat", "a dog"]).letter in "AB"


def test_our_own_methods_see_its_patches_without_the_class_token():
    llm = loaded()
    frames = peer_cases.array(PEER, "frames8")
    video = llm.watch_frames(frames, "frames8_slow2-none_fastall-to1x1")
    assert len(video.tokens) == 2 * 9 + 8
    with pytest.raises(SpecError, match="class token"):
        llm.watch_features(torch.zeros(8, 3, 3, llm.dim), VideoLlava())


@pytest.mark.parametrize("text", ["videollava8", "videollava4"])
def test_it_is_read_back_from_its_text(text):
    method = parse_spec(text)
    assert str(method) == text and parse_spec(method.to_json()) == method


def test_what_cannot_be_is_refused(tmp_path):
    with pytest.raises(ModelError, match="no such folder"):
        load_video_llava(tmp_path / "nowhere")
    with pytest.raises(PromptError, match="'chatml'"):
        VideoLlava().open_ended("What?", "chatml")
    with pytest.raises(ValueError, match="plain CLIP"):
        OriginalVideoTower({"add_time_attn": False})
    copy = tmp_path / "copy"
    shutil.copytree(CHECKPOINT, copy)
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"safetensors"):
        load_video_llava(copy, device="cpu")
