"""LLoVi: all captions of a video in one request, or first a summary of them made for the question.

    captions -> `narration` -> `LLoVi.request` -> a language model -> `LLoVi.answer`

As released (CeeZh/LLoVi); docs/methods.md says what its published numbers were made with.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sfllava_bench.captions.prompts import Ask, Messages, Prompt, option_slots, prompt
from sfllava_bench.captions.replies import UNREAD

Captions = str | Sequence[str] | Mapping[str, str]


def narration(captions: Captions, every: int = 1) -> str:
    """Each `every`-th caption with its place among all, one a line. A ready text (a summary) stays as it is.

    Args:
        captions: a list, or captions by their frame's number as a text.

    Raises:
        ValueError: `every` is below 1.
    """
    if every < 1:
        raise ValueError(f"every={every}: give 1 or more")
    if isinstance(captions, str):
        return captions
    if isinstance(captions, Mapping):
        captions = [captions[key] for key in sorted(captions, key=int)]
    return ".\n".join(f"{place}: {captions[place]}" for place in range(0, len(captions), every))


def clip_length(fps: float, every: int = 1) -> float:
    """Seconds that a caption stands for, in the released code's rounding: whole ones below 1 frame a second."""
    return every * (int(1 / fps) if fps < 1 else 1 / fps)


@dataclass(frozen=True)
class LLoVi:
    """One setting of the method; the constants below are those of the published numbers.

    prompt: a template's name (`prompts("llovi")`).
    model: the language model that the released code asks by default.
    temperature: sent with the request.
    fps: captions a second of the video.
    every: take each so many-th caption.
    words: asked of a summary.
    new_tokens: the most that a local model writes; no limit is sent to a server.
    seed: sent where it is given; the released code sends none.
    """

    prompt: str = "qa_standard"
    model: str = "gpt-3.5-turbo-0613"
    temperature: float = 0.0
    fps: float = 1.0
    every: int = 1
    words: int = 500
    new_tokens: int = 100
    seed: int | None = None

    def __post_init__(self) -> None:
        prompt("llovi", self.prompt)
        if not self.fps > 0 or self.every < 1 or self.words < 1:
            raise ValueError(f"fps={self.fps}, every={self.every}, words={self.words}: each must be above 0")

    @property
    def template(self) -> Prompt:
        return prompt("llovi", self.prompt)

    def slots(
        self,
        captions: Captions,
        question: str,
        options: Sequence[str | None],
        seconds: float = 0,
        examples: str | None = None,
    ) -> dict[str, object]:
        """What the template's slots get. Without `examples` those that want some say "None", as released."""
        return {
            "narration": narration(captions, self.every),
            "duration": int(seconds),
            "clip_length": clip_length(self.fps, self.every),
            "fps": float(self.fps),
            "caption_every": self.every,
            "num_words": self.words,
            "question": question,
            "examplars": examples,
            **option_slots(options),
        }

    def request(self, messages: Messages) -> dict[str, object]:
        """A request's body: model, messages, temperature and, if there is one, the seed."""
        body: dict[str, object] = {"model": self.model, "messages": messages, "temperature": float(self.temperature)}
        return body if self.seed is None else {**body, "seed": self.seed}

    def text(self, slots: dict[str, object]) -> str:
        """The prompt as one text, for a local model that goes on writing it (`LOCAL`)."""
        return self.template.user(slots)

    def answer(self, ask: Ask, slots: dict[str, object]) -> tuple[object, str]:
        """What the reply says by the template's rule, and the reply. A failed request is whatever `ask` raises: the
        released code asks for a random letter then, which is not done here.
        """
        reply = self.template.talk(ask, slots)
        return self.template.read(reply), reply


STANDARD = LLoVi()
SUMMARY = LLoVi("sum_q", temperature=1.0)  # the first of two stages: its replies are the captions of the second
FROM_SUMMARY = LLoVi("qa_sum")
NEXT = LLoVi("qa_next", model="gpt-4-1106-preview", every=2)
LOCAL = LLoVi("qa_standard_llama", model="meta-llama/Llama-2-70b-chat-hf")


def summarise_and_answer(
    ask: Ask,
    captions: Captions,
    question: str,
    options: Sequence[str | None],
    seconds: float,
    summary: LLoVi = SUMMARY,
    final: LLoVi = FROM_SUMMARY,
    ask_summary: Ask | None = None,
) -> tuple[object, str, str]:
    """The question-guided summary in its two stages: what the reply says, the reply, the summary.

    Args:
        ask_summary: asks the first stage, which has a temperature of its own.
    """
    summarised, _ = summary.answer(ask_summary or ask, summary.slots(captions, question, options, seconds))
    place, reply = final.answer(ask, final.slots(str(summarised), question, options, seconds))
    return place, reply, str(summarised)


def with_backup(places: Mapping[str, int], backup: Mapping[str, int]) -> dict[str, int]:
    """Unread answers replaced by another run's, as the released GPT-4 run does with GPT-3.5's."""
    return {key: backup.get(key, place) if place == UNREAD else place for key, place in places.items()}
