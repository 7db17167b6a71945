"""A model that answers at once, and videos that no decoder reads: what is left to be measured is all around them."""

import time
from pathlib import Path

import numpy as np
import torch

from sfllava_bench.questions.records import OPEN_ENDED, Question
from sfllava_core.answering.watched import Generation
from sfllava_core.stopwatch import Stopwatch
from sfllava_core.video.folder import VideoFolder
from sfllava_core.video.frames import Frames, chosen_indices

SIDE = 14  # pixels of a stub's frame
TOTAL = 8  # frames of a stub's video


class NoWeights(torch.nn.Module):
    """What a fingerprint is taken of."""

    dtype = torch.float32


class StubVideo:
    """A watched video: each answer is the brightness of its frames, and the question's last words."""

    def __init__(self, brightness: int, device: torch.device, seconds: float):
        self.brightness, self.seconds, self.prefix_bytes = brightness, seconds, 0
        self.tokens, self.stopwatch = [0] * TOTAL, Stopwatch(device)

    def generate(self, prompts, max_new_tokens: int, share_prefix: bool = True) -> list[Generation]:
        """An answer to each prompt."""
        time.sleep(self.seconds * len(prompts))
        return [Generation(f"{self.brightness}: {prompt[-1][-60:]}", [1] * 4, TOTAL) for prompt in prompts]


class StubModel:
    """A `VideoModel` without weights. seconds: that an answer takes."""

    name, prompt_style, image_size, max_positions = "stub", "vicuna", (SIDE, SIDE), 4096

    def __init__(self, seconds: float = 0.0):
        self.model, self.device, self.seconds = NoWeights(), torch.device("cpu"), seconds

    def watch_frames(self, frames: Frames, method=None, *, resize: str = "pillow") -> StubVideo:
        """A video that is described by its first pixel."""
        return StubVideo(int(frames.pixels.flat[0]), self.device, self.seconds)

    def watch_features(self, features, method=None) -> StubVideo:
        """Likewise, of features of `encode`."""
        return StubVideo(int(features.flatten()[0]), self.device, self.seconds)

    def encode(self, frames: Frames, *, resize: str = "pillow"):
        """The pixels themselves."""
        return torch.from_numpy(frames.pixels.astype(np.float32))


class StubVideos(VideoFolder):
    """Any name is a video, whose frames are one grey."""

    def __init__(self, workers: int = 2, prefetch: int = 4):
        super().__init__(Path(__file__).parent, workers=workers, prefetch=prefetch)

    def find(self, name: str) -> Path:
        """A file that is there."""
        return Path(__file__)

    def read(self, name: str, num_frames=50, *, decoder: str = "auto", size=None) -> Frames:
        """Made, not read."""
        rules = num_frames if isinstance(num_frames, list) else [num_frames]
        indices = sorted({index for rule in rules for index in chosen_indices(rule, TOTAL)})
        pixels = np.full((len(indices), SIDE, SIDE, 3), sum(name.encode()) % 251, dtype=np.uint8)
        return Frames(pixels, indices, np.arange(len(indices), dtype=np.float64), 1.0, TOTAL, "stub")


def stub_questions(videos: int, each: int) -> tuple[Question, ...]:
    """So many questions about each of so many videos."""
    return tuple(
        Question("own", f"film{video:06}#{number}", f"film{video:06}", (f"What is seen at moment {number}?",), "",
                 OPEN_ENDED)
        for video in range(videos)
        for number in range(each)
    )  # fmt: skip
