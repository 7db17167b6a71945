"""Every method in the form that it was published in, with what it costs on LLaVA-NeXT and what differs here."""

import sfllava_bench.peers.loading  # noqa: F401  so that the peers are listed too
from sfllava_core.methods.base import Grid
from sfllava_core.methods.specs import all_kinds

LLAVA_NEXT_GRID = (24, 24)


def published_methods(grid: Grid = LLAVA_NEXT_GRID) -> list[dict[str, object]]:
    """A row for each kind of method that is defined, in its default form; kinds that have none are left out.

    Returns:
        Rows of method (its text form), frames, tokens on `grid`, new tokens, published, differs.
    """
    rows = []
    for kind in all_kinds().values():
        try:
            method = kind()
        except TypeError:  # arguments must be given
            continue
        rows.append(
            {
                "method": str(method),
                "frames": method.num_frames,
                "tokens": method.token_count(grid=grid),
                "new tokens": method.max_new_tokens,
                "published": "; ".join(f"{name}: {value}" for name, value in method.published.items()),
                "differs": method.differs,
            }
        )
    return rows
