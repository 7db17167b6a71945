"""A method that has everything its own way: frames, pictures, pooling before the projector, prompts, choices."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from conftest import GRAND_PRIX, TINY
from einops import rearrange, reduce
from transformers import LlavaNextForConditionalGeneration

from sfllava_core import Method, VideoLLM, read_frames
from sfllava_core.features import normalize, resize_frames


@dataclass(frozen=True)
class LastFrames(Method):
    """The last frames, patches averaged 2 x 2 before the projector, asked and read in its own words."""

    num_frames: int = 3
    own_features = True

    def sample(self, total: int) -> list[int]:
        if total < self.num_frames:
            raise ValueError(f"{total} frames, {self.num_frames} are needed")
        return list(range(total - self.num_frames, total))

    def arrange(self, pixels, size):
        return pixels[::-1]

    def pool_patches(self, patches):
        return reduce(patches, "t (h a) (w b) d -> t h w d", "mean", a=2, b=2)

    def feature_grid(self, grid):
        return grid[0] // 2, grid[1] // 2

    def token_counts(self, num_frames=None, grid=(24, 24)):
        return {"last": (num_frames or self.num_frames) * grid[0] * grid[1] // 4}

    def visual_tokens(self, features, newline=None):
        return rearrange(features, "t h w d -> (t h w) d")

    def token_frames(self, num_frames, grid):
        return torch.arange(num_frames).repeat_interleave(grid[0] * grid[1] // 4)

    def open_ended(self, question, style, parts=None):
        return f"{style}: <image>\n", f"{question} So:"

    def multiple_choice(self, question, options, style, parts=None):
        return "<image>\n", f"{question} {' or '.join(options)}? Letter: ("

    def read_choice(self, text: str, options: Sequence[str]) -> int | None:
        return len(options) - 1

    def __str__(self) -> str:
        return f"last{self.num_frames}"

    @classmethod
    def parse(cls, text, num_frames=50):
        return cls(int(text[4:])) if text[:4] == "last" and text[4:].isdigit() else None


@pytest.fixture(scope="module")
def llm() -> VideoLLM:
    return VideoLLM.from_pretrained(TINY, device="cpu")


def test_all_of_it_is_used(llm):
    video = llm.watch(GRAND_PRIX, "last3")
    total = read_frames(GRAND_PRIX, 1).total
    assert video.frames.indices == [total - 3, total - 2, total - 1]
    # by plain transformers: last layer but one, no CLS, 2 x 2 mean, projector
    model = LlavaNextForConditionalGeneration.from_pretrained(TINY, dtype=torch.float32).eval().model
    pictures = resize_frames(np.ascontiguousarray(video.frames.pixels[::-1]), llm.image_size)
    with torch.inference_mode():
        hidden = model.vision_tower(normalize(torch.from_numpy(pictures)), output_hidden_states=True).hidden_states[-2]
        patches = rearrange(hidden[:, 1:], "t (h w) d -> t h w d", h=llm.grid[0])
        pooled = torch.nn.functional.avg_pool2d(rearrange(patches, "t h w d -> t d h w"), 2)
        expected = model.multi_modal_projector(rearrange(pooled, "t d h w -> (t h w) d"))
    torch.testing.assert_close(video.tokens, expected, rtol=1e-5, atol=1e-5)

    own = video.generate([("vicuna: <image>\n", "What is there? So:")], max_new_tokens=5)[0]
    assert video.ask("What is there?", max_new_tokens=5) == own.text
    choice = video.choose("Which?", ["a cat", "a dog", "a fox"], by="generation", max_new_tokens=4)
    assert (choice.letter, choice.option) == ("C", "a fox"), "read by the method's own rule"
    assert video.choose("Which?", ["a cat", "a dog"]).letter in "AB"


def test_features_of_another_grid_are_refused(llm):
    rows, columns = llm.grid
    with pytest.raises(ValueError, match=rf"\(frames, {rows // 2}, {columns // 2}, {llm.dim}\)"):
        llm.watch_features(torch.zeros(3, rows, columns, llm.dim), LastFrames())
