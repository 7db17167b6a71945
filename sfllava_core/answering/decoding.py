"""Greedy decoding, for one sequence or a batch."""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from jaxtyping import Float, Int64
from torch import Tensor


@runtime_checkable
class Decoder(Protocol):
    """Sequences being continued: `start` runs their prompts, `step` one more token each; both give hidden states.

    stage: what the time of `start` counts as, "prefill" or "answer".
    """

    stage: str

    def start(self) -> Float[Tensor, "batch dim"]: ...

    def step(self, ids: Int64[Tensor, "batch 1"]) -> Float[Tensor, "batch dim"]: ...


def greedy(
    decoder: Decoder,
    hidden: Float[Tensor, "batch dim"],
    head: Callable[[Float[Tensor, "batch dim"]], Float[Tensor, "batch vocabulary"]],
    max_new_tokens: int,
    stop_ids: frozenset[int],
    on_token: Callable[[list[list[int]], bool], None] | None = None,
    no_repeat_ngram_size: int | None = None,
) -> tuple[list[list[int]], Float[Tensor, "batch vocabulary"]]:
    """The likeliest token again and again, until each row has met a stop token or has `max_new_tokens`.

    Args:
        hidden: what `decoder.start()` gave.
        head: hidden states to logits.
        max_new_tokens: 0 only runs the prompts, for their first logits.
        stop_ids: end-of-sequence ids; they are not part of the result.
        on_token: called after each step with all rows' ids so far, and whether this was the last step.
        no_repeat_ngram_size: no run of so many tokens comes twice in an answer, as transformers has it; None allows it.

    Returns:
        New token ids of each row, and the logits of each row's first new token.
    """
    first = logits = head(hidden)
    rows: list[list[int]] = [[] for _ in range(len(logits))]
    live = set(range(len(rows)))
    for count in range(1, max_new_tokens + 1):
        if no_repeat_ngram_size:
            logits = logits.clone()
            for row in live:
                logits[row, repeating(rows[row], no_repeat_ngram_size)] = float("-inf")
        ids = logits.argmax(dim=-1)
        for row, token in enumerate(ids.tolist()):
            if row in live and token in stop_ids:
                live.remove(row)
            elif row in live:
                rows[row].append(token)
        last = not live or count == max_new_tokens
        if on_token is not None:
            on_token(rows, last)
        if last:
            break
        logits = head(decoder.step(ids[:, None]))
    return rows, first


def repeating(ids: list[int], size: int) -> list[int]:
    """Tokens that would end a run of `size` tokens which is in `ids` already."""
    end = ids[len(ids) - size + 1 :]
    return [ids[start + size - 1] for start in range(len(ids) - size + 1) if ids[start : start + size - 1] == end]
