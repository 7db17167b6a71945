"""Open-ended answers scored without a judge: exact match and token match, which are *not* the paper's metric.

The paper's accuracy is a language model's opinion (judge.py). What is here needs no network and no model, is the same
for everyone, and is harsher: "a guitar" for "guitar" matches, "an electric instrument" does not.
"""

import re
from collections import Counter

ARTICLES = {"a", "an", "the"}
MATCHES = ("exact_match", "contains_answer", "token_f1")


def words(text: str) -> list[str]:
    """Lower-case words without punctuation and articles."""
    return [word for word in re.findall(r"\w+", text.lower()) if word not in ARTICLES]


def match(prediction: str, answer: str) -> dict[str, float]:
    """How a prediction matches the reference answer, each number from 0 to 1.

    exact_match: 1 if both are the same words.  contains_answer: 1 if the answer's words stand in the prediction, one
    after another.  token_f1: harmonic mean of precision and recall of the words.
    """
    said, wanted = words(prediction), words(answer)
    runs = (said[start : start + len(wanted)] for start in range(len(said) - len(wanted) + 1))
    common = (Counter(said) & Counter(wanted)).total()
    return {
        "exact_match": float(bool(wanted) and said == wanted),
        "contains_answer": float(bool(wanted) and wanted in runs),
        "token_f1": 2 * common / (len(said) + len(wanted)) if common else 0.0,
    }
