"""A run's files as pandas tables, and the names that the package promises."""

import json
import subprocess
import sys

import pandas as pd
import pytest
from conftest import ROOT

import sfllava_bench
from sfllava_bench import (
    CountsError,
    JournalError,
    Judgements,
    ResultsError,
    load_answers,
    load_judgements,
    load_results,
)
from sfllava_bench.answers.journal import Journal
from sfllava_bench.questions.records import questions_fingerprint
from sfllava_bench.reports.pocketbench import LayoutScore, scores_frame
from sfllava_bench.reports.results import make_results, text_rows, write_results
from sfllava_bench.reports.tables import write_table
from sfllava_bench.scores.judge import items_of
from sfllava_bench.scores.stats import Interval

from .test_report import EVIL, read
from .test_scores import SETTINGS, choices, open_questions, outcome_of


@pytest.fixture
def run_folder(tmp_path):
    """Four open questions: one answered in two texts, one failed and then answered, one failed, one pending."""
    questions = open_questions(4)
    settings = {**SETTINGS, "questions": questions_fingerprint(questions), "expected": 4}
    tokens = {"prompt_tokens": [10, 12], "new_tokens": [2, 3]}
    with Journal(tmp_path / "answers.jsonl", "answers", settings) as journal:
        journal.append(
            {"key": "what0", "video": "v0", "answers": ["a ball", "red"], "seconds": 0.5, **tokens},
            {"key": "what1", "video": "v0", "error": "no memory"},
            {"key": "what1", "video": "v0", "answers": ["a dog"], "seconds": 0.25},
            {"key": "what2", "video": "v0", "error": "cut short"},
        )
    return tmp_path, questions


def test_answers_are_a_row_a_question(run_folder):
    folder, _ = run_folder
    found = load_answers(folder).set_index("key")
    assert list(found.index) == ["what0", "what1", "what2"]
    assert found.loc["what0", "answer"] == "a ball\nred" and found.loc["what1", "answer"] == "a dog"
    assert list(found.failed) == [False, False, True] and found.loc["what2", "error"] == "cut short"
    assert pd.isna(found.loc["what2", "answer"]) and pd.isna(found.loc["what1", "error"])
    assert found.seconds.sum() == 0.75 and (found.loc["what0", ["prompt_tokens", "new_tokens"]] == [22, 5]).all()


def test_a_run_is_its_folder_and_what_is_in_it(run_folder):
    folder, questions = run_folder
    run = sfllava_bench.Run(folder, questions)
    assert load_answers(run).equals(load_answers(folder)) and load_judgements(run).empty
    assert (run.id, str(run.answers.counts(questions))) == (
        folder.name,
        "4 expected = 2 answered + 1 failed + 1 pending",
    )
    for ask in (lambda: run.results, lambda: run.judgements):
        with pytest.raises(ResultsError, match=r"results\.json: it cannot be read"):
            ask()
    write_results(make_results(questions, run.answers, run=run.id), run.results_file)
    assert (run.judgements, run.metric.name) == (None, run.results.metrics[0].name)
    assert len(load_results(run)) == len(run.results.metrics)
    with pytest.raises(ValueError, match=f"run {run.id}: give its questions"):
        _ = sfllava_bench.Run(folder).metric


def test_with_its_questions_every_one_has_a_row(run_folder):
    folder, questions = run_folder
    found = load_answers(folder, questions)
    assert list(found.key) == [question.key for question in questions]
    assert list(found.columns[:5]) == ["key", "video", "group", "question", "reference"]
    assert set(found.question) == {"what?"} and set(found.reference) == {"a red ball"}
    pending = found.iloc[3]
    assert pending.video == "v1" and not pending.failed and pd.isna(pending.answer)
    with pytest.raises(CountsError, match="other questions"):
        load_answers(folder, questions[:3])
    with pytest.raises(JournalError, match="no such file"):
        load_answers(folder / "nowhere")


def test_a_choice_has_its_letter(tmp_path):
    questions = choices(2)
    settings = {**SETTINGS, "by": "likelihood", "questions": questions_fingerprint(questions)}
    with Journal(tmp_path / "answers.jsonl", "answers", settings) as journal:
        journal.append({"key": "q0", "video": "v0", "letter": "B", "scores": [0.1]})
    found = load_answers(tmp_path, questions)
    assert found.answer[0] == "B" and list(found.reference) == ["(A) a cat", "(B) a dog"]


def test_judgements_are_those_of_the_last_try_and_of_these_answers(run_folder):
    folder, questions = run_folder
    assert load_judgements(folder).empty and "score" in load_judgements(folder)
    outcome = sfllava_bench.read_outcome(folder / "answers.jsonl")
    (first, second) = (dict(zip(("key", "kind", "prediction"), item.mark)) for item in items_of(questions, outcome))
    settings = {"model": "stub", "wording": "own", "questions": questions_fingerprint(questions)}
    with Journal(folder / "judgements-1.jsonl", "judgements", settings) as journal:
        journal.append(
            {**first, "error": "no verdict"},
            {**first, "score": 4.5, "yes": True, "served_model": "m", "reply": "yes"},
            {**second, "error": "no verdict"},
            {**second, "prediction": "of another answer", "score": 1.0, "yes": False},
        )
    assert len(load_judgements(folder)) == 3
    found = load_judgements(folder, questions)
    assert list(found.key) == ["what0", "what1"] and list(found.failed) == [False, True]
    assert (found.judge[0], found.wording[0], found.score[0], found.yes[0]) == ("stub", "own", 4.5, True)
    assert found.error[1] == "no verdict" and pd.isna(found.score[1])


def test_results_of_many_runs_are_one_table(tmp_path):
    questions = choices(4)
    for name, letter in (("one", "A"), ("two", "B")):
        outcome = outcome_of(questions, {q.key: letter for q in questions[:3]} | {"q3": None})
        results = make_results(questions, outcome, run=name, published={"accuracy": 64.2})
        write_results(results, tmp_path / name / "results.json")
    found = load_results(tmp_path)
    assert list(found.run) == ["one"] * 2 + ["two"] * 2
    assert list(found.value) == [25.0] * 4 and set(found.answered) == {3} and set(found.expected) == {4}
    assert list(found.paper.isna()) == [False, True, False, True]
    assert load_results(tmp_path / "one").equals(found[:2])
    assert load_results(tmp_path / "nowhere").empty
    (tmp_path / "two" / "results.json").write_text("{}")
    with pytest.raises(ResultsError, match="schema version None"):
        load_results(tmp_path)


def test_a_sweeps_table_has_a_row_for_a_run_that_failed(tmp_path):
    questions = choices(4)
    rows = make_results(questions, outcome_of(questions, {"q0": "A"}), run="one").rows()
    rows = [{**rows[0], "against": None}, {"run": EVIL, "benchmark": "nextqa", "metric": f"VideoError: {EVIL}"}]
    write_table(rows, tmp_path)
    first, second = json.loads((tmp_path / "table.json").read_text())["table"]
    assert first == rows[0] and second == {**dict.fromkeys(first), **rows[1]}
    assert type(first["answered"]) is int
    text = read(tmp_path / "table.html").text
    assert "25.0 [" in text and "1/4" in text and "\\u0000" in text and "nan" not in text.lower()
    assert text_rows([second])[0]["value (95 %)"] == "-"


def test_the_layouts_scores_as_numbers():
    one = Interval(50.0, 40.0, 60.0, 10, 5)
    rows = [LayoutScore("a", 776, one, {"order": one}, {}, None), LayoutScore("b", 0, one, {"order": one}, {}, one)]
    found = scores_frame(rows).set_index("layout")
    assert found.loc["b", ["tokens", "order", "mean", "low", "lead_high"]].tolist() == [0, 50, 50, 40, 60]
    assert pd.isna(found.loc["a", "lead"])


def test_every_public_name_can_be_imported_and_is_explained():
    assert Judgements is sfllava_bench.Judgements
    for name in sfllava_bench.__all__:
        value = getattr(sfllava_bench, name)
        assert value is not None and (not callable(value) or value.__doc__), name
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        sfllava_bench.Nonsense  # noqa: B018


def test_importing_the_package_loads_nothing_heavy():
    code = "import sfllava_bench, sys\nassert not {'numpy', 'pandas', 'torch', 'pydantic'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, timeout=60)
