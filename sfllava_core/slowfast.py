"""The paper on one page: SlowFast-LLaVA's aggregation (section 3.2) in a few lines.

The library's own way (methods/) is the same with every number free; a test holds the two equal.
"""

import torch
from einops import rearrange, reduce
from jaxtyping import Float
from torch import Tensor


def slowfast_tokens(features: Float[Tensor, "50 24 24 dim"], slow_frames: int = 10) -> Float[Tensor, "3680 dim"]:
    """Frame features F_v of LLaVA-NeXT (frames, rows, columns, width) to the visual tokens of the prompt."""
    picked = torch.linspace(0, len(features), slow_frames + 1).long()[:-1]  # uniformly, rounded down
    slow = reduce(features[picked], "t h (w b) d -> t h w d", "max", b=2)  # equation 2: detail, 10 x (24 x 12)
    fast = reduce(features, "t (h a) (w b) d -> t h w d", "mean", a=6, b=6)  # equation 3: motion, 50 x (4 x 4)
    return torch.cat([rearrange(eye, "t h w d -> (t h w) d") for eye in (slow, fast)])  # no separator between
