"""Any model that answers here, by its folder or name: a peer by what its config says, else an image LLM of our own."""

from collections.abc import Callable
from inspect import signature
from pathlib import Path
from typing import Any

from transformers import LlavaNextConfig, LlavaNextVideoConfig, PretrainedConfig, VideoLlavaConfig

from sfllava_bench.peers.base import settings_of
from sfllava_bench.peers.llava_next_video import LlavaNextVideo, load_llava_next_video
from sfllava_bench.peers.pllava import Pllava, load_pllava
from sfllava_bench.peers.video_llava import VideoLlava, load_video_llava
from sfllava_core import checkpoints
from sfllava_core.backbones.base import ModelError
from sfllava_core.model import VideoLLM

# By the class that a published config names.
PEERS: dict[str, tuple[type[PretrainedConfig], Callable[..., VideoLLM]]] = {
    "PllavaForConditionalGeneration": (LlavaNextConfig, load_pllava),
    "VideoLlavaForConditionalGeneration": (VideoLlavaConfig, load_video_llava),
    "LlavaNextVideoForConditionalGeneration": (LlavaNextVideoConfig, load_llava_next_video),
}
METHODS = (Pllava, VideoLlava, LlavaNextVideo)  # each is its own model's: no other was trained to read it


def peer_of(source: str) -> tuple[str | None, dict[str, object]]:
    """(Which peer a checkpoint is, what its config says); (None, {}) for no peer, and for what cannot be read."""
    try:
        settings = settings_of(source, checkpoints.checked_source(source))
    except ModelError:  # the way of our own models says what is wrong
        return None, {}
    named = settings.get("architectures")
    found = [name for name in named if name in PEERS] if isinstance(named, list) else []
    return (found[0], settings) if found else (None, {})


def load_model(path: str | Path, **options: Any) -> VideoLLM:
    """The model of a checkpoint: a peer with its own method, or `VideoLLM.from_pretrained`. Options as there.

    A peer comes with the RoPE that it was published with; `rope_type` and `rope_scaling` are for the others.

    Raises:
        ModelError: no such checkpoint, or one that cannot be used.
    """
    source = str(Path(path).expanduser())
    peer, _ = peer_of(source)
    if peer is None:
        return VideoLLM.from_pretrained(source, **options)
    load, own = PEERS[peer][1], {name: one for name, one in options.items() if not name.startswith("rope")}
    if unknown := own.keys() - signature(load).parameters.keys():
        raise ModelError(f"{source}: a {peer} is not loaded with {', '.join(sorted(unknown))}: leave it out")
    return load(source, **own)


def load_config(path: str | Path) -> PretrainedConfig:
    """The config of a checkpoint, a peer's as that of the class it is loaded by. Errors as of `load_model`."""
    source = str(Path(path).expanduser())
    peer, settings = peer_of(source)
    if peer is None:
        return checkpoints.load_config(source)
    kind = PEERS[peer][0]
    with checkpoints.loading(source):
        return kind.from_dict({**settings, "model_type": kind.model_type})
