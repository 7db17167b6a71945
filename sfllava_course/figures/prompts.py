"""Figures of chapter 5: the words of a prompt by their parts, and what questions share."""

import re

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from sfllava_core.budget.arithmetic import MODEL_SHAPES, token_budget
from sfllava_core.methods.pooling import Pool
from sfllava_core.methods.slowfast import Pathway, SlowFast
from sfllava_core.prompts import DESCRIBE, INPUT_DATA, ONLY_BEST, PRECISELY, SELECT
from sfllava_course.figures.described import courses, described, listed
from sfllava_course.figures.style import COLOURS, HATCHES

PART_COLOURS = {
    "chat format": "#EDEDED",
    "task instruction": "#F6D5C9",
    "input data": "#D3E8D0",
    "what is wanted": "#FBEBB5",
    "question": "#FFFFFF",
    "structured answer": "#E2D6EE",
    "video": "#9CC7E4",
}
BYTE = re.compile(r"<0x[0-9A-F]{2}>")
WORDING = {"task instruction": (PRECISELY, SELECT), "input data": (INPUT_DATA,), "what is wanted": (DESCRIBE,),
           "structured answer": (ONLY_BEST, "Answer: In the video,", "Answer: Best option:(")}  # fmt: skip


def surfaces(ids: list[int], tokenizer) -> list[str]:
    """The text of each token: SentencePiece's mark as a space, a byte such as <0x0A> as its character."""
    names = tokenizer.convert_ids_to_tokens(ids)
    names = [chr(int(name[3:-1], 16)) if BYTE.fullmatch(name) else name for name in names]
    return [name.replace("\N{LOWER ONE EIGHTH BLOCK}", " ") for name in names]


def part_of_each(tokens: list[str], question: str) -> list[str]:
    """Which part of the prompt each token belongs to (section 4.5's three parts, the question, the chat format)."""
    text = "".join(tokens)
    parts = ["chat format"] * len(text)
    for name, wordings in {**WORDING, "question": (question,)}.items():
        for wording in wordings:
            start = text.find(wording)
            if start >= 0:
                parts[start : start + len(wording)] = [name] * len(wording)
    ends = np.cumsum([len(token) for token in tokens])
    return [parts[end - 1] for end in ends]


def plot_words(tokens: list[str], parts: list[str], columns: int = 104) -> Figure:
    """Each text token as a box, coloured by its part, in reading order; the box `video` is all visual tokens."""
    boxes, row, column = [], 0, 0
    for token, part in zip(tokens, parts):
        shown = token.replace("\n", "↵").strip(" ") or "·"
        width = len(shown) + 1
        if column + width > columns:
            row, column = row + 1, 0
        boxes.append((row, column, width, shown, part))
        column += width
    figure, axis = plt.subplots(figsize=(9, 0.24 * (row + 1) + 0.5))
    for line, start, width, shown, part in boxes:
        axis.add_patch(Rectangle((start, line), width - 0.25, 0.82, facecolor=PART_COLOURS[part], edgecolor="#777777",
                                 linewidth=0.5))  # fmt: skip
        axis.text(
            start + (width - 0.25) / 2, line + 0.42, shown, family="monospace", fontsize=7.5, ha="center", va="center"
        )
    axis.set(xlim=(0, columns), ylim=(row + 1, 0))
    axis.axis("off")
    used = [name for name in PART_COLOURS if name in parts]
    handles = [Patch(facecolor=PART_COLOURS[name], edgecolor="#777777", label=name) for name in used]
    axis.legend(handles=handles, ncols=6, fontsize=8, frameon=False, loc="lower left", bbox_to_anchor=(0, 1))
    figure.tight_layout(pad=0.3)
    return described(
        figure,
        "A prompt, token by token, in boxes coloured by part: "
        + listed({name: parts.count(name) for name in used}, "d")
        + f" tokens. It reads: {''.join(tokens)}",
    )


def plot_shared(shared: int, own: dict[str, int]) -> Figure:
    """The sequence of each question: what all have in common (computed once), and its own tokens."""
    figure, axis = plt.subplots(figsize=(9, 0.42 * len(own) + 1))
    for row, count in enumerate(own.values()):
        axis.barh(row, shared, color="#9CC7E4", edgecolor="white", hatch="" if row == 0 else "xx")
        axis.barh(row, count, left=shared, color=COLOURS["text"], hatch=HATCHES["text"], edgecolor="white")
        axis.text(shared + count, row, f" {count} own", va="center", fontsize=8)
    axis.set(yticks=range(len(own)), yticklabels=list(own), xlim=(0, (shared + max(own.values())) * 1.12))
    axis.set_xlabel("position (tokens); hatched blue: kept from the first question")
    axis.invert_yaxis()
    axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    return described(
        figure,
        f"A bar for each question's sequence: {shared} tokens are common to all and computed once; own tokens: "
        f"{listed(own, 'd')}.",
    )


def plot_questions(model: str = "7b", slow_frames: int = 10, answer_tokens: int = 16, most: int = 50) -> Figure:
    """Operations for 1 to `most` questions on one video: everything again for each, against a shared prefix."""
    spec = SlowFast(slow=Pathway(slow_frames, Pool.window("max", 1, 2)))
    budget = token_budget(spec, MODEL_SHAPES[model], new_tokens=answer_tokens)
    counts = np.arange(1, most + 1)
    again, once = ([budget.total_flops(int(n), share_prefix=share) / 1e12 for n in counts] for share in (False, True))
    figure, axis = plt.subplots(figsize=(9, 2.6))
    axis.plot(counts, again, "--", color="black", label="everything again for each question")
    axis.plot(counts, once, "-", color="black", label="watched once")
    axis.set(xlabel="questions about one video", ylabel="operations (TFLOP)", ylim=(0, None), xlim=(1, most))
    axis.set_title(
        f"{model.upper()}: {most} questions take {again[-1] / once[-1]:.1f} times less", fontsize=10, loc="left"
    )
    axis.legend(fontsize=8, frameon=False)
    axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    return described(
        figure,
        f"Operations in TFLOP for 1 to {most} questions about one video on a {model.upper()} model. {courses(axis)}",
    )
