"""How the language model's first heads start: as matchers of content and as a clock.

Matching words with the pictures that show them, copying what is found, and telling early from late all form from
random weights too, but take thousands of steps each. Starting a few heads close to them costs nothing at run time:
they are ordinary heads of an ordinary Llama, and training changes them like all others. Next in the data's way:
`train` teaches the model to answer.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import LlavaNextForConditionalGeneration

BEGIN = 1  # the id of <s>
START, VISUAL, TEXT = -5, -2, -1  # dimensions of the width that say what a place holds, at the start of training
ACROSS, DOWN = -4, -3  # two that say where in its picture a visual token is, from -1 (left, top) to 1 (right, bottom)
MIDDLE = 7  # the RoPE pair whose angle turns by 0.0033 a place: less than half a turn over the longest comic


@torch.no_grad()
def start_heads(model: LlavaNextForConditionalGeneration, things: list[int], cards: list[int]) -> None:
    """After stage 2: start two heads of each of the first two layers as content matchers, and one as a clock.

    `things` and `cards` are the ids of the words that patches were aligned to.
    """
    language = model.model.language_model
    words = language.embed_tokens.weight.clone()
    words[:, [START, ACROSS, DOWN, VISUAL, TEXT]] = 0
    time = _keep_time(language)
    for number, layer in enumerate(language.layers[:2]):
        for head, about in enumerate((things, things if number else cards)):
            _match_content(layer.self_attn, head, words[about], words[[*things, *cards]], time)
            # In the second layer the first matcher prefers what is far (early), the second what is near (late).
            row = head * layer.self_attn.head_dim + MIDDLE
            layer.self_attn.k_proj.weight[row, VISUAL] = float(number)
            layer.self_attn.q_proj.weight[row, TEXT] = number * (2.0 * head - 1)


def _match_content(attention, head: int, sought: Tensor, copied: Tensor, time: Tensor, gain: float = 0.3) -> None:
    """Let text look at the visual tokens that show what it says, and copy what is there, where and when.

    Stage 2 has put what a patch shows near the words for it. So equal query and key weights in the span of the words
    `sought`, on RoPE's slow dimensions, make "red" find the red card at any distance. In the slowest one text keeps
    away from text (or it would find itself) and rests on the sequence's beginning where nothing shows what it says;
    less strongly than it finds coarse tokens, which show it a little. Visual tokens always rest there. Values and
    outputs are each other's transpose.
    """
    size, width = attention.head_dim, attention.k_proj.in_features
    rows = torch.arange(head * size, (head + 1) * size)
    slow = rows[torch.arange(size) % (size // 2) >= size // 4].tolist()
    kind = slow.pop(len(slow) // 2 - 1)
    for projection in (attention.q_proj, attention.k_proj):
        projection.weight[rows] = 0
        projection.weight[slow] = _span(sought, len(slow))
    attention.q_proj.weight[kind, [VISUAL, TEXT]] = torch.tensor([4.0, 1.0])
    attention.k_proj.weight[kind, [TEXT, START]] = torch.tensor([-8.0, 9.1])
    places = torch.eye(width)[[ACROSS, DOWN]]
    basis = torch.linalg.qr(torch.cat([places, time[None], _span(copied, size - 3)]).T).Q.T
    basis = basis * gain**0.5
    basis[:2] *= 3**0.5  # places are small in a visual token
    attention.v_proj.weight[rows], attention.o_proj.weight[:, rows] = basis, basis.T


def _span(words: Float[Tensor, "words dim"], count: int) -> Float[Tensor, "count dim"]:
    """The `count` orthonormal directions in which these words differ most."""
    return torch.linalg.svd(words - words.mean(0), full_matrices=False).Vh[:count]


def _keep_time(language, head: int = 2, strength: float = 1.3) -> Float[Tensor, " dim"]:
    """Start one head of the first layer as a clock: a visual token looks at the sequence's beginning, the less the
    farther it stands from it. The direction that this writes it into is returned.

    Which of two things came first is then written in the tokens that show them. Without it order was not learned.
    """
    attention, begin = language.layers[0].self_attn, language.embed_tokens.weight[BEGIN]
    rows = slice(head * attention.head_dim, (head + 1) * attention.head_dim)
    for projection, kind in ((attention.k_proj, START), (attention.q_proj, VISUAL)):
        projection.weight[rows.start + MIDDLE] = 0
        projection.weight[rows.start + MIDDLE, kind] = strength
    written = attention.o_proj.weight[:, rows] @ attention.v_proj.weight[rows] @ begin
    written[[START, ACROSS, DOWN, VISUAL, TEXT]] = 0
    return written / written.norm()


@torch.no_grad()
def mark_kinds(model: LlavaNextForConditionalGeneration) -> None:
    """Give visual tokens, words and the sequence's beginning their own dimension each (see `start_heads`)."""
    last, embedding = model.model.multi_modal_projector.linear_2, model.model.language_model.embed_tokens.weight
    for place, of_visual, of_text in ((VISUAL, 1.0, 0.0), (TEXT, 0.0, 1.0), (START, 0.0, 0.0)):
        last.weight[place], last.bias[place], embedding[:, place] = 0.0, of_visual, of_text
    embedding[BEGIN, START] = 1.0
