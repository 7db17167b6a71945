"""Rehearsals without weights: the hub's layout to the byte count, the whole way in small, what is wrong is named."""

import json
import re

import pytest
import torch
from conftest import GRAND_PRIX, ROOT
from transformers import LlavaNextConfig

from sfllava_bench.gpu import rehearsal
from sfllava_bench.gpu.checkpoint import (
    Weights,
    byte_count,
    divided_config,
    in_shards,
    shards_of,
    write_checkpoint,
    write_small_files,
)
from sfllava_bench.gpu.memory import held, measured_peak
from sfllava_bench.gpu.rehearsal import RehearsalError, choose_divisor, rehearse, tokenizer_checks
from sfllava_core import ModelShape
from sfllava_core.budget.arithmetic import MODEL_SHAPES
from sfllava_course.__main__ import command

PUBLISHED = json.loads((ROOT / "tests" / "data" / "hub_weights.json").read_text())
CPU = torch.device("cpu")


@pytest.mark.parametrize("size", PUBLISHED)
def test_names_shapes_and_shards_are_the_published_ones(size):
    tensors, shards = shards_of(size, 1)
    by_kind: dict[str, dict] = {}
    for name, shape in tensors.items():
        kind = re.sub(r"layers\.\d+\.", "layers.N.", name)
        by_kind.setdefault(kind, {"count": 0, "shape": list(shape)})["count"] += 1
    published = PUBLISHED[size]
    assert by_kind == published["weight_names"] and len(tensors) == published["tensors"]
    assert byte_count(tensors) == 2 * published["parameters"] and len(shards) == published["shards"]
    if published["shard_gb"]:
        sizes = [sum(2 * tensors[name].numel() for name in names) / 1e9 for names in shards]
        assert [round(one, 2) for one in sizes] == published["shard_gb"]


@pytest.mark.parametrize(("size", "divide"), [("7b", 1), ("34b", 1), ("7b", 3), ("34b", 8), ("34b", 32)])
def test_a_divided_model_keeps_its_kind(size, divide):
    whole, shape = MODEL_SHAPES[size], ModelShape.from_config(LlavaNextConfig.from_dict(divided_config(size, divide)))
    if divide == 1:
        assert shape == whole
    assert (shape.head_dim, shape.grid, shape.vocabulary) == (128, (24, 24), whole.vocabulary)
    assert shape.heads // shape.kv_heads == whole.heads // whole.kv_heads and shape.width == shape.heads * 128
    assert shape.language_parameters <= whole.language_parameters / divide or divide == 32


def test_shards_hold_every_tensor_once_and_a_large_one_alone():
    tensors = {name: torch.Size([size]) for name, size in {"a": 2, "b": 3, "c": 9, "d": 1, "e": 4}.items()}
    assert in_shards(tensors, 10) == [["a", "b"], ["c"], ["d", "e"]]


def test_weights_are_as_a_new_models_and_the_same_every_time():
    first, second = Weights(), Weights()
    shape = torch.Size([4096, 5000])  # more than the block: it goes round
    drawn = first.draw("language_model.lm_head.weight", shape)
    assert torch.equal(drawn, second.draw("x", shape))
    assert drawn.float().std() == pytest.approx(0.02, rel=0.01) and not torch.equal(drawn[0], drawn[-1])
    assert bool((first.draw("language_model.model.norm.weight", torch.Size([3])) == 1).all())
    assert bool((first.draw("multi_modal_projector.linear_1.bias", torch.Size([3])) == 0).all())


@pytest.mark.parametrize("size", PUBLISHED)
def test_the_tokenizer_has_the_published_ids(tmp_path, size):
    write_small_files(size, tmp_path, divided_config(size, 1))
    assert all(check.right for check in tokenizer_checks(size, tmp_path))
    content = json.loads((tmp_path / "tokenizer.json").read_text())
    ids = sorted(content["model"]["vocab"].values())
    assert ids == list(range({"7b": 32000, "34b": 64000}[size]))
    added = {one["content"]: one["id"] for one in content["added_tokens"]}
    assert added["<image>"] == {"7b": 32000, "34b": 64002}[size]


def test_a_tokenizer_that_cuts_otherwise_is_named(tmp_path):
    """Of the other kind, say."""
    write_small_files("7b", tmp_path, divided_config("7b", 1))
    wrong = {check.what for check in tokenizer_checks("34b", tmp_path) if not check.right}
    assert wrong == {"tokenizer", "end of a turn and line break", "first tokens of a text"}


def test_the_whole_way_of_7b_in_small(tmp_path, capsys):
    words = ["rehearse", "7b", "--divide", "32", "--questions", "3", "--keep", str(tmp_path / "kept")]
    assert command(words) == 0
    said = capsys.readouterr().out
    assert "divided by 32" in said and "all is as it should be" in said and "WRONG" not in said
    assert re.search(r"visual tokens +3680 +3680", said)
    assert len(list((tmp_path / "kept").glob("model-*-of-*.safetensors"))) == 4
    assert command(words) == 1  # the folder is not new
    assert "it is not empty" in capsys.readouterr().err


def test_the_whole_way_of_34b_leaves_nothing_and_tells_what_is_wrong(monkeypatch, tmp_path, capsys):
    """Here it is the expectation that is made wrong: positions, and a memory that nothing fits."""
    monkeypatch.setattr(rehearsal, "POSITIONS", 4096)
    monkeypatch.setattr(rehearsal, "expected_bytes", lambda *_: 1000)
    monkeypatch.setattr(rehearsal, "LIBRARIES", 0)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert command(["rehearse", "34b", "--divide", "32", "--questions", "1"]) == 1
    assert "not as it should be: positions, memory, 1 questions" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_the_divisor_is_the_least_with_room(monkeypatch, tmp_path):
    monkeypatch.setattr(rehearsal, "free_bytes", lambda *_: 4 * 2**30)
    divide = choose_divisor("7b", {"device": "cpu"}, 16, tmp_path)
    fits, next_larger = (rehearsal.needs("7b", one, {"device": "cpu"}, 16)[1] for one in (divide, divide - 1))
    assert divide == 3 and fits <= 0.9 * 4 * 2**30 < next_larger
    monkeypatch.setattr(rehearsal, "free_bytes", lambda *_: 2**20)
    with pytest.raises(RehearsalError, match=r"divided by 32 it needs .* GiB of memory, 0\.0 are free"):
        choose_divisor("7b", {"device": "cpu"}, 16, tmp_path)
    with pytest.raises(RehearsalError, match="give a larger --divide"):
        rehearse("7b", GRAND_PRIX, divide=8, loading={"device": "cpu"})


@pytest.mark.parametrize(
    ("size", "divide", "message"), [("13b", 1, "choose one of 7b, 34b"), ("7b", 0, "give at least 1")]
)
def test_what_is_no_size_is_named(tmp_path, size, divide, message):
    with pytest.raises(ValueError, match=message):
        write_checkpoint(size, tmp_path / "x", divide)
    assert not (tmp_path / "x").exists()


def test_the_peak_is_the_works_own():
    """64 MiB that are gone again are seen, and not a second time."""
    before = held(CPU)
    with measured_peak(CPU, before) as peak:
        torch.ones(2**24).sum()
    with measured_peak(CPU) as nothing:
        pass
    assert peak.bytes >= 0.9 * 2**26 and nothing.bytes < 2**25
