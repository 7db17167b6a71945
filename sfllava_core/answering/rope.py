"""Rotary positions past the model's training length: the reference's "RoPE scaling factor 2", and its fault mended.

The reference's type is *dynamic* (NTK): within the model's own positions (4096 for Vicuna-1.5) it changes nothing; past
them it raises the base by the sequence's total length, so that every key changes as the sequence grows. transformers
keeps the raised base for later inputs, so answers would depend on the order of the questions: `restore` undoes that.

The *linear* type divides every position by the factor, whatever the sequence's length: short prompts are changed too,
and a key never changes once it is made. LLaVA-NeXT-Image's video evaluation took it.
"""

from torch import nn

ROPE_TYPES = ("dynamic", "linear")


def scale_rope(text_config, factor: float, rope_type: str = "dynamic") -> None:
    """Set RoPE scaling on a language model's config, before its weights are loaded.

    The checkpoint's own base (rope_theta) and `max_position_embeddings` stay as they are.
    A factor of 1 leaves the config alone.

    Args:
        rope_type: "dynamic" or "linear".

    Raises:
        ValueError: a factor below 1, or another type.
    """
    if rope_type not in ROPE_TYPES:
        raise ValueError(f"rope_type={rope_type!r}: choose one of {', '.join(ROPE_TYPES)}")
    if factor < 1:
        raise ValueError(f"rope_scaling={factor}: give 1 (off) or more (the paper's is 2)")
    if factor > 1:
        own = dict(text_config.rope_parameters)
        text_config.rope_parameters = {**own, "rope_type": rope_type, "factor": float(factor)}


def max_positions(text_config) -> int:
    """Longest sequence that we let the model see: its positions times the RoPE scaling factor (8192 for Vicuna)."""
    return int(text_config.max_position_embeddings * text_config.rope_parameters.get("factor", 1.0))


def fixed_positions(text_config) -> int:
    """Up to so long a sequence no key depends on the sequence's length: the model's own positions, or, scaled
    linearly, all of them.
    """
    linear = text_config.rope_parameters.get("rope_type") == "linear"
    return max_positions(text_config) if linear else text_config.max_position_embeddings


def restore(language_model: nn.Module) -> None:
    """Bring the rotary embedding back to its state before any long input."""
    rotary = language_model.rotary_emb
    if "dynamic" in rotary.rope_type and rotary.max_seq_len_cached != rotary.original_max_seq_len:
        fresh = type(rotary)(rotary.config).to(rotary.inv_freq.device)
        rotary.inv_freq, rotary.original_inv_freq = fresh.inv_freq, fresh.original_inv_freq
        rotary.max_seq_len_cached, rotary.attention_scaling = fresh.max_seq_len_cached, fresh.attention_scaling
