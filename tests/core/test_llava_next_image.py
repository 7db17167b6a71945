"""LLaVA-NeXT-Image against its authors' video evaluation, and against transformers' own cropping and LLaVA-NeXT."""

import json

import field
import numpy as np
import pytest
import torch
from conftest import DOG, GRAND_PRIX, TINY
from einops import rearrange
from PIL import Image
from transformers import CLIPImageProcessorPil, LlavaNextForConditionalGeneration

from sfllava_core import (
    LlavaNextImage,
    PromptError,
    SpecError,
    VideoLLM,
    parse_spec,
    read_frames,
    token_budget,
    uniform,
)
from sfllava_core.budget.arithmetic import MODEL_SHAPES
from sfllava_core.features import normalize
from sfllava_core.methods.base import decode_method
from sfllava_core.methods.llava_next_image import middle_square

FOLDER = field.FIELD / "llava_next_video"
GOLDEN = json.loads((FOLDER / "cases.json").read_text())
ARRAYS = np.load(FOLDER / "arrays.npz")
STYLES = {"vicuna_v1": "vicuna", "mistral_direct": "chatml"}


@pytest.fixture(scope="module")
def linear() -> VideoLLM:
    """The tiny checkpoint with the RoPE scaling that the evaluation sets."""
    return VideoLLM.from_pretrained(TINY, device="cpu", rope_type="linear")


@pytest.mark.parametrize("case", GOLDEN["frames"], ids=lambda case: f"{case['num_frames']}-of-{case['total']}")
def test_frames_equal_the_released_evaluation(case):
    assert LlavaNextImage(case["num_frames"]).sample(case["total"]) == case["indices"]


@pytest.mark.parametrize("case", GOLDEN["prompts_released"], ids=lambda case: f"{case['mode']}-{case['question'][:20]}")
def test_prompts_equal_the_released_evaluation(case):
    assert "".join(LlavaNextImage().open_ended(case["question"], STYLES[case["mode"]])) == case["prompt"]


AVERAGES = [case for case in GOLDEN["pooling"] if case["mode"] == "average"]  # the image checkpoint has no other


@pytest.mark.parametrize("case", AVERAGES, ids=lambda case: case["name"])
def test_pooling_equals_the_released_module(case):
    side, method = case["side"], LlavaNextImage(case["frames"], case["stride"])
    patches = torch.from_numpy(ARRAYS[f"pool_{case['name']}_in"]).float().unflatten(1, (side, side))
    pooled = method.pool_patches(patches).flatten(1, 2)
    torch.testing.assert_close(
        pooled, torch.from_numpy(ARRAYS[f"pool_{case['name']}_out"]).float(), atol=1e-5, rtol=1e-5
    )
    assert pooled.shape[1] == case["tokens_out"]
    assert method.token_count(grid=(side, side)) == case["frames"] * case["tokens_out"]


@pytest.mark.parametrize("case", GOLDEN["rope_factor_rule"], ids=lambda case: f"{case['frames']}x{case['stride']}")
def test_the_rope_factor_equals_the_released_rule(case):
    method = LlavaNextImage(case["frames"], case["stride"])
    assert method.rope_factor() == case["factor"]
    assert method.token_count() == case["tokens"]


@pytest.mark.parametrize("name", [name for name in ARRAYS if name.startswith("frames")])
def test_pictures_equal_the_goldens(name):
    """The evaluation's CLIP preparation, to the tolerance that its rules name (2.4e-7, float32)."""
    frames, stored = ARRAYS[name], ARRAYS[f"pixel_values{len(ARRAYS[name])}"]
    values = normalize(torch.from_numpy(middle_square(frames, 56))).numpy()
    step = len(frames) // len(stored)
    np.testing.assert_allclose(values[::step, :, ::4, ::4], stored, atol=1e-6)


@pytest.mark.parametrize("shape", [(60, 80), (80, 60), (37, 91), (720, 1281), (336, 336), (10, 341), (481, 480)])
def test_squares_equal_clips_own_preparation(rng, shape):
    picture = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
    processor = CLIPImageProcessorPil(
        size={"shortest_edge": 336}, crop_size={"height": 336, "width": 336}, do_rescale=False, do_normalize=False
    )
    expected = processor(Image.fromarray(picture), return_tensors="np")["pixel_values"][0]
    np.testing.assert_array_equal(middle_square(picture[None], 336)[0], expected.transpose(1, 2, 0).round())


def test_a_video_is_watched_as_plain_transformers_does(linear):
    """CLIP's layer before the last without CLS, 2 x 2 mean, then the projector; and linear RoPE in what it writes."""
    video = linear.watch(GRAND_PRIX, "llavanextimage4")
    total = read_frames(GRAND_PRIX, 1).total
    assert video.frames.indices == np.linspace(0, total - 1, 4, dtype=int).tolist()
    model = LlavaNextForConditionalGeneration.from_pretrained(TINY, dtype=torch.float32).eval()
    with torch.inference_mode():
        values = normalize(torch.from_numpy(middle_square(video.frames.pixels, 336)))
        hidden = model.model.vision_tower(values, output_hidden_states=True).hidden_states[-2][:, 1:]
        pooled = torch.nn.functional.avg_pool2d(rearrange(hidden, "t (h w) d -> t d h w", h=24), 2)
        expected = model.model.multi_modal_projector(rearrange(pooled, "t d h w -> (t h w) d"))
    torch.testing.assert_close(video.tokens, expected, atol=1e-5, rtol=1e-5)
    assert len(video.tokens) == LlavaNextImage(4).token_count() == 4 * 144
    pieces = LlavaNextImage().open_ended("What is there?", "vicuna")
    assert video.ask("What is there?", max_new_tokens=5) == video.generate([pieces], max_new_tokens=5)[0].text
    assert video.choose("Which?", ["a cat", "a dog"]).letter in "AB"
    chosen = video.choose("Which?", ["a cat", "a dog"], by="generation", max_new_tokens=4)
    assert chosen.text and chosen.letter in ("A", "B", None)


def test_pooled_before_the_projector_is_not_pooled_after_it(linear):
    """`uniform` is this kit's earlier reading; the projector bends, so the two differ."""
    frames = middle_square(read_frames(DOG, 4).pixels, 336)
    before = linear.watch_frames(frames, LlavaNextImage(4)).tokens
    after = linear.watch_frames(frames, uniform(4, (12, 12))).tokens
    assert before.shape == after.shape and (before - after).abs().max() > 1e-3


def test_the_published_size():
    method = LlavaNextImage()
    assert (method.token_count(), method.rope_factor(), method.max_new_tokens) == (4608, 2, 1024)
    assert token_budget(method, MODEL_SHAPES["7b"], new_tokens=1024).context_used < 1
    assert method.token_frames(2, (24, 24)).tolist() == [0] * 144 + [1] * 144


@pytest.mark.parametrize("method", [LlavaNextImage(), LlavaNextImage(8, 4), LlavaNextImage(50, 1)], ids=str)
def test_texts_are_read_back(method):
    assert parse_spec(str(method)) == method == decode_method(method.to_json())
    assert str(method) == "".join(c for c in str(method) if c.isalnum() or c == "_")


def test_how_options_are_asked():
    """Ours, in the published chat."""
    before, own = LlavaNextImage().multiple_choice("why?", ["x", "y"], "vicuna")
    assert before == LlavaNextImage().open_ended("why?", "vicuna")[0]
    assert own == "why?\nOptions:\n(A) x\n(B) y\nOnly give the best option. ASSISTANT: Best option:("
    own = LlavaNextImage().multiple_choice("why?", ["x"], "chatml")[1]
    assert own.endswith("Only give the best option.<|im_end|><|im_start|>assistant\nBest option:(")


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: LlavaNextImage(0), SpecError, "num_frames=0: give a whole number of at least 1"),
        (lambda: parse_spec("llavanextimage99999"), SpecError, "num_frames=99999: give a whole number of at most"),
        (lambda: LlavaNextImage(stride=0), SpecError, "stride=0: give a whole number of at least 1"),
        (lambda: LlavaNextImage().token_count(0), SpecError, "num_frames=0"),
        (lambda: LlavaNextImage(stride=25).token_count(), SpecError, "stride 25 leaves nothing of a grid of 24 x 24"),
        (lambda: LlavaNextImage().sample(0), ValueError, "total=0"),
        (lambda: LlavaNextImage().open_ended("why?", "mistral"), PromptError, "no prompt in style 'mistral'"),
        (lambda: LlavaNextImage().multiple_choice("why?", ["x <image>"], "vicuna"), PromptError, "option A .* literal"),
        (lambda: LlavaNextImage().arrange(np.zeros((1, 9, 9, 3), np.uint8), (8, 9)), SpecError, "it makes squares"),
    ],
)
def test_what_does_not_fit_is_refused(make, kind, message):
    with pytest.raises(kind, match=message):
        make()
