"""A video that has been watched, to be asked questions.

Last step of the way: frames -> features -> pathways -> prompt -> **answer**.

Everything before the question is the same for all questions about a video, so it is prefilled once and shared
(sharing.py, shared_prefix.py). The plain way, each question by itself with everything before it, gives the same
tokens in float32.
"""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

import torch
from jaxtyping import Float
from torch import Tensor

from sfllava_core.answering.decoding import greedy
from sfllava_core.answering.sharing import EncodedPrompt, PrefixSharing, encode_prompt
from sfllava_core.methods.base import Method
from sfllava_core.prompts import ALL_PARTS, PromptError, PromptParts, option_letters
from sfllava_core.stopwatch import Stopwatch
from sfllava_core.video.frames import Frames

if TYPE_CHECKING:
    import sfllava_core.model

Prompts = Sequence[str] | Sequence[tuple[str, str]]
Progress = Callable[[str, int, int], None]
OnToken = Callable[[list[list[int]], bool], None]


@dataclass(frozen=True)
class Generation:
    """One greedy answer: its text, its new token ids without the end token, and the tokens of its whole prompt."""

    text: str
    token_ids: list[int]
    prompt_tokens: int


@dataclass(frozen=True)
class Choice:
    """A multiple-choice answer. letter and option are None where a generated text names none of the options.

    scores: one per option, adding up to 1: the probability of its letter among the options' letters as next token.
    text: the generated text with by="generation", else empty.
    """

    letter: str | None
    option: str | None
    scores: list[float]
    text: str = ""


class WatchedVideo:
    """What `VideoLLM.watch` returns. Several threads may ask: they wait for each other (`VideoLLM.lock`).

    Attributes: tokens, the visual tokens (tokens, dim); method; asking, the method whose prompts and reading of choices
    are used (another one's, to compare what is seen alone); frames (None if features were given); stopwatch, whose
    `seconds` add up by stage (decode, encode, pool, prefill, answer).
    """

    def __init__(
        self,
        llm: "sfllava_core.model.VideoLLM",
        tokens: Float[Tensor, "tokens dim"],
        method: Method,
        frames: Frames | None,
        stopwatch: Stopwatch,
    ):
        self.llm, self.tokens, self.method, self.frames, self.stopwatch = llm, tokens, method, frames, stopwatch
        self.asking = method
        self.sharing = PrefixSharing(llm, tokens, stopwatch)

    def __repr__(self) -> str:
        return f"WatchedVideo({len(self.tokens)} visual tokens, {self.method})"

    @property
    def prefix_bytes(self) -> int:
        """Bytes of the keys and values that all questions share; 0 before the first question."""
        return self.sharing.prefix.nbytes if self.sharing.prefix else 0

    def ask(
        self,
        question: str | Sequence[str],
        *,
        max_new_tokens: int = 128,
        parts: PromptParts = ALL_PARTS,
        share_prefix: bool = True,
        on_text: Callable[[str], None] | None = None,
        progress: Progress | None = None,
    ) -> str | list[str]:
        """Answer an open-ended question, or a list of them in batches over one shared prefix.

        Args:
            max_new_tokens: at most this many new tokens an answer (the released code's 128).
            parts: parts of the prompt to keep (table 7).
            share_prefix: False takes the plain way, question by question; the answers are the same in float32.
            on_text: for one question, called with each new piece of text as it comes.
            progress: called as progress("answer", questions done, questions in all).

        Raises:
            PromptError: a question that no prompt can be made of.  ContextError: too long a sequence.
            ModelError: the model computes NaN or infinity.
        """
        questions = [question] if isinstance(question, str) else list(question)
        prompts = [self.asking.open_ended(text, self.llm.prompt_style, parts) for text in questions]
        generations = self.generate(
            prompts, max_new_tokens=max_new_tokens, share_prefix=share_prefix, on_text=on_text, progress=progress,
            no_repeat_ngram_size=self.asking.no_repeat_ngram_size,
        )  # fmt: skip
        answers = [generation.text for generation in generations]
        return answers[0] if isinstance(question, str) else answers

    def choose(
        self,
        question: str | Sequence[str],
        options: Sequence[str] | Sequence[Sequence[str]],
        *,
        by: str = "likelihood",
        max_new_tokens: int = 128,
        parts: PromptParts = ALL_PARTS,
        share_prefix: bool = True,
        progress: Progress | None = None,
    ) -> Choice | list[Choice]:
        """Answer a multiple-choice question; or a list of them, with a list of options for each.

        Args:
            by: "likelihood" takes the option whose letter is likeliest as the next token: there is always an answer.
                "generation" is the released way: greedy text of up to `max_new_tokens`, read by `Method.read_choice`,
                by default `parse_choice`, which knows the letters A to E.
            parts, share_prefix, progress: as in `ask`.

        Raises:
            PromptError: no options, or more than 26.  ContextError: too long a sequence.
            ModelError: the model computes NaN or infinity.
        """
        if by not in ("likelihood", "generation"):
            raise ValueError(f"by={by!r}: choose 'likelihood' or 'generation'")
        questions = [question] if isinstance(question, str) else list(question)
        all_options = cast(list[Sequence[str]], [options] if isinstance(question, str) else list(options))
        if len(questions) != len(all_options):
            raise ValueError(f"{len(questions)} questions, {len(all_options)} lists of options: give one list for each")
        style = self.llm.prompt_style
        prompts = [self.asking.multiple_choice(q, o, style, parts) for q, o in zip(questions, all_options)]
        generated = by == "generation"
        _, ids, logits = self._answer(prompts, max_new_tokens if generated else 0, share_prefix, progress=progress)
        choices = [self._likeliest(*one) for one in zip(logits, all_options, prompts)]
        if generated:
            choices = [self._read(self._text(row), texts, best) for row, texts, best in zip(ids, all_options, choices)]
        return choices[0] if isinstance(question, str) else choices

    def generate(
        self,
        prompts: Prompts,
        *,
        max_new_tokens: int = 128,
        share_prefix: bool = True,
        on_text: Callable[[str], None] | None = None,
        progress: Progress | None = None,
        no_repeat_ngram_size: int | None = None,
    ) -> list[Generation]:
        """Greedy answers to whole prompts, each holding one `<image>`; pairs (shared, own) say what may be shared.

        no_repeat_ngram_size: as of `greedy`; `ask` gives the method's.

        Raises:
            PromptError: not exactly one `<image>`, or nothing after it.  ContextError: too long a sequence.
            ModelError: the model computes NaN or infinity.
        """
        if max_new_tokens < 1:
            raise ValueError(f"max_new_tokens={max_new_tokens}: ask for at least 1 token")
        if on_text is not None and len(prompts) != 1:
            raise ValueError(f"on_text streams one answer, but there are {len(prompts)} prompts")
        on_token = None if on_text is None else self._text_stream(on_text)
        encoded, ids, _ = self._answer(prompts, max_new_tokens, share_prefix, on_token, progress, no_repeat_ngram_size)
        return [Generation(self._text(row), row, self.sharing.length(p)) for row, p in zip(ids, encoded)]

    def next_token_logits(self, prompts: Prompts, *, share_prefix: bool = True) -> Float[Tensor, "prompts vocabulary"]:
        """Logits of the first token of each prompt's answer, float32 on the CPU. Errors as in `generate`."""
        return self._answer(prompts, 0, share_prefix)[2]

    def _answer(
        self,
        prompts: Prompts,
        max_new_tokens: int,
        share_prefix: bool,
        on_token: OnToken | None = None,
        progress: Progress | None = None,
        no_repeat: int | None = None,
    ) -> tuple[list[EncodedPrompt], list[list[int]], Float[Tensor, "prompts vocabulary"]]:
        """Encoded prompts, new token ids, and first logits, in the prompts' order."""
        if isinstance(prompts, str):
            raise PromptError("generate and next_token_logits take a list of prompts, not one text")
        if not prompts:
            raise ValueError("no questions: give at least one")
        llm = self.llm
        encoded = [encode_prompt(prompt, llm.tokenizer) for prompt in prompts]
        ids: dict[int, list[int]] = {}
        logits: dict[int, Tensor] = {}
        with llm.lock, closing(self.sharing.decoders(encoded, max_new_tokens, share_prefix)) as decoders:
            for rows, decoder in decoders:
                with self.stopwatch(decoder.stage):
                    hidden = decoder.start()
                with self.stopwatch("answer"):
                    stops = llm.stop_ids
                    new_ids, first = greedy(decoder, hidden, llm.logits, max_new_tokens, stops, on_token, no_repeat)
                ids.update(zip(rows, new_ids))
                logits.update(zip(rows, first.float().cpu()))
                if progress is not None:
                    progress("answer", len(ids), len(prompts))
        order = range(len(prompts))
        return encoded, [ids[row] for row in order], torch.stack([logits[row] for row in order])

    def _likeliest(
        self, logits: Float[Tensor, " vocabulary"], options: Sequence[str], prompt: tuple[str, str]
    ) -> Choice:
        letters = option_letters(options)
        ids = [letter_id(self.llm.tokenizer, letter, prompt[1].endswith("(")) for letter in letters]
        scores = logits[ids].softmax(dim=0)
        best = int(scores.argmax())
        return Choice(letters[best], options[best], scores.tolist())

    def _read(self, text: str, options: Sequence[str], likeliest: Choice) -> Choice:
        place = self.asking.read_choice(text, options)
        found = (None, None) if place is None else (option_letters(options)[place], options[place])
        return replace(likeliest, letter=found[0], option=found[1], text=text)

    def _text(self, ids: list[int]) -> str:
        return self.llm.tokenizer.decode(ids, skip_special_tokens=True).strip()

    def _text_stream(self, on_text: Callable[[str], None]) -> OnToken:
        """Turn the growing ids of one answer into pieces of text; an unfinished character waits for its other bytes."""
        sent = ""

        def on_token(rows: list[list[int]], last: bool) -> None:
            nonlocal sent
            text = self._text(rows[0])
            if len(text) > len(sent) and (last or not text.endswith("\N{REPLACEMENT CHARACTER}")):
                on_text(text[len(sent) :])
                sent = text

        return on_token


def letter_id(tokenizer, letter: str, after_bracket: bool) -> int:
    """The token of an option's letter: the bare one right after "(", the one that begins a word elsewhere."""
    token = tokenizer.convert_tokens_to_ids(letter)
    if not after_bracket:
        return tokenizer(letter, add_special_tokens=False).input_ids[-1]
    if token is None or token == tokenizer.unk_token_id:
        return tokenizer(f"({letter}", add_special_tokens=False).input_ids[-1]
    return token
