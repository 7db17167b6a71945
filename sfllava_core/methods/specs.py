"""Specs as text: `parse_spec` reads what `str(spec)` and `spec.to_json()` write, and the released code's own names.

And `scaled_spec`: a spec of the paper's grid for a model of another one.
"""

import json
import re
from dataclasses import replace
from math import floor
from typing import SupportsIndex

from sfllava_core.methods.image_grid import ImageGrid
from sfllava_core.methods.pathways import Blind, Grid, Pathway, PathwaySpec, SlowFast
from sfllava_core.methods.pooling import NO_POOL, Pool, SpecError

PAPER_GRID = (24, 24)
RELEASED_POOLS = {
    "concat": NO_POOL,
    "spatial_1d_max_pool": Pool.window("max", 1, 2),
    "spatial_1d_avg_pool": Pool.window("avg", 1, 2),
    "spatial_2d_max_pool": Pool.window("max", 2, 2),
    "spatial_2d_avg_pool": Pool.window("avg", 2, 2),
    "spatial_temporal_pool": Pool.to(12, 12, frames=16),
    "temporal_global_pool": Pool("time"),
}
RELEASED_SLOWFAST = re.compile(r"slowfast-slow_(\d+)frms_(\w+)-fast_(\d+)x(\d+)")
LONGEST = 1_000  # characters of a spec as text
OWN_PATHWAY = re.compile(r"(slow|fast)(all|\d+)-(none|max|avg|to|time)([\dx]*)")
OWN_GRID = re.compile(r"grid(\d+)x(\d+)_tiles(\d+)x(\d+)")


def parse_spec(text: str, num_frames: SupportsIndex = 50, grid: Grid = (24, 24)) -> PathwaySpec:
    """A spec from `str(spec)`, from `spec.to_json()`, or from a name of the released code.

    Args:
        text: for instance "slowfast-slow_10frms_spatial_1d_max_pool-fast_4x4", "concat", "frames50_slow10-max1x2".
        num_frames: N, for the released code's names, which do not hold it (its default is 50).
        grid: patches that the released code's names are checked against; they were made for LLaVA-NeXT's 24 x 24.

    Raises:
        SpecError: a text that is none of these, or whose numbers cannot be, or a released name that does not fit.
    """
    text = text.strip()
    if len(text) > LONGEST:
        raise SpecError(f"a spec of {len(text)} characters: give at most {LONGEST}")
    if text.startswith("{"):
        return from_fields(text)
    if (released := from_released_name(text, num_frames)) is not None:
        released.token_count(grid=grid)
        return released
    if text == str(Blind()):
        return Blind()
    if match := OWN_GRID.fullmatch(text):
        return ImageGrid(*map(int, match.groups()))
    return from_own_name(text)


def from_released_name(text: str, num_frames: SupportsIndex) -> SlowFast | None:
    """Read a name of the released code; None if it is none."""
    if text in RELEASED_POOLS:
        return SlowFast(num_frames, slow=Pathway(None, RELEASED_POOLS[text]), fast=None)
    match = RELEASED_SLOWFAST.fullmatch(text)
    if match is None:
        return None
    frames, mode, rows, columns = match.groups()
    if mode not in RELEASED_POOLS:
        raise SpecError(f"spec {text!r}: slow pooling {mode!r} is none of {', '.join(RELEASED_POOLS)}")
    return SlowFast(
        num_frames, Pathway(int(frames), RELEASED_POOLS[mode]), Pathway(None, Pool.to(int(rows), int(columns)))
    )


def from_own_name(text: str) -> SlowFast:
    """Read "frames50_slow10-max1x2_fastall-to4x4"."""
    head, *parts = text.split("_")
    matches = [OWN_PATHWAY.fullmatch(part) for part in parts]
    if not re.fullmatch(r"frames\d+", head) or not parts or not all(matches):
        raise SpecError(
            f"spec {text!r} is not understood; write for instance {str(SlowFast())!r}, {str(ImageGrid())!r}, "
            f"'slowfast-slow_10frms_spatial_1d_max_pool-fast_4x4', or one of {', '.join(RELEASED_POOLS)}"
        )
    names = [match[1] for match in matches]
    if names not in (["slow"], ["fast"], ["slow", "fast"]):
        raise SpecError(f"spec {text!r}: give slow, fast, or slow then fast")
    pathways = {m[1]: Pathway(None if m[2] == "all" else int(m[2]), Pool(m[3], sides(text, m[4]))) for m in matches}
    return SlowFast(int(head.removeprefix("frames")), pathways.get("slow"), pathways.get("fast"))


def sides(text: str, size: str) -> tuple[int, ...]:
    """Read "4x4"."""
    try:
        return tuple(int(side) for side in size.split("x")) if size else ()
    except ValueError:
        raise SpecError(f"spec {text!r}: {size!r} is not a size such as 4x4") from None


def from_fields(text: str) -> PathwaySpec:
    """Read what `to_json` wrote."""
    try:
        fields = json.loads(text)
        method = fields.pop("method")
        if method == "ImageGrid":
            return ImageGrid(**fields)
        if method == "Blind":
            return Blind(**fields)
        if method != "SlowFast":
            raise SpecError(f"spec method {method!r}: choose SlowFast, ImageGrid or Blind")
        for name in ("slow", "fast"):
            if fields.get(name) is not None:
                pool = fields[name]["pool"]
                fields[name] = Pathway(fields[name]["frames"], Pool(pool["kind"], tuple(pool["size"])))
        return SlowFast(**fields)
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise SpecError(f"spec {text!r} is not JSON that to_json wrote: {error!r}") from error


def scaled_spec(spec: PathwaySpec, grid: Grid) -> PathwaySpec:
    """A spec of the paper's 24 x 24 grid for another grid: 4 x 4 tokens of 24 x 24 are 2 x 2 of 12 x 12.

    Windows stay as they are (they divide), output sizes shrink in proportion, to the nearest and at least 1.
    """
    if not isinstance(spec, SlowFast):
        return spec

    def shrink(pathway: Pathway | None) -> Pathway | None:
        if pathway is None or pathway.pool.kind != "to":
            return pathway
        *frames, rows, columns = pathway.pool.size
        sides = [max(1, floor(side * own / whole + 0.5)) for side, own, whole in zip((rows, columns), grid, PAPER_GRID)]
        return replace(pathway, pool=Pool("to", (*frames, *sides)))

    return replace(spec, slow=shrink(spec.slow), fast=shrink(spec.fast))
