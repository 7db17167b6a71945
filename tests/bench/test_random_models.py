"""Random models of real sizes: they cost what the real ones cost, and every start gives the same one."""

import pytest
import torch
from transformers import LlavaNextForConditionalGeneration

from sfllava_bench.random_models import random_llm
from sfllava_core import ModelError


def test_the_same_name_gives_the_same_weights():
    """So that a speed measured today and one measured tomorrow are of the same answers."""
    first, second = (random_llm("random-small", device="cpu") for _ in range(2))
    weights = second.model.state_dict()
    assert all(torch.equal(weight, weights[name]) for name, weight in first.model.state_dict().items())


@pytest.mark.parametrize("name", ["random-7b", "random-900b"])
def test_what_is_too_large_or_unknown_is_refused_before_anything_is_built(name, monkeypatch):
    """On a CPU, 7 billion weights of float32 would fill 28 GB first."""
    monkeypatch.setattr(LlavaNextForConditionalGeneration, "_from_config", lambda *_, **__: pytest.fail("built"))
    with pytest.raises(ModelError, match=r"take random-small|choose one of random-small, random-7b"):
        random_llm(name, device="cpu")
