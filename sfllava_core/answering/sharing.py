"""Which way each prompt of a batch goes: over the shared prefix, or the plain way by itself.

Sharing is exact while prompt and answer stay within the model's own positions; past them dynamic RoPE changes every
key with the sequence's length (rope.py), so such prompts go the plain way. Linear RoPE never does.
"""

import sys
from collections import defaultdict
from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from sfllava_core.answering import rope
from sfllava_core.answering.decoding import Decoder
from sfllava_core.answering.shared_prefix import PlainDecoder, Prefix, SharedPrefixDecoder, prefill
from sfllava_core.prompts import IMAGE, IMAGE_TOKEN, PromptError, tokenize_prompt
from sfllava_core.stopwatch import Stopwatch

if TYPE_CHECKING:
    import sfllava_core.model

BATCH = 32  # questions decoded together


class ContextError(ValueError):
    """A sequence longer than the model's context; says by how much, and what to take less of."""


@dataclass(frozen=True)
class EncodedPrompt:
    """Token ids before and after the visual tokens; all prompts of its kind begin with `shared` after them."""

    before: tuple[int, ...]
    after: tuple[int, ...]
    shared: tuple[int, ...]

    @property
    def text_tokens(self) -> int:
        return len(self.before) + len(self.after)


def encode_prompt(prompt: str | tuple[str, str], tokenizer) -> EncodedPrompt:
    """Tokenise a prompt; of a pair (shared, own) the first text is what other prompts have in common with it.

    Raises:
        PromptError: not exactly one `<image>`, or nothing after it.
    """
    if isinstance(prompt, str):
        head, marker, own = prompt.partition(IMAGE)
        prompt = (head + marker, own)
    before, after = split_at_image(tokenize_prompt("".join(prompt), tokenizer))
    if not after:
        raise PromptError(f"nothing follows {IMAGE} in the prompt {''.join(prompt)[-200:]!r}: there must be a question")
    return EncodedPrompt(before, after, split_at_image(tokenize_prompt(prompt[0], tokenizer))[1])


class PrefixSharing:
    """The prefix of one watched video, and the decoders that answer prompts over it.

    Only the last used prefix is kept: prompts of another kind (open-ended, multiple choice) prefill anew.
    """

    def __init__(self, llm: "sfllava_core.model.VideoLLM", tokens: Float[Tensor, "tokens dim"], stopwatch: Stopwatch):
        self.llm, self.tokens, self.stopwatch = llm, tokens, stopwatch
        self.prefix: Prefix | None = None
        self.prefix_ids: tuple[tuple[int, ...], tuple[int, ...]] = (), ()  # of the text before and after the tokens

    def length(self, prompt: EncodedPrompt) -> int:
        """Tokens of the whole prompt: text and visual."""
        return prompt.text_tokens + len(self.tokens)

    def decoders(
        self, prompts: list[EncodedPrompt], new_tokens: int, share_prefix: bool
    ) -> Generator[tuple[list[int], Decoder], None, None]:
        """Decoders that together answer all prompts with up to `new_tokens` each, and the rows that each answers.

        Hold the model's `lock` from before the first to after the last is closed: prefix and RoPE's state are shared.

        Raises:
            ContextError: before any work, if one of the prompts is too long.
        """
        language_model = self.llm.language_model
        shared: defaultdict[tuple[int, ...], list[int]] = defaultdict(list)
        plain: list[int] = []
        for row, prompt in enumerate(prompts):
            self.check_length(prompt, new_tokens)
            exact = self.length(prompt) + new_tokens <= exact_positions(language_model.config)
            (shared[prompt.before] if share_prefix and exact else plain).append(row)
        try:
            for rows in shared.values():
                for some in (rows[start : start + BATCH] for start in range(0, len(rows), BATCH)):
                    rope.restore(language_model)
                    yield some, self.shared_decoder([prompts[row] for row in some])
            for row in plain:
                rope.restore(language_model)
                yield [row], PlainDecoder(language_model, self.embeddings(prompts[row].before, prompts[row].after))
        finally:
            rope.restore(language_model)

    def check_length(self, prompt: EncodedPrompt, new_tokens: int) -> None:
        """Refuse a sequence that the model cannot hold; the released code would cut off its end, the question."""
        total, limit = self.length(prompt) + new_tokens, self.llm.max_positions
        if total > limit:
            raise ContextError(
                f"{len(self.tokens)} visual + {prompt.text_tokens} text + {new_tokens} new tokens = {total}, "
                f"but {self.llm.name} takes {limit}: take fewer frames or pool more, shorten the question, "
                "or lower max_new_tokens"
            )

    def shared_decoder(self, prompts: list[EncodedPrompt]) -> SharedPrefixDecoder:
        """The prompts' own ends over the longest prefix that all of them share with what is prefilled."""
        before, shared = prompts[0].before, prompts[0].shared
        if self.prefix is None or self.prefix_ids[0] != before:
            self.prefix = None  # make room before the new one is made
            with self.stopwatch("prefill"):
                self.prefix = prefill(self.llm.language_model, self.embeddings(before, shared))
            self.prefix_ids = before, shared
        common = min(common_length(self.prefix_ids[1], prompt.after[:-1]) for prompt in prompts)
        prefix = self.prefix.cut(len(before) + len(self.tokens) + common)
        return SharedPrefixDecoder(self.llm.language_model, prefix, [list(prompt.after[common:]) for prompt in prompts])

    def embeddings(self, before: tuple[int, ...], after: tuple[int, ...]) -> Float[Tensor, "length dim"]:
        """Input embeddings: text, visual tokens, text (equation 4)."""
        return torch.cat([self.llm.embed(list(before)), self.tokens, self.llm.embed(list(after))])


def exact_positions(text_config) -> int:
    """Within so many positions a shared prefix is exact: RoPE is not rescaled, and no sliding window forgets."""
    return min(rope.fixed_positions(text_config), getattr(text_config, "sliding_window", None) or sys.maxsize)


def split_at_image(ids: list[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Ids before and after the visual tokens' place."""
    place = ids.index(IMAGE_TOKEN)
    return tuple(ids[:place]), tuple(ids[place + 1 :])


def common_length(first: tuple[int, ...], second: tuple[int, ...]) -> int:
    """How many ids both begin with."""
    same = [a == b for a, b in zip(first, second)]
    return same.index(False) if False in same else len(same)
