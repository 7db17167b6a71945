"""Loading: what is accepted, what is refused and how, and that nothing is downloaded by mistake."""

import json
import shutil

import pytest
import torch
from conftest import TINY
from safetensors.torch import load_file, save_file

from sfllava_core import ModelError, VideoLLM
from sfllava_core.checkpoints import checked_source, guess_prompt_style, pick_dtype


@pytest.fixture()
def copy(tmp_path):
    """A copy of the tiny checkpoint that a test may change."""
    return shutil.copytree(TINY, tmp_path / "tiny")


def edit_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_the_checkpoint_tells_its_sizes(llm):
    assert (llm.grid, llm.image_size, llm.dim, llm.max_positions) == ((24, 24), (336, 336), 64, 8192)
    assert llm.model.dtype == torch.float32 and not llm.model.training


@pytest.mark.parametrize("source", ["data/no_such_model", "./here", "/nowhere/at/all", "~/models/x", "just-a-name"])
def test_a_mistyped_path_is_not_a_download(source, monkeypatch):
    monkeypatch.chdir(TINY.parents[1])
    with pytest.raises(ModelError, match="no such folder"):
        VideoLLM.from_pretrained(source)


def test_only_a_hub_id_may_download(monkeypatch):
    monkeypatch.chdir(TINY.parents[1])
    assert checked_source("llava-hf/llava-v1.6-vicuna-7b-hf") is False
    assert checked_source("data/tiny") is True


def test_another_kind_of_model_is_refused(copy):
    edit_config(copy, model_type="llava")
    with pytest.raises(ModelError, match="'llava' model; this kit needs 'llava_next'"):
        VideoLLM.from_pretrained(copy)


def test_keeping_the_cls_token_is_refused(copy):
    edit_config(copy, vision_feature_select_strategy="full")
    with pytest.raises(ModelError, match="no CLS token"):
        VideoLLM.from_pretrained(copy)


def test_weights_must_be_safetensors(copy):
    weights = load_file(copy / "model.safetensors")
    torch.save(weights, copy / "pytorch_model.bin")
    (copy / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="cannot be loaded"):
        VideoLLM.from_pretrained(copy)


def test_missing_weights_are_not_filled_in_at_random(copy):
    weights = load_file(copy / "model.safetensors")
    gone = next(name for name in weights if "layers.1.self_attn.q_proj" in name)
    save_file(
        {name: tensor for name, tensor in weights.items() if name != gone}, copy / "model.safetensors", {"format": "pt"}
    )
    with pytest.raises(ModelError, match=r"1 weights are missing, first .*q_proj"):
        VideoLLM.from_pretrained(copy)


@pytest.mark.parametrize("damage", ["cut weights", "no tokenizer", "no config", "wrong shape"])
def test_damaged_checkpoints_are_model_errors(copy, damage):
    if damage == "cut weights":
        path = copy / "model.safetensors"
        path.write_bytes(path.read_bytes()[:100_000])
    elif damage == "no tokenizer":
        for path in copy.glob("tokenizer*"):
            path.unlink()
    elif damage == "no config":
        (copy / "config.json").unlink()
    else:
        config = json.loads((copy / "config.json").read_text())
        edit_config(copy, text_config={**config["text_config"], "intermediate_size": 64})
    with pytest.raises(ModelError, match="cannot be loaded"):
        VideoLLM.from_pretrained(copy)


def test_the_recorded_prompt_style_is_taken(copy):
    edit_config(copy, video_prompt_style="chatml")
    assert VideoLLM.from_pretrained(copy, device="cpu").prompt_style == "chatml"
    assert VideoLLM.from_pretrained(copy, device="cpu", prompt_style="vicuna").prompt_style == "vicuna"


def test_the_prompt_style_is_guessed_from_vocabulary_and_class(llm):
    class Vocabulary:
        def get_vocab(self):
            return {"<|im_start|>": 7}

    assert guess_prompt_style(llm.model.config, Vocabulary()) == "chatml"
    assert guess_prompt_style(llm.model.config, llm.tokenizer) == "vicuna"


def test_image_statistics_are_the_checkpoints_own(copy):
    settings = json.loads((copy / "clip_vit_l14_336_preprocessor_config.json").read_text())
    (copy / "preprocessor_config.json").write_text(json.dumps({**settings, "image_mean": [0.1, 0.2, 0.3]}))
    assert VideoLLM.from_pretrained(copy, device="cpu").image_mean == (0.1, 0.2, 0.3)


def test_dtype_auto_is_half_on_gpus_and_float32_on_the_cpu():
    assert pick_dtype("auto", torch.device("cpu")) == torch.float32
    assert pick_dtype("auto", torch.device("cuda")) == torch.float16
    assert pick_dtype("bfloat16", torch.device("cpu")) == torch.bfloat16
    with pytest.raises(ValueError, match="torch dtype"):
        pick_dtype("half-ish", torch.device("cpu"))


def test_bfloat16_runs_on_the_cpu(golden_frames):
    half = VideoLLM.from_pretrained(TINY, device="cpu", dtype="bfloat16")
    video = half.watch(golden_frames[:3])
    assert video.tokens.dtype == torch.bfloat16
    assert isinstance(video.ask(["what?", "who is it then?"], max_new_tokens=3), list)


def test_device_map_loads_and_answers_the_same(llm, golden_frames):
    mapped = VideoLLM.from_pretrained(TINY, device_map={"": "cpu"}, dtype="float32")
    answers = [model.watch(golden_frames[:3]).ask("what is it?", max_new_tokens=6) for model in (llm, mapped)]
    assert answers[0] == answers[1]


def test_quantization_needs_its_package():
    with pytest.raises(ValueError, match="'4bit' or '8bit'"):
        VideoLLM.from_pretrained(TINY, quantization="2bit")
    if not shutil.which("nvidia-smi"):
        with pytest.raises(ModelError, match="pip install bitsandbytes"):
            VideoLLM.from_pretrained(TINY, quantization="4bit")
