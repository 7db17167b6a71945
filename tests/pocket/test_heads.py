"""Before stage 3 a word already looks at the visual token that shows what it says, and copies what is there."""

import pytest
import torch

from pocket import heads
from pocket.align import PLACES, place_targets
from pocket.model import build

THINGS, CARDS = range(40, 57), range(60, 76)  # any ids will do: their embeddings are random


@pytest.fixture(scope="module")
def started():
    """A model whose words and visual tokens are as stage 2 leaves them, heads started."""
    model, _ = build(0)
    embedding = model.model.language_model.embed_tokens.weight.data
    embedding.copy_(2 * torch.nn.functional.normalize(embedding, dim=-1))
    embedding[:, [heads.ACROSS, heads.DOWN]] = 0
    heads.mark_kinds(model)
    heads.start_heads(model, list(THINGS), list(CARDS))
    return model


def sequence(model, shown: list[int], asked: int, far: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """<s>, a visual token for each word of `shown`, the word asked for: embeddings and positions."""
    embedding = model.model.language_model.embed_tokens.weight.data
    visual = embedding[shown].clone()
    visual[:, [heads.VISUAL, heads.TEXT]] = torch.tensor([1.0, 0.0])
    visual[:, heads.ACROSS] = torch.linspace(-0.5, 0.5, len(shown))
    positions = [0, *range(1, len(shown) + 1), len(shown) + 1 + far]
    return torch.cat([embedding[[heads.BEGIN]], visual, embedding[[asked]]])[None], torch.tensor([positions])


@torch.inference_mode()
def looked(model, embedded, positions, layer: int = 0) -> torch.Tensor:
    """Attention of the last place: (heads, places)."""
    model.set_attn_implementation("eager")
    out = model.model.language_model(inputs_embeds=embedded, position_ids=positions, output_attentions=True)
    return out.attentions[layer][0, :, -1]


@pytest.mark.parametrize("far", [0, 700])
@pytest.mark.parametrize(("head", "words"), [(0, THINGS), (1, CARDS)])
def test_a_word_finds_what_shows_it_at_any_distance(started, head, words, far):
    shown = [*words][:8]
    for place, word in enumerate(shown):
        attention = looked(started, *sequence(started, shown, word, far))[head]
        assert attention[1 + place] > 0.9


def test_a_word_that_nothing_shows_rests_on_the_beginning(started):
    shown = [*THINGS][:8]
    for absent in [*THINGS][8:]:
        attention = looked(started, *sequence(started, shown, absent))[0]
        assert attention[0] > attention[1:].max() and attention[-1] < 0.01


def test_what_is_found_is_copied_with_its_place(started):
    """After the first layer the word's own place holds where the thing is: left ones negative, right ones positive."""
    shown, across = [*THINGS][:8], []
    for word in (shown[0], shown[-1]):
        embedded, positions = sequence(started, shown, word)
        with torch.inference_mode():
            hidden = started.model.language_model(
                inputs_embeds=embedded, position_ids=positions, output_hidden_states=True
            ).hidden_states[1]
        across.append(hidden[0, -1, heads.ACROSS].item())
    assert across[0] < -0.3 and across[1] > 0.3


def test_visual_tokens_look_at_the_beginning_the_less_the_farther_they_are(started):
    shown = [*THINGS][:1]
    near, far = sequence(started, shown, shown[0]), sequence(started, shown, shown[0])
    far[1][0, 1:] += 700
    clock = [looked(started, embedded[:, :2], positions[:, :2])[2, 0] for embedded, positions in (near, far)]
    assert clock[0] > clock[1] + 0.3


def test_places_are_across_and_down_from_minus_one_to_one():
    places = place_targets()
    assert places[0].tolist() == pytest.approx([-11 / 12, -11 / 12])
    assert places[11].tolist() == pytest.approx([11 / 12, -11 / 12])
    assert places.mean(0).abs().max() < 1e-6
    assert PLACES[" left"] == (heads.ACROSS, -1) and PLACES[" bottom"] == (heads.DOWN, 1)
