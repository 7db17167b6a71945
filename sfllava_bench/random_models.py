"""LLaVA-NeXT models with random weights, built in memory: they know nothing, but cost what the real ones cost."""

import torch
from transformers import CLIPVisionConfig, LlamaConfig, LlavaNextConfig, LlavaNextForConditionalGeneration

from sfllava_core.answering import rope
from sfllava_core.checkpoints import ModelError, load_tokenizer, pick_device, pick_dtype
from sfllava_core.defaults import TINY
from sfllava_core.model import VideoLLM

CLIP_L_336 = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16}
CLIP_SMALL = {"hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4}
SIZES = {
    "random-small": (
        CLIP_SMALL,
        {"hidden_size": 256, "intermediate_size": 688, "num_hidden_layers": 6, "num_attention_heads": 4},
    ),
    "random-7b": (
        CLIP_L_336,
        {"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32},
    ),
}


def random_llm(
    name: str, device: str | torch.device = "auto", dtype: str = "auto", rope_scaling: float = 2.0
) -> VideoLLM:
    """A `VideoLLM` of a named size with random weights and the tiny checkpoint's tokenizer. Nothing is downloaded.

    Args:
        name: "random-small" (seconds a question on a laptop) or "random-7b" (Vicuna-7B's sizes, 14 GB in float16).
        device, dtype, rope_scaling: as in `VideoLLM.from_pretrained`.

    Raises:
        ModelError: an unknown name, or the 7B without a GPU.
    """
    if name not in SIZES:
        raise ModelError(f"{name}: choose one of {', '.join(SIZES)}")
    device = pick_device(device)
    if name == "random-7b" and device.type == "cpu":
        raise ModelError("random-7b needs a GPU with 20 GB: on a CPU one question takes minutes; take random-small")
    vision, text = SIZES[name]
    config = LlavaNextConfig(
        vision_config=CLIPVisionConfig(image_size=336, patch_size=14, **vision),
        text_config=LlamaConfig(vocab_size=32064, max_position_embeddings=4096, bos_token_id=1, eos_token_id=2, **text),
        image_token_index=32000,
    )
    rope.scale_rope(config.text_config, rope_scaling)
    torch.manual_seed(0)
    with torch.device(device):
        model = LlavaNextForConditionalGeneration._from_config(config, dtype=pick_dtype(dtype, device))
    return VideoLLM(model, load_tokenizer(TINY), name=name)
