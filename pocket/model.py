"""The pocket model before training: a LLaVA-NeXT of 1.6 million parameters, its tokenizer and its image processor's
settings.

`build` makes them from a seed, `save` writes the folder that `from_pretrained` reads. Next in the data's way: `train`.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    PreTrainedTokenizerFast,
)

from pocket import prompts
from pocket.icons import NAMES
from pocket.questions import a
from pocket.stories import DIRECTIONS
from pocket.tower import MEAN, PATCH, STD
from pocket.world import COLOURS, PICTURE

SPECIAL = ["<unk>", "<s>", "</s>", "<image>"]
PINPOINTS = [[PICTURE * h, PICTURE * w] for h, w in ((1, 2), (2, 1), (2, 2), (1, 3), (3, 1))]


def corpus() -> list[str]:
    """Every word that training uses, in sentences."""
    lines = [
        "".join(prompts.open_ended("")),
        "".join(prompts.multiple_choice("", ["a cat"] * 5)),
        "What number is on the red card?",
        "What is in the bubble?",
        "Which of these can be seen?",
        "What can be seen? yes no, in the video",
        "Is there a cat?",
    ]
    for name in NAMES:
        lines += [
            f"Where is the {name} first? top left",
            f"Where is the {name} last? bottom right",
            f"Which way does the {name} move?",
            f"Which comes first, the {name} or the {name}?",
            f"Which of these comes last? {a(name)} and {a(name)},",
        ]
    lines += [f"Question: {line}" for line in lines if line.endswith("?")]
    lines += [f"Question: {line.split('?')[0]}?" for line in lines if "? " in line]
    lines += [f" {words}" for words in DIRECTIONS] + [f" {c} card" for c in COLOURS]
    return lines + ["(A) (B) (C) (D) (E)"] + [f" {d}" for d in range(10)]


def build_tokenizer(lines: list[str]) -> PreTrainedTokenizerFast:
    """A byte-level BPE in which every word of `lines` is one token, and any other text is spelled in bytes."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=4000,
        min_frequency=1,
        special_tokens=SPECIAL,
        show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )
    tokenizer.train_from_iterator(lines, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", SPECIAL.index("<s>"))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        pad_token="<unk>",
        additional_special_tokens=["<image>"],
        model_max_length=4096,
    )


def build(
    seed: int, dim: int = 128, layers: int = 4
) -> tuple[LlavaNextForConditionalGeneration, PreTrainedTokenizerFast]:
    """The untrained model, initialised from `seed`, and its tokenizer."""
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
        hidden_size=dim,
        intermediate_size=5 * dim // 2,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=4096,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
        tie_word_embeddings=False,
        initializer_range=0.04,
        rope_parameters={"rope_type": "default", "rope_theta": 500_000.0},
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
    model = LlavaNextForConditionalGeneration(config)
    torch.nn.init.normal_(model.model.image_newline, std=0.04)
    _match_content(model)
    _keep_time(model)
    return model, tokenizer


VISUAL, TEXT = -2, -1  # two dimensions of the width that say what a place holds, at the start of training
MIDDLE = 7  # the RoPE pair whose angle turns by 0.0033 a place: less than half a turn over the longest comic


@torch.no_grad()
def _match_content(model: LlavaNextForConditionalGeneration, heads: int = 2, std: float = 0.18) -> None:
    """Start half of the heads of the first two layers as content matchers: text looks at pictures that show what it
    says, and copies what is there.

    Stage 2 puts what a picture shows near the words for it. Equal query and key weights on RoPE's slow dimensions
    then make "red" find the red card at any distance, a bias from TEXT to VISUAL keeps it from finding only itself,
    and transposed value and output weights copy. In the second layer the first matcher prefers what is far (early),
    the second what is near (late). From random weights all this takes very many steps to form.
    """
    for number, layer in enumerate(model.model.language_model.layers[:2]):
        attention, size = layer.self_attn, layer.self_attn.head_dim
        slow = (torch.arange(size) % (size // 2) >= size // 4).float().repeat(heads)[:, None]
        key = torch.randn(heads * size, attention.k_proj.in_features) * std * slow
        key[:, TEXT] = 0
        query = key.clone()
        query[:, VISUAL] = 0
        query[:, TEXT] = 2 * key[:, VISUAL]
        value = torch.randn_like(key) * 0.1
        value[:, [VISUAL, TEXT]] = 0
        if number == 1:
            key[[MIDDLE, size + MIDDLE], VISUAL] = 1.0
            query[[MIDDLE, size + MIDDLE], TEXT] = torch.tensor([-1.0, 1.0])
        attention.k_proj.weight[: heads * size], attention.q_proj.weight[: heads * size] = key, query
        attention.v_proj.weight[: heads * size], attention.o_proj.weight[:, : heads * size] = value, value.T


@torch.no_grad()
def _keep_time(model: LlavaNextForConditionalGeneration, head: int = 2, strength: float = 0.9) -> None:
    """Start one head of the first layer as a clock: a visual token looks at the sequence's beginning, the less the
    farther it stands from it.

    Which of two things came first is then written in the tokens that show them. Without it order was not learned.
    """
    language = model.model.language_model
    attention, begin = language.layers[0].self_attn, language.embed_tokens.weight[SPECIAL.index("<s>")].clone()
    begin[[VISUAL, TEXT]] = 0
    row = head * attention.head_dim + MIDDLE
    attention.k_proj.weight[row] = strength * begin / begin.norm()
    attention.q_proj.weight[row] = 0
    attention.q_proj.weight[row, VISUAL] = strength


@torch.no_grad()
def mark_kinds(model: LlavaNextForConditionalGeneration) -> None:
    """Give visual tokens and words their own dimension each (see `_match_content`)."""
    last, embedding = model.model.multi_modal_projector.linear_2, model.model.language_model.embed_tokens.weight
    for place, of_visual, of_text in ((VISUAL, 1.0, 0.0), (TEXT, 0.0, 1.0)):
        last.weight[place], last.bias[place], embedding[:, place] = 0.0, of_visual, of_text


def save(model: LlavaNextForConditionalGeneration, tokenizer: PreTrainedTokenizerFast, out: Path) -> None:
    """Write the checkpoint folder: fp16 safetensors, config, tokenizer, image processor's settings."""
    out.mkdir(parents=True, exist_ok=True)
    model.generation_config.update(bos_token_id=1, eos_token_id=2, pad_token_id=0)
    state = {name: tensor.to(torch.float16) for name, tensor in model.state_dict().items()}
    model.save_pretrained(out, state_dict=state, safe_serialization=True)
    tokenizer.save_pretrained(out)
    settings = {
        "image_processor_type": "LlavaNextImageProcessor",
        "processor_class": "LlavaNextProcessor",
        "do_resize": True,
        "size": {"height": PICTURE, "width": PICTURE},
        "do_center_crop": True,
        "crop_size": {"height": PICTURE, "width": PICTURE},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(MEAN),
        "image_std": list(STD),
        "do_convert_rgb": True,
        "do_pad": True,
        "resample": 3,
        "image_grid_pinpoints": PINPOINTS,
    }
    (out / "preprocessor_config.json").write_text(json.dumps(settings, indent=2) + "\n")
    strategy = {
        "processor_class": "LlavaNextProcessor",
        "patch_size": PATCH,
        "vision_feature_select_strategy": "default",
        "image_token": "<image>",
        "num_additional_image_tokens": 1,
    }
    (out / "processor_config.json").write_text(json.dumps(strategy, indent=2) + "\n")
