"""The head by oneDNN: the same logits, hooks and weights as those of the `nn.Linear` that it was."""

import pytest
import torch
from torch import nn

from sfllava_core.answering.head import ONEDNN, Head, install_head


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rows", [(1,), (25,), (2, 3)])
def test_its_logits_are_those_of_a_linear_layer(rows, bias):
    torch.manual_seed(0)
    head, hidden = nn.Linear(32, 500, bias), torch.randn(*rows, 32)
    expected = head(hidden)
    names = list(head.state_dict())
    install_head(head)
    assert type(head) is Head and list(head.state_dict()) == names
    with torch.inference_mode():
        torch.testing.assert_close(head(hidden), expected, rtol=0, atol=1e-5)
    head(hidden).sum().backward()  # with a gradient it is a linear layer still
    assert head.weight.grad is not None
    with torch.inference_mode():  # in half precision too
        assert head.bfloat16()(hidden.bfloat16()).dtype == torch.bfloat16


@pytest.mark.skipif(not ONEDNN, reason="this torch has no oneDNN")
def test_it_is_onednn_that_computes_them_and_hooks_see_it(monkeypatch):
    head = nn.Linear(32, 500)
    install_head(head)
    monkeypatch.setattr(nn.Linear, "forward", lambda *_: pytest.fail("MKL was asked"))
    head.register_forward_hook(lambda module, inputs, logits: logits + 1)
    with torch.inference_mode():
        torch.testing.assert_close(head(torch.zeros(25, 32)), (head.bias + 1).expand(25, -1))


def test_other_heads_stay_as_they_are():
    class Quantized(nn.Linear):
        pass

    head = Quantized(4, 4)
    install_head(head)
    assert type(head) is Quantized
