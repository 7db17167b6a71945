"""NaN and infinity are no answers: they stop the work at the first video, and say what to do."""

import shutil

import pytest
import torch
from conftest import SMALL, TINY
from safetensors.torch import load_file, save_file

from sfllava_core import ModelError, VideoLLM


def damaged(folder, part: str) -> VideoLLM:
    """The tiny checkpoint with one NaN in the weights of that name."""
    copy = shutil.copytree(TINY, folder / "tiny")
    weights = load_file(copy / "model.safetensors")
    (name,) = (name for name in weights if name.endswith(part))
    weights[name].view(-1)[7] = float("nan")
    save_file(weights, copy / "model.safetensors", {"format": "pt"})
    return VideoLLM.from_pretrained(copy, device="cpu")


@pytest.mark.parametrize("part", ["patch_embedding.weight", "multi_modal_projector.linear_1.weight"])
def test_damaged_weights_before_the_language_model_stop_at_the_features(tmp_path, golden_frames, part):
    llm = damaged(tmp_path, part)
    for act in (llm.encode, lambda frames: llm.watch_frames(frames, SMALL)):
        with pytest.raises(ModelError, match=r"its frame features hold NaN or infinity; its weights may be damaged"):
            act(golden_frames[:8])


@pytest.mark.parametrize("part", ["lm_head.weight", "layers.1.mlp.gate_proj.weight", "layers.0.mlp.up_proj.weight"])
def test_damaged_weights_of_the_language_model_stop_at_the_first_logits(tmp_path, golden_frames, part):
    llm = damaged(tmp_path, part)
    video = llm.watch_frames(golden_frames[:8], SMALL)
    for act in (
        lambda: video.ask("why?", max_new_tokens=1),
        lambda: video.ask("why?", max_new_tokens=1, share_prefix=False),
        lambda: video.choose("which?", ["a", "b"]),
        lambda: video.choose("which?", ["a", "b"], by="generation"),
    ):
        with pytest.raises(ModelError, match="its logits hold NaN or infinity; its weights may be damaged"):
            act()


def test_what_goes_wrong_at_a_later_step_is_seen_there(llm, small_video):
    calls = []

    def spoil(module, inputs, logits):
        calls.append(len(logits))
        return logits.fill_(float("nan")) if len(calls) == 3 else logits

    hook = llm.model.lm_head.register_forward_hook(spoil)
    try:
        with pytest.raises(ModelError, match="logits"):
            small_video.ask(["why?", "what is it?"], max_new_tokens=8)
    finally:
        hook.remove()
    assert calls == [2, 2, 2]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_features_that_are_given_are_looked_at(llm, bad):
    features = torch.zeros(8, 24, 24, 64)
    features[3, 5, 7, 11] = bad
    with pytest.raises(ModelError, match="its frame features hold NaN or infinity"):
        llm.watch_features(features, SMALL)


def test_what_overflows_in_float16_says_so():
    """Finite in float32, infinite in the model's dtype."""
    half, features = VideoLLM.from_pretrained(TINY, device="cpu", dtype="float16"), torch.full((8, 24, 24, 64), 7e4)
    with pytest.raises(ModelError, match="float16 ends at 65504: give dtype='bfloat16' or 'float32'"):
        half.watch_features(features, SMALL)
    assert len(VideoLLM.from_pretrained(TINY, device="cpu").watch_features(features, SMALL).tokens) == 320
