"""Questions: the answers are true of the story, and cannot be guessed from the text."""

from collections import Counter, defaultdict

import numpy as np

from pocket.bench import bench_questions, bench_story
from pocket.questions import a
from pocket.world import frame_times

VIDEOS = 300


def all_questions(form: int) -> dict[str, list]:
    families = defaultdict(list)
    for index in range(VIDEOS):
        for question in bench_questions(11, index)[form]:
            families[question.family].append((index, question))
    return families


def test_open_answers_are_true_of_the_story():
    for family, asked in all_questions(0).items():
        for index, q in asked:
            story = bench_story(11, index)
            words = q.text.removesuffix("?").split()
            if family == "detail":
                assert [str(c.digit) for c in story.boards[0].cards if c.colour in words] == [q.answer]
            elif family == "brief":
                assert q.answer == a(story.bubble.name)
            elif family == "presence":
                cast = [story.mover.name, *(thing.name for thing in story.sequence)]
                assert (words[-1] in cast) == (q.answer == "yes")
            elif family == "order":
                named = [
                    n
                    for n in (thing.name for thing in story.sequence)
                    if n in q.text.replace("?", "").split() or f"{n} " in q.text
                ]
                assert q.answer == f"the {named[0 if 'first' in q.text else -1]}" and len(named) == 2
            else:
                (x0, y0), (x1, y1) = story.mover.at(0), story.mover.at(1)
                truth = {
                    (-1, 0): "to the left",
                    (1, 0): "to the right",
                    (0, -1): "up",
                    (0, 1): "down",
                    (0, 0): "it stays",
                }
                assert truth[np.sign(x1 - x0), np.sign(y1 - y0)] == q.answer


def test_choices_have_five_options_and_exactly_one_is_true():
    times = frame_times()
    for family, asked in all_questions(1).items():
        for index, q in asked:
            story = bench_story(11, index)
            assert len(set(q.options)) == 5 and q.choice_answer in q.options
            if family == "presence":
                shown = {a(actor.name) for actor in story.actors if any(actor.visible(t) for t in times)}
                assert shown & set(q.options) == {q.choice_answer}
            if family == "order":
                names = [f"the {thing.name}" for thing in story.sequence]
                assert q.choice_answer == names[0 if "first" in q.choice_text else -1] and set(names) <= set(q.options)


def test_a_text_only_guesser_stays_at_chance():
    """Learn the commonest answer to each wording on half of the films, guess with it on the other half."""
    chance = {"detail": 0.1, "brief": 1 / 16, "order": 0.5, "presence": 0.5, "motion": 0.2}
    for family, asked in all_questions(0).items():
        seen = defaultdict(Counter)
        for index, q in asked:
            if index % 2 == 0:
                seen[q.text][q.answer] += 1
        overall = Counter(q.answer for index, q in asked if index % 2 == 0).most_common(1)[0][0]
        guessed = [
            (seen[q.text].most_common(1)[0][0] if seen[q.text] else overall) == q.answer
            for index, q in asked
            if index % 2
        ]
        error = (chance[family] * (1 - chance[family]) / len(guessed)) ** 0.5
        assert np.mean(guessed) < chance[family] + 4 * error, family


def test_first_named_and_letters_and_yes_are_balanced():
    order = [q.text.split(", ")[1].startswith(q.answer) for _, q in all_questions(0)["order"]]
    assert abs(np.mean(order) - 0.5) < 0.02
    assert Counter(q.answer for _, q in all_questions(0)["presence"]) == {"yes": VIDEOS, "no": VIDEOS}
    for family, asked in all_questions(1).items():
        letters = Counter(q.options.index(q.choice_answer) for _, q in asked)
        assert max(letters.values()) - min(letters.values()) <= 2, family
    motion = Counter((q.choice_answer, q.options.index(q.choice_answer)) for _, q in all_questions(1)["motion"])
    assert len(motion) == 25 and max(motion.values()) == min(motion.values())
