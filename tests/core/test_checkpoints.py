"""Loading: what is accepted, what is refused and how, and that nothing is downloaded by mistake."""

import json
import os
import shutil
import subprocess
import sys

import pytest
import torch
from conftest import ROOT, TINY
from safetensors.torch import load_file, save_file
from transformers import LlavaNextForConditionalGeneration
from transformers.quantizers.quantizers_utils import should_convert_module
from transformers.utils import logging as progress

from sfllava_core import ModelError, VideoLLM, checkpoints, tokenizing
from sfllava_core.checkpoints import checked_source, loading, pick_device, pick_dtype, prompt_style_of


@pytest.fixture()
def copy(tmp_path):
    """A copy of the tiny checkpoint that a test may change."""
    return shutil.copytree(TINY, tmp_path / "tiny")


def edit_config(folder, file="config.json", **changes):
    path = folder / file
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
    edit_config(copy, model_type="vipllava")
    with pytest.raises(ModelError, match="'vipllava' model; this kit needs 'llava_next'"):
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

    assert prompt_style_of(llm.model.config, Vocabulary()) == "chatml"
    assert prompt_style_of(llm.model.config, llm.tokenizer) == "vicuna"


EVERY_ENTRY = """
import sys
from sfllava_core import VideoLLM, parse_spec
from sfllava_bench.runs.forecast import shape_of
from sfllava_bench.runs.experiments import model_grid
from sfllava_bench.runs.preflight import check_memory
from sfllava_core.checkpoints import load_tokenizer

spec, folder = parse_spec("frames4_slow2-max2x2_fastall-to2x2"), sys.argv[1]
for enter in (VideoLLM.from_pretrained, shape_of, model_grid, lambda path: check_memory(path, spec), load_tokenizer):
    try:
        enter(folder)
        print("loaded")
    except Exception as error:
        print(type(error).__name__, error)
"""


def test_code_that_comes_with_a_checkpoint_never_runs_whoever_says_yes(copy, tmp_path):
    """transformers asks on the terminal whether to run it; `echo y |` would be a yes."""
    marker = tmp_path / "it ran"
    (copy / "own.py").write_text(
        f"open({str(marker)!r}, 'w').close()\n"
        "from transformers import PretrainedConfig, PreTrainedTokenizerFast\n"
        "class OwnConfig(PretrainedConfig):\n    model_type = 'own'\n"
        "class OwnTokenizer(PreTrainedTokenizerFast):\n    pass\n"
    )
    edit_config(copy, model_type="own", auto_map={"AutoConfig": "own.OwnConfig"})
    own = ["own.OwnTokenizer", "own.OwnTokenizer"]
    edit_config(copy, "tokenizer_config.json", tokenizer_class="OwnTokenizer", auto_map={"AutoTokenizer": own})
    done = subprocess.run(
        [sys.executable, "-c", EVERY_ENTRY, copy], input="y\n" * 9, capture_output=True, text=True, cwd=ROOT,
        timeout=240, env={**os.environ, "HF_HOME": str(tmp_path / "cache")},
    )  # fmt: skip
    assert not marker.exists(), "the checkpoint's code ran"
    lines = done.stdout.splitlines()
    assert len(lines) == 5, done.stdout + done.stderr
    assert all(line.startswith("ModelError") and "which this kit never does" in line for line in lines), done.stdout


def test_a_config_cannot_name_an_attention_kernel_to_be_downloaded(copy):
    edit_config(copy, attn_implementation="kernels-community/flash-attn")
    model = VideoLLM.from_pretrained(copy, device="cpu").model
    assert model.model.vision_tower.config._attn_implementation == "sdpa"


def test_without_tokenizer_json_the_missing_file_is_named(copy, monkeypatch):
    """A tokenizer.model lies beside it; without SentencePiece it cannot be read."""
    monkeypatch.setattr(tokenizing, "find_spec", lambda name: None if name == "sentencepiece" else True)
    (copy / "tokenizer.json").unlink()
    assert (copy / "tokenizer.model").exists()
    with pytest.raises(
        ModelError, match=r"it has no tokenizer\.json \(a tokenizer\.model alone is not enough\)"
    ) as caught:
        VideoLLM.from_pretrained(copy)
    assert "pip install sentencepiece to read its tokenizer.model" in str(caught.value)


@pytest.mark.parametrize(("recorded", "expected"), [([7, 5], {2, 5, 7}), (9, {2, 9}), (None, {2})])
def test_answers_stop_where_the_generation_settings_or_the_tokenizer_say(copy, recorded, expected):
    edit_config(copy, "generation_config.json", eos_token_id=recorded)
    if recorded is None:  # transformers takes it from the config of the language model otherwise
        text = json.loads((copy / "config.json").read_text())["text_config"]
        edit_config(copy, text_config={**text, "eos_token_id": None})
    llm = VideoLLM.from_pretrained(copy, device="cpu")
    assert llm.tokenizer.eos_token_id == 2
    assert llm.stop_ids == expected


def write_preprocessor(folder, **changes):
    settings = json.loads((folder / "clip_vit_l14_336_preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").write_text(json.dumps({**settings, **changes}))


def test_image_statistics_are_the_checkpoints_own(copy):
    write_preprocessor(copy, image_mean=[0.1, 0.2, 0.3])
    assert VideoLLM.from_pretrained(copy, device="cpu").image_mean == (0.1, 0.2, 0.3)
    nested = {"image_processor": {"image_mean": [0.3, 0.2, 0.1]}}
    (copy / "processor_config.json").write_text(json.dumps(nested))
    assert VideoLLM.from_pretrained(copy, device="cpu").image_mean == (0.3, 0.2, 0.1), "the newer form goes first"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_std": [0, 0.2, 0.2]}, r"image_std is \[0, 0.2, 0.2\]: it must be three finite numbers above 0"),
        ({"image_std": [-0.2, 0.2, 0.2]}, "above 0"),
        ({"image_std": [0.2, 0.2, float("inf")]}, "finite"),
        ({"image_mean": [0.5, float("nan"), 0.5]}, "image_mean is .*finite"),
        ({"image_mean": [0.5, 0.5]}, "three"),
        ({"image_mean": ["0.5", "0.5", "0.5"]}, "numbers"),
        ({"image_mean": 0.5}, "three"),
        ({"image_mean": None}, "three"),
    ],
)
def test_image_statistics_that_are_no_such_numbers_are_refused(copy, changes, message):
    write_preprocessor(copy, **changes)
    with pytest.raises(ModelError, match=f"preprocessor_config.json: .*{message}"):
        VideoLLM.from_pretrained(copy, device="cpu")


@pytest.mark.parametrize("file", ["preprocessor_config.json", "processor_config.json"])
@pytest.mark.parametrize("content", [b"{", b"", b"\xff\xfe", b"[1, 2]", b'{"image_processor": 3}'])
def test_a_corrupt_file_of_image_settings_is_named_not_replaced_by_clips(copy, file, content):
    if file == "preprocessor_config.json" and b"image_processor" in content:
        content = b"3"
    (copy / file).write_bytes(content)
    with pytest.raises(ModelError, match=f"/{file}: .*; download it again"):
        VideoLLM.from_pretrained(copy, device="cpu")


def test_statistics_of_a_model_made_in_memory_are_checked_too(llm):
    with pytest.raises(ModelError, match="in-memory: image_std is"):
        VideoLLM(llm.model, llm.tokenizer, image_std=(0.0, 1.0, 1.0))


@pytest.mark.parametrize(
    ("device", "cards", "message"),
    [
        ("cuda", 0, r"^device 'cuda': this torch sees no CUDA GPU; give device='cpu'$"),
        ("cuda:2", 2, r"^device 'cuda:2': this torch sees only 2 CUDA GPUs, numbered from 0; give device='cuda'$"),
        ("mps", 0, r"^device 'mps': this torch sees no Apple GPU; give device='cpu'$"),
        ("gpu", 0, r"^device 'gpu': give 'auto', 'cpu', 'cuda', 'cuda:1' or 'mps'$"),
    ],
)
def test_a_device_that_is_not_there_is_one_line(monkeypatch, device, cards, message):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cards > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cards)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ModelError, match=message):
        pick_device(device)
    assert pick_device("cuda:1") == torch.device("cuda:1") if cards else pick_device("auto") == torch.device("cpu")


def test_a_rope_scaling_below_one_is_refused():
    with pytest.raises(ValueError, match=r"rope_scaling=0.5: give 1 \(off\) or more"):
        VideoLLM.from_pretrained(TINY, rope_scaling=0.5)


def test_dtype_auto_is_half_on_gpus_and_float32_on_the_cpu():
    assert pick_dtype("auto", torch.device("cpu")) == torch.float32
    assert pick_dtype("auto", torch.device("cuda")) == torch.float16
    assert pick_dtype("bfloat16", torch.device("cpu")) == torch.bfloat16
    with pytest.raises(ValueError, match="torch dtype"):
        pick_dtype("half-ish", torch.device("cpu"))


def test_bfloat16_runs_on_the_cpu(golden_frames):
    half = VideoLLM.from_pretrained(TINY, device="cpu", dtype="bfloat16")
    video = half.watch_frames(golden_frames[:3])
    assert video.tokens.dtype == torch.bfloat16
    assert isinstance(video.ask(["what?", "who is it then?"], max_new_tokens=3), list)


def test_device_map_loads_and_answers_the_same(llm, golden_frames):
    mapped = VideoLLM.from_pretrained(TINY, device_map={"": "cpu"}, dtype="float32")
    answers = [model.watch_frames(golden_frames[:3]).ask("what is it?", max_new_tokens=6) for model in (llm, mapped)]
    assert answers[0] == answers[1]


def test_quantization_needs_its_package():
    with pytest.raises(ValueError, match="'4bit' or '8bit'"):
        VideoLLM.from_pretrained(TINY, quantization="2bit")
    if not shutil.which("nvidia-smi"):
        with pytest.raises(ModelError, match="pip install bitsandbytes"):
            VideoLLM.from_pretrained(TINY, quantization="4bit")


class Asked(Exception):
    """In place of loading: what transformers was asked for."""


@pytest.fixture()
def asked(monkeypatch):
    """What `from_pretrained` asks of transformers, on a machine with a GPU."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)

    def record(source, **options):
        raise Asked(options)

    monkeypatch.setattr(LlavaNextForConditionalGeneration, "from_pretrained", record)

    def ask(**options):
        with pytest.raises(Asked) as caught:
            VideoLLM.from_pretrained(TINY, **options)
        return caught.value.args[0]

    return ask


def test_weights_are_loaded_straight_to_the_gpu(asked, monkeypatch):
    """Else 70 GB of a 34B would go through the host's memory."""
    assert asked(device="cuda:1")["device_map"] == {"": torch.device("cuda:1")}
    assert asked(device="cuda", device_map="balanced")["device_map"] == "balanced"
    assert "device_map" not in asked(device="cpu")
    monkeypatch.setattr(checkpoints, "find_spec", lambda name: None)
    assert "device_map" not in asked(device="cuda"), "transformers takes it with accelerate alone"


@pytest.mark.parametrize("quantization", ["4bit", "8bit"])
def test_the_language_models_layers_alone_are_quantized(asked, llm, monkeypatch, quantization):
    """By transformers' own rule for what is converted, on the names of a real model."""
    monkeypatch.setattr(checkpoints, "find_spec", lambda name: True)
    skipped = asked(device="cuda", quantization=quantization)["quantization_config"].llm_int8_skip_modules
    linear = [name for name, module in llm.model.named_modules() if isinstance(module, torch.nn.Linear)]
    converted = {name for name in linear if should_convert_module(name, skipped)}
    assert converted == {name for name in linear if name.startswith("model.language_model.layers.")}
    assert len(converted) == 7 * llm.model.config.text_config.num_hidden_layers < len(linear)


@pytest.mark.parametrize("on", [True, False])
def test_loading_leaves_transformers_progress_bars_as_they_were(on):
    """They are hidden while our files load; whoever loads another model afterwards sees what they chose."""
    was_on = progress.is_progress_bar_enabled()
    choose = {True: progress.enable_progress_bar, False: progress.disable_progress_bar}
    choose[on]()
    try:
        with pytest.raises(ModelError), loading("here"):
            assert not progress.is_progress_bar_enabled()
            raise OSError("no such file")
        assert progress.is_progress_bar_enabled() is on
    finally:
        choose[was_on]()
