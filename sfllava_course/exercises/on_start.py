"""Exercises of chapter 0: how many answers are right, which an eye loses, and how many tokens a film becomes."""

from collections.abc import Callable

from sfllava_course.exercises.judging import Wrong, expect_number


def check_score(answer: Callable) -> str:
    """score(answers, wanted): the share of equal answers, letter case and outer spaces aside."""
    cases = (
        (["a cat", "up", "7", "no"], ["a cat", "down", "7", "yes"]),
        (["A cat ", "up", "5"], ["a cat", "up", "7"]),
        (["a cat on a mat", "1", "the dog"], ["a cat", "10", "the dog"]),
        (["no"], ["yes"]),
    )
    for said, wanted in cases:
        equal = [a.strip().lower() == w.strip().lower() for a, w in zip(said, wanted)]
        share = sum(equal) / len(equal)
        held = [w.strip().lower() in a.lower() or a.strip().lower() in w.lower() for a, w in zip(said, wanted)]
        mistakes = {
            "this is how many are right: divide by the number of questions": sum(equal),
            "this is in per cent: give a share between 0 and 1": 100 * share,
            "capital letters and spaces at the ends should not matter": sum(
                a == w for a, w in zip(said, wanted)
            ) / len(said),
            "an answer that holds the wanted words, or a piece of them, is not equal to them": sum(held) / len(held),
            "this is the share of *wrong* answers": 1 - share,
            "compare place by place: the second answer belongs to the second question": sum(
                a.strip().lower() in {w.strip().lower() for w in wanted} for a in said
            ) / len(said),
        }  # fmt: skip
        expect_number(answer(list(said), list(wanted)), share, f"{said} against {wanted}", mistakes)
    return "Chapter 6 scores with it, and says how sure the score is."


def check_count_tokens(answer: Callable) -> str:
    """count_tokens(slow_frames, slow_each, fast_frames, fast_each): the tokens of both eyes."""
    for slow, many, fast, few in ((8, 72, 50, 4), (10, 288, 50, 16), (5, 144, 30, 9), (12, 288, 0, 16)):
        mistakes = {
            "this is the slow eye alone: the fast one adds its own": slow * many,
            "this is the fast eye alone: the slow one adds its own": fast * few,
            "frames times tokens for each eye, then the sum of the two": (slow + fast) * (many + few),
            "each frame leaves that many tokens: multiply, do not add": slow + many + fast + few,
            "the slow frames have their own number of tokens each": (slow + fast) * few,
        }
        case = f"{slow} frames of {many}, {fast} of {few}"
        expect_number(answer(slow, many, fast, few), slow * many + fast * few, case, mistakes)
    return "776 for the pocket model, 3,680 for the paper's."


def check_lost(answer: Callable) -> str:
    """lost(questions, two, one): the questions that were right with both eyes and are wrong with one."""
    questions = ["card?", "bubble?", "first?", "dog?", "way?"]
    for two, one in (
        ([True, True, False, True, False], [True, False, True, False, False]),
        ([False, False, True, True, True], [True, False, True, True, False]),
        ([True] * 5, [True] * 5),
    ):
        got, case = answer(list(questions), list(two), list(one)), f"both eyes {two}, one eye {one}"
        if not isinstance(got, list):
            raise Wrong(f"give a list of questions back, not {type(got).__name__}")
        wanted = [q for q, a, b in zip(questions, two, one) if a and not b]
        mistakes = {
            "this lists what *changed*: a question that only one eye gets right is no loss": [
                q for q, a, b in zip(questions, two, one) if a != b
            ],
            "this lists all that one eye gets wrong: was it right with both?": [
                q for q, b in zip(questions, one) if not b
            ],
            "these are won by closing an eye, not lost": [q for q, a, b in zip(questions, two, one) if b and not a],
        }
        for hint, mistake in mistakes.items():
            if got == mistake != wanted:
                raise Wrong(f"{hint} ({case})")
        if got != wanted:
            raise Wrong(f"for {case} it should be {wanted}, yours is {got}")
    return "Right with both, wrong with one."
