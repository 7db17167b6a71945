"""What the benchmarks ask of a model: `VideoLLM` has it, and so may any other."""

import hashlib
import platform
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch

SAMPLED = 64  # values of each weight that go into the fingerprint, from its beginning and its end


@runtime_checkable
class VideoModel(Protocol):
    """A model that watches videos.

    name: for the reader of a report.  model: its weights, for the fingerprint.  device: where it runs.
    prompt_style: see `sfllava_core.prompts`.  image_size: (height, width) in pixels of a picture that it takes.
    max_positions: the longest sequence.

    watch_frames, watch_features: frames, or frame features of `encode`, and a method -> what is asked: `generate` and
        `choose`, as those of `WatchedVideo`, with its `tokens`, `prefix_bytes` and `stopwatch`.
    encode: frames -> frame features (frames, rows, columns, dim).
    """

    name: str
    model: torch.nn.Module
    prompt_style: str
    image_size: tuple[int, int]
    max_positions: int

    @property
    def device(self) -> torch.device: ...

    def watch_frames(self, frames, method=None, *, resize: str = "pillow"): ...

    def watch_features(self, features, method=None): ...

    def encode(self, frames, *, resize: str = "pillow"): ...


def model_fingerprint(model: torch.nn.Module) -> str:
    """16 hex digits that stand for a model's weights: names, shapes, and some values of each of them.

    Reads a few thousand numbers, so it takes a moment for a 34B too; the folder that it was loaded from has no part.
    """
    digest = hashlib.sha256()
    for name, weight in sorted(model.named_parameters()):
        weight = offloaded(model, name) if weight.is_meta else weight
        flat = weight.detach().reshape(-1)
        some = torch.cat([flat[:SAMPLED], flat[-SAMPLED:]]).to("cpu", torch.float32)
        digest.update(f"{name} {tuple(weight.shape)} {weight.dtype}".encode())
        digest.update(some.contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def offloaded(model: torch.nn.Module, name: str) -> torch.Tensor:
    """A weight that accelerate keeps on the host or the disk until its layer runs (device_map="auto")."""
    from accelerate.utils import align_module_device

    owner, _, own_name = name.rpartition(".")
    module = model.get_submodule(owner)
    with align_module_device(module, torch.device("cpu")):
        return getattr(module, own_name).detach()


def rope_of(model: torch.nn.Module) -> str:
    """How a model's RoPE is scaled: "dynamic 2", "linear 2", or "none"."""
    config = getattr(model, "config", None)
    parameters = getattr(getattr(config, "text_config", config), "rope_parameters", None) or {}
    kind, factor = parameters.get("rope_type", "default"), parameters.get("factor", 1.0)
    return "none" if kind == "default" else f"{kind} {factor:g}"


@dataclass(frozen=True)
class ModelFacts:
    """What a run's file says of its model; where the model is in another process, all that is known of it here.

    name: for the reader of a report.  device_name: the GPU's, or the processor's kind.
    settings: JSON-able, what an answer depends on: the weights' fingerprint, RoPE, dtype, kind of device, ...
    """

    name: str
    device_name: str
    settings: dict[str, object]


@runtime_checkable
class Elsewhere(Protocol):
    """A model in other processes: its facts are all that is known of it here."""

    facts: ModelFacts


def facts_of(llm: VideoModel | Elsewhere) -> ModelFacts:
    """The facts of a model, here or elsewhere."""
    if isinstance(llm, Elsewhere):
        return llm.facts
    gpu = torch.cuda.get_device_name(llm.device) if llm.device.type == "cuda" else None
    settings = {
        "model": model_fingerprint(llm.model),
        "rope": rope_of(llm.model),
        "dtype": str(llm.model.dtype).removeprefix("torch."),
        "device": llm.device.type,
        "prompt_style": llm.prompt_style,
        "max_positions": llm.max_positions,
    }
    return ModelFacts(llm.name, gpu or platform.machine(), settings)
