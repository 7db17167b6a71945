"""How exact attention over a shared prefix is: three ways in three precisions, against float64, on the same numbers."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from sfllava_core.answering.shared_prefix import attend

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
SPREAD = 3.0  # deviation of the scores: attention that looks somewhere, as a trained model's does
Given = tuple[Tensor, ...]


def plain(
    query: Float[Tensor, "batch heads queries head_dim"],
    key: Float[Tensor, "batch kv_heads keys head_dim"],
    value: Float[Tensor, "batch kv_heads keys head_dim"],
    mask: Bool[Tensor, "batch 1 queries keys"],
    prefix_key: Float[Tensor, "kv_heads prefix head_dim"],
    prefix_value: Float[Tensor, "kv_heads prefix head_dim"],
    scaling: float,
) -> Float[Tensor, "batch queries heads head_dim"]:
    """Each row by itself over its whole sequence, as transformers runs it: the prefix copied for each."""
    keys, values, mask = whole(query, key, value, mask, prefix_key, prefix_value)
    return F.scaled_dot_product_attention(query, keys, values, mask, scale=scaling).transpose(1, 2)


def by_scores(
    query: Float[Tensor, "batch heads queries head_dim"],
    key: Float[Tensor, "batch kv_heads keys head_dim"],
    value: Float[Tensor, "batch kv_heads keys head_dim"],
    mask: Bool[Tensor, "batch 1 queries keys"],
    prefix_key: Float[Tensor, "kv_heads prefix head_dim"],
    prefix_value: Float[Tensor, "kv_heads prefix head_dim"],
    scaling: float,
) -> Float[Tensor, "batch queries heads head_dim"]:
    """Scores written down in the model's precision, one softmax in float32: eager attention, this kit's once."""
    keys, values, mask = whole(query, key, value, mask, prefix_key, prefix_value)
    scores = (query * scaling @ keys.mT).masked_fill(~mask, float("-inf"))
    exact = torch.promote_types(query.dtype, torch.float32)
    return (scores.softmax(dim=-1, dtype=exact).to(query.dtype) @ values).transpose(1, 2)


def whole(query, key, value, mask, prefix_key, prefix_value) -> tuple[Tensor, Tensor, Tensor]:
    """Keys and values of each whole row, one for each head, and its mask."""
    batch, group = len(query), query.shape[1] // len(prefix_key)
    keys, values = (
        torch.cat([prefix.expand(batch, -1, -1, -1), own], dim=2).repeat_interleave(group, dim=1)
        for prefix, own in ((prefix_key, key), (prefix_value, value))
    )
    return keys, values, torch.cat([mask.new_ones(*mask.shape[:3], prefix_key.shape[1]), mask], dim=-1)


WAYS: dict[str, Callable[..., Tensor]] = {"plain": plain, "scores written down": by_scores, "merged": attend}


def attention_errors(
    heads: int, kv_heads: int, head_dim: int, prefix: int, device: torch.device
) -> dict[torch.dtype, dict[str, float]]:
    """Relative errors of each way in each precision: the norm of what is wrong by the norm of what is right."""
    errors: dict[torch.dtype, dict[str, float]] = {}
    for dtype in DTYPES:
        given = numbers(heads, kv_heads, head_dim, prefix, device, dtype)
        wide = (one.double() if one.is_floating_point() else one for one in given)
        right = WAYS["plain"](*wide, head_dim**-0.5)
        outputs = {name: way(*given, head_dim**-0.5).double() for name, way in WAYS.items()}
        errors[dtype] = {name: float((output - right).norm() / right.norm()) for name, output in outputs.items()}
    return errors


def numbers(heads: int, kv_heads: int, head_dim: int, prefix: int, device: torch.device, dtype: torch.dtype) -> Given:
    """What `attend` takes, rounded to `dtype`: four rows, causal and padded on the left by 0 to 3 tokens."""
    torch.manual_seed(0)
    batch, queries = 4, 8
    sizes = [(batch, heads, queries), *[(batch, kv_heads, queries)] * 2, *[(kv_heads, prefix)] * 2]
    query, *rest = (torch.randn(*size, head_dim) for size in sizes)
    columns = torch.arange(queries)
    mask = (columns <= columns[:, None]) & (columns >= torch.arange(batch)[:, None, None])
    key, value, prefix_key, prefix_value = (one.to(device, dtype) for one in rest)
    return (SPREAD * query).to(device, dtype), key, value, mask[:, None].to(device), prefix_key, prefix_value
