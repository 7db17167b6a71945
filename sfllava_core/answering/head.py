"""The language model's head, for the few rows of a decoding step: on the CPU by oneDNN instead of MKL.

torch multiplies float32 on the CPU by MKL, which is at its slowest where a few rows meet a whole vocabulary; oneDNN,
which torch has too, takes half the time for 25 rows on 2 threads (docs/benchmarks.md).
"""

from math import prod

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.flop_counter import register_flop_formula

ONEDNN = torch.backends.mkldnn.is_available()


class Head(nn.Linear):
    """An `nn.Linear`, by oneDNN where its weights and the input are float32 on the CPU and no gradient is wanted."""

    def forward(self, input: Float[Tensor, "*rows dim"]) -> Float[Tensor, "*rows vocabulary"]:
        on_cpu = all(one.device.type == "cpu" and one.dtype == torch.float32 for one in (input, self.weight))
        if ONEDNN and on_cpu and torch.is_inference_mode_enabled():
            return torch.ops.mkldnn._linear_pointwise(input, self.weight, self.bias, "none", [], "")
        return super().forward(input)


def install_head(head: nn.Module) -> None:
    """Make a plain `nn.Linear` a `Head`, in place: the same weights, hooks and name. Other heads stay as they are."""
    if type(head) is nn.Linear:
        head.__class__ = Head


if ONEDNN:

    @register_flop_formula(torch.ops.mkldnn._linear_pointwise)
    def head_flop(input_shape, weight_shape, *_, **__) -> int:
        """For torch's own counting of operations, which does not know this one."""
        return 2 * prod(input_shape) * weight_shape[0]
