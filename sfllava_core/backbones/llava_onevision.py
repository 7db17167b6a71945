"""LLaVA-OneVision: a SigLIP tower (384 pixels, 27 x 27 patches) and a Qwen2 language model.

Each frame is seen as a picture of one view is, all its patches; the 2 x 2 pooling and the one newline that the model
itself was trained with for videos are a method's business, not the adapter's.
"""

from jaxtyping import Float
from torch import Tensor
from transformers import LlavaOnevisionForConditionalGeneration

from sfllava_core.backbones.base import ModelError, check_rope
from sfllava_core.backbones.llava_next import LlavaNext
from sfllava_core.methods.base import Method, Seen


class LlavaOnevision(LlavaNext):
    """transformers' `LlavaOnevisionForConditionalGeneration`."""

    model_type = "llava_onevision"
    model_class = LlavaOnevisionForConditionalGeneration

    @classmethod
    def check(cls, config, name: str) -> None:
        tower, strategy = config.vision_config.model_type, config.vision_feature_select_strategy
        if tower != "siglip_vision_model":
            raise ModelError(f"{name}: its vision tower is {tower!r}; of this family this kit needs a SigLIP tower")
        if strategy != "full":
            needed = "this kit needs 'full' (SigLIP has no CLS token to leave out)"
            raise ModelError(f"{name}: vision_feature_select_strategy {strategy!r}; {needed}")
        check_rope(config.text_config, name)

    @classmethod
    def prompt_style(cls, config, tokenizer) -> str:
        """Qwen2 speaks ChatML."""
        return "chatml"

    def look(self, pixel_values: Float[Tensor, "views 3 height width"], method: Method | None = None) -> Seen:
        """The tower's last layer before its norm, as the checkpoint's config says; nothing else can be had of it."""
        if method is not None and method.wants:
            wanted = ", ".join(method.wants)
            raise ModelError(f"{method} needs {wanted} of the vision tower: this kit reads that of a CLIP tower only")
        return super().look(pixel_values, method)
