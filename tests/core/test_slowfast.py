"""The paper on one page is what the library does."""

import torch

from sfllava_core import SlowFast
from sfllava_core.slowfast import slowfast_tokens


def test_the_page_and_the_library_give_the_same_tokens():
    features = torch.randn(50, 24, 24, 8, generator=torch.Generator().manual_seed(0))
    page = slowfast_tokens(features)
    assert page.shape == (3680, 8)
    assert torch.equal(page[:2880], SlowFast().visual_tokens(features)[:2880])
    torch.testing.assert_close(page, SlowFast().visual_tokens(features), rtol=0, atol=1e-6)
