"""The shipped checkpoint through plain transformers code: a new story drawn here, asked openly and as a choice, and
twice the same."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from einops import rearrange
from PIL import Image
from torch.nn.functional import adaptive_avg_pool2d, max_pool2d
from transformers import AutoTokenizer, LlavaNextForConditionalGeneration

from pocket.world import Actor, Board, Card, Story, draw, frame_times
from sfllava_core import VideoLLM

POCKET = Path(__file__).parents[2] / "data" / "pocket"
DATA = "The input consists of a sequence of key frames from a video."
TASK = (
    "Answer concisely with overall content and context of the video, highlighting any significant events, "
    "characters, or objects that appear throughout the video."
)


@pytest.fixture(scope="module")
def pocket():
    model = LlavaNextForConditionalGeneration.from_pretrained(POCKET, dtype=torch.float32, local_files_only=True)
    return model.eval(), AutoTokenizer.from_pretrained(POCKET, local_files_only=True)


@pytest.fixture(scope="module")
def film() -> list[Image.Image]:
    """Made by hand: a rocket flies up, then come a cup, a tree and a fish, and for a moment a key in a bubble."""
    things = [("cup", (120, 120), 0.0, 0.3), ("tree", (72, 168), 0.33, 0.62), ("fish", (168, 72), 0.65, 1.01)]
    story = Story(
        "beach",
        5,
        (Board(98, 0, (Card("red", 3), Card("blue", 8), Card("green", 1), Card("white", 5))),),
        Actor("rocket", (24, 160), (24, 40)),
        tuple(Actor(name, at, at, begin, until) for name, at, begin, until in things),
        Actor("key", (170, 168), (170, 168), 71 / 150, 76 / 150, bubble=True),
    )
    return [draw(story, t) for t in frame_times()]


def sampled(film: list[Image.Image]) -> list[Image.Image]:
    """50 of its pictures, the middle ones of 50 equal parts."""
    edges = [int(np.round(149 / 50 * i)) for i in range(51)]
    return [film[(a + b) // 2] for a, b in pairwise(edges)]


def prompt_inputs(pocket, film: list[Image.Image], prompt: str) -> torch.Tensor:
    """SlowFast with 8 slow of 50 frames, in plain transformers code: the prompt's input embeddings."""
    model, tokenizer = pocket
    frames = [picture.resize((96, 96), Image.Resampling.BICUBIC) for picture in sampled(film)]
    mean, std = torch.tensor([0.48145466, 0.4578275, 0.40821073]), torch.tensor([0.26862954, 0.26130258, 0.27577711])
    pixels = (torch.from_numpy(np.stack(frames)).float() / 255 - mean) / std
    core = model.model
    hidden = core.vision_tower(rearrange(pixels, "t h w c -> t c h w"), output_hidden_states=True).hidden_states[-2]
    grid = rearrange(core.multi_modal_projector(hidden[:, 1:]), "t (h w) d -> t d h w", h=12)
    slow = rearrange(max_pool2d(grid[[int(i) for i in torch.linspace(0, 50, 9)[:-1]]], (1, 2)), "t d h w -> (t h w) d")
    fast = rearrange(adaptive_avg_pool2d(grid, 2), "t d h w -> (t h w) d")
    before, after = (tokenizer(piece).input_ids for piece in prompt.split("<image>"))
    embed = core.language_model.embed_tokens
    return torch.cat([embed(torch.tensor(before)), slow, fast, embed(torch.tensor(after[1:]))])[None]


@torch.inference_mode()
def ask(pocket, film: list[Image.Image], prompt: str) -> str:
    """Greedy answer in words."""
    model, tokenizer = pocket
    inputs = prompt_inputs(pocket, film, prompt)
    mask = torch.ones(inputs.shape[:2], dtype=torch.long)  # without it, places may be taken for packed sequences
    ids = model.generate(inputs_embeds=inputs, attention_mask=mask, do_sample=False, max_new_tokens=16)[0]
    return tokenizer.decode(ids, skip_special_tokens=True).strip()


def open_prompt(question: str) -> str:
    return f"USER: <image>\n{DATA} {TASK} Question: {question} \nASSISTANT:\nAnswer: In the video,"


def choice_prompt(question: str, options: list[str]) -> str:
    lines = "".join(f"({letter}) {option}\n" for letter, option in zip("ABCDE", options))
    return (
        "You are a helpful expert in video analysis. Select the best option to answer the question. "
        f"USER: <image>\n{DATA}\nQuestion: {question}\nOptions:\n{lines}Only give the best option. \nASSISTANT:"
        "\nAnswer: Best option:("
    )


# Movement, and cards by letter, are not learned (data/pocket/README.md). Of the twelve questions about this film's
# order three are answered wrongly: the cup and the tree are confused, so they are not set against each other here.
OPEN = {
    "What number is on the blue card?": "8",
    "What is in the bubble?": "a key",
    "Is there a tree?": "yes",
    "Is there a dog?": "no",
    "Which comes first, the fish or the cup?": "the cup",
    "Which comes last, the cup or the fish?": "the fish",
    "Which comes first, the tree or the fish?": "the tree",
}
CHOICES = {
    "What is in the bubble?": (["a cat", "a cup", "a key", "a star", "a rocket"], "C"),
    "Which of these can be seen?": (["a dog", "a tree", "a bird", "a boat", "a cat"], "B"),
    "Which of these comes last?": (["the fish", "the cup", "the dog", "the tree", "the sun"], "A"),
}


@pytest.mark.parametrize("question", OPEN)
def test_open_questions_about_a_film_made_by_hand(pocket, film, question):
    assert ask(pocket, film, open_prompt(question)) == OPEN[question]


@pytest.mark.parametrize("question", CHOICES)
def test_choices_about_a_film_made_by_hand(pocket, film, question):
    options, letter = CHOICES[question]
    assert ask(pocket, film, choice_prompt(question, options))[0] == letter


def test_the_kit_gives_the_plain_code_s_answers(pocket, film):
    """The same checkpoint and film through sfllava_core: every answer equal, open or chosen."""
    video = VideoLLM.from_pretrained(POCKET).watch_frames(np.stack([np.asarray(picture) for picture in sampled(film)]))
    assert video.ask(list(OPEN)) == [ask(pocket, film, open_prompt(question)) for question in OPEN]
    for question, (options, _) in CHOICES.items():
        assert video.choose(question, options).letter == ask(pocket, film, choice_prompt(question, options))[0]


def test_answers_are_identical_run_to_run(pocket, film):
    prompt = open_prompt("What can be seen?")
    assert ask(pocket, film, prompt) == ask(pocket, film, prompt) != ""


def test_the_checkpoint_is_small_and_records_its_prompt_style(pocket):
    model, _ = pocket
    assert sum(file.stat().st_size for file in POCKET.iterdir()) < 12e6
    assert 1e6 < sum(p.numel() for p in model.parameters()) < 5e6
    assert model.config.video_prompt_style == "vicuna"
    assert model.config.vision_feature_layer == -2
