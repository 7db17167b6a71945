"""Pixels to features: the exact resize, its fast stand-in, and the vision tower against transformers' own way."""

import numpy as np
import pytest
import torch
from conftest import DOG, GRAND_PRIX
from einops import rearrange
from PIL import Image

from sfllava_core import preprocess, read_frames, resize_frames
from sfllava_core.features import CLIP_MEAN, CLIP_STD, normalize


@pytest.fixture(scope="module", params=[GRAND_PRIX, DOG], ids=lambda path: path.stem)
def pixels(request):
    return read_frames(request.param, 3).pixels


def test_resize_is_pillows_default_to_the_bit(pixels):
    expected = np.stack([np.asarray(Image.fromarray(picture).resize((336, 336))) for picture in pixels])
    np.testing.assert_array_equal(resize_frames(pixels, (336, 336)), expected)


def test_normalisation_equals_transformers_clip_processor(pixels):
    from transformers import CLIPImageProcessor

    processor = CLIPImageProcessor(do_resize=False, do_center_crop=False, image_mean=CLIP_MEAN, image_std=CLIP_STD)
    resized = resize_frames(pixels, (336, 336))
    expected = processor(list(resized), return_tensors="pt").pixel_values
    torch.testing.assert_close(preprocess(pixels, (336, 336)), expected, atol=1e-6, rtol=0)


def test_torch_resize_is_within_one_grey_level_of_exact(pixels):
    """The difference that `preprocess` states for the fast mode, on real clips."""
    exact = torch.from_numpy(resize_frames(pixels, (336, 336)))
    mean, std = (torch.tensor(values)[:, None, None] for values in (CLIP_MEAN, CLIP_STD))
    fast = rearrange((preprocess(pixels, (336, 336), resize="torch") * std + mean) * 255, "t c h w -> t h w c")
    difference = (fast.round() - exact.float()).abs()
    assert difference.max() <= 1
    assert (difference > 0).float().mean() < 1 / 500


def test_unknown_resize_mode_is_refused(pixels):
    with pytest.raises(ValueError, match="choose one of"):
        preprocess(pixels, (336, 336), resize="nearest")


def test_features_equal_transformers_hidden_states(llm, golden_frames):
    """Layer -2 without CLS through the projector, taken from all hidden states that transformers computes."""
    pixel_values = preprocess(golden_frames[:3], llm.image_size)
    model = llm.model.model
    with torch.inference_mode():
        hidden = model.vision_tower(pixel_values, output_hidden_states=True).hidden_states[-2][:, 1:]
        expected = rearrange(model.multi_modal_projector(hidden), "t (h w) d -> t h w d", h=24)
    torch.testing.assert_close(llm.backbone.encode(pixel_values), expected, atol=1e-6, rtol=0)


def test_layers_after_the_selected_one_are_not_computed(llm, golden_frames):
    layers = llm.model.model.vision_tower.encoder.layers
    calls = []
    hooks = [
        layer.register_forward_hook(lambda *_, number=number: calls.append(number))
        for number, layer in enumerate(layers)
    ]
    llm.encode(golden_frames[:1])
    for hook in hooks:
        hook.remove()
    assert calls == list(range(len(layers) - 1))


@pytest.mark.parametrize("chunk_frames", [1, 2, 16])
def test_chunks_do_not_change_features(llm, golden_frames, chunk_frames):
    expected = llm.encode(golden_frames[:5], chunk_frames=5)
    torch.testing.assert_close(llm.encode(golden_frames[:5], chunk_frames=chunk_frames), expected, atol=1e-5, rtol=0)


def test_chunks_bound_what_is_encoded_at_once(llm, golden_frames):
    sizes, steps = [], []
    tower = llm.model.model.vision_tower
    hook = tower.embeddings.register_forward_hook(lambda module, inputs, output: sizes.append(len(output)))
    llm.encode(golden_frames[:10], chunk_frames=4, progress=lambda *step: steps.append(step))
    hook.remove()
    assert sizes == [4, 4, 2]
    assert steps == [("encode", 4, 10), ("encode", 8, 10), ("encode", 10, 10)]


def test_normalize_is_the_formula():
    pixels = torch.tensor([[[[0, 128, 255]]]], dtype=torch.uint8)
    expected = [(value / 255 - mean) / std for value, mean, std in zip((0, 128, 255), CLIP_MEAN, CLIP_STD)]
    assert normalize(pixels).flatten().tolist() == pytest.approx(expected)
