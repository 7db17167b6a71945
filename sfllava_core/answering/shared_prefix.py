"""One prefix, many questions: attention that reads the video's keys and values once for a whole batch.

All questions about a video share everything before the question. Its keys and values are computed once (`prefill`)
and kept with a batch of 1; each question only adds its own short suffix. A suffix token attends to the prefix and to
its own suffix: two attentions over different keys, each with the logarithm of its scores' sum, which tells how much
each of them weighs in the whole. Nothing of the prefix is ever copied, however many questions there are, and no scores
over it are ever written down where there is a flash kernel (the idea is known from Hydragen, arXiv:2402.05099).
"""

from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torch.backends.cuda import SDPAParams, can_use_flash_attention
from transformers import AttentionInterface, AttentionMaskInterface, DynamicCache
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

ATTENTION = "sfllava_shared_prefix"


@dataclass(frozen=True, eq=False)
class Prefix:
    """Keys and values of `length` tokens for each layer, (1, kv_heads, length, head_dim) each."""

    layers: tuple[tuple[Tensor, Tensor], ...]

    @property
    def length(self) -> int:
        return self.layers[0][0].shape[2]

    @property
    def nbytes(self) -> int:
        """Bytes of keys and values; the same for 1 question and for 1000."""
        return sum(tensor.numel() * tensor.element_size() for layer in self.layers for tensor in layer)

    def cut(self, length: int) -> "Prefix":
        """Its first `length` tokens: views, no copies (a key depends on earlier tokens only)."""
        return Prefix(tuple((keys[:, :, :length], values[:, :, :length]) for keys, values in self.layers))


def install_attention(language_model: nn.Module) -> None:
    """Let `language_model` use `shared_prefix_attention`; without a prefix it is transformers' own SDPA."""
    AttentionInterface.register(ATTENTION, shared_prefix_attention)
    AttentionMaskInterface.register(ATTENTION, sdpa_mask)
    language_model.set_attn_implementation(ATTENTION)


def shared_prefix_attention(
    module: nn.Module,
    query: Float[Tensor, "batch heads queries head_dim"],
    key: Float[Tensor, "batch kv_heads keys head_dim"],
    value: Float[Tensor, "batch kv_heads keys head_dim"],
    attention_mask: Bool[Tensor, "batch 1 queries keys"] | None,
    scaling: float | None = None,
    shared_prefix: Prefix | None = None,
    **kwargs,
) -> tuple[Float[Tensor, "batch queries heads head_dim"], None]:
    """Attention over [prefix of all, suffix of each]; transformers calls it in every layer.

    The mask is for the suffix alone; every query sees the whole prefix, which comes before it. In the last layer only a
    suffix's last token is read: the others are zeros.
    """
    if shared_prefix is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **kwargs)
    assert attention_mask is not None and scaling is not None  # transformers always gives the scale, the decoder a mask
    prefix_keys, prefix_values = shared_prefix.layers[module.layer_idx]
    unread = query.shape[2] - 1 if module.layer_idx == module.config.num_hidden_layers - 1 else 0
    query, mask = query[:, :, unread:], attention_mask[:, :, unread:]
    read = attend(query, key, value, mask, prefix_keys[0], prefix_values[0], scaling)
    return (nn.functional.pad(read, (0, 0, 0, 0, unread, 0)) if unread else read), None


def attend(
    query: Float[Tensor, "batch heads queries head_dim"],
    key: Float[Tensor, "batch kv_heads keys head_dim"],
    value: Float[Tensor, "batch kv_heads keys head_dim"],
    mask: Bool[Tensor, "batch 1 queries keys"],
    prefix_key: Float[Tensor, "kv_heads prefix head_dim"],
    prefix_value: Float[Tensor, "kv_heads prefix head_dim"],
    scaling: float,
) -> Float[Tensor, "batch queries heads head_dim"]:
    """Attention over the prefix and over the own suffix, merged by the prefix's log-sum-exp.

    All sequences' queries, and those of all heads that share keys, meet the prefix as the queries of one sequence. For
    the suffix the prefix is then one more key: its score is the log-sum-exp, its value what was read from it. The
    suffix, and the merging, are in float32 whatever the model's dtype: they are short.
    """
    sizes = {"b": len(query), "k": len(prefix_key), "q": query.shape[2]}
    folded = rearrange(query, "b (k g) q d -> 1 k (b g q) d", k=sizes["k"])
    from_prefix, log_sum = attend_to_all(folded, prefix_key[None], prefix_value[None], scaling)
    own = rearrange(query.to(log_sum.dtype) * scaling, "b (k g) q d -> b k (g q) d", k=sizes["k"])
    scores = rearrange(own @ key.to(own.dtype).mT, "b k (g q) s -> b k g q s", q=sizes["q"])
    scores = scores.masked_fill(~mask[:, :, None], float("-inf"))
    log_sum = rearrange(log_sum, "1 k (b g q) -> b k g q 1", **sizes)
    weights = torch.cat([log_sum, scores], dim=-1).softmax(dim=-1).flatten(2, 3)
    from_prefix = rearrange(from_prefix, "1 k (b g q) d -> b k (g q) d", **sizes)
    merged = weights[..., :1] * from_prefix + weights[..., 1:] @ value.to(own.dtype)
    return rearrange(merged, "b k (g q) d -> b q (k g) d", q=sizes["q"]).to(query.dtype)


def attend_to_all(
    query: Float[Tensor, "1 heads queries head_dim"],
    key: Float[Tensor, "1 heads keys head_dim"],
    value: Float[Tensor, "1 heads keys head_dim"],
    scaling: float,
) -> tuple[Float[Tensor, "1 heads queries head_dim"], Float[Tensor, "1 heads queries"]]:
    """Every query sees every key: the output, and the logarithm of the sum of e to its scores, float32 at least.

    By torch's own flash kernels, which `scaled_dot_product_attention` would take too but without this sum: of any dtype
    on the CPU, of half precision on CUDA. Elsewhere the scores are written down, one head's at a time.
    """
    if query.device.type == "cpu":
        return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(query, key, value, scale=scaling)
    if flash_is_there(query, key, value):
        return torch.ops.aten._scaled_dot_product_flash_attention(query, key, value, scale=scaling)[:2]
    outputs, sums = zip(*(attend_by_scores(*one, scaling) for one in zip(query[0], key[0], value[0])))
    return torch.stack(outputs)[None], torch.stack(sums)[None]


def flash_is_there(query: Tensor, key: Tensor, value: Tensor) -> bool:
    """Whether CUDA's flash kernel takes these: half precision, heads of a multiple of 8, a card that has it."""
    if query.device.type != "cuda" or query.shape[-1] % 8:
        return False
    return can_use_flash_attention(SDPAParams(query, key, value, None, 0.0, False, False))


def attend_by_scores(
    query: Float[Tensor, "queries head_dim"],
    key: Float[Tensor, "keys head_dim"],
    value: Float[Tensor, "keys head_dim"],
    scaling: float,
) -> tuple[Float[Tensor, "queries head_dim"], Float[Tensor, " queries"]]:
    """`attend_to_all` for one head, without a flash kernel."""
    exact = torch.promote_types(query.dtype, torch.float32)
    scores = query.to(exact) * scaling @ key.to(exact).mT
    return (scores.softmax(dim=-1) @ value.to(exact)).to(query.dtype), scores.logsumexp(dim=-1)


def prefill(language_model: nn.Module, embeddings: Float[Tensor, "length dim"]) -> Prefix:
    """Keys and values of the tokens that all questions share."""
    cache = DynamicCache(config=language_model.config)
    with torch.inference_mode():
        language_model(inputs_embeds=embeddings[None], past_key_values=cache, use_cache=True)
    return Prefix(tuple((layer.keys, layer.values) for layer in cache.layers))


class SharedPrefixDecoder:
    """A batch of suffixes over one prefix: `start` runs them, `step` adds a token to each.

    Rows are padded on the left; the padding is masked, and positions count from the prefix's end.
    """

    stage = "answer"

    def __init__(self, language_model: nn.Module, prefix: Prefix, suffixes: list[list[int]]):
        self.language_model, self.prefix = language_model, prefix
        self.cache = DynamicCache(config=language_model.config)
        device = language_model.get_input_embeddings().weight.device
        width = max(map(len, suffixes))
        self.padding = torch.tensor([width - len(suffix) for suffix in suffixes], device=device)
        self.start_ids = torch.tensor([[0] * (width - len(suffix)) + suffix for suffix in suffixes], device=device)

    def start(self) -> Float[Tensor, "batch dim"]:
        """Run the suffixes; hidden states of their last tokens."""
        return self.step(self.start_ids)

    def step(self, ids: Int64[Tensor, "batch queries"]) -> Float[Tensor, "batch dim"]:
        """Run further tokens of every row; hidden states of the last."""
        ids = ids.to(self.padding.device)  # the head, whose logits they come from, may be on another
        seen = self.cache.get_seq_length()
        columns = torch.arange(seen + ids.shape[1], device=ids.device)
        positions = self.prefix.length + (columns[None, seen:] - self.padding[:, None]).clamp(min=0)
        causal = columns[None, :] <= columns[seen:, None]
        mask = causal[None] & (columns[None, None, :] >= self.padding[:, None, None])
        with torch.inference_mode():
            out = self.language_model(
                inputs_embeds=self.language_model.get_input_embeddings()(ids),
                attention_mask=mask[:, None], position_ids=positions,
                past_key_values=self.cache, use_cache=True, shared_prefix=self.prefix,
            )  # fmt: skip
        return out.last_hidden_state[:, -1]


class PlainDecoder:
    """One whole sequence by itself, as the released code runs it: prefix and question together, nothing shared."""

    stage = "prefill"

    def __init__(self, language_model: nn.Module, embeddings: Float[Tensor, "length dim"]):
        self.language_model, self.embeddings = language_model, embeddings
        self.cache = DynamicCache(config=language_model.config)

    def start(self) -> Float[Tensor, "1 dim"]:
        """Run the whole prompt; hidden state of its last token."""
        return self.run(self.embeddings[None])

    def step(self, ids: Int64[Tensor, "1 queries"]) -> Float[Tensor, "1 dim"]:
        """Run further tokens; hidden state of the last."""
        return self.run(self.language_model.get_input_embeddings()(ids.to(self.embeddings.device)))

    def run(self, embeddings: Float[Tensor, "1 length dim"]) -> Float[Tensor, "1 dim"]:
        with torch.inference_mode():
            out = self.language_model(inputs_embeds=embeddings, past_key_values=self.cache, use_cache=True)
        return out.last_hidden_state[:, -1]
