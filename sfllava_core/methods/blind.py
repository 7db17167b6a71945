"""Nothing is seen: a control. What a model scores so, it has from the questions alone."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from sfllava_core.methods.base import Grid, Method


@dataclass(frozen=True)
class Blind(Method):
    """Nothing is seen: the prompt without any visual token. What a model scores so, it has from the questions alone."""

    num_frames = 1  # frames are sampled all the same, and dropped
    differs = "ours: a control"

    def token_counts(self, num_frames: int | None = None, grid: Grid = (24, 24)) -> dict[str, int]:
        """No pathway, no token."""
        return {}

    def visual_tokens(
        self, features: Float[Tensor, "frames rows columns dim"], newline: Float[Tensor, "dim"] | None = None
    ) -> Float[Tensor, "tokens dim"]:
        """Features to no token."""
        return features.new_zeros(0, features.shape[-1])

    def token_frames(self, num_frames: int, grid: Grid) -> Int64[Tensor, "tokens"]:
        """No token, no frame."""
        return torch.zeros(0, dtype=torch.long)

    def __str__(self) -> str:
        return "blind"

    @classmethod
    def parse(cls, text: str, num_frames: int = 50) -> "Blind | None":
        """Read "blind"."""
        return cls() if text == "blind" else None
