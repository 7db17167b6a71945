"""LLaVA-1.5 with a CLIP tower: LLaVA-NeXT without any-resolution tiles, so without a vector for a row's end."""

from transformers import LlavaForConditionalGeneration

from sfllava_core.backbones.base import check_rope
from sfllava_core.backbones.llava_next import LlavaNext


class Llava(LlavaNext):
    """transformers' `LlavaForConditionalGeneration`, on Vicuna or Mistral."""

    model_type = "llava"
    model_class = LlavaForConditionalGeneration

    @classmethod
    def check(cls, config, name: str) -> None:
        super().check(config, name)
        check_rope(config.text_config, name)

    @property
    def newline(self) -> None:
        return None
