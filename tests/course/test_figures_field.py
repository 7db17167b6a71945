"""What chapter 9 draws: shares of patches, whose sum is a method's tokens, and the strips made of them."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

import sfllava_core as sf
from sfllava_bench.answers.layouts import LAYOUTS, RIVALS, SLOWFAST
from sfllava_core.defaults import POCKET, POCKETBENCH
from sfllava_course.figures import field

FILM = POCKETBENCH / "videos" / "pocket_0010.mp4"
METHODS = {SLOWFAST: LAYOUTS[SLOWFAST].method, **RIVALS}
OF_A_GRID = ("IG-VLM", "KTV")  # in proportion to the pocket model's, which the budget below is not of
ROW_ENDS = {"IG-VLM": 24}  # tokens that come from no patch


@pytest.fixture(scope="module")
def llm():
    return sf.VideoLLM.from_pretrained(POCKET, device="cpu")


@pytest.fixture(scope="module")
def kept(llm):
    film = sf.read_frames(FILM, [method.sample for method in METHODS.values()])
    return {name: field.kept(llm, method, film) for name, method in METHODS.items()}


@pytest.mark.parametrize("name", METHODS)
def test_shares_of_a_film_add_up_to_its_tokens(llm, kept, name):
    one = kept[name]
    assert one.tokens == len(llm.watch(FILM, METHODS[name]).tokens)
    assert one.shares.sum() == pytest.approx(one.tokens - ROW_ENDS.get(name, 0), abs=0.01)
    assert one.shares.shape == (len(one.views), *llm.grid) and one.shares.min() >= 0


def test_a_share_says_what_became_of_a_patch(kept):
    slow = METHODS[SLOWFAST].slow.frame_indices(50)
    of_frame = kept[SLOWFAST].shares.mean(axis=(1, 2))
    assert np.allclose(of_frame[slow], 1 / 2 + 1 / 36, atol=1e-3), "two share a slow token, 36 a fast one"
    assert np.allclose(np.delete(of_frame, slow), 1 / 36, atol=1e-3)
    assert (kept["FreeVA"].shares == 1).all() and np.allclose(kept["LLaVA-NeXT-Image"].shares, 1 / 4)
    assert set(np.unique(kept["TS-LLaVA"].shares)) == {0, 1} and kept["TS-LLaVA"].seen == 864 / (51 * 144)
    chosen = (kept["D-CoDe"].shares > 0).any(axis=(1, 2))
    assert chosen.sum() == METHODS["D-CoDe"].kept
    of_keyframes = kept["KTV"].shares.sum(axis=(1, 2))
    assert set(np.unique(kept["KTV"].shares)) == {0, 1} and sorted(of_keyframes)[-7:] == [0] + [78] * 6


def test_what_is_dropped_is_white_and_what_is_whole_is_as_it_was(kept):
    one, pictures = kept["TS-LLaVA"], field.shown(kept["TS-LLaVA"])
    patch = field.SIDE // 12
    big = one.shares.repeat(patch, axis=1).repeat(patch, axis=2)
    assert (pictures[big == 0] == 1).all() and np.allclose(pictures[big == 1], one.views[big == 1] / 255)


def test_strips_and_costs_have_a_row_for_each_method(kept):
    figure = field.plot_kept(kept)
    assert [axis.get_title("left").split(":")[0] for axis in figure.axes] == list(METHODS)
    shape = sf.MODEL_SHAPES["7b"]
    budgets = {name: sf.token_budget(method, shape) for name, method in METHODS.items() if name not in OF_A_GRID}
    costs = field.plot_costs(budgets, shape.native_positions)
    assert [bar.get_width() for bar in costs.axes[0].patches] == [one.visual_tokens for one in budgets.values()]
    plt.close("all")
