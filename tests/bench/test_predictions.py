"""Others' predictions: read, joined to the right questions, scored under every rule; the files are made here."""

import json
import re
from pathlib import Path

import pytest

from sfllava_bench.questions.annotations import load_annotations
from sfllava_bench.questions.benchmarks.base import find_benchmark
from sfllava_bench.reports.results import read_results
from sfllava_bench.runs.others import score_predictions
from sfllava_bench.scores.predictions import (
    RULES,
    PredictionsError,
    in_order,
    join,
    questions_of,
    read_letter,
    read_predictions,
    readings,
)
from sfllava_course.__main__ import command


def rows_of(questions, texts, *, ids=None):
    """Lines as the released code writes them, of these questions and what a model said."""
    for number, (question, text) in enumerate(zip(questions, texts)):
        row = {"question": question.questions[0], "id": ids[number] if ids else question.key, "answer": question.answer}
        if question.options:
            row |= {"task_name": "Made", "answer_number": question.answer_index, "candidates": list(question.options)}
        yield {**row, "pred": text}


def written(folder: Path, rows, name: str = "merge.jsonl") -> Path:
    folder.mkdir(exist_ok=True)
    file = folder / name
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def intentqa(excerpts):
    return load_annotations("intentqa", excerpts / "annotations")


def test_choices_under_every_rule_with_the_rows_on_which_they_differ(tmp_path, excerpts):
    asked = load_annotations("nextqa", excerpts / "annotations")
    first, second = asked[0], asked[-1]
    right, other = first.answer_letter, "B" if first.answer_letter != "B" else "C"
    texts = [f"{right} is it, though {other}) may be", second.answer_letter.lower()]
    file = written(tmp_path, rows_of(asked, [texts[0], *("no idea" for _ in asked[1:-1]), texts[1]]))
    results, differ = score_predictions("nextqa", file, excerpts / "annotations", tmp_path / "out", say=lambda _: None)
    values = {one.name: round(one.over_expected.value * len(asked) / 100) for one in results.metrics}
    assert values == {
        "accuracy": 1,  # the override takes the first text's other letter
        "accuracy_strict": 1,
        "accuracy_first_letter": 2,
        "accuracy_option_text": 0,  # capitals only, and the override
    }
    assert [row["id"] for row in differ] == [first.key, second.key]
    assert {rule: differ[0][rule] for rule in RULES} == {
        "reference": other, "first_letter": right, "strict": "-", "option_text": other
    }  # fmt: skip
    accuracy = results.metrics[0].over_expected
    assert accuracy.low < accuracy.value < accuracy.high and accuracy.videos == 2
    folder = tmp_path / "out" / f"predictions_nextqa_{tmp_path.name}_merge"
    assert read_results(folder / "results.json") == results
    page = (folder / "rules.html").read_text()
    assert first.key in page and all(rule in page for rule in RULES)
    assert "Time" not in (folder / "report.html").read_text(), "nothing was run here"


def test_option_texts_that_are_the_same_are_one(intentqa):
    from dataclasses import replace

    twice = replace(intentqa[0], options=("up", "down", "up", "left", "right"), answer="up", answer_index=2)
    assert read_letter("A) up", twice, "reference") == "A" and twice.answer_letter == "C"
    assert read_letter("A) up", twice, "option_text") == "C"
    wrong = replace(twice, answer="left", answer_index=3)
    assert read_letter("C", wrong, "option_text") == "A"
    short = replace(twice, options=("up", "down"), answer="down", answer_index=1)
    assert all(read_letter("E) none", short, rule) is None for rule in RULES)


def test_by_key_in_any_order_and_with_rows_missing(tmp_path, intentqa):
    rows = list(rows_of(intentqa, (question.answer_letter for question in intentqa)))
    file = written(tmp_path, reversed(rows[1:]))
    outcome, how = join(intentqa, read_predictions(file), file)
    assert how == "by key"
    assert str(outcome.counts(intentqa)) == f"{len(rows)} expected = {len(rows) - 1} answered + 1 failed"
    assert outcome.failures[intentqa[0].key]["error"] == "the file has no prediction for it"
    assert all(row["reference"] == row["right"] for row in readings(intentqa, outcome))


@pytest.fixture(scope="module")
def tgif(excerpts):
    """TGIF's question_id repeats: the released code writes it as the id, the benchmark's key is another column."""
    return load_annotations("tgif", excerpts / "annotations")


@pytest.mark.parametrize("layout", ["annotations", "released/tgif"])
def test_where_keys_repeat_by_order_with_a_check_of_the_text(tmp_path, excerpts, layout):
    asked = json.loads((excerpts / "released" / "tgif" / "val_q.json").read_text())
    ids = [row["question_id"] for row in asked]
    assert len(set(ids)) < len(ids), "they repeat"
    questions = load_annotations("tgif", excerpts / layout)
    said = [f"{number} {question.answer}" for number, question in enumerate(questions)]
    rows = list(rows_of(questions, said, ids=ids))
    for left in (rows, rows[1:], rows[::2]):
        file = written(tmp_path, left)
        outcome, how = join(questions, read_predictions(file), file)
        assert how == "by order" and len(outcome.answers) == len(left)
        got = {key: record["answers"] for key, record in outcome.answers.items()}
        told = {row["pred"]: (row["question"], row["answer"]) for row in left}
        assert all(told[got[q.key][0]] == (q.questions[0], q.answer) for q in questions if q.key in got)
    file = written(tmp_path, [*rows[:2], {**rows[2], "question": "who is it?"}, *rows[3:]])
    with pytest.raises(PredictionsError, match=r"line 3: id .* question 'who is it\?' is not found after"):
        join(questions, read_predictions(file), file)
    assert in_order(questions, read_predictions(file))[0], "those before it were"


def test_another_benchmarks_file_is_refused(tmp_path, excerpts, intentqa):
    egoschema = load_annotations("egoschema", excerpts / "annotations")
    file = written(tmp_path, rows_of(egoschema, ["A" for _ in egoschema]))
    with pytest.raises(PredictionsError, match="are these the annotations of this file"):
        join(intentqa, read_predictions(file), file)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"question": "why?"}, r"line 1: question of .* is 'why\?', the annotations have"),
        ({"answer": "up and away"}, "answer of .* is 'up and away', the annotations have"),
        ({"candidates": ["a", "b", "c", "d", "e"]}, r"candidates of .* is \('a', 'b'"),
    ],
)
def test_a_line_that_says_otherwise_than_the_annotations_is_refused(tmp_path, intentqa, change, message):
    rows = list(rows_of(intentqa, ("A" for _ in intentqa)))
    file = written(tmp_path, [{**rows[0], **change}, *rows[1:]])
    with pytest.raises(PredictionsError, match=message):
        join(intentqa, read_predictions(file), file)


def test_a_key_that_comes_twice_is_refused(tmp_path, intentqa):
    rows = list(rows_of(intentqa, ("A" for _ in intentqa)))
    file = written(tmp_path, [*rows, rows[0]])
    with pytest.raises(
        PredictionsError, match=re.escape(f"id {intentqa[0].key!r} is there 2 times, it must be unique")
    ):
        join(intentqa, read_predictions(file), file)


def test_without_annotations_the_lines_are_the_questions(tmp_path, intentqa, tgif):
    file = written(tmp_path, rows_of(intentqa, (question.answer_letter for question in intentqa)))
    lines: list[str] = []
    results, differ = score_predictions("intentqa", file, out=tmp_path / "out", say=lines.append)
    assert not differ and all(one.over_expected.value == 100 for one in results.metrics)
    assert "each counted as a video of its own" in results.note and results.set.published_questions is None
    assert "joined by key" in lines[0]

    open_ended = written(tmp_path, rows_of(tgif, (question.answer for question in tgif), ids=["7"] * len(tgif)))
    found = questions_of(find_benchmark("tgif"), read_predictions(open_ended), open_ended)
    assert [question.key for question in found] == [f"7#{number}" for number in range(1, len(tgif) + 1)]
    results, _ = score_predictions("tgif", open_ended, out=tmp_path / "out", say=lambda _: None)
    assert {one.name: one.over_expected.value for one in results.metrics}["exact_match"] == 100

    bare = written(tmp_path, [{"id": 1, "pred": "A"}])
    with pytest.raises(PredictionsError, match="line 1 lacks question or answer: give the annotation files"):
        score_predictions("intentqa", bare, out=tmp_path / "out")
    none = written(tmp_path, [{"id": 1, "pred": "A", "question": "q", "answer": "x", "candidates": ["a", "b"]}])
    with pytest.raises(PredictionsError, match="answer 'x' is not that of its candidates"):
        score_predictions("intentqa", none, out=tmp_path / "out")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "it holds no line"),
        ("{'id': 1}", "line 1: Expecting property name"),
        ("[1]", r"line 1: \[1\] is no object"),
        ('{"pred": "A"}', "id is None"),
        ('{"id": "q", "pred": null}', "pred is None: it must be what the model wrote"),
        ('\n{"id": "q", "pred": "A", "question": 5}', "line 2: question is 5"),
        ('{"id": "q", "pred": "A", "candidates": "ab"}', "candidates is 'ab'"),
        ('{"id": "q", "pred": "A", "candidates": ["a"], "answer_number": 1}', "answer_number 1 is none of its 1"),
        ('{"id": "q", "pred": "\\ud800"}', "half a character"),
        ("[" * 100_000, "line 1: "),
        (b"\xff", "byte 0 is not UTF-8"),
    ],
)
def test_a_malformed_file_is_refused_with_its_lines(tmp_path, text, message):
    file = tmp_path / "merge.jsonl"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(PredictionsError, match=message):
        read_predictions(file)


def test_the_command(tmp_path, excerpts, intentqa, capsys):
    file = written(tmp_path, rows_of(intentqa, ("A or B)" for _ in intentqa)))
    words = ["bench", "score", "--benchmark", "intentqa", "--predictions", str(file), "--out", str(tmp_path / "out")]
    assert command([*words, "--annotations", str(excerpts / "annotations")]) == 0
    said = capsys.readouterr().out
    assert "accuracy_option_text" in said and f"differ on {len(intentqa)} of {len(intentqa)} answers" in said
    assert command([*words[:3], "vcgbench", *words[4:]]) == 1
    assert "only choices and open-ended questions are read" in capsys.readouterr().err
    assert command([*words[:2], *words[4:]]) == 2 and "--benchmark" in capsys.readouterr().err
    assert command(["bench", "score"]) == 2 and "--predictions" in capsys.readouterr().err
    assert command([*words[:5], str(tmp_path / "no.jsonl")]) == 1
    assert "No such file" in capsys.readouterr().err
