"""Random models of real sizes: they cost what the real ones cost, and every start gives the same one."""

import torch

from sfllava_bench.random_models import random_llm


def test_the_same_name_gives_the_same_weights():
    """So that a speed measured today and one measured tomorrow are of the same answers."""
    first, second = (random_llm("random-small", device="cpu") for _ in range(2))
    weights = second.model.state_dict()
    assert all(torch.equal(weight, weights[name]) for name, weight in first.model.state_dict().items())
