"""LLaVA-NeXT with a CLIP tower: the paper's backbone (7B on Vicuna, 34B on Yi)."""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from transformers import LlavaNextForConditionalGeneration

from sfllava_core.backbones.base import Backbone, ModelError
from sfllava_core.features import class_rows, cls_scores, tower_states
from sfllava_core.methods.base import Method, Seen

# What a method may want beside features, and the tower's layer that it is made of.
MORE = {"patches": None, "cls_scores": -2, "embeddings": -1}


class LlavaNext(Backbone):
    """transformers' `LlavaNextForConditionalGeneration`."""

    model_type = "llava_next"
    model_class = LlavaNextForConditionalGeneration

    def __init__(self, model: nn.Module):
        super().__init__(model)
        vision = model.config.vision_config
        self.image_size = (vision.image_size, vision.image_size)
        self.grid = (vision.image_size // vision.patch_size,) * 2

    @classmethod
    def check(cls, config, name: str) -> None:
        tower, strategy = config.vision_config.model_type, config.vision_feature_select_strategy
        if tower != "clip_vision_model":
            raise ModelError(f"{name}: its vision tower is {tower!r}; this kit needs a CLIP tower")
        if strategy != "default":
            needed = "this kit needs 'default' (no CLS token)"
            raise ModelError(f"{name}: vision_feature_select_strategy {strategy!r}; {needed}")

    @classmethod
    def prompt_style(cls, config, tokenizer) -> str:
        if "<|im_start|>" in tokenizer.get_vocab():
            return "chatml"
        return "mistral" if config.text_config.model_type == "mistral" else "vicuna"

    @property
    def language_model(self) -> nn.Module:
        return self.model.model.language_model

    @property
    def head(self) -> nn.Module:
        return self.model.lm_head

    @property
    def vision_device(self) -> torch.device:
        return self.model.model.vision_tower.device

    @property
    def newline(self) -> Float[Tensor, "dim"]:
        return self.model.model.image_newline

    def look(self, pixel_values: Float[Tensor, "views 3 height width"], method: Method | None = None) -> Seen:
        """Layer -2 without CLS, aggregation after the projector: section 3.1 and the released code."""
        tower, config = self.model.model.vision_tower, self.model.config
        wants = () if method is None else method.wants
        if unknown := set(wants) - MORE.keys():
            raise ModelError(f"{method} wants {', '.join(sorted(unknown))}: this family gives {', '.join(MORE)}")
        layer, rows = config.vision_feature_layer, pixel_values.shape[-2] // config.vision_config.patch_size
        layers = [layer] if isinstance(layer, int) else list(layer)
        with torch.inference_mode():
            pixel_values = pixel_values.to(tower.device, tower.dtype)
            needed = {deeper for name in wants if (deeper := MORE[name]) is not None}
            states = tower_states(tower, pixel_values, {*layers, *needed})
            patches = torch.cat([states[number][:, class_rows(tower) :] for number in layers], dim=-1)
            patches = rearrange(patches, "t (h w) d -> t h w d", h=rows)
            more = {name: more_of(name, tower, states, patches) for name in wants}
            if method is not None:
                patches = method.pool_patches(patches)
            features = self.model.model.multi_modal_projector(patches)
        return Seen(features, self.newline, more=more)


def more_of(
    name: str,
    tower: nn.Module,
    states: dict[int, Float[Tensor, "views rows vision_dim"]],
    patches: Float[Tensor, "views grid_rows grid_columns width"],
) -> Float[Tensor, "views *more"]:
    """One of `MORE`, as `Backbone.look` describes it."""
    if name == "patches":
        return patches
    if name == "embeddings":
        return tower.post_layernorm(states[-1][:, 0])
    block = tower.encoder.layers[-1]
    rows = block.layer_norm1(states[-2])
    scores = cls_scores(block.self_attn.q_proj(rows[:, 0]), block.self_attn.k_proj(rows[:, 1:]))
    return rearrange(scores, "t (h w) -> t h w", h=patches.shape[1])
