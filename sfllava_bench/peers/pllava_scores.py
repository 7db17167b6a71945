"""How PLLaVA's released evaluation scores: choices by their first word, open answers by a judge (gpt-3.5-turbo-0125).

Only to compare with its numbers: the kit's own scores (sfllava_bench/scores) serve its answers as everybody's.
"""

import ast
from collections.abc import Iterator, Sequence
from statistics import fmean
from string import ascii_uppercase
from typing import Any

from sfllava_bench.questions.records import OPEN_ENDED
from sfllava_bench.scores.wording import Prompt, Wording

LETTERS = "abcdefg"  # of the options that the rule knows
STOP_WORDS = ("###", "USER")  # of VCGBench
JUDGE_MODEL = "gpt-3.5-turbo-0125"
GOOD_SCORE = 4  # of VCGBench counts as right; the released cases leave open where between 3 and 4 it begins
# VCGBench's kinds of questions, and in what respects each is judged, in the order of the requests.
RESPECTS = {
    "generic_qa": ("context", "detailed_orientation", "correctness"),
    "temporal_qa": ("temporal",),
    "consistency_qa": ("consistency",),
}

Verdict = tuple[bool, float]  # right or wrong, score


def choice_is_right(said: str, truth: str) -> bool:
    """MVBench's rule: the first words of both, without case; one holds the other, and there is a letter a to g.

    Faults included: "a dog" is option (A), "The answer is (A)" is none.

    Args:
        truth: "(A) Sat down".
    """
    first, right = said.lower().split(" ")[0], truth.lower().split(" ")[0]
    return any(letter in first for letter in LETTERS) and (first.replace(".", "") in right or right in first)


def read_choice(said: str, options: Sequence[str]) -> int | None:
    """The option (from 0) that an answer such as "(A) Sat down" is right for by MVBench's rule; None where none is.

    The rule takes "(a)(b)" for two options; here the first of them is chosen.
    """
    letters = ascii_uppercase[: len(options)]
    return next((place for place, letter in enumerate(letters) if choice_is_right(said, f"({letter})")), None)


def released_truth(candidates: Sequence[str], answer: str) -> str:
    """MVBench's truth, "(B) Took the towel."; "(@) ..." where the answer is no candidate, as released."""
    place = list(candidates).index(answer) if answer in candidates else -1
    return f"({chr(ord('A') + place)}) {answer}"


def stops(text: str, step: int) -> bool:
    """Whether VCGBench's answers end at this text: it needs both stop words, and never ends at step 0.

    That is practically never the case, and no part of how this kit decodes.
    """
    return step > 0 and all(word in text for word in STOP_WORDS)


def open_ended_verdict(reply: str) -> Verdict:
    """A judge's reply about an open answer: {'pred': 'yes', 'score': 4}, and nothing else; else wrong, 0."""
    found = literal(reply)
    if found.get("pred") not in ("yes", "no") or not is_number(found.get("score")):
        return False, 0
    return found["pred"] == "yes", found["score"]


def vcg_verdict(reply: str) -> Verdict:
    """A judge's reply in one respect of VCGBench: {'score': 4}, and nothing else; else wrong, 0."""
    score: Any = literal(reply).get("score")
    return (score >= GOOD_SCORE, score) if is_number(score) else (False, 0)


def literal(reply: str) -> dict[str, Any]:
    """A reply as the Python dictionary that it should be; an empty one where it is something else."""
    try:
        found = ast.literal_eval(reply)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def is_number(value: object) -> bool:
    return isinstance(value, (int, float))


def choice_accuracies(tasks: Sequence[str], right: Sequence[bool]) -> dict[str, float]:
    """Per cent by task, and of all questions as "Avg"."""
    by_task = {task: [flag for name, flag in zip(tasks, right) if name == task] for task in dict.fromkeys(tasks)}
    return {**{task: 100 * fmean(flags) for task, flags in by_task.items()}, "Avg": 100 * fmean(right)}


def judged_averages(
    names: Sequence[str], verdicts: Sequence[Verdict], counted_twice: bool = False
) -> dict[str, dict[str, float] | float]:
    """Accuracy in per cent and mean score by name, and of all as "Avg_Acc" and "Avg_Score".

    Args:
        counted_twice: VCGBench as released, a fault: the sum of all starts from the last flag in place of 0.
    """
    found = {}
    for name in dict.fromkeys(names):
        flags, scores = zip(*(verdict for one, verdict in zip(names, verdicts) if one == name))
        found[name] = {"acc": 100 * fmean(flags), "score": fmean(scores)}
    flags, scores = zip(*verdicts)
    right = sum(flags) + (flags[-1] if counted_twice else 0)
    return {**found, "Avg_Acc": 100 * right / len(flags), "Avg_Score": fmean(scores)}


def vcg_verdicts(tasks: Sequence[str], said: Sequence[str], replies: Iterator[str]) -> Iterator[tuple[str, Verdict]]:
    """(respect, verdict) of VCGBench's answers; an empty answer is wrong without any request to the judge."""
    for task, text in zip(tasks, said):
        for respect in RESPECTS[task]:
            yield respect, vcg_verdict(next(replies)) if text else (False, 0)


def judge_request(kind: str, question, predictions: list[str]) -> dict[str, object]:
    """The request to the judge. Arguments as of `Wording.messages`, kind "open_ended" or an aspect of VCGBench."""
    return {"model": JUDGE_MODEL, "messages": WORDING.messages(kind, question, predictions)}


SYSTEM = "You are an intelligent chatbot designed for evaluating the "
COMPARE = "Your task is to compare the predicted answer with the correct answer and determine "
MATTERS = "Here's how you can accomplish the task:------##INSTRUCTIONS: - "
SYNONYMS = "\n- Consider synonyms or paraphrases as valid matches"
PAIR = "Question: {question}\nCorrect Answer: {answer}\nPredicted Answer: {prediction}"
PAIRS = (
    "Question 1: {question}\nQuestion 2: {question2}\nCorrect Answer: {answer}\n"
    "Predicted Answer to Question 1: {prediction}\nPredicted Answer to Question 2: {prediction2}"
)
EVALUATE = (
    "Please evaluate the following video-based question-answer pair:\n\n{pair}\n\nProvide your evaluation only as "
)
FORM = "Please generate the response in the form of a Python dictionary string with keys "
ONLY = (
    "DO NOT PROVIDE ANY OTHER OUTPUT TEXT OR EXPLANATION. Only provide the Python dictionary string. "
    "For example, your response should look like this: "
)


def user_text(name: str, level: str, article: str = "the ", pair: str = PAIR) -> str:
    """What the judge is asked in one respect of VCGBench."""
    return (
        EVALUATE.replace("{pair}", pair)
        + f"a {name} score where the {name} score is an integer value between 0 and 5, with 5 indicating the highest "
        + f"level of {level}. {FORM}'score', where its value is {article}{name} score in INTEGER, not STRING.{ONLY}"
        + "{'score': 4.8}."
    )


# To the letter of the released code, so that a judge is told the same.
WORDING = Wording(
    "pllava",
    {
        OPEN_ENDED: Prompt(
            f"{SYSTEM}correctness of generative outputs for question-answer pairs. {COMPARE}if they match meaningfully"
            f". {MATTERS}Focus on the meaningful match between the predicted answer and the correct answer.{SYNONYMS}."
            "\n- Evaluate the correctness of the prediction compared to the answer.",
            EVALUATE.replace("{pair}", PAIR)
            + "a yes/no and score where the score is an integer value between 0 and 5, with 5 indicating the highest "
            + f"meaningful match. {FORM}'pred' and 'score', where value of 'pred' is  a string of 'yes' or 'no' and "
            + f"value of 'score' is in INTEGER, not STRING.{ONLY}"
            + "{'pred': 'yes', 'score': 4.8}.",
        ),
        "temporal": Prompt(
            f"{SYSTEM}temporal understanding of generative outputs for video-based question-answer pairs. {COMPARE}if "
            f"they correctly reflect the temporal sequence of events in the video content. {MATTERS}Focus on the "
            "temporal consistency between the predicted answer and the correct answer. The predicted answer should "
            "correctly reflect the sequence of events or details as they are presented in the video content."
            f"{SYNONYMS}, but only if the temporal order is maintained.\n"
            "- Evaluate the temporal accuracy of the prediction compared to the answer.",
            user_text("temporal accuracy", "temporal consistency"),
        ),
        "context": Prompt(
            f"{SYSTEM}contextual understanding of generative outputs for video-based question-answer pairs. {COMPARE}"
            f"if the generated response aligns with the overall context of the video content. {MATTERS}Evaluate "
            "whether the predicted answer aligns with the overall context of the video content. It should not provide "
            "information that is out of context or misaligned.\n- The predicted answer must capture the main themes "
            f"and sentiments of the video.{SYNONYMS}.\n- Provide your evaluation of the contextual understanding of "
            "the prediction compared to the answer.",
            user_text("contextual understanding", "contextual understanding", article=""),
        ),
        "detail": Prompt(
            f"{SYSTEM}detail orientation of generative outputs for video-based question-answer pairs. {COMPARE}its "
            f"level of detail, considering both completeness and specificity. {MATTERS}Check if the predicted answer "
            "covers all major points from the video. The response should not leave out any key aspects.\n- Evaluate "
            "whether the predicted answer includes specific details rather than just generic points. It should provide "
            f"comprehensive information that is tied to specific elements of the video.{SYNONYMS}.\n- Provide a single "
            "evaluation score that reflects the level of detail orientation of the prediction, considering both "
            "completeness and specificity.",
            user_text("detail orientation", "detail orientation"),
        ),
        "correctness": Prompt(
            f"{SYSTEM}factual accuracy of generative outputs for video-based question-answer pairs. {COMPARE}if they "
            f"are factually consistent. {MATTERS}Focus on the factual consistency between the predicted answer and the "
            "correct answer. The predicted answer should not contain any misinterpretations or misinformation.\n- The "
            f"predicted answer must be factually accurate and align with the video content.{SYNONYMS}.\n- Evaluate the "
            "factual accuracy of the prediction compared to the answer.",
            user_text("factual accuracy", "factual consistency"),
        ),
        "consistency": Prompt(
            f"{SYSTEM}consistency of generative outputs for similar video-based question-answer pairs. You will be "
            "given two very similar questions, a common answer common to both the questions and predicted answers for "
            "the two questions .Your task is to compare the predicted answers for two very similar question, with a "
            f"common correct answer and determine if they are consistent. {MATTERS}Focus on the consistency between "
            "the two predicted answers and the correct answer. Both predicted answers should correspond to the correct "
            "answer and to each other, and should not contain any contradictions or significant differences in the "
            "conveyed information.\n- Both predicted answers must be consistent with each other and the correct "
            f"answer, in terms of the information they provide about the video content.{SYNONYMS}, but only if they "
            "maintain the consistency in the conveyed information.\n- Evaluate the consistency of the two predicted "
            "answers compared to the correct answer.",
            user_text("consistency", "consistency", pair=PAIRS),
        ),
    },
)
