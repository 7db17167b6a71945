"""Specs as values, and the visual tokens that they make."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import GOLDENS, ROOT

from sfllava_core import (
    ImageGrid,
    Pathway,
    Pool,
    SlowFast,
    SpecError,
    fast_only,
    parse_spec,
    slow_frame_indices,
    slow_only,
    uniform,
)
from sfllava_core.methods.base import Method
from sfllava_core.methods.pooling import NO_POOL

SETTINGS = json.loads((GOLDENS / "features.json").read_text())["settings"]
ARRAYS = np.load(GOLDENS / "features.npz")

# Everything that the paper ablates: tables 4 to 6, section 4.4, and the baselines of tables 1 to 3.
PAPER_SPECS = [
    SlowFast(),
    *(fast_only(frames) for frames in (100, 125, 150, 175, 200, 225)),
    *(SlowFast(slow=Pathway(frames, pool)) for frames in (10, 5)
      for pool in (Pool(), Pool.window("max", 1, 2), Pool.window("max", 2, 2))),
    *(SlowFast(fast=Pathway(None, Pool.to(*grid))) for grid in ((8, 8), (4, 8), (6, 6), (3, 6), (2, 4), (1, 1))),
    SlowFast(slow=Pathway(8, Pool.window("max", 1, 2))),
    slow_only(12),
    uniform(32, (12, 12)),
    ImageGrid(),
]  # fmt: skip
RELEASED_NAMES = [
    "concat", "spatial_1d_max_pool", "spatial_1d_avg_pool", "spatial_2d_max_pool", "spatial_2d_avg_pool",
    "spatial_temporal_pool", "temporal_global_pool", "slowfast-slow_10frms_spatial_1d_max_pool-fast_4x4",
]  # fmt: skip


def test_slow_indices_equal_the_released_code():
    for case in json.loads((GOLDENS / "slow_indices.json").read_text()):
        assert slow_frame_indices(case["T"], case["n_slow"]) == case["indices"], case


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda s: f"{s['T']}-{s['temporal_aggregation']}")
def test_visual_tokens_equal_the_released_code(setting):
    features = torch.from_numpy(ARRAYS[f"T{setting['T']}__features"]).float().unflatten(1, (24, 24))
    spec = parse_spec(setting["temporal_aggregation"])
    tokens = spec.visual_tokens(features)
    expected = np.concatenate([ARRAYS[setting[key].replace("/", "__")] for key in ("slow_key", "fast_key")])
    np.testing.assert_allclose(tokens.numpy(), expected, atol=1e-5)
    assert spec.token_counts(setting["T"]) == {"slow": setting["n_slow_tokens"], "fast": setting["n_fast_tokens"]}
    assert tokens.double().sum() == pytest.approx(setting["sum"], rel=1e-5)


@pytest.mark.parametrize("mode", ["max", "avg"])
def test_released_one_dimensional_pooling_is_horizontal(mode):
    """On the flattened sequence, as the released code pools, for an even width."""
    features = torch.randn(3, 6, 8, 5)
    pool = torch.nn.MaxPool1d(2) if mode == "max" else torch.nn.AvgPool1d(2)
    flat = features.flatten(1, 2).transpose(1, 2)
    expected = pool(flat).transpose(1, 2).flatten(0, 1)
    tokens = parse_spec(f"spatial_1d_{mode}_pool").visual_tokens(features)
    torch.testing.assert_close(tokens, expected)


def on_channels(pool: torch.nn.Module, features: torch.Tensor) -> torch.Tensor:
    """torch's own pooling modules on (T, H, W, D) features, flattened to tokens."""
    return pool(features.permute(3, 0, 1, 2)).permute(1, 2, 3, 0).flatten(0, 2)


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("concat", lambda f: f.flatten(0, 2)),
        ("spatial_2d_max_pool", lambda f: on_channels(torch.nn.MaxPool2d(2), f)),
        ("spatial_2d_avg_pool", lambda f: on_channels(torch.nn.AvgPool2d(2), f)),
        ("spatial_temporal_pool", lambda f: on_channels(torch.nn.AdaptiveAvgPool3d((16, 12, 12)), f)),
        ("temporal_global_pool", lambda f: f.mean(0).flatten(0, 1)),
    ],
)
@pytest.mark.parametrize("frames", [3, 20])
def test_plain_modes_of_the_released_code(name, reference, frames):
    features = torch.randn(frames, 24, 24, 4)
    spec = parse_spec(name)
    tokens = spec.visual_tokens(features)
    torch.testing.assert_close(tokens, reference(features))
    assert spec.token_count(frames) == len(tokens)


def test_the_default_is_the_papers():
    spec = SlowFast()
    assert spec.token_counts(50, (24, 24)) == {"slow": 2880, "fast": 800}
    assert spec.token_count() == 3680
    assert spec.token_count(3) == 10 * 288 + 16 * 3
    assert spec == parse_spec("slowfast-slow_10frms_spatial_1d_max_pool-fast_4x4")


@pytest.mark.parametrize(
    ("spec", "tokens"),
    [(fast_only(100), 1600), (slow_only(12), 3456), (uniform(32, (12, 12)), 4608), (ImageGrid(), 576 + 48 * 49)],
    ids=str,
)
def test_token_counts_of_the_other_methods(spec, tokens):
    assert spec.token_count() == tokens


@pytest.mark.parametrize("spec", [*PAPER_SPECS, *map(parse_spec, RELEASED_NAMES)], ids=str)
def test_specs_survive_text_and_json(spec):
    assert parse_spec(str(spec)) == spec
    assert parse_spec(spec.to_json()) == spec
    assert json.loads(spec.to_json())["method"] == type(spec).__name__
    assert len({spec, parse_spec(str(spec))}) == 1, "equal specs must hash alike"
    assert str(spec).replace("_", "").replace("-", "").isalnum(), "safe in a shell and in a file name"


def test_all_papers_specs_are_different():
    assert len({str(spec) for spec in PAPER_SPECS}) == len(set(PAPER_SPECS))


@pytest.mark.parametrize("spec", PAPER_SPECS, ids=str)
@pytest.mark.parametrize("frames", [1, 7, 50])
def test_token_count_is_the_number_of_tokens(spec, frames):
    features = torch.randn(5 if isinstance(spec, ImageGrid) else frames, 24, 24, 2)
    tokens = spec.visual_tokens(features, newline=torch.zeros(2))
    assert tokens.shape == (spec.token_count(frames), 2)
    assert len(spec.token_frames(frames, (24, 24))) == len(tokens)


def test_token_frames_say_where_a_token_comes_from():
    """Features that hold their own frame number, average-pooled, must come out as that number."""
    features = torch.arange(20.0)[:, None, None, None].expand(20, 12, 12, 1)
    spec = SlowFast(20, Pathway(4, Pool.window("avg", 1, 2)), Pathway(None, Pool.to(2, 2)))
    torch.testing.assert_close(spec.visual_tokens(features)[:, 0], spec.token_frames(20, (12, 12)).float())


def test_tokens_that_mix_frames_belong_to_none():
    """Pooled over time too, to k frames or to one: as many owners as tokens, all of them -1."""
    for pool, frames in ((Pool.to(3, 4, frames=5), 5), (Pool.to(24, 24, frames=16), 16), (Pool("time"), 1)):
        spec = SlowFast(20, Pathway(None, pool), None)
        rows, columns = pool.size[-2:] or (24, 24)
        owners = spec.token_frames(20, (24, 24))
        assert owners.tolist() == [-1] * (frames * rows * columns)
        assert len(spec.visual_tokens(torch.randn(20, 24, 24, 2))) == len(owners)
    mixed = SlowFast(4, Pathway(2, NO_POOL), Pathway(None, Pool.to(1, 1, frames=3)))
    assert mixed.token_frames(4, (2, 1)).tolist() == [0, 0, 2, 2, -1, -1, -1]


def test_an_adaptive_pool_may_be_as_large_as_the_grid_and_no_larger():
    """Of a 24-row grid 24 rows are the patches themselves; with frames too, they are means over time alone."""
    features = torch.randn(6, 24, 24, 3)
    torch.testing.assert_close(Pool.to(24, 24)(features), features)
    assert Pool.to(24, 5).output_shape((6, 24, 24)) == (6, 24, 5)
    assert Pool.to(5, 24, frames=2).output_shape((6, 24, 24)) == (2, 5, 24)
    torch.testing.assert_close(Pool.to(24, 24, frames=2)(features), features.unflatten(0, (2, 3)).mean(1))
    for rows, columns in ((25, 24), (24, 25)):
        with pytest.raises(SpecError, match="does not fit a grid of 24 x 24"):
            Pool.to(rows, columns, frames=2).output_shape((6, 24, 24))


def test_every_token_of_an_image_grid_may_show_several_frames():
    grid = ImageGrid(2, 2, 1, 2)
    assert grid.token_frames(4, (3, 3)).tolist() == [-1] * (9 + 3 * 7)


def test_a_spec_of_no_method_cannot_be_made():
    """What a kind of spec must add is asked for when it is made, not when it is first used."""
    with pytest.raises(TypeError, match="abstract class Method"):
        Method()

    class Half(SlowFast, Method):
        visual_tokens = Method.visual_tokens

    with pytest.raises(TypeError, match="visual_tokens"):
        Half()


def test_the_largest_numbers_of_a_spec_cost_nothing():
    """Up to the limits a price is arithmetic; no list of frames is made for it."""
    assert fast_only(10_000, (1, 1)).token_count() == 10_000
    assert SlowFast(1, Pathway(10_000), None).token_count(1, (1000, 1000)) == 10**10
    assert ImageGrid(32, 32, 32, 32).num_frames == 1024


def test_numpy_integers_are_whole_numbers_too():
    spec = SlowFast(np.int64(50), Pathway(np.int32(10), Pool("max", [1, np.int64(2)])))
    assert spec == SlowFast() and hash(spec) == hash(SlowFast()) and parse_spec(spec.to_json()) == spec
    assert slow_frame_indices(np.int64(50), np.int64(10)) == slow_frame_indices(T=50, n=10)


def test_slow_comes_before_fast_without_separators():
    features = torch.randn(10, 8, 8, 3)
    both = SlowFast(10, Pathway(5), Pathway(None, Pool.to(2, 2))).visual_tokens(features)
    slow = slow_only(5, Pool(), 10).visual_tokens(features)
    fast = fast_only(10, (2, 2)).visual_tokens(features)
    torch.testing.assert_close(both, torch.cat([slow, fast]))


def test_pooling_keeps_dtype():
    for dtype in (torch.float16, torch.bfloat16):
        assert SlowFast().visual_tokens(torch.randn(50, 24, 24, 4).to(dtype)).dtype == dtype


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SlowFast(0), "at least 1"),
        (lambda: slow_frame_indices(0, 3), "T, the number of sampled frames=0"),
        (lambda: SlowFast().token_count(0), "num_frames=0"),
        (lambda: slow_only(12).token_count(-5), "num_frames=-5"),
        (lambda: parse_spec("slowfast-slow_10frms_concat-fast_30x30"), "does not fit a grid of 24 x 24"),
        (lambda: SlowFast(slow=Pathway(0)), "at least 1"),
        (lambda: SlowFast(slow=None, fast=None), "both None"),
        (lambda: Pool.to(0, 0), "whole number"),
        (lambda: Pool.window("max", 0, 2), "whole number"),
        (lambda: Pool("median", (2, 2)), "choose one of"),
        (lambda: Pool("max", (2,)), "it takes 2 numbers"),
        (lambda: ImageGrid(rows=0), "at least 1"),
        (lambda: parse_spec("slowfast-slow_0frms_concat-fast_4x4"), "at least 1"),
        (lambda: parse_spec("slowfast-slow_10frms_concat-fast_0x0"), "whole number"),
        (lambda: parse_spec("slowfast-slow_10frms_magic_pool-fast_4x4"), "magic_pool"),
        (lambda: parse_spec("somethingelse"), "not understood"),
        (lambda: parse_spec("frames50_fastall-to4x4_slow10-none"), "slow then fast"),
        (lambda: parse_spec('{"method": "Other"}'), "choose Blind, .*ImageGrid, .*SlowFast"),
        (lambda: parse_spec("{broken"), "not JSON"),
        (lambda: SlowFast().token_count(50, (25, 25)), "must divide the grid"),
        (lambda: SlowFast().token_count(50, (2, 2)), "invent tokens"),
        (lambda: SlowFast().visual_tokens(torch.randn(50, 13, 13, 2)), "must divide the grid"),
        (lambda: ImageGrid().visual_tokens(torch.randn(3, 24, 24, 2), torch.zeros(2)), "it needs 1 whole and 4 tiles"),
        (lambda: ImageGrid().visual_tokens(torch.randn(5, 24, 24, 2)), "image_newline"),
        (lambda: SlowFast(2_000_000_000), "num_frames=2000000000: give a whole number of at most 10000"),
        (lambda: slow_only(2_000_000_000), "=2000000000: give a whole number of at most 10000"),
        (lambda: SlowFast().token_count(2_000_000_000), "num_frames=2000000000.* at most 10000"),
        (lambda: slow_frame_indices(50, 2_000_000_000), "n, the number of slow frames=2000000000.* at most 10000"),
        (lambda: parse_spec("frames2000000000_fastall-to4x4"), "num_frames=2000000000.* at most 10000"),
        (lambda: parse_spec("grid100000x100000_tiles2x2"), "rows=100000: give a whole number of at most 32"),
        (lambda: parse_spec("grid2x2_tiles2x100000"), "tile_columns=100000: give a whole number of at most 32"),
        (lambda: Pool.to(4, 100_000), "100000: give a whole number of at most 1000"),
        (lambda: Pool.to(4, 4, frames=2_000_000_000), "2000000000: give a whole number of at most 10000"),
        (lambda: SlowFast().token_count(50, (100_000, 100_000)), "rows=100000: give a whole number of at most 1000"),
        (lambda: parse_spec(f"frames{'9' * 5000}_fastall-to4x4"), "a spec of 5020 characters: give at most 1000"),
        (lambda: parse_spec('{"a":' * 100_000), "a spec of 500000 characters"),
    ],
)
def test_bad_specs_are_refused_with_the_reason(make, message):
    with pytest.raises(SpecError, match=message):
        make()


WRONG_TYPES = {
    "SlowFast(50.5)": "num_frames=50.5",
    "SlowFast('50')": "num_frames='50'",
    "SlowFast(True)": "num_frames=True",
    "Pathway(2.5)": "2.5: give a whole number",
    "Pool.to(4.0, 4.0)": "4.0: give a whole number",
    """parse_spec('{"method": "ImageGrid", "rows": 1.5}')""": "rows=1.5",
    "multiple_choice_prompt('which?', 'ab')": "give a list of texts",
    "multiple_choice_prompt('which?', ['a', 5])": "option B 5 is a int",
    "open_ended_prompt(None)": "question None is a NoneType",
}


def test_wrong_types_are_refused_without_a_type_checker_too():
    """As users run it: the tests' own checker would be first to complain, so this runs in a process without it."""
    lines = ["from sfllava_core import *"]
    for call in WRONG_TYPES:
        lines += ["try:", f"    {call}", "    print('accepted')", "except ValueError as error:", "    print(error)"]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, cwd=ROOT, timeout=60
    )
    assert done.returncode == 0, done.stderr
    for (call, message), line in zip(WRONG_TYPES.items(), done.stdout.splitlines(), strict=True):
        assert message in line, f"{call}: {line}"


def test_image_grid_lays_frames_out_in_reading_order():
    frames = np.stack([np.full((20, 30, 3), 40 * n, dtype=np.uint8) for n in range(6)])
    whole, *tiles = ImageGrid().arrange(frames, (48, 48))
    assert [int(whole[y, x, 0]) for y in (8, 24, 40) for x in (12, 36)] == [40 * n for n in range(6)]
    assert len(tiles) == 4
    assert int(tiles[0][5, 5, 0]) == 0 and int(tiles[1][5, 40, 0]) == 40 and int(tiles[3][40, 40, 0]) == 200


def test_image_grid_equals_transformers_anyres_layout(llm):
    """The order of tokens and row ends, against LLaVA-NeXT's own packing of a square picture."""
    features = torch.randn(5, 24, 24, 64)
    packed, _ = llm.model.model.pack_image_features(
        [features.flatten(1, 2)], torch.tensor([[672, 672]]), "default", llm.model.model.image_newline
    )
    tokens = ImageGrid().visual_tokens(features, llm.model.model.image_newline)
    torch.testing.assert_close(tokens, packed[0])
