"""The requests of LLoVi and VideoTree, to the letter: prompts.json holds their templates, `Prompt` fills them.

A template has a system text and one user message or two; the second is sent after the reply to the first. Values are
put in once and not looked through again, so that a "$" in a caption stays one.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from string import Template

from sfllava_bench.captions.replies import READERS

Messages = list[dict[str, str]]
Ask = Callable[[Messages], str]  # a request's messages -> the reply's text; raises where there is none
LETTERS = "ABCDE"


@dataclass(frozen=True)
class Prompt:
    """One template.

    system: the system message; may be "".
    stages: user messages, with $slots.
    reader: the rule by which the last reply is read, a key of `replies.READERS`.
    """

    system: str
    stages: tuple[str, ...]
    reader: str

    def user(self, slots: dict[str, object], stage: int = 0) -> str:
        """A stage's text.

        Raises:
            ValueError: the template has a slot that nothing is given for.
        """
        try:
            return Template(with_options(self.stages[stage], slots)).substitute(slots)
        except KeyError as error:
            raise ValueError(f"the prompt has a slot ${error.args[0]}: give it a value") from None

    def messages(self, slots: dict[str, object], replies: Sequence[str] = ()) -> Messages:
        """The next request, after the replies to the earlier ones: the whole talk so far."""
        said: Messages = [{"role": "system", "content": self.system}]
        for stage, reply in enumerate(replies):
            said += [{"role": "user", "content": self.user(slots, stage)}, {"role": "assistant", "content": reply}]
        return [*said, {"role": "user", "content": self.user(slots, len(replies))}]

    def talk(self, ask: Ask, slots: dict[str, object]) -> str:
        """Ask all stages; the last reply."""
        replies: list[str] = []
        for _ in self.stages:
            replies.append(ask(self.messages(slots, replies)))
        return replies[-1]

    def read(self, reply: str | None) -> object:
        """What a reply says; each reader of `replies` says what it gives."""
        return READERS[self.reader](reply)


@cache
def prompts(method: str) -> dict[str, Prompt]:
    """All templates of "llovi" or "videotree", by the names that the released codes give them."""
    stored = json.loads(Path(__file__).with_name("prompts.json").read_text(encoding="utf-8"))

    def one(name: str, entry: dict | str) -> Prompt:
        entry = stored[entry][name] if isinstance(entry, str) else entry  # the other method's, unchanged
        return Prompt(entry["system"], tuple("\n".join(lines) for lines in entry["stages"]), entry["reader"])

    return {name: one(name, entry) for name, entry in stored[method].items()}


def prompt(method: str, name: str) -> Prompt:
    """One template.

    Raises:
        ValueError: there is none of that name.
    """
    known = prompts(method)
    if name not in known:
        raise ValueError(f"{method} has no prompt {name!r}: choose one of {', '.join(known)}")
    return known[name]


def option_slots(options: Sequence[str | None]) -> dict[str, str | None]:
    """The slots optionA, optionB ... of options, or of `five` of them.

    Raises:
        ValueError: more options than the templates have letters.
    """
    if len(options) > len(LETTERS):
        raise ValueError(f"{len(options)} options: the prompts have room for {len(LETTERS)}")
    return {f"option{letter}": option for letter, option in zip(LETTERS, options)}


def five(options: Sequence[str]) -> list[str | None]:
    """Options with None for those that a question of fewer than five does not have: their lines are left out (ours)."""
    return [*options, *[None] * (len(LETTERS) - len(options))]


def with_options(text: str, slots: dict[str, object]) -> str:
    """A template without the lines of options that are None."""
    missing = [f"$option{letter}" for letter in LETTERS if slots.get(f"option{letter}", "") is None]
    return "\n".join(line for line in text.split("\n") if not any(slot in line for slot in missing))


def examples_block(examples: Sequence[dict], captions: dict[str, str | Sequence[str]]) -> str:
    """Worked examples for a prompt with a slot `examplars`.

    Args:
        examples: each with `video`, `question`, `options`, `answer` (an option's place).
        captions: of each video, a ready text or a list, which is joined without numbers here, as released.
    """
    blocks = []
    for number, one in enumerate(examples):
        told = captions[one["video"]]
        told = told if isinstance(told, str) else ". ".join(told)
        lines = [f"Examplar {number}.", f" Descriptions: {told}.", f" Question: {one['question']}"]
        lines += [f" {letter}: {option}" for letter, option in zip(LETTERS, one["options"])]
        blocks.append("\n".join([*lines, f" Answer: {LETTERS[one['answer']]}."]))
    return "\n\n".join(blocks)
