"""FreeVA against what its released code gave (tests/data/field/freeva), and on the tiny checkpoint."""

import field
import numpy as np
import pytest
import torch
from conftest import GRAND_PRIX
from einops import rearrange

from sfllava_core import FreeVA, SpecError, parse_spec
from sfllava_core.methods.base import decode_method
from sfllava_core.methods.freeva import pad_to_square
from sfllava_core.prompts import PromptError, PromptParts, tokenize_prompt

STYLES = {"vicuna_v1": "vicuna", "mistral_instruct": "mistral", "chatml_direct": "chatml"}
FORMS = ["freeva4-D1", "freeva8-D2", "freeva6-S1", "freeva4-D1-pad"]


def scaled(stored: np.ndarray, by: dict) -> torch.Tensor:
    return torch.from_numpy(stored.astype(np.float32)) / by.get("scale", 1)


def check_frames(inputs, outputs):
    assert FreeVA(inputs["num_frames"]).sample(inputs["total_frames"]) == outputs["indices"]


def check_tokens(inputs, outputs):
    features = scaled(inputs["features"], inputs)
    method = FreeVA(len(features), inputs["mode"])
    tokens = method.visual_tokens(features)
    assert list(tokens.shape) == outputs["tokens_shape"] and method.token_count() == len(tokens)
    if "equals" in outputs:
        assert inputs["mode"] == "D1" and torch.equal(tokens, features.flatten(0, 2)), outputs["equals"]
    else:
        torch.testing.assert_close(tokens, scaled(outputs["tokens"], outputs), rtol=0, atol=1e-6)


def check_merge(inputs, outputs):
    features = scaled(inputs["features"], inputs)
    tokens = FreeVA(len(features)).visual_tokens(rearrange(features, "t (h w) d -> t h w d", h=24))
    assert len(tokens) == outputs["visual_tokens"]
    assert torch.equal(tokens, features.flatten(0, 1)), outputs["equals"]


def check_pad(inputs, outputs):
    assert np.array_equal(pad_to_square(inputs["image"][None])[0], outputs["image"])


def check_prompt(inputs, outputs):
    shared, own = FreeVA().open_ended(inputs["question"], STYLES[inputs["conv_mode"]])
    assert shared + own == outputs["prompt"]
    if "generation" in outputs:
        greedy = {"do_sample": False, "temperature": 0, "top_p": None, "num_beams": 1, "use_cache": True}
        assert outputs["generation"] == {**greedy, "max_new_tokens": FreeVA.max_new_tokens}


CHECKS = {
    "frame_indices": check_frames,
    "aggregation": check_tokens,
    "merge": check_merge,
    "pad_square": check_pad,
    "prompt": check_prompt,
    "prompt_other_conv": check_prompt,
}


@field.each("freeva", CHECKS)
def test_it_equals_the_released_code(check, inputs, outputs):
    check(inputs, outputs)


@pytest.mark.parametrize("text", FORMS)
def test_it_is_a_value_with_a_text_form(text):
    method = parse_spec(text)
    assert str(method) == text and decode_method(method.to_json()) == method
    assert parse_spec("freeva") == FreeVA(4, "D1")


@pytest.mark.parametrize("text", FORMS)
def test_a_video_is_watched_and_asked(llm, text):
    method = parse_spec(text)
    video = llm.watch(GRAND_PRIX, text)
    assert len(video.frames) == method.num_frames
    assert len(video.tokens) == method.token_count() == len(method.token_frames(method.num_frames, llm.grid))
    expected = method.pool(llm.encode(method.arrange(video.frames.pixels, llm.image_size)))
    torch.testing.assert_close(video.tokens, rearrange(expected, "t h w d -> (t h w) d"), rtol=1e-5, atol=1e-5)
    assert isinstance(video.ask("What is there?", max_new_tokens=3), str)
    assert video.choose("Which?", ["a cat", "a dog"]).letter in "AB"


def test_tokens_stand_where_the_image_stands(llm):
    """Embeddings of the whole prompt, as transformers' own model would get them."""
    video = llm.watch(GRAND_PRIX, "freeva2-D1")
    prompt = "".join(video.method.open_ended("What is there?", "vicuna"))
    ids = tokenize_prompt(prompt, llm.tokenizer)
    place = ids.index(-200)
    embedded = torch.cat([llm.embed(ids[:place]), video.tokens, llm.embed(ids[place + 1 :])])
    with torch.inference_mode():
        expected = llm.model.lm_head(llm.language_model(inputs_embeds=embedded[None]).last_hidden_state[0, -1])
    torch.testing.assert_close(video.next_token_logits([prompt])[0], expected, rtol=1e-4, atol=1e-4)


def test_padded_frames_are_seen_whole_in_their_shape(llm, golden_frames):
    """A wide frame leaves bands above and below, which squashing would not."""
    squares = pad_to_square(golden_frames[:1])
    height, width = golden_frames.shape[1:3]
    band = (width - height) // 2
    assert squares.shape == (1, width, width, 3) and band > 0
    assert (squares[0, :band] == [122, 116, 104]).all() and (squares[0, band + height :] == [122, 116, 104]).all()
    assert np.array_equal(squares[0, band : band + height], golden_frames[0])
    padded, squashed = (llm.watch_frames(golden_frames[:1], FreeVA(1, pad=pad)).tokens for pad in (True, False))
    assert not torch.allclose(padded, squashed, atol=1e-3)


def test_owners_of_tokens():
    assert FreeVA(2, "D2").token_frames(2, (2, 4)).tolist() == [0] * 4 + [1] * 4
    assert FreeVA(2, "S1").token_frames(2, (2, 4)).tolist() == [-1] * 8


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: parse_spec("freeva4-S2"), "form 'S2': choose one of D1, D2, S1"),
        (lambda: FreeVA(0), "num_frames=0: give a whole number of at least 1"),
        (lambda: FreeVA(8, "D2").token_count(grid=(27, 27)), "its windows must divide the grid"),
    ],
)
def test_what_cannot_be_is_refused(make, message):
    with pytest.raises(SpecError, match=message):
        make()


def test_the_papers_parts_are_not_in_its_prompt():
    with pytest.raises(PromptError, match="the prompt of FreeVA has no such parts"):
        FreeVA().open_ended("Why?", "vicuna", PromptParts(input_data=False))
