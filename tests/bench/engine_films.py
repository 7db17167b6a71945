"""Stub videos that end their worker, and keep a list of who was asked what. Workers import it, so it is a module."""

import os
import signal
from pathlib import Path

import torch

from sfllava_bench.answers.experiment import Experiment
from sfllava_bench.engine.stub import StubModel, StubVideos, stub_questions
from sfllava_core import VideoLLM, parse_spec
from sfllava_core.backbones.base import ModelError
from sfllava_core.defaults import ROOT
from sfllava_core.video.integrity import HostError

SPEC = parse_spec("frames4_slow2-to2x2_fastall-to1x1")
STUB = Experiment("stub", SPEC, asked=stub_questions(24, 3))


def tiny() -> VideoLLM:
    return VideoLLM.from_pretrained(ROOT / "data" / "tiny", device="cpu")


def refuse():
    raise ModelError("nowhere: no such checkpoint")


class Gone(StubVideos):
    """A folder that is lost in the midst of a run."""

    def read(self, name, *rules, **options):
        if name > "film000010":
            raise HostError("the disk is gone")
        return super().read(name, *rules, **options)


class Changing(StubModel):
    """The first that is made differs from the second."""

    def __init__(self, folder):
        super().__init__()
        try:
            (folder / "first").touch(exist_ok=False)
        except FileExistsError:
            self.model.dtype = torch.float16


class Films(StubVideos):
    """once: a film that kills the process that reads it, at the first time.  always: one that does each time."""

    def __init__(self, folder: Path, once: str = "", always: str = ""):
        super().__init__(workers=2, prefetch=2)
        self.folder, self.once, self.always = folder, once, always

    def read(self, name, *rules, **options):
        if name == self.always or (name == self.once and first_time(self.folder / f"killed_{name}")):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().read(name, *rules, **options)


class Told(StubModel):
    """A model that writes down each question that it is asked, before it answers."""

    def __init__(self, folder: Path, seconds: float = 0.0):
        super().__init__(seconds)
        self.folder = folder

    def watch_frames(self, frames, method=None, *, resize="pillow"):
        video = super().watch_frames(frames, method, resize=resize)
        answer = video.generate

        def generate(prompts, **options):
            with open(self.folder / f"asked_{os.getpid()}", "a") as file:
                file.writelines(f"{video.brightness}: {prompt[-1][-60:]!r}\n" for prompt in prompts)
            return answer(prompts, **options)

        video.generate = generate
        return video


def first_time(mark: Path) -> bool:
    """Whether nobody was here before, in whichever process."""
    try:
        mark.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def asked(folder: Path) -> list[str]:
    """All questions that a `Told` was asked, in any process."""
    return [line for file in folder.glob("asked_*") for line in file.read_text().splitlines()]
