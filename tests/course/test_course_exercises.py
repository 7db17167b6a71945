"""Every exercise's check: it takes the notebook's solution, lets the stub be, and refuses plausible wrong answers."""

import re

import matplotlib.pyplot as plt
import pytest
from course import CHAPTERS, code_cells, read
from einops import reduce
from wrong_answers import WRONG

from sfllava_course import exercises

NAMED = re.compile(r'check\("(\w+)", (\w+)\)')


def cells_of_exercises(tag: str) -> dict[str, tuple[str, str]]:
    """Exercise -> (source of its cell, source of the chapter's imports)."""
    found = {}
    for path in CHAPTERS:
        notebook = read(path)
        imports = next(cell.source for cell in code_cells(notebook) if "sfllava_course.exercises import" in cell.source)
        for cell in code_cells(notebook, tag):
            (match,) = NAMED.findall(cell.source)
            found[match[0]] = (cell.source, imports)
    return found


SOLUTIONS, STUBS = cells_of_exercises("solution"), cells_of_exercises("exercise")


def defined_in(cell: tuple[str, str], name: str):
    """The function that a cell defines."""
    source, imports = cell
    space = {}
    exec(imports, space)
    exec(source, space)
    return space[name]


@pytest.fixture(autouse=True)
def figures_closed():
    """A notebook closes its figures behind each cell; so do these tests."""
    yield
    plt.close("all")


def test_every_exercise_has_a_stub_a_solution_and_wrong_answers():
    assert set(SOLUTIONS) == set(STUBS) == set(exercises.HOMES) == set(WRONG)
    assert all(len(answers) >= 2 for answers in WRONG.values())


@pytest.mark.parametrize("name", SOLUTIONS)
def test_the_solution_is_right(name):
    verdict = exercises.check(name, defined_in(SOLUTIONS[name], name))
    assert verdict.status == "right", verdict


@pytest.mark.parametrize("name", STUBS)
def test_the_stub_is_to_do_and_raises_nothing(name):
    verdict = exercises.check(name, defined_in(STUBS[name], name))
    assert verdict.status == "to do" and verdict.figure is None


@pytest.mark.parametrize(("name", "mistake"), [(name, mistake) for name in WRONG for mistake in WRONG[name]])
def test_a_wrong_answer_is_refused_with_a_hint_that_fits(name, mistake):
    answer, words = WRONG[name][mistake]
    verdict = exercises.check(name, answer)
    assert verdict.status == "wrong" and words in verdict.message, verdict


def test_a_wrong_tensor_is_drawn():
    for name, mistake in (("fast_pool", "combs"), ("slow_frames", "middles"), ("assemble", "kept")):
        figure = exercises.check(name, WRONG[name][mistake][0]).figure
        titles = [axis.get_title() for axis in figure.axes]
        assert any("yours" in title for title in titles) and any("wanted" in title for title in titles)


def test_an_answer_that_raises_is_wrong_and_says_why():
    verdict = exercises.check("two_eyes", lambda features, num_slow: 1 / 0)
    assert verdict.status == "wrong" and "ZeroDivisionError" in verdict.message


def test_an_answer_cannot_spoil_its_own_input():
    def greedy(features):
        out = reduce(features, "t h (w b) d -> t h w d", "max", b=2).clone()
        features.zero_()
        return out

    assert exercises.check("slow_pool", greedy).status == "right"


def test_an_unknown_exercise_is_named():
    with pytest.raises(KeyError, match=r"choose one of .*sample"):
        exercises.check("nonsense", len)


def test_reveal_sets_the_guess_beside_the_truth(capsys):
    exercises.reveal(None, 28800, "tokens")
    exercises.reveal(14400, 28800, "tokens")
    exercises.reveal(0.5, 0.5, "of them")
    exercises.reveal((10, 20), 17, "films")
    exercises.reveal((1, 2), 17, "films")
    exercises.reveal("fast", "slow", "gets more")
    exercises.reveal(3, 0, "right frames")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "28,800 tokens (you wrote down no guess)"
    assert "off by a factor of 2" in lines[1] and "on the spot" in lines[2]
    assert lines[3:] == [
        "17 films (you said 10 to 20, within your range)",
        "17 films (you said 1 to 2, outside your range)",
        "slow gets more (you said fast, not so)",
        "0 right frames (you said 3, off by 3)",
    ]


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_every_exercise_has_a_hint_and_something_uses_or_mends_one(path):
    """Hints stand folded in the text before the stub; of each chapter one answer is used further down."""
    cells = read(path).cells
    for place, cell in enumerate(cells):
        if "exercise" in cell.metadata.get("tags", []):
            assert "<details><summary>Hint" in cells[place - 1].source, cell.id
    assert any("yours(" in cell.source for cell in code_cells(read(path)))


def test_the_learners_right_answer_is_used_and_ours_until_then(capsys):
    def right(slow, many, fast, few):
        return slow * many + fast * few

    def wrong(slow, many, fast, few):
        return slow * many

    assert exercises.yours("count_tokens", right, wrong) is right
    assert exercises.yours("count_tokens", lambda *_: None, wrong) is wrong
    assert exercises.yours("count_tokens", wrong, right) is right
    assert "yours is used" in capsys.readouterr().out


def test_solutions_are_shown_when_they_are_asked_for(capsys, monkeypatch, tmp_path):
    for name in SOLUTIONS:
        exercises.solution(name)
        assert f"def {name}(" in (shown := capsys.readouterr().out) and "check(" not in shown
    with pytest.raises(KeyError, match="choose one of"):
        exercises.solution("nonsense")
    monkeypatch.setattr("sfllava_core.defaults.COURSE", tmp_path)
    with pytest.raises(FileNotFoundError, match="no solution of 'score'"):
        exercises.solution("score")
