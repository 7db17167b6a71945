"""A `VideoLLM`'s own language model as a reader of captions: text alone, in its chat format, greedy."""

import torch

from sfllava_bench.captions.prompts import Ask, Messages
from sfllava_bench.captions.reasoner import fit
from sfllava_core.answering.sharing import encode_prompt
from sfllava_core.methods.blind import Blind
from sfllava_core.model import VideoLLM
from sfllava_core.prompts import conversation_pieces


def own_language_model(llm: VideoLLM, new_tokens: int = 100, captions: int = 0, every: int = 1) -> Ask:
    """`ask` by the model's own language model; it sees no picture.

    Its chat format has a system text of its own, so a request's stands before the user's message.

    Args:
        captions: how many there are of the video, of which each `every`-th is in the request; 0 is not known. A text
            that is too long is then refused with the stride that would fit.

    Raises (when asked):
        ValueError: a talk of several turns; a narration that does not fit the context.
        PromptError: a text with "<image>" in it.
        ContextError: a text that does not fit the context.
    """
    watched = llm.watch_features(torch.zeros(1, *llm.grid, llm.dim, device=llm.device), Blind())

    def ask(messages: Messages) -> str:
        if [message["role"] for message in messages] != ["system", "user"]:
            raise ValueError(
                f"a talk of {len(messages)} messages: the model's own reader takes a system text and one more"
            )
        text = "\n".join(message["content"] for message in messages if message["content"])
        prompt = conversation_pieces(text, llm.prompt_style)
        if captions:
            fit(encode_prompt(prompt, llm.tokenizer).text_tokens, llm.max_positions - new_tokens, captions, every)
        return watched.generate([prompt], max_new_tokens=new_tokens)[0].text

    return ask
