"""Places of options -> counts, as the two released codes count them, and the rule for what could not be read.

A prediction is an option's place, `UNREAD` where the reply names none, None where the request failed (as released, an
answer, and wrong). The denominator is all questions.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev

from sfllava_bench.captions.replies import UNREAD

CREDITS = {
    "none": "an answer that cannot be read is wrong: ours, and VideoTree's",
    "llovi": "an answer that cannot be read counts as a guess: 0.2 of five options, 0.25 of four",
}
CATEGORIES = {
    1: "Purpose/Goal Identification",
    2: "Character Interaction",
    3: "Tools and Materials Usage",
    4: "Key Action/Moment Detection",
    5: "Action Sequence Analysis",
}
NEXT_TYPES = ("CW", "CH", "TN", "TC", "DC", "DL", "DO")
Pair = tuple[int | None, int]


@dataclass(frozen=True)
class Evaluation:
    """Questions, those whose answer could be read, those that were right (with credit), and their share of all."""

    total: int
    readable: int
    correct: float

    @property
    def accuracy(self) -> float:
        return self.correct / self.total


def credit(rule: str, options: int = 5) -> float:
    """What an unread answer to a question with so many options earns.

    Raises:
        ValueError: an unknown rule.
    """
    if rule not in CREDITS:
        raise ValueError(f"credit {rule!r}: choose one of {', '.join(CREDITS)}")
    return 1 / options if rule == "llovi" else 0.0


def points(pair: Pair, rule: str, options: int = 5) -> float:
    """What one answer earns. An unread one is never right, even where the truth is unknown (-1) too."""
    predicted, truth = pair
    return credit(rule, options) if predicted == UNREAD else float(predicted == truth)


def evaluate(pairs: Iterable[Pair], rule: str = "none", options: int = 5) -> Evaluation:
    """All questions together.

    Args:
        pairs: (predicted, truth) of each.

    Raises:
        ValueError: no question, or an unknown rule.
    """
    pairs = list(pairs)
    if not pairs:
        raise ValueError("no answers: there is nothing to count")
    correct = sum(points(pair, rule, options) for pair in pairs)
    return Evaluation(len(pairs), sum(predicted != UNREAD for predicted, _ in pairs), correct)


def evaluate_next(pairs: Mapping[str, Pair], types: Mapping[str, str], rule: str = "none") -> dict[str, float]:
    """NExT-QA's percentages: by type (TP counts as TN), by group (C, T, D), all. A group without questions is 0.

    Args:
        pairs: by question.
        types: of each question.
    """
    earned: dict[str, list[float]] = {name: [] for name in (*NEXT_TYPES, "C", "T", "D", "Acc")}
    for key, pair in pairs.items():
        kind = {"TP": "TN"}.get(types[key], types[key])
        for name in (kind, kind[0], "Acc"):
            earned[name].append(points(pair, rule))
    return {name: 100 * sum(values) / len(values) if values else 0.0 for name, values in earned.items()}


def by_category(
    pairs: Mapping[str, Pair], categories: Mapping[str, Sequence[int]], rule: str = "none"
) -> tuple[dict[int, float], float]:
    """EgoSchema's percentages by category, and over all (question, category) pairs.

    Args:
        categories: of each question, numbers of `CATEGORIES`; a question counts in each of them, one without is left
            out.
    """
    earned: dict[int, list[float]] = {}
    for key, pair in pairs.items():
        for category in categories.get(key, ()):
            earned.setdefault(category, []).append(points(pair, rule))
    every = [value for values in earned.values() for value in values]
    return {name: 100 * mean(values) for name, values in sorted(earned.items())}, 100 * mean(every)


def category_shares(categories: Mapping[str, Sequence[int]]) -> dict[int, float]:
    """Of how many per cent of the questions each category is, the most frequent first."""
    counts: dict[int, int] = {}
    for category in (one for several in categories.values() for one in several):
        counts[category] = counts.get(category, 0) + 1
    return {name: 100 * counts[name] / len(categories) for name in sorted(counts, key=lambda one: -counts[one])}


def summary_lengths(summaries: Sequence[str]) -> dict[str, float]:
    """Words of summaries: least, most, mean, sample standard deviation; as released, empty pieces count."""
    lengths = [len(text.translate(str.maketrans(".,\n", "   ")).split(" ")) for text in summaries]
    spread = stdev(lengths) if len(lengths) > 1 else float("nan")
    return {"min": min(lengths), "max": max(lengths), "mean": mean(lengths), "std": spread}


def overlap(truth: Sequence[float], span: Sequence[float]) -> tuple[float, float]:
    """Overlap of two spans of time over their union, and over the predicted one; one moment is in it or not.

    The union is from the first start to the last end, as released; spans that do not meet give negative numbers.
    """
    (start, end), (first, last) = truth, span
    if first == last:
        return 0.0, float(start <= first <= end)
    shared, union = min(end, last) - max(start, first), max(end, last) - min(start, first)
    return shared / union if union > 0 else 0.0, shared / (last - first) if last > first else 0.0


def evaluate_grounding(
    spans: Mapping[str, Sequence[Sequence[float]]],
    truths: Mapping[str, Sequence[Sequence[float]]],
    answers: Mapping[str, Pair] | None = None,
) -> dict[str, float]:
    """NExT-GQA's percentages. Of the predicted spans the first alone counts, as released.

    Args:
        spans: predicted, by question.
        truths: the spans that are right; a question that has no prediction is left out.
        answers: (predicted, truth) of each, for Acc_GQA: right, and at least half of the span inside.
    """
    asked = [key for key in truths if key in spans]
    best = [[max(0.0, *one) for one in zip(*(overlap(truth, spans[key][0]) for truth in truths[key]))] for key in asked]
    union, inside = ([one[which] for one in best] for which in (0, 1))
    right = [answers is not None and answers[key][0] == answers[key][1] and part >= 0.5
             for key, part in zip(asked, inside)]  # fmt: skip
    found = {"Acc_GQA": right, "mIoP": inside, "mIoU": union}
    for name, values in (("TIoP", inside), ("TIoU", union)):
        found |= {f"{name}_{least}": [value >= least for value in values] for least in (0.3, 0.5)}
    return {name: 100 * sum(values) / len(asked) for name, values in found.items()}
