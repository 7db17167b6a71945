"""VideoTree: the captions of frames that a tree of clusters chooses, and a language model that scores and answers.

    features -> k-means -> captions of keyframes -> relevance (`widen`: 8 clusters, 16, 32 until enough are relevant)
             -> `trees.choose_frames` -> captions of chosen frames -> answer

Three readings (`trees.READINGS`); "as_described" is the default, and reports name the one that was used.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from sfllava_bench.captions.llovi import clip_length
from sfllava_bench.captions.prompts import Ask, Messages, Prompt, option_slots, prompt
from sfllava_bench.captions.replies import prediction, relevance
from sfllava_bench.captions.trees import READINGS, Branch, Chances, Clusters, choose_frames, keyframes, kmeans

MARKER = re.compile("(?=#[CO])")  # LaViLa begins a caption with #C (who wears the camera) or #O (another)
RELEVANT = 3


def narration(captions: str | Sequence[str], frames: Sequence[int] | None, reading: str = "as_described") -> str:
    """The captions of some frames, as they stand in a request.

    As released, captions are joined and cut again at "#C" and "#O", wherever those stand: what comes before the first
    is lost, captions without them vanish, and frame i gets piece i - 1. Our reading takes caption i.

    Args:
        captions: one a frame; as released a ready text too.
        frames: None is all captions.

    Raises:
        ValueError: in "as_described" a ready text, or a frame without a caption.
    """
    if reading not in READINGS:
        raise ValueError(f"reading {reading!r}: choose one of {', '.join(READINGS)}")
    text = captions if isinstance(captions, str) else ". ".join(captions)
    if frames is None:
        return text
    if reading != "as_described":
        pieces = [piece for piece in MARKER.split(text) if MARKER.match(piece)]
        return "narration " + "".join(pieces[frame - 1] for frame in frames if 1 <= frame <= len(pieces))
    if isinstance(captions, str):
        raise ValueError("one ready text of captions: give a list with one caption a frame, or another reading")
    missing = [frame for frame in frames if not 0 <= frame < len(captions)]
    if missing:
        raise ValueError(f"frames {missing[:10]} of {len(captions)} captions: give one caption a frame")
    return "narration " + ". ".join(captions[frame] for frame in frames)


@dataclass(frozen=True)
class Breadth:
    """The first level of a tree.

    nodes: the keyframes, in time.
    ids: a cluster's number for each frame.
    scores: the last reply's, mostly one a keyframe.
    rounds: each clustering that was tried.
    """

    nodes: list[int]
    ids: list[int]
    scores: list[int]
    rounds: list[Clusters]


@dataclass(frozen=True)
class VideoTree:
    """One setting of the method; the defaults are those of the published numbers, the reading aside.

    reading: a key of `READINGS`.
    prompt: the answer's template (`prompts("videotree")`); the default says "None" where its examples are missing.
    scorer: the template that asks for relevance.
    model, temperature: what the released code asks.
    first, most, rate: clusters tried first, at most, and by how much they grow.
    enough: this many scores of 3 end the growing.
    widths: the most sub-clusters on the second and on the third level.
    fps, words: for the templates that say how long a clip is, or ask for a summary.
    """

    reading: str = "as_described"
    prompt: str = "qa_standard"
    scorer: str = "cap_score"
    model: str = "gpt-4-1106-preview"
    temperature: float = 0.0
    first: int = 8
    most: int = 32
    rate: int = 2
    enough: int = 4
    widths: tuple[int, int] = (4, 4)
    fps: float = 1.0
    words: int = 500

    def __post_init__(self) -> None:
        if self.reading not in READINGS:
            raise ValueError(f"reading {self.reading!r}: choose one of {', '.join(READINGS)}")
        if self.first < 2 or self.rate < 2 or min(self.widths) < 1:
            raise ValueError(f"first={self.first}, rate={self.rate}, widths={self.widths}: at least 2, 2 and 1")
        for name in (self.prompt, self.scorer):
            prompt("videotree", name)

    def slots(
        self,
        captions: str | Sequence[str],
        frames: Sequence[int] | None,
        question: str,
        options: Sequence[str | None],
        seconds: float = 0,
        examples: str | None = None,
    ) -> dict[str, object]:
        """What the templates' slots get. Without `examples` those that want some say "None", as released."""
        return {
            "narration": narration(captions, frames, self.reading),
            "duration": int(seconds),
            "clip_length": clip_length(self.fps),
            "num_words": self.words,
            "question": question,
            "examplars": examples,
            **option_slots(options),
        }

    def request(self, messages: Messages) -> dict[str, object]:
        """A request's body."""
        return {"model": self.model, "messages": messages, "temperature": float(self.temperature)}

    @property
    def template(self) -> Prompt:
        return prompt("videotree", self.prompt)

    def widen(
        self,
        ask: Ask,
        features: Float[Tensor, "frames width"],
        captions: str | Sequence[str],
        question: str,
        options: Sequence[str | None],
        chances: Chances | None = None,
    ) -> Breadth:
        """Cluster, ask which keyframes are relevant, and again with twice as many clusters until enough are.

        Each clustering starts anew. Of a video with fewer frames than clusters it is refused in "as_released" and
        "aligned"; "as_described" has no more clusters than frames.

        Args:
            chances: the random streams; videos of one run draw from the same one after another, as released.

        Raises:
            UnreadableReplyError: a reply without scores; the released run ends there.
            ValueError: see `kmeans` and `narration`.
        """
        chances, size, rounds = chances or Chances(), self.first, []
        while True:
            fits = min(size, len(features)) if self.reading == "as_described" else size
            rounds.append(kmeans(features, fits, chances))
            nodes = sorted(keyframes(features, rounds[-1]).values())
            asked = self.slots(captions, nodes, question, options)
            scores = relevance(prompt("videotree", self.scorer).talk(ask, asked))
            if scores.count(RELEVANT) >= self.enough or size >= self.most or fits < size:
                return Breadth(nodes, rounds[-1].ids.tolist(), scores, rounds)
            size *= self.rate

    def choose(
        self, features: Float[Tensor, "frames width"], breadth: Breadth
    ) -> tuple[list[int], Mapping[int, Branch]]:
        """The frames whose captions are read, and the tree."""
        return choose_frames(features, breadth.ids, breadth.nodes, breadth.scores, self.reading, self.widths)

    def answer(self, ask: Ask, slots: dict[str, object]) -> tuple[object, str]:
        """What the last reply says, and the reply. No answer is option A, but in "as_described".

        Templates of two stages are asked in full; the released code stops after the first.
        """
        reply = self.template.talk(ask, slots)
        return self.read(reply), reply

    def read(self, reply: str | None) -> object:
        """What a reply says by the template's rule."""
        if self.template.reader == "prediction" and self.reading != "as_described":
            return prediction(reply, fallback=0)
        return self.template.read(reply)

    def run(
        self,
        ask: Ask,
        features: Float[Tensor, "frames width"],
        captions: str | Sequence[str],
        question: str,
        options: Sequence[str | None],
        chances: Chances | None = None,
    ) -> dict[str, object]:
        """The whole way for one question, as a record: the reading, clusters, scores, chosen frames, place, reply.

        Errors are those of its steps, and whatever `ask` raises.
        """
        breadth = self.widen(ask, features, captions, question, options, chances)
        frames, _ = self.choose(features, breadth)
        place, reply = self.answer(ask, self.slots(captions, frames, question, options))
        tree = {"clusters": len(breadth.rounds[-1].centres), "nodes": breadth.nodes, "scores": breadth.scores}
        return {"reading": self.reading, **tree, "chosen": frames, "place": place, "reply": reply}
