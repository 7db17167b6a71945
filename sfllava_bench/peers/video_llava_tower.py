"""Video-LLaVA's original video tower, which the converted checkpoints lack: a CLIP tower that attends over time.

In every layer, for the 8 frames of a video:

    x[t] += temporal_embedding[t]                                     all tokens of frame t
    x    += attention over the frames (LayerNorm(x))                  each token's place by itself
    then CLIP's own layer: attention within the frame, MLP

No checkpoint in safetensors has these weights, so nothing here loads one; it is what such a loader would need.
"""

from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from transformers import CLIPVisionConfig
from transformers.models.clip.modeling_clip import CLIPAttention, CLIPEncoderLayer, CLIPVisionModel

PREFIX = "model.video_tower.video_tower."  # of the weights' published names


class TimeLayer(CLIPEncoderLayer):
    """A CLIP layer with attention over time before it."""

    def __init__(self, config: CLIPVisionConfig, num_frames: int):
        super().__init__(config)
        self.temporal_embedding = nn.Parameter(torch.zeros(1, num_frames, config.hidden_size))
        self.temporal_layer_norm1 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.temporal_attn = CLIPAttention(config)

    def forward(self, hidden: Float[Tensor, "frames tokens dim"], attention_mask=None, **kwargs) -> Tensor:
        hidden = hidden + rearrange(self.temporal_embedding, "1 t d -> t 1 d")
        over_time = rearrange(hidden, "t n d -> n t d")
        over_time = over_time + self.temporal_attn(self.temporal_layer_norm1(over_time))[0]
        return super().forward(rearrange(over_time, "n t d -> t n d"), attention_mask, **kwargs)


class OriginalVideoTower(nn.Module):
    """The tower of one video; its weights' names are the published ones without `PREFIX`.

    Args:
        settings: its config: sizes, `hidden_act`, `num_frames`, `add_time_attn`.

    Raises:
        ValueError: a tower without attention over time, which is a plain CLIP.
    """

    def __init__(self, settings: dict[str, Any]):
        super().__init__()
        if not settings.get("add_time_attn"):
            raise ValueError("add_time_attn is not set: this tower is a plain CLIP")
        names = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "image_size")
        sizes = {name: settings[name] for name in (*names, "patch_size", "hidden_act", "layer_norm_eps")}
        plain = CLIPVisionModel(CLIPVisionConfig(**sizes, attn_implementation="sdpa"))
        self.embeddings, self.pre_layrnorm = plain.embeddings, plain.pre_layrnorm
        self.post_layernorm = plain.post_layernorm  # published; no layer that Video-LLaVA reads comes after it
        self.encoder = nn.Module()
        layers = [TimeLayer(plain.config, settings["num_frames"]) for _ in range(settings["num_hidden_layers"])]
        self.encoder.layers = nn.ModuleList(layers)

    def forward(self, frames: Float[Tensor, "frames 3 height width"]) -> list[Float[Tensor, "frames tokens dim"]]:
        """The hidden states after the embeddings and after each layer, class tokens kept; Video-LLaVA reads [-2]."""
        states = [self.pre_layrnorm(self.embeddings(frames))]
        for layer in self.encoder.layers:
            states.append(layer(states[-1], None))
        return states
