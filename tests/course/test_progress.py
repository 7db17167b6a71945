"""What a learner's folder keeps: begun chapters, verdicts and first guesses, and nothing without that folder."""

import json

import pytest
from course import CHAPTERS, code_cells, editions, read

from sfllava_course import exercises, progress


@pytest.fixture()
def folder(tmp_path, monkeypatch):
    """A learner's folder that a notebook runs in."""
    (tmp_path / "progress.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def right(slow, many, fast, few):
    return slow * many + fast * few


def test_nothing_is_written_where_no_record_lies(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exercises.check("count_tokens", right)
    exercises.reveal(3, 4, "films")
    assert not list(tmp_path.iterdir()) and "no record" in exercises.progress()


def test_the_line_counts_exercises_and_guesses(folder, capsys):
    total = len(exercises.HOMES)
    assert exercises.progress() == f"0 of {total} exercises, 0 of 0 predictions within range"
    exercises.check("count_tokens", right)
    exercises.check("score", lambda *_: None)
    for guess, what in ((80, "near"), ((70, 90), "in a range"), (50, "far"), ((1, 2), "beside"), (None, "none")):
        exercises.reveal(guess, 90, what)
    assert exercises.progress() == f"1 of {total} exercises, 2 of 4 predictions within range"


def test_what_was_right_stays_right_and_the_first_guess_counts(folder, capsys):
    exercises.check("count_tokens", right)
    exercises.check("count_tokens", lambda *_: 7)
    exercises.reveal((1, 2), 90, "films")
    exercises.reveal(90, 90, "films")
    assert capsys.readouterr().out.splitlines()[-1] == "90 films (you said 1 to 2, outside your range)"
    kept = json.loads((folder / "progress.json").read_text())
    assert kept["exercises"] == {"count_tokens": "right"}
    assert kept["predictions"] == {"films": {"guess": [1, 2], "within": False}}


@pytest.mark.parametrize("text", ["", "[]", "{", '{"exercises": 3}'])
def test_a_broken_record_is_begun_anew(folder, text):
    (folder / "progress.json").write_text(text)
    exercises.check("count_tokens", right)
    assert exercises.progress().startswith("1 of")


@pytest.mark.parametrize(
    ("guess", "truth", "hit"),
    [(4, 5, True), (3, 5, False), (0, 0, True), (1, 0, False), ((3, 6), 5, True), ((6, 9), 5, False), ([5, 5], 5, True),
     ("Slow", "slow", True), ("fast", "slow", False), (-4, -5, True)],
)  # fmt: skip
def test_a_guess_is_within_range_or_not(guess, truth, hit):
    assert progress.within(guess, truth) is hit


def test_the_learners_folder_is_the_student_edition_and_keeps_what_is_there(tmp_path):
    out = tmp_path / "my-course"
    assert [path.name for path in editions().learners_folder(out)] == [path.name for path in CHAPTERS]
    begun = out / CHAPTERS[1].name
    assert not code_cells(read(begun), "solution") and (out / "progress.json").read_text() == "{}"
    begun.write_text("my work")
    (out / "progress.json").write_text('{"exercises": {"score": "right"}}')
    (out / CHAPTERS[2].name).unlink()
    assert [path.name for path in editions().learners_folder(out)] == [CHAPTERS[2].name]
    assert begun.read_text() == "my work" and "right" in (out / "progress.json").read_text()


def test_predictions_are_taken_in_every_chapter_that_measures():
    for path in CHAPTERS:
        guesses = [cell for cell in code_cells(read(path)) if "guess = None" in cell.source]
        assert all("reveal(guess" in "".join(c.source for c in code_cells(read(path))) for _ in guesses[:1])
        assert len(guesses) >= 1, path.stem
    assert sum("guess = None" in cell.source for path in CHAPTERS for cell in code_cells(read(path))) >= 25
