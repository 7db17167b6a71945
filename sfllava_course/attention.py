"""Where the words look: attention weights of the text behind the video over the whole sequence, layer by layer.

Beside the method's way, for the course and for debugging: text, slow tokens, fast tokens, text, as `watched` puts
them together, run once, plainly. Only the rows of the question and the answer are kept, so that a long sequence needs
little more memory than usual. `hidden` tokens are cut out of everyone's sight, to see what depends on them.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from sfllava_core.answering import rope
from sfllava_core.answering.shared_prefix import install_attention
from sfllava_core.answering.sharing import encode_prompt
from sfllava_core.answering.watched import WatchedVideo

RECORDING = "sfllava_recording"


@dataclass(frozen=True)
class Segment:
    """A piece of the sequence: name "before" and "after" (text), "slow", "fast" or another pathway's."""

    name: str
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True, eq=False)
class Looks:
    """One run of a sequence.

    weights: attention of each word behind the video, (layers, heads, words, keys); each row sums to 1.
    words: their texts; the last `len(answer_ids)` of them are the positions that predict the answer's tokens.
    logits: of these last positions. segments: in order, they cover all keys. owners: the sampled frame of each visual
    token, -1 where a pool mixes frames.
    """

    weights: Float[Tensor, "layers heads words keys"]
    words: tuple[str, ...]
    logits: Float[Tensor, "answer vocabulary"]
    answer_ids: tuple[int, ...]
    segments: tuple[Segment, ...]
    owners: Int64[Tensor, " tokens"]

    def segment(self, name: str) -> Segment:
        """The segment of that name. Raises KeyError where there is none."""
        for segment in self.segments:
            if segment.name == name:
                return segment
        raise KeyError(f"no segment {name!r}: there are {', '.join(one.name for one in self.segments)}")

    def rows(self, words: Sequence[int] | None = None) -> Float[Tensor, "layers keys"]:
        """Mean over heads and over the words of these numbers (default: those that predict the answer)."""
        first = len(self.words) - len(self.answer_ids)
        chosen = range(first, len(self.words)) if words is None else words
        return self.weights[:, :, list(chosen)].mean(dim=(1, 2))

    def mass(self, name: str, words: Sequence[int] | None = None) -> Float[Tensor, " layers"]:
        """Share of the attention that goes to a segment, 0 to 1, in each layer."""
        segment = self.segment(name)
        return self.rows(words)[:, segment.start : segment.stop].sum(dim=1)

    def per_frame(
        self, name: str, num_frames: int, words: Sequence[int] | None = None
    ) -> Float[Tensor, "layers frames"]:
        """Share of the attention that goes to each sampled frame's tokens of one pathway."""
        segment, first = self.segment(name), self.segment("before").stop
        owners = self.owners[segment.start - first : segment.stop - first]
        row = self.rows(words)[:, segment.start : segment.stop]
        return torch.zeros(len(row), num_frames).index_add(1, owners, row)

    def on_frames(self, frames: Sequence[int], words: Sequence[int]) -> Float[Tensor, "layers words"]:
        """Share of each of these words' attention that goes to the visual tokens of some sampled frames."""
        mine = self.segment("before").stop + torch.isin(self.owners, torch.tensor(list(frames))).nonzero()[:, 0]
        return self.weights[:, :, list(words)][..., mine].sum(dim=-1).mean(dim=1)

    def probability(self) -> float:
        """The model's probability of the whole answer, token after token."""
        chosen = self.logits.log_softmax(dim=-1)[torch.arange(len(self.answer_ids)), list(self.answer_ids)]
        return float(chosen.sum().exp())

    def would_say_it(self) -> bool:
        """Whether greedy decoding gives this very answer here."""
        return self.logits.argmax(dim=-1).tolist() == list(self.answer_ids)


def look(
    video: WatchedVideo,
    prompt: str | tuple[str, str],
    answer_ids: Sequence[int],
    hidden: Bool[Tensor, " tokens"] | None = None,
) -> Looks:
    """Run prompt and answer once, and keep where the words behind the video looked.

    Args:
        prompt: a whole prompt with one `<image>`.
        answer_ids: at least one token. The position before token i predicts it; token i itself is the next row.
        hidden: True for visual tokens that nobody may look at (but themselves). Positions stay as they are.

    Raises:
        ValueError: no answer, or `hidden` of another length than the visual tokens.
        ContextError: too long a sequence.
    """
    llm, visual = video.llm, len(video.tokens)
    if not answer_ids:
        raise ValueError("answer_ids is empty: give at least one token whose prediction is to be looked at")
    if hidden is not None and len(hidden) != visual:
        raise ValueError(f"hidden has {len(hidden)} places, the video has {visual} tokens")
    encoded = encode_prompt(prompt, llm.tokenizer)
    video.sharing.check_length(encoded, len(answer_ids))
    after = (*encoded.after, *answer_ids[:-1])
    embeddings = video.sharing.embeddings(encoded.before, after)
    mask = torch.ones(len(embeddings), len(embeddings), dtype=torch.bool, device=embeddings.device).tril()
    if hidden is not None:
        columns = len(encoded.before) + hidden.nonzero()[:, 0].to(mask.device)
        mask[:, columns] = False
        mask[columns, columns] = True
    with llm.lock:
        weights, states = recorded(llm.language_model, embeddings, mask, len(after))
    logits = llm.logits(states[-len(answer_ids) :]).float().cpu()
    words = tuple(llm.tokenizer.decode([token]) for token in after)
    segments = segments_of(video, len(encoded.before), len(embeddings))
    return Looks(weights, words, logits, tuple(answer_ids), segments, owners_of(video))


def segments_of(video: WatchedVideo, before: int, length: int) -> tuple[Segment, ...]:
    """Text, each pathway's tokens, text: the pieces of a sequence of `length` tokens, in order."""
    frames = len(video.frames) if video.frames is not None else video.method.num_frames
    counts = {"before": before, **video.method.token_counts(frames, video.llm.grid)}
    counts["after"] = length - sum(counts.values())
    segments, start = [], 0
    for name, count in counts.items():
        segments.append(Segment(name, start, start + count))
        start += count
    return tuple(segments)


def owners_of(video: WatchedVideo) -> Int64[Tensor, " tokens"]:
    """The sampled frame of each visual token."""
    frames = len(video.frames) if video.frames is not None else video.method.num_frames
    return video.method.token_frames(frames, video.llm.grid)


def recorded(
    language_model: torch.nn.Module,
    embeddings: Float[Tensor, "length dim"],
    mask: Bool[Tensor, "length length"],
    queries: int,
) -> tuple[Float[Tensor, "layers heads queries length"], Float[Tensor, "queries dim"]]:
    """Run a sequence; attention weights (float32, on the CPU) and hidden states of its last `queries` positions."""
    AttentionInterface.register(RECORDING, recording_attention)
    AttentionMaskInterface.register(RECORDING, sdpa_mask)
    kept: deque[Tensor] = deque()  # a list would be copied on its way into a layer on another device
    rope.restore(language_model)
    language_model.set_attn_implementation(RECORDING)
    try:
        with torch.inference_mode():
            out = language_model(
                inputs_embeds=embeddings[None], attention_mask=mask[None, None], use_cache=False, kept=kept,
                queries=queries,
            )  # fmt: skip
    finally:
        install_attention(language_model)
        rope.restore(language_model)
    return torch.cat(list(kept)), out.last_hidden_state[0, -queries:]


def recording_attention(
    module: torch.nn.Module,
    query: Float[Tensor, "1 heads length head_dim"],
    key: Float[Tensor, "1 kv_heads length head_dim"],
    value: Float[Tensor, "1 kv_heads length head_dim"],
    attention_mask: Bool[Tensor, "1 1 length length"],
    scaling: float | None = None,
    *,
    kept: deque[Tensor],
    queries: int,
    **kwargs,
) -> tuple[Float[Tensor, "1 length heads head_dim"], None]:
    """transformers' own attention; the last rows' weights are computed once more, and kept."""
    keys = key.repeat_interleave(query.shape[1] // key.shape[1], dim=1)
    scores = query[:, :, -queries:] @ keys.mT * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    scores = scores.float().masked_fill(~attention_mask[:, :, -queries:], float("-inf"))
    kept.append(scores.softmax(dim=-1).cpu())
    return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **kwargs)
