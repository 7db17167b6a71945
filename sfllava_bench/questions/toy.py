"""PocketBench's questions in other shapes: as another benchmark asks, and about the wrong film."""

from collections.abc import Sequence
from dataclasses import replace

from sfllava_bench.questions.records import MULTIPLE_CHOICE, OPEN_ENDED, TEXT_GENERATION, Question


def toy_questions(questions: Sequence[Question], task: str) -> list[Question]:
    """PocketBench in the shape of another benchmark: its choices, its open questions, or those as VCGBench asks.

    For VCGBench each open question is asked thrice over: as a generic one, as a temporal one, and as a pair.
    """
    if task == MULTIPLE_CHOICE:
        return [question for question in questions if question.task == MULTIPLE_CHOICE]
    plain = [question for question in questions if question.task == OPEN_ENDED]
    if not plain:  # choices can be asked openly
        plain = [replace(q, task=OPEN_ENDED, options=(), answer_index=None) for q in questions]
    if task == OPEN_ENDED:
        return plain
    parts = {"generic": "{}", "temporal": "Think of what came first: {}", "consistency": "{}"}
    found = []
    for question in plain:
        for part, text in parts.items():
            asked: tuple[str, ...] = (text.format(question.questions[0]),)
            asked += (f"Look at the whole video. {question.questions[0]}",) if part == "consistency" else ()
            key = f"{part}/{question.key}"
            found.append(replace(question, key=key, questions=asked, task=TEXT_GENERATION, group=part))
    return found


def of_other_films(questions: Sequence[Question]) -> list[Question]:
    """The same questions, each about the next film: what they give away without the right one."""
    names = list(dict.fromkeys(question.video for question in questions))
    after = dict(zip(names, [*names[1:], *names[:1]]))
    return [replace(question, video=after[question.video]) for question in questions]
