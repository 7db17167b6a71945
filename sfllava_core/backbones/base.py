"""What the kit asks of an image LLM, whatever its family: an adapter is the only place that names its model's parts."""

from abc import ABC, abstractmethod
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

import sfllava_core.backbones
from sfllava_core.exports import kinds_of
from sfllava_core.methods.base import Method, Seen

EXAMPLE = "llava-hf/llava-v1.6-vicuna-7b-hf"


class ModelError(RuntimeError):
    """A checkpoint that is not there, is not one that this kit can use, or computes no numbers; says what to do."""


class Backbone(ABC):
    """An image LLM of one family; to add one, define a subclass with the `model_type` of its configs.

    Attributes: model; grid, (rows, columns) of patches a frame; image_size, (height, width) in pixels.
    """

    model_type: ClassVar[str]
    model_class: ClassVar[type[Any]]  # transformers' own, with `from_pretrained`
    grid: tuple[int, int]
    image_size: tuple[int, int]

    def __init__(self, model: nn.Module):
        self.model = model

    @classmethod
    @abstractmethod
    def check(cls, config, name: str) -> None:
        """Refuse, with the reason, a config of this family that cannot be used. Raises ModelError."""

    @classmethod
    @abstractmethod
    def prompt_style(cls, config, tokenizer) -> str:
        """The prompt style that a checkpoint's vocabulary and classes tell."""

    @property
    @abstractmethod
    def language_model(self) -> nn.Module:
        """The language model without its head: it takes `inputs_embeds`."""

    @property
    @abstractmethod
    def head(self) -> nn.Module:
        """Hidden states to logits."""

    @property
    @abstractmethod
    def vision_device(self) -> torch.device:
        """Where pictures are to go."""

    @property
    def newline(self) -> Float[Tensor, "dim"] | None:
        """The vector that ends a row of tokens, where the family has one."""
        return None

    @abstractmethod
    def look(self, pixel_values: Float[Tensor, "views 3 height width"], method: Method | None = None) -> Seen:
        """Normalised pictures to features: vision tower, `method.pool_patches`, projector; and what `method.wants`.

        Of these, as far as the family has them, `Seen.more` holds what the method names:
            patches: the tower's patches before pooling and projector, (views, rows, columns, width).
            cls_scores: how much the tower's CLS looks at each patch in its last layer, (views, rows, columns).
            embeddings: one vector a view, the tower's CLS after its last layer and norm, (views, width). That is what
                CLIP projects to compare pictures with texts; an image LLM's checkpoint does not hold that projection.

        Raises:
            ModelError: the method wants what this family does not have.
        """

    def encode(self, pixel_values: Float[Tensor, "views 3 height width"]) -> Float[Tensor, "views rows columns dim"]:
        """Normalised pictures to features: vision tower and projector, all patches of a picture in their grid."""
        return self.look(pixel_values).features


def check_rope(text_config, name: str) -> None:
    """Refuse a kind of RoPE whose scaling this kit cannot replace by its own (`answering/rope.py`).

    Raises:
        ModelError: it is one.
    """
    kind = (text_config.rope_parameters or {}).get("rope_type", "default")
    if kind not in ("default", "dynamic", "linear"):
        raise ModelError(
            f"{name}: its RoPE is {kind!r}; this kit knows positions as they are, dynamic and linear scaling"
        )


def backbone_for(config, name: str) -> type[Backbone]:
    """The adapter for a checkpoint's config.

    Raises:
        ModelError: no adapter knows its family, or the adapter refuses it.
    """
    for module in iter_modules(sfllava_core.backbones.__path__, "sfllava_core.backbones."):
        import_module(module.name)
    kinds = kinds_of(Backbone)  # type: ignore[type-abstract]  # only its kinds are made
    families = {kind.model_type: kind for kind in kinds}
    if config.model_type not in families:
        known = " or ".join(map(repr, families))
        raise ModelError(f"{name}: it is a {config.model_type!r} model; this kit needs {known}, for instance {EXAMPLE}")
    families[config.model_type].check(config, name)
    return families[config.model_type]
