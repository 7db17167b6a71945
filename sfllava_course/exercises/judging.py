"""How an answer is judged: it is called on random numbers, compared, and given the hint that fits its mistake."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor


class NotDone(Exception):
    """The stub is still a stub: it returned None or `...`."""


class Wrong(Exception):
    """An answer that is not right: a hint, and named grids that show where."""

    def __init__(self, hint: str, **grids: Any):
        super().__init__(hint)
        self.hint, self.grids = hint, {name.replace("_", " "): grid for name, grid in grids.items()}


def guarded(answer: Callable) -> Callable:
    """The learner's function: its errors become hints, its inputs are copies, and an empty answer is `NotDone`."""

    def call(*inputs: Any) -> Any:
        copies = [value.clone() if isinstance(value, Tensor) else value for value in inputs]
        try:
            out = answer(*copies)
        except Exception as error:
            raise Wrong(f"your function raised {type(error).__name__}: {error}") from error
        if out is None or out is Ellipsis:
            raise NotDone
        return out

    return call


def random_features(*shape: int, seed: int = 0) -> Tensor:
    """Standard normal numbers, the same on every machine."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def expect_tensor(got: Any, wanted: Tensor, given: Tensor, mistakes: Mapping[str, Tensor], otherwise: str) -> None:
    """Compare a tensor with the wanted one; a known mistake gets its own hint.

    Args:
        given: what the function was called with, to be drawn.
        mistakes: hint -> what a learner with that misunderstanding would return.
        otherwise: hint where none of the mistakes fits.

    Raises:
        Wrong: it differs.
    """
    if not isinstance(got, Tensor):
        raise Wrong(f"give a tensor back, not {type(got).__name__}")
    if got.shape == wanted.shape and torch.allclose(got, wanted, atol=1e-5):
        return
    for hint, mistake in mistakes.items():
        if got.shape == mistake.shape and torch.allclose(got, mistake, atol=1e-5):
            raise Wrong(hint, given=first_grid(given), yours=first_grid(got), wanted=first_grid(wanted))
    if got.shape != wanted.shape:
        raise Wrong(f"the shape is {tuple(got.shape)}, it should be {tuple(wanted.shape)}", given=first_grid(given))
    raise Wrong(otherwise, given=first_grid(given), yours=first_grid(got), wanted=first_grid(wanted))


def first_grid(tensor: Tensor) -> Tensor:
    """The first frame's first channel of (frames, rows, columns, dim); the tokens themselves of (tokens, dim)."""
    tensor = tensor[0] if tensor.ndim == 4 else tensor
    while tensor.ndim > 2:
        tensor = tensor[..., 0]
    return tensor


def expect_indices(
    got: Any, wanted: Sequence[int], total: int, case: str, mistakes: Mapping[str, Sequence[int]]
) -> None:
    """Compare a list of frame numbers with the wanted one; draws both as marks on the film.

    Raises:
        Wrong: it differs.
    """
    if not isinstance(got, (list, tuple)) or not all(isinstance(i, int) for i in got):
        raise Wrong(f"give a list of whole numbers (int) back; for {case} it was {got!r:.80}")
    got, wanted = list(got), list(wanted)
    if got == wanted:
        return
    if any(not 0 <= i < total for i in got):
        raise Wrong(f"for {case} there is a frame number outside 0 .. {total - 1}: {got}")
    drawn = {"yours": marks(got, total), "wanted": marks(wanted, total)}
    for hint, mistake in mistakes.items():
        if got == list(mistake):
            raise Wrong(f"{hint} (for {case})", **drawn)
    if len(got) != len(wanted):
        raise Wrong(f"for {case} there should be {len(wanted)} frames, you give {len(got)}", **drawn)
    raise Wrong(f"for {case} you give {got}, it should be {wanted}", **drawn)


def marks(indices: Sequence[int], total: int) -> Tensor:
    """One row of `total` cells: how often each frame is taken."""
    return torch.bincount(torch.tensor(indices, dtype=torch.long), minlength=total)[None].float()


def expect_number(got: Any, wanted: float, case: str, mistakes: Mapping[str, float], relative: float = 1e-6) -> None:
    """Compare a number with the wanted one.

    Raises:
        Wrong: it differs.
    """
    try:
        value = float(got)
    except (TypeError, ValueError):
        raise Wrong(f"give a number back, not {type(got).__name__}") from None

    def close(other: float) -> bool:
        return bool(abs(value - other) <= relative * max(abs(value), abs(other), 1e-12))

    if close(wanted):
        return
    for hint, mistake in mistakes.items():
        if close(mistake):
            raise Wrong(f"{hint} (for {case} you give {value:,.6g}, it should be {wanted:,.6g})")
    raise Wrong(f"for {case} you give {value:,.6g}, it should be {wanted:,.6g}")
