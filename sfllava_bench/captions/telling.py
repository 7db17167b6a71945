"""Clips -> captions, several clips at once: each is a sequence of its own, all equally long, so nothing is padded."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor
from transformers import DynamicCache

from sfllava_core.answering import rope
from sfllava_core.answering.decoding import greedy
from sfllava_core.answering.sharing import encode_prompt, exact_positions
from sfllava_core.answering.watched import WatchedVideo
from sfllava_core.methods.slowfast import uniform
from sfllava_core.model import VideoLLM

Pixels = UInt8[np.ndarray, "frames height width 3"]


class SideBySide:
    """Sequences of one length, run together (a `Decoder`)."""

    stage = "prefill"

    def __init__(self, language_model: torch.nn.Module, embeddings: Float[Tensor, "batch length dim"]):
        self.language_model, self.embeddings = language_model, embeddings
        self.cache = DynamicCache(config=language_model.config)

    def start(self) -> Float[Tensor, "batch dim"]:
        """Run the prompts; hidden states of their last tokens."""
        return self.run(self.embeddings)

    def step(self, ids: Int64[Tensor, "batch 1"]) -> Float[Tensor, "batch dim"]:
        """Run one more token of each."""
        return self.run(self.language_model.get_input_embeddings()(ids))

    def run(self, embeddings: Float[Tensor, "batch length dim"]) -> Float[Tensor, "batch dim"]:
        with torch.inference_mode():
            out = self.language_model(inputs_embeds=embeddings, past_key_values=self.cache, use_cache=True)
        return out.last_hidden_state[:, -1]


def tell(llm: VideoLLM, clips: Sequence[Pixels], question: str, new_tokens: int) -> list[str]:
    """One greedy caption of each clip; all clips have as many frames.

    They go through the tower, and through the language model, together. Past the model's own positions, where dynamic
    RoPE changes with each sequence, one goes after the other.

    Raises:
        ContextError: a clip does not fit the model's context.
    """
    method, frames = uniform(len(clips[0])), len(clips[0])
    features = llm.encode(np.concatenate(list(clips)))
    watched = [
        llm.watch_features(features[start : start + frames], method) for start in range(0, len(features), frames)
    ]
    prompt = encode_prompt(watched[0].asking.open_ended(question, llm.prompt_style), llm.tokenizer)
    watched[0].sharing.check_length(prompt, new_tokens)
    if watched[0].sharing.length(prompt) + new_tokens > exact_positions(llm.language_model.config):
        return [one.ask([question], max_new_tokens=new_tokens)[0] for one in watched]
    return together(llm, watched, prompt, new_tokens)


def together(llm: VideoLLM, watched: Sequence[WatchedVideo], prompt, new_tokens: int) -> list[str]:
    """The same prompt after each of several videos' tokens."""
    with llm.lock:
        rope.restore(llm.language_model)
        sequences = torch.stack([one.sharing.embeddings(prompt.before, prompt.after) for one in watched])
        decoder = SideBySide(llm.language_model, sequences)
        rows, _ = greedy(decoder, decoder.start(), llm.logits, new_tokens, llm.stop_ids)
    return [llm.tokenizer.decode(row, skip_special_tokens=True).strip() for row in rows]
