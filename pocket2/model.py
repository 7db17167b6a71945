"""The pocket model before training: a LLaVA-NeXT of about 3 million parameters, its tokenizer and its image
processor's settings.

`build` makes them from a seed, `pocket.model.save` writes the folder that `from_pretrained` reads. Next in the data's
way: `train`.
"""

from __future__ import annotations

import torch
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    PreTrainedTokenizerFast,
)

from pocket import prompts
from pocket.model import PINPOINTS, SPECIAL, build_tokenizer
from pocket2.code import WIDTH
from pocket2.questions import CORNERS, a
from pocket2.tower import PATCH
from pocket2.world import COLOURS, NAMES, PICTURE, PLACES

HEADS, HEAD, LAYERS = 6, 32, 5
ROPE = 1e10  # ten of a head's sixteen RoPE pairs turn by less than 0.4 over 2,000 places: content is matched on these


def corpus() -> list[str]:
    """Every word that training uses, in sentences."""
    lines = [
        "".join(prompts.open_ended("")),
        "".join(prompts.multiple_choice("", ["a cat"] * 5)),
        "What is in the bubble?",
        "What number is on the card with the colour of the bubble?",
        "Which of these can be seen?",
        "What can be seen? yes no, in the video",
    ]
    lines += [f"What number is on the {colour} card?" for colour in COLOURS]
    lines += [f"In the {place}, what number is on the red card?" for place in PLACES]
    for name in NAMES:
        lines += [
            f"Where is the {name}?",
            f"Where does the {name} hop?",
            f"Which bubble comes first, the {name} or the {name}?",
            f"Which bubble comes last, the {name} or the {name}?",
            f"Is there {a(name)}? {a(name)} and {a(name)},",
        ]
    lines += [f"Question: {line}" for line in lines if line.endswith("?")]
    lines += [f" {words}" for words in (*CORNERS, *COLOURS)]
    return lines + ["(A) (B) (C) (D) (E)"] + [f" {d}" for d in range(10)]


def build(seed: int) -> tuple[LlavaNextForConditionalGeneration, PreTrainedTokenizerFast]:
    """The untrained model, initialised at random from `seed`, and its tokenizer."""
    tokenizer = build_tokenizer(corpus())
    vision = CLIPVisionConfig(
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=4,
        image_size=PICTURE,
        patch_size=PATCH,
        hidden_act="gelu",
        projection_dim=128,
    )
    text = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        head_dim=HEAD,
        max_position_embeddings=4096,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
        tie_word_embeddings=False,
        initializer_range=0.02,
        rope_parameters={"rope_type": "default", "rope_theta": ROPE},
    )
    config = LlavaNextConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=SPECIAL.index("<image>"),
        projector_hidden_act="gelu",
        vision_feature_select_strategy="default",
        vision_feature_layer=-2,
        image_grid_pinpoints=PINPOINTS,
        tie_word_embeddings=False,
        image_seq_length=(PICTURE // PATCH) ** 2,
    )
    config.video_prompt_style = "vicuna"
    config.video_pathways = "frames50_slow8-max1x2_fastall-to2x2"
    torch.manual_seed(seed)
    return LlavaNextForConditionalGeneration(config), tokenizer
