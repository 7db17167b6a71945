"""LLoVi and VideoTree as methods, so that a benchmark runs them like any other.

    video -> captions, one a clip (captioner.py) -> `ToldInWords.reason`: requests to a language model -> its reply

What the video's model sees is one clip at a time; what answers is the language model. words.py brings them together.
"""

import re
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from sfllava_bench.captions.captioner import Clips
from sfllava_bench.captions.llovi import FROM_SUMMARY, NEXT, STANDARD, SUMMARY, LLoVi, summarise_and_answer
from sfllava_bench.captions.prompts import Ask, Messages, five
from sfllava_bench.captions.trees import READINGS
from sfllava_bench.captions.videotree import VideoTree
from sfllava_core.methods.base import Grid, Method, SpecError
from sfllava_core.prompts import ALL_PARTS, PromptError, PromptParts

Asker = Callable[[Callable[[Messages], dict[str, object]]], Ask]  # a request's body, by its messages -> `ask`
SECONDS = r"(?:_(\d+(?:\.\d+)?)s)?"
TREE = re.compile(rf"videotree(?:-([a-z_]+?))?{SECONDS}")
STORY = re.compile(rf"llovi(?:-([a-z_]+?))?{SECONDS}(?:_every(\d+))?")
VARIANTS = {
    "standard": "all captions in one request",
    "summary": "a summary of all captions for the question first, of 500 words, then the question of the summary",
    "next": "the form of NExT-QA and IntentQA",
}
TO_RUN = "captions are made, and read, in a benchmark's run: sfllava bench run --method ... --reasoner ..."


@dataclass(frozen=True)
class Told:
    """A video in words.

    captions: one a clip; or as somebody's file has them.
    seconds: the video's length.
    features: one of each clip, where the method `wants` them.
    given: whether the captions are of a file.
    """

    captions: str | Sequence[str]
    seconds: float
    features: Float[Tensor, "clips width"] | None = None
    given: bool = False


class ToldInWords(Method):
    """A video told in words, which a language model reads. For questions with options alone, five at most.

    every_s: seconds from one clip's start to the next's, and a clip's length.
    every: takes each so many-th caption.
    whole: whether a request holds all captions of a video.
    """

    num_frames = 1  # which says how long the video is; clips are read by the captioner
    max_new_tokens = 300  # of a model's own language model (ours): a server is told of no limit
    every = 1
    whole: ClassVar[bool] = True
    every_s: float

    @property
    def clips(self) -> Clips:
        """How videos are cut for it."""
        return Clips(every_s=self.every_s, length_s=self.every_s)

    @abstractmethod
    def reason(self, asker: Asker, told: Told, question: str, options: Sequence[str]) -> tuple[str, dict[str, object]]:
        """The reply that names the answer, and what there is to record of the way to it.

        Raises:
            ValueError: a reply that cannot be gone on with, or captions that do not fit the method.
        """

    def token_counts(self, num_frames: int | None = None, grid: Grid = (24, 24)) -> dict[str, int]:
        """Of one clip, which is all that the model sees at a time; the reader of captions sees none."""
        return {"a clip": self.clips.frames * grid[0] * grid[1]}

    def visual_tokens(
        self, features: Float[Tensor, "frames rows columns dim"], newline: Float[Tensor, "dim"] | None = None
    ) -> Float[Tensor, "tokens dim"]:
        """Raises SpecError: no prompt with visual tokens answers the question."""
        raise SpecError(f"{self}: {TO_RUN}")

    def token_frames(self, num_frames: int, grid: Grid) -> Int64[Tensor, "tokens"]:
        """A clip's tokens are of its frames, which are not those sampled."""
        return torch.full((self.token_count(num_frames, grid),), -1)

    def open_ended(self, question: str, style: str, parts: PromptParts = ALL_PARTS) -> tuple[str, str]:
        """Raises PromptError: it was published for questions with options alone."""
        raise PromptError(f"{self} asks questions with options alone, this one has none: {question:.60}")

    def multiple_choice(
        self, question: str, options: Sequence[str], style: str, parts: PromptParts = ALL_PARTS
    ) -> tuple[str, str]:
        """Raises PromptError: what it asks is no prompt of a video's model."""
        raise PromptError(f"{self}: {TO_RUN}")


@dataclass(frozen=True)
class ToldLLoVi(ToldInWords):
    """LLoVi: all captions in one request, or by way of a summary.

    variant: a key of `VARIANTS`.
    every_s: seconds that captions are numbered by.
    every: a clip is so many of these long. Of captions in a file, each so many-th is taken.
    """

    variant: str = "standard"
    every_s: float = 1.0
    every: int = 1

    credit: ClassVar[str] = "llovi"  # a key of `scoring.CREDITS`, for a number beside ours
    published: ClassVar[dict[str, str]] = {
        "captions": "LaViLa, 1 s (EgoSchema); LLaVA-1.5-13B, every 2 s (NExT-QA, IntentQA)",
        "language model": "gpt-3.5-turbo-0613 (EgoSchema), gpt-4-1106-preview (NExT-QA, IntentQA)",
    }
    differs: ClassVar[str] = (
        "captions by the model that is named, unless a file of them is given; an answer that cannot be read earns "
        "nothing; a refused request is a failure"
    )

    def __post_init__(self) -> None:
        if self.variant not in VARIANTS:
            raise SpecError(f"llovi-{self.variant}: choose one of {', '.join(VARIANTS)}")
        if not self.every_s > 0 or self.every < 1:
            raise SpecError(f"llovi with every_s={self.every_s}, every={self.every}: each must be above 0")

    @property
    def clips(self) -> Clips:
        return Clips(every_s=self.every_s * self.every, length_s=self.every_s * self.every)

    @property
    def setting(self) -> LLoVi:
        """That whose reply is read."""
        final = {"standard": STANDARD, "summary": FROM_SUMMARY, "next": NEXT}[self.variant]
        return replace(final, fps=1 / self.every_s, every=self.every)

    def reason(self, asker: Asker, told: Told, question: str, options: Sequence[str]) -> tuple[str, dict[str, object]]:
        """One request, or two."""
        setting, captions = self.setting, told.captions
        if not told.given:  # each stands for `every` of those that the release counts, and takes the first of
            captions = [caption for caption in captions for _ in range(self.every)]
        if self.variant != "summary":
            slots = setting.slots(captions, question, five(options), told.seconds)
            return setting.answer(asker(setting.request), slots)[1], {}
        first = replace(SUMMARY, fps=setting.fps, every=setting.every, seed=0)
        asks = {"ask": asker(setting.request), "ask_summary": asker(first.request)}
        _, reply, summary = summarise_and_answer(
            captions=captions, question=question, options=five(options), seconds=told.seconds, summary=first,
            final=setting, **asks,
        )  # fmt: skip
        return reply, {"summary": summary}

    def read_choice(self, text: str, options: Sequence[str]) -> int | None:
        """By the template's rule: the first character, if it is a capital A to E."""
        return place_of(self.setting.template.read(text), options)

    def __str__(self) -> str:
        return f"llovi-{self.variant}_{self.every_s:g}s{f'_every{self.every}' if self.every > 1 else ''}"

    @classmethod
    def parse(cls, text: str, num_frames: int = 50) -> "ToldLLoVi | None":
        """Read "llovi", "llovi-summary", "llovi-next_1s_every2"; the form of NExT-QA takes every second caption."""
        match = STORY.fullmatch(text)
        if match is None:
            return None
        variant, seconds, every = match.groups()
        return cls(variant or "standard", float(seconds or 1), int(every or (2 if variant == "next" else 1)))


@dataclass(frozen=True)
class ToldVideoTree(ToldInWords):
    """VideoTree: the captions of frames that a tree of clusters chooses.

    reading: a key of `READINGS`.
    """

    reading: str = "as_described"
    every_s: float = 1.0

    wants = ("embeddings",)
    whole: ClassVar[bool] = False
    published: ClassVar[dict[str, str]] = {
        "captions": "LaViLa, 1 s (EgoSchema)",
        "features": "EVA-CLIP-8B",
        "language model": "gpt-4-1106-preview",
    }
    differs: ClassVar[str] = (
        "captions by the model that is named, and features of its tower's CLS, unless files of them are given; the "
        "clusters of each question begin with the same random numbers"
    )

    def __post_init__(self) -> None:
        if self.reading not in READINGS:
            raise SpecError(f"videotree-{self.reading}: choose one of {', '.join(READINGS)}")
        if not self.every_s > 0:
            raise SpecError(f"videotree with every_s={self.every_s}: it must be above 0")

    @property  # of its fields, where other kinds have one for all
    def caveat(self) -> str:  # type: ignore[override]
        """What this reading does to captions that are not LaViLa's."""
        if self.reading == "as_described":
            return ""
        return "of captions without #C or #O this reading leaves nothing in a request, as released"

    @property
    def setting(self) -> VideoTree:
        return VideoTree(self.reading, fps=1 / self.every_s)

    def reason(self, asker: Asker, told: Told, question: str, options: Sequence[str]) -> tuple[str, dict[str, object]]:
        """Two requests to four: up to three for relevance, one for the answer."""
        if told.features is None or (not isinstance(told.captions, str) and len(told.features) != len(told.captions)):
            number = 0 if told.features is None else len(told.features)
            raise ValueError(f"features of {number} frames, {len(told.captions)} captions: give one of both a frame")
        found = self.setting.run(asker(self.setting.request), told.features, told.captions, question, five(options))
        return str(found.pop("reply")), {name: found[name] for name in ("clusters", "nodes", "scores", "chosen")}

    def read_choice(self, text: str, options: Sequence[str]) -> int | None:
        """The letter after the first "prediction: "; without one none, or option A where the release says so."""
        return place_of(self.setting.read(text), options)

    def __str__(self) -> str:
        return f"videotree-{self.reading}_{self.every_s:g}s"

    @classmethod
    def parse(cls, text: str, num_frames: int = 50) -> "ToldVideoTree | None":
        """Read "videotree", "videotree-as_released", "videotree-as_described_2s"."""
        match = TREE.fullmatch(text)
        if match is None:
            return None
        reading, seconds = match.groups()
        return cls(reading or "as_described", float(seconds or 1))


def place_of(read: object, options: Sequence[str]) -> int | None:
    """A reader's place as `Method.read_choice` gives it; a letter that no option has is none."""
    return read if isinstance(read, int) and 0 <= read < len(options) else None
