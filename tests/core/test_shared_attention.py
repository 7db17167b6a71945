"""Attention over a prefix and an own suffix, merged: right in every shape, no less exact than plain, on any device."""

import pytest
import torch
from conftest import TINY
from test_model import QUESTIONS, SMALL
from torch.nn import functional as F
from transformers import LlamaConfig, LlamaModel

from sfllava_core import VideoLLM, open_ended_prompt
from sfllava_core.answering import shared_prefix
from sfllava_core.answering.shared_prefix import (
    PlainDecoder,
    SharedPrefixDecoder,
    attend,
    attend_by_scores,
    attend_to_all,
    install_attention,
    prefill,
)

HALVES = (torch.bfloat16, torch.float16)


def tensors(batch=3, heads=6, kv_heads=2, queries=5, own=7, prefix=300, head_dim=16, dtype=torch.float64):
    """Query, key, value of the suffixes; the mask of left-padded causal rows; keys and values of the prefix."""
    torch.manual_seed(0)
    sizes = (
        (batch, heads, queries),
        (batch, kv_heads, own),
        (batch, kv_heads, own),
        (kv_heads, prefix),
        (kv_heads, prefix),
    )
    query, *rest = (torch.randn(*size, head_dim, dtype=torch.float64) for size in sizes)
    columns = torch.arange(own)
    causal = columns <= columns[own - queries :, None]
    mask = causal & (columns >= torch.tensor([0, 3, own - 1])[:batch, None, None])  # of the last, one token is left
    key, value, prefix_key, prefix_value = (one.to(dtype) for one in rest)
    return 3 * query.to(dtype), key, value, mask[:, None], prefix_key, prefix_value


def plain(query, key, value, mask, prefix_key, prefix_value, scaling):
    """Each row by itself over its whole sequence, by transformers' way: keys repeated, one softmax over all."""
    batch, group = len(query), query.shape[1] // len(prefix_key)
    keys, values = (
        torch.cat([prefix.expand(batch, -1, -1, -1), own], dim=2).repeat_interleave(group, dim=1)
        for prefix, own in ((prefix_key, key), (prefix_value, value))
    )
    mask = torch.cat([mask.new_ones(*mask.shape[:3], prefix_key.shape[1]), mask], dim=-1)
    return F.scaled_dot_product_attention(query, keys, values, mask, scale=scaling).transpose(1, 2)


@pytest.mark.parametrize("kv_heads", [1, 2, 6])
@pytest.mark.parametrize("queries", [1, 5, 7])
@pytest.mark.parametrize("prefix", [1, 300, 1500])
def test_it_is_attention_over_the_whole_sequence(kv_heads, queries, prefix):
    """With grouped-query heads, left padding, rows that see nothing of their own, short and long prefixes."""
    given = tensors(kv_heads=kv_heads, queries=queries, prefix=prefix)
    torch.testing.assert_close(attend(*given, 0.3), plain(*given, 0.3), rtol=0, atol=1e-12)


def test_without_a_flash_kernel_it_is_the_same():
    query, *_, key, value = tensors(heads=2)
    query = query[:1]
    outputs, sums = attend_to_all(query, key[None], value[None], 0.3)
    for head in range(2):
        output, total = attend_by_scores(query[0, head], key[head], value[head], 0.3)
        torch.testing.assert_close((output, total), (outputs[0, head], sums[0, head]), rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, *HALVES])
def test_it_is_no_less_exact_than_plain_attention(dtype):
    """Both in `dtype`, on the same numbers, against float64."""
    given = tensors(prefix=1500, head_dim=64, dtype=dtype)
    exact = [one.double() if one.is_floating_point() else one for one in given]
    right = plain(*exact, 0.125)
    errors = [(way(*given, 0.125).double() - right).norm() / right.norm() for way in (attend, plain)]
    assert errors[0] <= 1.5 * errors[1], errors


def test_huge_scores_do_not_overflow():
    """A prefix that matters not at all, and one that alone does: scores far beyond what float32's e to the x holds."""
    given = list(tensors(dtype=torch.float32))
    for scale in (-300.0, 300.0):
        given[4] = scale * given[0].mean() + torch.zeros_like(given[4]) + scale
        torch.testing.assert_close(attend(*given, 1.0), plain(*given, 1.0), rtol=1e-4, atol=1e-4)


def test_no_score_over_the_prefix_is_written_down(monkeypatch):
    """Where there is a flash kernel, nothing as large as queries x prefix is made."""
    largest = 0

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            nonlocal largest
            out = function(*args, **(kwargs or {}))
            for one in out if isinstance(out, tuple) else (out,):
                largest = max(largest, one.numel()) if isinstance(one, torch.Tensor) else largest
            return out

    given = tensors(queries=7, prefix=1500)
    with Watch():
        attend(*given, 0.3)
    assert 0 < largest <= given[4].numel()


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_shared_is_no_further_from_float32_than_plain(llm, golden_frames, dtype):
    """What is promised in half precision, on the logits of real prompts: the same weights, as float32 and halved."""
    half = VideoLLM.from_pretrained(TINY, device="cpu", dtype=dtype)
    prompts = [open_ended_prompt(question) for question in QUESTIONS[:8]]
    features = half.encode(golden_frames[:8])
    exact = llm.watch_features(features.float(), SMALL).next_token_logits(prompts)
    video = half.watch_features(features, SMALL)
    shared, apart = ((video.next_token_logits(prompts, share_prefix=way) - exact).abs().max() for way in (True, False))
    assert 0 < shared <= 1.5 * apart, (shared, apart)


TEXT = LlamaConfig(
    vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=2,
)  # fmt: skip


def test_long_answers_over_a_prefix_are_those_of_the_whole_sequence():
    """What the last layer leaves out, nobody reads."""
    torch.manual_seed(0)
    model = LlamaModel(TEXT).double().eval()
    install_attention(model)
    embeddings, suffixes = torch.randn(40, 32, dtype=torch.float64), [[3, 4, 5], [6]]
    decoder = SharedPrefixDecoder(model, prefill(model, embeddings), suffixes)
    own = model.get_input_embeddings()
    with torch.no_grad():
        whole = [torch.cat([embeddings, own(torch.tensor(suffix))]) for suffix in suffixes]
        apart = [PlainDecoder(model, one) for one in whole]
        torch.testing.assert_close(decoder.start(), torch.cat([one.start() for one in apart]), rtol=0, atol=1e-12)
        for token in range(9):
            ids = torch.tensor([[token], [63 - token]])
            expected = torch.cat([one.step(row[None]) for one, row in zip(apart, ids)])
            torch.testing.assert_close(decoder.step(ids), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("shared", [True, False])
def test_ids_may_come_from_another_device(shared):
    """Of a model on several GPUs the head, whose likeliest ids are run next, is not where the embeddings are.

    Here the model is on torch's device of shapes without values, and the ids on the CPU.
    """
    with torch.device("meta"):
        model, embeddings = LlamaModel(TEXT), torch.zeros(10, 32)
    install_attention(model)
    decoder = (
        SharedPrefixDecoder(model, prefill(model, embeddings), [[3, 4, 5], [6]])
        if shared
        else PlainDecoder(model, embeddings)
    )
    rows = 1 + shared
    assert decoder.start().shape == (rows, 32)
    for _ in range(2):
        hidden = decoder.step(torch.zeros(rows, 1, dtype=torch.long))
    assert hidden.shape == (rows, 32) and hidden.device.type == "meta"


def test_cuda_flash_is_asked_for_where_it_is_there(monkeypatch):
    """No GPU here: half precision on CUDA takes the kernel, float32 and odd heads do not; nothing else does."""
    monkeypatch.setattr(shared_prefix, "can_use_flash_attention", lambda params: params.query.dtype in HALVES)

    class OnCuda(torch.Tensor):
        device = torch.device("cuda")

    def there(dtype, head_dim=128, kind=OnCuda):
        query = torch.zeros(1, 2, 3, head_dim, dtype=dtype).as_subclass(kind)
        return shared_prefix.flash_is_there(query, query, query)

    assert there(torch.float16) and there(torch.bfloat16)
    assert not there(torch.float32) and not there(torch.float16, head_dim=20)
    assert not there(torch.float16, kind=torch.Tensor)
