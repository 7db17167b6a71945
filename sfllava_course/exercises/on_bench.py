"""Exercises of chapter 8: two denominators, and which answer belongs to which question."""

from collections.abc import Callable

from sfllava_course.exercises.judging import Wrong, expect_number

Pairs = list[tuple[str, str]]


def check_accuracies(answer: Callable) -> str:
    """accuracies(right, answered, expected): per cent of the answered questions, and of all expected ones."""
    for right, answered, expected in ((60, 80, 100), (3, 4, 12), (0, 5, 10), (7, 7, 7)):
        got, case = answer(right, answered, expected), f"{right} right, {answered} answered, {expected} expected"
        if not isinstance(got, (tuple, list)) or len(got) != 2:
            raise Wrong(f"give two numbers back, of answered and of expected; for {case} it was {got!r:.60}")
        of_answered, of_expected = 100 * right / answered, 100 * right / expected
        if of_answered != of_expected and abs(got[0] - of_expected) + abs(got[1] - of_answered) < 1e-6:
            raise Wrong("the two are swapped: first of the answered questions, then of all that were expected")
        expect_number(got[0], of_answered, case, {"per cent, please: times 100": right / answered})
        wrong = {
            "what was not answered counts as wrong: divide by all that were expected": of_answered,
            "what was not answered is no right answer": 100 * (right + expected - answered) / expected,
        }
        known = {hint: value for hint, value in wrong.items() if abs(value - of_expected) > 1e-9}
        expect_number(got[1], of_expected, case, known)
    return "The smaller of the two is the honest one; say both."


def check_marks_by_key(answer: Callable) -> str:
    """marks_by_key(wanted, said): for each question's key 1.0 or 0.0, joined by key; what has no answer is wrong."""
    wanted = {"a1": "yes", "a2": "no", "a3": "two", "a4": "a cat"}
    for said in (
        [("a1", "yes"), ("a3", "two"), ("a4", "a dog")],
        [("a4", "a cat"), ("a2", "no"), ("a1", "no"), ("a3", "two")],
        [],
    ):
        got, answers = answer(dict(wanted), list(said)), dict(said)
        right = {key: float(answers.get(key) == word) for key, word in wanted.items()}
        if not isinstance(got, dict):
            raise Wrong(f"give a dictionary back, key -> 1.0 or 0.0, not {type(got).__name__}")
        if {key: float(mark) for key, mark in got.items()} == right:
            continue
        if set(got) != set(wanted):
            raise Wrong("each question has a mark, also the one without an answer: it counts as wrong")
        by_place = [float(reply == word) for (_, reply), word in zip(said, wanted.values())]
        if list(got.values())[: len(by_place)] == by_place:
            raise Wrong("these are joined by their place: one answer too few, and all that follow it shift")
        raise Wrong(f"the marks should be {right}, yours are {got}")
    return "A lost line costs one question now, and not all that follow it."
