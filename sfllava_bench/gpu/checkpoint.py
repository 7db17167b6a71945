"""A random checkpoint in the hub's exact layout: published settings and names, several shards with an index.

Written tensor by tensor, so that no more than a shard is in memory. Divided by a factor, a model keeps its kind: heads
of 128 values, the group that shares keys and values, the vocabulary, 24 x 24 patches.
"""

import json
import shutil
from pathlib import Path

import torch
from jaxtyping import Float16
from safetensors.torch import save_file
from torch import Tensor
from transformers import LlavaNextConfig, LlavaNextForConditionalGeneration

from sfllava_bench.gpu.tokenizer import write_tokenizer
from sfllava_core.defaults import DATA, required

SIZES = ("7b", "34b")
SHARD = 5e9  # bytes at most, as the hub's were written
HEAD_DIM, VISION_HEAD_DIM = 128, 64
NAMES = {  # here, in transformers 5, and on the hub, as transformers 4 saved them
    "model.language_model.": "language_model.model.",
    "lm_head.": "language_model.lm_head.",
    "model.vision_tower.": "vision_tower.vision_model.",
    "model.": "",
}
BLOCK = 16_777_213  # prime: repeated, no two rows of a matrix begin at the same place of it
SPREAD = 0.02  # transformers' own deviation of new weights


def published_config(size: str) -> dict:
    """The published config.json."""
    return json.loads(required(DATA / "hub" / size / "config.json").read_text(encoding="utf-8"))


def divided_config(size: str, divide: int) -> dict:
    """The published config.json with widths, heads and layers divided; as it is for 1.

    Raises:
        ValueError: a factor below 1.
    """
    if divide < 1:
        raise ValueError(f"--divide {divide}: give at least 1")
    config = published_config(size)
    config["random_weights"] = True
    if divide == 1:
        return config
    whole = LlavaNextConfig.from_dict(published_config(size))
    text, vision = whole.text_config, whole.vision_config
    kv_heads = max(1, text.num_key_value_heads // divide)
    heads = kv_heads * (text.num_attention_heads // text.num_key_value_heads)
    config["text_config"] |= {
        "num_key_value_heads": kv_heads, "num_attention_heads": heads, "hidden_size": heads * HEAD_DIM,
        "num_hidden_layers": max(2, text.num_hidden_layers // divide),
        "intermediate_size": max(HEAD_DIM, text.intermediate_size // divide),
    }  # fmt: skip
    vision_heads = max(1, vision.num_attention_heads // divide)
    config["vision_config"] |= {
        "num_attention_heads": vision_heads, "hidden_size": vision_heads * VISION_HEAD_DIM,
        "num_hidden_layers": max(3, vision.num_hidden_layers // divide),
        "intermediate_size": 4 * vision_heads * VISION_HEAD_DIM,
    }  # fmt: skip
    return config


def hub_tensors(config: dict) -> dict[str, torch.Size]:
    """The names and shapes of a model of this config, as on the hub and in the order of the hub's shards."""
    with torch.device("meta"):
        model = LlavaNextForConditionalGeneration._from_config(LlavaNextConfig.from_dict(config), dtype=torch.float16)
    shapes = {hub_name(name): tensor.shape for name, tensor in model.state_dict().items()}
    return dict(sorted(shapes.items(), key=lambda one: ".lm_head." in one[0]))


def hub_name(name: str) -> str:
    """transformers 5's name of a weight, as the hub has it."""
    old, new = next((old, new) for old, new in NAMES.items() if name.startswith(old))
    return new + name.removeprefix(old)


def in_shards(tensors: dict[str, torch.Size], largest: float) -> list[list[str]]:
    """The names, one after another, in shards of at most so many bytes of float16; a larger tensor is alone."""
    shards: list[list[str]] = [[]]
    filled = 0
    for name, shape in tensors.items():
        size = 2 * shape.numel()
        if shards[-1] and filled + size > largest:
            shards.append([])
            filled = 0
        shards[-1].append(name)
        filled += size
    return shards


def shards_of(size: str, divide: int) -> tuple[dict[str, torch.Size], list[list[str]]]:
    """All tensors, and their names shard by shard; a divided model's shards are as much smaller as it is."""
    tensors = hub_tensors(divided_config(size, divide))
    whole = tensors if divide == 1 else hub_tensors(published_config(size))
    return tensors, in_shards(tensors, SHARD * byte_count(tensors) / byte_count(whole))


def byte_count(tensors: dict[str, torch.Size]) -> int:
    """In float16."""
    return 2 * sum(shape.numel() for shape in tensors.values())


def write_checkpoint(size: str, folder: Path, divide: int = 1) -> None:
    """A checkpoint of random float16 weights, every time the same, with all that stands beside them on the hub.

    Args:
        size: "7b" or "34b".
        folder: made here, or empty.
        divide: sizes divided by this.

    Raises:
        ValueError: another size, a factor below 1, or a folder that holds something.
    """
    if size not in SIZES:
        raise ValueError(f"{size}: choose one of {', '.join(SIZES)}")
    config = divided_config(size, divide)
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(f"{folder}: it is not empty; give a folder that is new")
    write_small_files(size, folder, config)
    tensors, shards = shards_of(size, divide)
    weights, places = Weights(), dict[str, str]()
    for number, names in enumerate(shards, 1):
        file = f"model-{number:05}-of-{len(shards):05}.safetensors"
        drawn = {name: weights.draw(name, tensors[name]) for name in names}
        save_file(drawn, folder / file, metadata={"format": "pt"})
        places |= dict.fromkeys(names, file)
    index = {"metadata": {"total_size": byte_count(tensors)}, "weight_map": dict(sorted(places.items()))}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def write_small_files(size: str, folder: Path, config: dict) -> None:
    """What stands beside the weights on the hub: settings and tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in required(DATA / "hub" / size).iterdir():
        shutil.copy(file, folder / file.name)
    (folder / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
    write_tokenizer(size, folder)


class Weights:
    """Random weights, one after another: normal numbers out of one block, gone round in again and again.

    Numbers of their own for each of 35 billion weights would take minutes.
    """

    def __init__(self) -> None:
        self.block = (SPREAD * torch.randn(BLOCK, generator=torch.Generator().manual_seed(0))).half()
        self.start = 0

    def draw(self, name: str, shape: torch.Size) -> Float16[Tensor, "..."]:
        """A norm's scale is 1 and every bias 0, as in a new model; all else is drawn."""
        if name.endswith("bias"):
            return torch.zeros(shape, dtype=torch.float16)
        if "norm" in name:
            return torch.ones(shape, dtype=torch.float16)
        flat, filled = torch.empty(shape.numel(), dtype=torch.float16), 0
        while filled < len(flat):
            some = self.block[self.start : self.start + len(flat) - filled]
            flat[filled : filled + len(some)] = some
            filled, self.start = filled + len(some), (self.start + len(some)) % BLOCK
        return flat.view(shape)
