"""PLLaVA's published weights: a LoRA that nobody has merged, in the names of the library it was trained with.

    W = base + alpha / 128 * B A      for the queries and values of each layer of the language model

alpha is 4 in the released evaluation; in training it was 32. A folder holds either the whole model, unmerged, or LoRA
and projector alone, which go onto a LLaVA-NeXT checkpoint.
"""

import json
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors import safe_open
from torch import Tensor, nn

from sfllava_core.backbones.base import ModelError

RANK, ALPHA = 128, 4.0
TUNED = ("q_proj.weight", "v_proj.weight")
INDEX, WHOLE = "model.safetensors.index.json", "model.safetensors"
SHOWN = 12  # names in an error
# Where stock LLaVA-NeXT keeps a part, and what the published files call it.
PUBLISHED = {
    "model.language_model.": "language_model.base_model.model.model.",
    "lm_head.": "language_model.base_model.model.lm_head.",
    "model.multi_modal_projector.": "multi_modal_projector.",
    "model.vision_tower.": "vision_tower.vision_model.",
}


class Shards:
    """The tensors of a checkpoint's safetensors files, each read when it is asked for.

    Raises:
        ModelError: the folder has no safetensors, or lacks a file that its index names.
    """

    def __init__(self, folder: Path):
        self.folder, index = folder, folder / INDEX
        if index.is_file():
            files = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        else:
            files = [WHOLE]
        lost = [file for file in files if not (folder / file).is_file()]
        if lost:
            raise ModelError(f"{folder}: it has no {', '.join(lost)}; only safetensors are read: download it again")
        self.file_of: dict[str, Path] = {}
        for file in files:
            with safe_open(folder / file, "pt") as opened:
                self.file_of |= {key: folder / file for key in opened.keys()}

    def shape(self, key: str) -> tuple[int, ...]:
        """A tensor's shape, of which nothing else is read."""
        with safe_open(self.file_of[key], "pt") as opened:
            return tuple(opened.get_slice(key).get_shape())

    def __getitem__(self, key: str) -> Tensor:
        with safe_open(self.file_of[key], "pt") as opened:
            return opened.get_tensor(key)

    def __contains__(self, key: str) -> bool:
        return key in self.file_of


def lora_keys(published: str) -> tuple[str, str, str]:
    """The names of a tuned weight's three parts: what it was, A (128, in) and B (out, 128)."""
    stem = published.removesuffix(".weight")
    return f"{stem}.base_layer.weight", f"{stem}.lora_A.default.weight", f"{stem}.lora_B.default.weight"


def published_keys(model: nn.Module) -> dict[str, tuple[str, ...]]:
    """For each weight of a stock LLaVA-NeXT what the published files call it: one name, or three where it was tuned.

    `image_newline` has none: PLLaVA does not use it.
    """
    found: dict[str, tuple[str, ...]] = {}
    for name in model.state_dict():
        part = next((part for part in PUBLISHED if name.startswith(part)), None)
        if part is None:
            continue
        published = PUBLISHED[part] + name.removeprefix(part)
        tuned = name.startswith("model.language_model.") and name.endswith(TUNED)
        found[name] = lora_keys(published) if tuned else (published,)
    return found


def merged(
    base: Float[Tensor, "out into"], a: Float[Tensor, "rank into"], b: Float[Tensor, "out rank"], alpha: float
) -> Float[Tensor, "out into"]:
    """base + alpha / 128 * B A in float32, whatever the types of the three."""
    return base.float() + (b.float() @ a.float()) * (alpha / RANK)


def is_delta(shards: Shards) -> bool:
    """Whether a folder holds LoRA and projector alone."""
    return "language_model.base_model.model.lm_head.weight" not in shards and not any(
        ".base_layer." in key for key in shards.file_of
    )


def whole_weights(shards: Shards, model: nn.Module, alpha: float, dtype: torch.dtype) -> dict[str, Tensor]:
    """The weights of a stock LLaVA-NeXT, merged from a folder that holds all of them.

    Args:
        model: a stock model of the checkpoint's sizes; it may be on the meta device.
        alpha: 4 as in the released evaluation.
        dtype: of the weights; they are merged in float32 and rounded once.

    Raises:
        ModelError: missing or additional weights, another rank or another size; it names them.
    """
    names = published_keys(model)
    check_keys(shards, [key for keys in names.values() for key in keys])
    check_sizes(shards, model, names)
    found = {"model.image_newline": torch.zeros_like(model.state_dict()["model.image_newline"], device="cpu")}
    for name, keys in names.items():
        base, *low_rank = (shards[key] for key in keys)
        if low_rank:
            a, b = low_rank
            base = merged(base, a, b, alpha)
        found[name] = base.to(dtype)
    return found


def add_delta(shards: Shards, model: nn.Module, alpha: float) -> None:
    """Put LoRA and projector onto a LLaVA-NeXT that is loaded already, in place. Errors as of `whole_weights`."""
    names = published_keys(model)
    tuned = {name: keys for name, keys in names.items() if len(keys) == 3}
    projector = {name: keys for name, keys in names.items() if name.startswith("model.multi_modal_projector.")}
    check_keys(shards, [key for keys in tuned.values() for key in keys[1:]] + [keys[0] for keys in projector.values()])
    check_sizes(shards, model, {name: keys[1:] for name, keys in tuned.items()} | projector)
    weights = model.state_dict()
    with torch.no_grad():
        for name, (_, a, b) in tuned.items():
            device = weights[name].device
            weights[name].copy_(merged(weights[name], shards[a].to(device), shards[b].to(device), alpha))
        for name, (key,) in projector.items():
            weights[name].copy_(shards[key])


def check_keys(shards: Shards, expected: list[str]) -> None:
    """Refuse a folder that lacks weights or holds more. Raises ModelError."""
    missing = [key for key in expected if key not in shards]
    wanted = set(expected)
    additional = sorted(key for key in shards.file_of if key not in wanted)
    said = [f"{len(keys)} weights are {kind}: {some(keys)}" for kind, keys in
            (("missing", missing), ("additional", additional)) if keys]  # fmt: skip
    if said:
        raise ModelError(f"{shards.folder}: not a PLLaVA checkpoint as published: {'; '.join(said)}; download it again")


def check_sizes(shards: Shards, model: nn.Module, names: dict[str, tuple[str, ...]]) -> None:
    """Refuse another rank, or weights of another size than the model's. Raises ModelError."""
    weights, ranks, sizes = model.state_dict(), [], []
    for name, keys in names.items():
        shape = tuple(weights[name].shape)
        for key in keys:
            found, wanted = shards.shape(key), shape
            if ".lora_A." in key:
                wanted = (RANK, shape[1])
                ranks += [f"{key} ({found[0]})"] if found[0] != RANK else []
            elif ".lora_B." in key:
                wanted = (shape[0], RANK)
                ranks += [f"{key} ({found[1]})"] if found[1] != RANK else []
            if found != wanted:
                sizes.append(f"{key} {found} and not {wanted}")
    if ranks:
        raise ModelError(
            f"{shards.folder}: its LoRA is not of rank {RANK}, so alpha / {RANK} would scale it wrongly: {some(ranks)}"
            "; take the published checkpoint"
        )
    if sizes:
        raise ModelError(f"{shards.folder}: weights of another size than the model's: {some(sizes)}")


def some(names: list[str]) -> str:
    """The names, or the first of them and how many more there are."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
