"""What `watch`, `ask` and `choose` take, what they tell meanwhile, and what they refuse."""

import numpy as np
import pytest
import torch
from conftest import GRAND_PRIX, SMALL

from sfllava_core import (
    ContextError,
    Frames,
    ImageGrid,
    Pathway,
    Pool,
    PromptError,
    SlowFast,
    SpecError,
    VideoError,
    VideoLLM,
    uniform,
)


def test_watch_takes_files_frames_pixels_and_features(llm):
    from_file = llm.watch(GRAND_PRIX, SMALL)
    frames = from_file.frames
    assert isinstance(frames, Frames) and frames.pixels.shape == (8, 336, 336, 3)
    features = llm.encode(frames)
    assert features.shape == (8, *llm.grid, llm.dim)
    watched = [llm.watch_frames(given, SMALL) for given in (frames, frames.pixels, torch.from_numpy(frames.pixels))]
    for video in (*watched, llm.watch_features(features, SMALL)):
        torch.testing.assert_close(video.tokens, from_file.tokens, atol=1e-5, rtol=0)
    assert watched[0].frames is frames and watched[1].frames is None


def test_watch_says_what_takes_frames_and_features(llm, golden_frames):
    with pytest.raises(TypeError, match=r"a file or folder, this is a ndarray: use watch_frames.*watch_features"):
        VideoLLM.watch.__wrapped__(llm, golden_frames)  # without the tests' own check of types


def test_resizing_on_the_device_is_close(llm):
    exact, fast = (llm.watch(GRAND_PRIX, SMALL, resize=mode).tokens for mode in ("pillow", "torch"))
    assert (exact - fast).abs().mean() < 0.02 * exact.abs().mean()


def test_image_grid_and_uniform_frames_are_watched_too(llm):
    grid = llm.watch(GRAND_PRIX, ImageGrid())
    assert grid.tokens.shape == (2928, 64) and isinstance(grid.ask("what is it?", max_new_tokens=3), str)
    assert llm.watch(GRAND_PRIX, uniform(4, (12, 12))).tokens.shape == (576, 64)


def test_specs_may_be_given_by_name_and_numbers_by_numpy(llm, golden_frames):
    by_name = llm.watch_frames(golden_frames[:8], "frames8_slow2-max2x2_fastall-to2x2")
    torch.testing.assert_close(by_name.tokens, llm.watch_frames(golden_frames[:8], SMALL).tokens)
    assert llm.watch(GRAND_PRIX, SlowFast(np.int64(5))).tokens.shape == (10 * 288 + 5 * 16, 64)


def test_channel_flipped_views_are_taken(llm, golden_frames):
    """BGR to RGB by a negative stride is common; the fast resize must take it too."""
    flipped = golden_frames[:2, ..., ::-1]
    for mode in ("pillow", "torch"):
        torch.testing.assert_close(llm.encode(flipped, resize=mode), llm.encode(flipped.copy(), resize=mode))


def test_tuples_are_as_good_as_lists(small_video):
    asked = ["what is it?", "why is it there?"]
    assert small_video.ask(tuple(asked), max_new_tokens=3) == small_video.ask(asked, max_new_tokens=3)
    assert small_video.choose("which?", ("a", "b")) == small_video.choose("which?", ["a", "b"])


def test_progress_is_told(llm):
    told = []
    llm.watch(GRAND_PRIX, SMALL, chunk_frames=4, progress=lambda *step: told.append(step))
    assert told == [("decode", 0, 8), ("decode", 8, 8), ("encode", 4, 8), ("encode", 8, 8)]


def test_seconds_are_kept_by_stage(llm):
    video = llm.watch(GRAND_PRIX, SMALL)
    video.ask("what is it?", max_new_tokens=2)
    assert set(video.stopwatch.seconds) == {"decode", "encode", "pool", "prefill", "answer"}
    assert all(seconds > 0 for seconds in video.stopwatch.seconds.values())


def test_a_sequence_over_the_maximum_is_refused_with_the_numbers(llm, golden_frames, small_video):
    with pytest.raises(ContextError, match=r"320 visual \+ \d+ text \+ 8000 new tokens = \d+, but .* takes 8192"):
        small_video.ask("why?", max_new_tokens=8000)
    with pytest.raises(ContextError, match="8960 visual tokens"):
        llm.watch_frames(golden_frames, SlowFast(slow=Pathway(10), fast=Pathway(None, Pool.to(8, 8))))
    with pytest.raises(ContextError, match="shorten the question"):
        small_video.choose("why " * 9000, ["a", "b"])


@pytest.mark.parametrize(
    ("act", "error", "message"),
    [
        (lambda llm, v: llm.watch("no_such.mp4"), VideoError, "no such file"),
        (lambda llm, v: llm.watch_features(torch.zeros(4, 12, 12, 64)), ValueError, r"makes \(frames, 24, 24, 64\)"),
        (lambda llm, v: llm.watch_frames(np.zeros((4, 10, 10, 3))), ValueError, "give uint8 RGB"),
        (lambda llm, v: llm.watch_frames(np.zeros((4, 10, 10), dtype=np.uint8)), ValueError, "give uint8 RGB"),
        (
            lambda llm, v: llm.watch(GRAND_PRIX, SlowFast(fast=Pathway(None, Pool.to(25, 25)))),
            SpecError,
            "does not fit",
        ),
        (lambda llm, v: v.ask([]), ValueError, "no questions"),
        (lambda llm, v: v.ask("what is an <image>?"), PromptError, "literal"),
        (lambda llm, v: v.ask("why?", max_new_tokens=0), ValueError, "at least 1"),
        (lambda llm, v: v.ask(["a", "b"], on_text=print), ValueError, "streams one answer"),
        (lambda llm, v: v.choose("why?", []), PromptError, "0 options"),
        (lambda llm, v: v.generate(["no place for the video"]), PromptError, "exactly 1"),
        (lambda llm, v: v.generate(["two <image> <image>"]), PromptError, "exactly 1"),
        (lambda llm, v: v.generate(["nothing after <image>"]), PromptError, "nothing follows"),
        (lambda llm, v: llm.watch_features(torch.zeros(0, 24, 24, 64)), ValueError, "at least 1 frame"),
        (lambda llm, v: llm.watch_frames(np.zeros((4, 24, 24, 64))), ValueError, "floating torch tensor"),
        (lambda llm, v: llm.watch(GRAND_PRIX, "nonsense"), SpecError, "not understood"),
        (lambda llm, v: llm.watch(GRAND_PRIX, resize="bogus"), ValueError, "choose one of"),
        (lambda llm, v: llm.watch(GRAND_PRIX, chunk_frames=0), ValueError, "at least 1 frame"),
        (lambda llm, v: v.choose(["a", "b"], [["x", "y"]]), ValueError, "one list for each"),
        (lambda llm, v: v.choose("a", ["x", "y"], by="luck"), ValueError, "'likelihood' or 'generation'"),
    ],
)
def test_wrong_use_is_refused_with_the_way_out(llm, small_video, act, error, message):
    with pytest.raises(error, match=message):
        act(llm, small_video)
