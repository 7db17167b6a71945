"""Stub videos that end their worker, and keep a list of who was asked what. Workers import it, so it is a module."""

import os
import signal
from pathlib import Path

from sfllava_bench.engine.stub import StubModel, StubVideos


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
