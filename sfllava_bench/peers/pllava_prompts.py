"""PLLaVA's conversations to the letter, and how the released code cuts an answer out of what was decoded.

A conversation is the system text, a user's turn with the video, a user's turn with the question, the assistant's turn
begun. In "videoqa" video and question share one turn. Style "vicuna" is that of 7B and 13B, "chatml" of 34B.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sfllava_bench.peers.base import question_with_options
from sfllava_core.prompts import IMAGE, PromptError

CHATGPT = (
    "You are Video-ChatGPT, a large vision-language assistant. You are able to understand the video content that the "
    "user provides, and assist the user with a variety of tasks using natural language.Follow the instructions "
    "carefully and explain your answers in detail based on the provided video."
)
WATCH = (
    "Carefully watch the video and pay attention to the cause and sequence of events, the detail and movement of "
    "objects, and the action and pose of persons. Based on your observations, select the best option that accurately "
    "addresses the question.\n"
)
RECAPTION = (
    "You are a powerful Video Magic ChatBot, a large vision-language assistant. \nYou are able to understand the video "
    "content that the user provides and assist the user in a video recaptioning task.\nThe user will provide you with "
    "the video and maybe some extra noisy information to help you out. Make use of the information in a proper way to "
    "be competent for the recaption job\n### INSTRUCTIONS:\n1. Follow the user's instruction.\n2. Be critical yet "
    "believe in yourself.\n"
)
DATA = (
    "The input consists of a sequence of key frames from a video. Answer the question concisely first and followed by "
    "significant events, characters, or objects that appear throughout the frames. Question:"
)
ONLY_BEST = "\nOnly give the best option."
BEST_OPTION = "Best option:("
IN_THE_VIDEO = "\nAnswer: In the video,"
NEW_TOKENS = {"videoqa": 100, "mvbench": 100, "vcg": 100, "recaption": 400}


@dataclass(frozen=True)
class Conversation:
    """What stands around video and question.

    system: with the separator that ends it; empty where there is none.
    user, assistant: how a turn begins.  end: how a turn ends, the assistant's: `last`.
    one_turn: video and question share one turn.  before, after: what stands around the question in it.
    answer: how the assistant's turn goes on from.
    """

    system: str
    user: str
    assistant: str
    end: str
    last: str
    one_turn: bool = False
    before: str = ""
    after: str = ""
    answer: str = ""

    def pieces(self, question: str) -> tuple[str, str]:
        """The prompt: what all questions about a video share, and what is the question's own."""
        opening = (f"{self.system}{self.end}" if self.system else "") + f"{self.user}{IMAGE}\n"
        if self.one_turn:
            return f"{opening} {self.before} ", f"{question} {self.after}{self.end}{self.assistant}{self.answer}"
        after = f" {self.after}" if self.after else ""
        return f"{opening}{self.end}{self.user}", f"{question}{after}{self.end}{self.assistant}{self.answer}"

    def cut(self, decoded: str) -> str:
        """The released code's cutting: what follows the last role tag, without the end tag and the begun answer.

        For 34B it looks for a space that the tokenizer puts after `<|im_start|>`; where there is none it gives the
        whole prompt back as the answer, a fault of the released code.
        """
        text = decoded.split(self.assistant.replace("<|im_start|>", "<|im_start|> "))[-1]
        text = text.removesuffix(self.last).strip()
        if begun := self.answer.strip():
            text = "".join(text.split(begun)[1:])
        return text.strip()

    def answer_text(self, said: str) -> str:
        """What the model said anew as the released code gives it where its cutting works: the assistant's turn is cut.

        MVBench's answers go on from a bracket, which is put back.
        """
        turn = self.assistant.replace("<|im_start|>", "<|im_start|> ")
        text = self.cut(f"{turn}{self.answer}{said}")
        return f"({text}" if self.answer == BEST_OPTION else text


VICUNA: dict[str, Any] = {"user": "USER: ", "assistant": "ASSISTANT:", "end": " ", "last": "</s>"}
CHATML: dict[str, Any] = {
    "user": "<|im_start|>user\n",
    "assistant": "<|im_start|>assistant\n",
    "end": "<|im_end|>\n",
    "last": "<|im_end|>\n",
}
ONE_TURN: dict[str, Any] = {"one_turn": True, "before": DATA, "after": "\n", "answer": IN_THE_VIDEO}
CHOICE: dict[str, Any] = {"after": ONLY_BEST, "answer": BEST_OPTION}
# 34B's system texts of VCGBench and MVBench lack <|im_start|>system, and MVBench has VCGBench's: as released.
CONVERSATIONS = {
    ("videoqa", "vicuna"): Conversation("", **VICUNA, **ONE_TURN),
    ("videoqa", "chatml"): Conversation("<|im_start|>system\nAnswer the question.", **CHATML, **ONE_TURN),
    ("mvbench", "vicuna"): Conversation(WATCH, **VICUNA, **CHOICE),
    ("mvbench", "chatml"): Conversation(CHATGPT, **CHATML, **CHOICE),
    ("vcg", "vicuna"): Conversation(CHATGPT, **VICUNA),
    ("vcg", "chatml"): Conversation(CHATGPT, **CHATML),
    ("recaption", "vicuna"): Conversation(RECAPTION, **VICUNA),
    ("recaption", "chatml"): Conversation(RECAPTION, **CHATML),
}


def conversation(task: str, style: str) -> Conversation:
    """The conversation of a task. Raises PromptError for a task or style that PLLaVA has none for."""
    if (task, style) not in CONVERSATIONS:
        known = ", ".join(f"{task} {style}" for task, style in CONVERSATIONS)
        raise PromptError(f"PLLaVA has no prompt for {task!r} in style {style!r}: choose one of {known}")
    return CONVERSATIONS[task, style]


def choice_question(question: str, options: Sequence[str]) -> str:
    """MVBench's question: "Question: ...\\nOptions:\\n(A) ...\\n(B) ..."."""
    return f"Question: {question_with_options(question, options)}"
