"""The language model's width says what it says it does, and the laid wires answer before any training: on symbolic
tokens, which hold what a perfect tower would see."""

import functools

import numpy as np
import pytest
import torch

from pocket.library import POOLED, pool
from pocket.packing import collate
from pocket2.align import wanted
from pocket2.code import _SIZES, DIMS, SHOWN, WIDTH, at, every
from pocket2.model import HEAD, HEADS, build
from pocket2.packing import pack
from pocket2.questions import ask
from pocket2.stories import comic
from pocket2.structure import SLOW, lay, turn_a_place
from pocket2.tower import WORDS, patch_labels
from pocket2.world import NAMES

PANELS, NOISE = 6, 0.04
CANDIDATES = {  # the words that a family answers with
    **{family: [f" {name}" for name in NAMES] for family in ("brief", "order")},
    **{family: [f" {digit}" for digit in range(10)] for family in ("plate", "scene", "key")},
    "long": [" yes", " no"],
}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """The model is so small that a second thread only waits, and where other work runs, for long."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def built():
    model, tokenizer = build(0)
    ids = functools.lru_cache(maxsize=None)(lambda text: tokenizer(text, add_special_tokens=False).input_ids)
    return model.eval(), tokenizer, ids


@pytest.fixture(scope="module")
def laid():
    """The model with its wires, untrained."""
    model, tokenizer = build(0)
    lay(model, tokenizer)
    return model.eval()


def test_dimensions_do_not_overlap_and_fill_the_width():
    used = every(*DIMS)
    assert sorted(used) == list(range(WIDTH)) and len(used) == WIDTH
    assert all(DIMS[name].stop - DIMS[name].start == size for name, size in _SIZES.items())
    assert DIMS["words"].stop - DIMS["words"].start >= 8, "room for words that no picture shows"


def test_what_a_patch_shows_has_the_dimension_of_its_word():
    shown = [d for name in ("thing", "bubbled", "ring", "paper", "digit", "place") for d in every(name)]
    assert shown == list(range(SHOWN.start, SHOWN.stop)) and len(shown) == len(WORDS)
    for name, word in (("thing", "cat"), ("bubbled", "bubbled cat")):
        assert WORDS[at(name, NAMES.index("cat"))] == word
    assert (
        WORDS[at("digit", 7)] == "7" and WORDS[at("ring")].endswith(" bubble") and WORDS[at("paper")].endswith("card")
    )


def test_matches_use_pairs_that_barely_turn():
    """Less than a third of a right angle over the longest prompt; and the head is as wide as the pairs say."""
    assert len(set(SLOW)) == len(SLOW) and max(SLOW) < HEAD and HEAD * HEADS == WIDTH
    assert max(2000 * turn_a_place(coordinate % (HEAD // 2)) for coordinate in SLOW) < np.pi / 6


@functools.cache
def asked_of(family, choice, comics):
    """(question, symbolic tokens of the panels) of so many comics."""
    found, number = [], 0
    while len(found) < comics:
        rng = np.random.default_rng([4, number])
        number += 1
        story, times = comic(rng, PANELS, scenes=family in ("scene", "long"))
        questions = [q for q in ask(rng, story, times).get(family, ()) if q.options or not choice]
        if questions:
            labels = torch.from_numpy(np.stack([patch_labels(story, time)[0] for time in times]))
            tokens = wanted(labels)
            tokens += NOISE * torch.randn(tokens.shape, generator=torch.Generator().manual_seed(number))
            found.append((questions[int(rng.integers(len(questions)))], tokens))
    return found


@torch.inference_mode()
def share_right(model, ids, family, how, choice=False, comics=40):
    """How many of so many questions, each behind its comic, are answered rightly by the likeliest candidate."""
    asked, rng = asked_of(family, choice, comics), np.random.default_rng(1)
    packed = [pack(rng, ids, [q], choice, PANELS, POOLED[how]) for q, _ in asked]
    candidates = torch.tensor([ids(word)[0] for word in ("ABCDE" if choice else CANDIDATES[family])])
    right, core = 0, model.model.language_model
    for first in range(0, comics, 8):
        sequences = packed[first : first + 8]
        batch = collate(sequences)
        embedded = core.embed_tokens(batch["ids"])
        for row, (one, (_, tokens)) in enumerate(zip(sequences, asked[first : first + 8])):
            embedded[row, one.before : one.before + one.visual] = pool(tokens, how).flatten(0, 1)
        hidden = core(
            inputs_embeds=embedded, attention_mask=batch["mask"], position_ids=batch["positions"], use_cache=False
        ).last_hidden_state
        for row, one in enumerate(sequences):
            [(_, place)] = one.telling
            target = batch["target"][row, place].item()
            assert target in candidates
            right += int(candidates[model.lm_head(hidden[row, place])[candidates].argmax()] == target)
    return right / comics


# Family, pooling, by letter, comics, the least share that is right. Chance is 1/14, 1/10 or, by letter, 1/5.
FOUND = [
    ("brief", "to 4x4", False, 40, 0.75),
    ("brief", "to 4x4", True, 40, 0.75),
    ("brief", "to 2x2", False, 40, 0.75),
    ("brief", "to 2x2", True, 40, 0.75),
    ("order", "to 4x4", False, 40, 0.6),
    ("order", "to 2x2", True, 40, 0.6),
    ("long", "to 4x4", True, 40, 0.75),
    ("long", "to 2x2", True, 40, 0.75),
    ("plate", "max 1x2", False, 16, 0.5),
    ("key", "max 1x2", True, 16, 0.5),
]


@pytest.mark.parametrize(("family", "how", "choice", "comics", "least"), FOUND)
def test_before_any_training_the_wires_find_what_is_asked(laid, built, family, how, choice, comics, least):
    assert share_right(laid, built[2], family, how, choice, comics) >= least


@pytest.mark.parametrize(("family", "chance", "comics"), [("brief", 1 / 14, 40), ("long", 1 / 2, 40), ("key", 0.1, 16)])
def test_without_the_wires_answers_are_at_chance(built, family, chance, comics):
    """Within three standard errors; so it is by letter."""
    model, _, ids = built
    for choice, of in ((False, chance), (True, 1 / 5)):
        share = share_right(model, ids, family, "to 4x4", choice, comics)
        assert share <= of + 3 * (of * (1 - of) / comics) ** 0.5, choice


def test_without_its_head_a_family_is_lost(laid, built):
    """The head that finds bubbles, emptied: what it found is not found otherwise."""
    attention = laid.model.language_model.layers[1].self_attn
    rows, kept = slice(3 * HEAD, 4 * HEAD), attention.v_proj.weight.detach().clone()
    with torch.no_grad():
        attention.v_proj.weight[rows] = 0
        try:
            assert share_right(laid, built[2], "brief", "to 4x4") <= 1 / 14 + 0.15
        finally:
            attention.v_proj.weight.copy_(kept)


def test_laying_wires_is_the_same_each_time_and_leaves_the_tower(laid, built):
    model, tokenizer = build(0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    lay(model, tokenizer)
    for name, value in model.state_dict().items():
        assert torch.equal(value, laid.state_dict()[name]), name
        assert torch.equal(value, before[name]) or "language_model" in name or "lm_head" in name, name
