"""Files that a run has written, changed by hand afterwards: each is refused with one clear word, none is believed."""

import json
import tracemalloc
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from typing_extensions import NotRequired, TypedDict

from sfllava_bench.answers.counts import CountsError, collect, read_outcome
from sfllava_bench.answers.journal import Journal, JournalError, read_journal
from sfllava_bench.answers.shapes import ShapeError, check, parse
from sfllava_bench.questions.records import fingerprint
from sfllava_bench.reports.compare import first_alike, paired
from sfllava_bench.reports.results import ResultsError, make_results, read_results, write_results
from sfllava_bench.reports.run import Run
from sfllava_bench.scores.scores import all_metrics
from sfllava_course.__main__ import command

from .test_scores import SETTINGS, choices, open_questions, outcome_of

DATA = Path(__file__).parents[2] / "data"


def journal_of(path, *records, kind="answers", **settings):
    """A journal with these records; answers have the run's stamps."""
    with Journal(path, kind, {**SETTINGS, "model": "0123", **settings}) as journal:
        stamp = {"run": journal.fingerprint, "model": "0123", "method": SETTINGS["method"]}
        journal.append(*({**record, **(stamp if kind == "answers" else {})} for record in records))
    return path


def change(path, line, **fields):
    """Change fields of one line of a journal, as an editor would."""
    lines = path.read_text().splitlines()
    lines[line - 1] = json.dumps({**json.loads(lines[line - 1]), **fields})
    path.write_text("\n".join([*lines, ""]))


ANSWER = {"key": "q0", "video": "v", "answers": ["A"]}


@pytest.mark.parametrize("stamp", ["run", "model", "method"])
def test_a_record_of_another_run_is_refused_with_its_line(stamp, tmp_path):
    file = journal_of(tmp_path / "a.jsonl", ANSWER, {**ANSWER, "key": "q1"})
    assert len(read_journal(file)[1]) == 2
    change(file, 3, **{stamp: "another"})
    before = file.read_bytes()
    for read in (read_journal, read_outcome, lambda path: Journal(path, "answers", {**SETTINGS, "model": "0123"})):
        with pytest.raises(
            JournalError, match=f'a.jsonl line 3: its {stamp} is "another", the file\'s is .*another run'
        ):
            read(file)
    assert file.read_bytes() == before


def test_a_line_pasted_from_another_runs_file_is_refused(tmp_path):
    file = journal_of(tmp_path / "a.jsonl", ANSWER)
    other = journal_of(tmp_path / "b.jsonl", {**ANSWER, "key": "q1"}, max_new_tokens=2)
    with file.open("a") as lines:
        lines.write(other.read_text().splitlines()[1] + "\n")
    with pytest.raises(JournalError, match=r"a\.jsonl line 3: its run is"):
        read_journal(file)


@pytest.mark.parametrize(
    ("line", "fields", "reason"),
    [
        (1, {"settings": {"model": "other"}}, "line 1: its settings are not those of its fingerprint"),
        (1, {"settings": 5}, "line 1: settings is 5, which is no object"),
        (1, {"fingerprint": None}, "line 1: fingerprint is None, which is no text"),
        (1, {"schema": 3}, "schema 3, this kit reads 2"),
        (2, {"key": 5}, "line 2: key is 5, which is no text"),
        (2, {"key": ["q0"]}, "line 2: key is"),
        (2, {"answers": "A"}, "line 2: answers is 'A', which is no list"),
        (2, {"answers": [None]}, r"line 2: answers\[0\] is None, which is no text"),
        (2, {"letter": 3}, "line 2: letter is 3, which is no text"),
        (2, {"error": {}}, "line 2: error is {}, which is no text"),
        (2, {"session": "now"}, "line 2: session is 'now', which is no object"),
        (2, {"watched": "v", "questions": "2"}, "line 2: questions is '2', which is no whole number"),
        (2, {"watched": "v", "questions": 2}, "line 2: it lacks seconds"),
        (2, {"watched": "v", "questions": True, "seconds": {}}, "line 2: questions is True, which is no whole number"),
        (2, {"watched": "v", "questions": 2, "seconds": {"decode": "1"}}, "line 2: seconds.decode is '1'"),
        (2, {"watched": "v", "questions": 2, "seconds": {"decode": float("nan")}}, "line 2: NaN is no JSON"),
    ],
)  # fmt: skip
def test_records_of_wrong_types_are_refused_with_their_line(line, fields, reason, tmp_path):
    file = journal_of(tmp_path / "a.jsonl", ANSWER)
    change(file, line, **fields)
    with pytest.raises(JournalError, match=reason):
        read_outcome(file)


def test_answers_of_an_earlier_version_are_neither_read_nor_gone_on_with(tmp_path):
    """Schema 1, which called the method `pathways`, as that version wrote it."""
    settings = {"pathways": SETTINGS["method"], "by": "generation"}
    run = fingerprint({"schema": 1, "kind": "answers", "settings": settings})
    header = {"journal": "answers", "schema": 1, "fingerprint": run, "settings": settings}
    answer = {**ANSWER, "run": run, "pathways": settings["pathways"]}
    file = tmp_path / "answers.jsonl"
    file.write_text("".join(f"{json.dumps(line)}\n" for line in (header, answer)))
    before = file.read_bytes()
    for read in (read_journal, read_outcome, lambda path: Journal(path, "answers", SETTINGS)):
        with pytest.raises(JournalError, match=r"answers\.jsonl: schema 1, this kit reads 2: .*take another .*folder"):
            read(file)
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    "fields", [{"kind": None}, {"score": "4"}, {"yes": 1}, {"served_model": []}, {"prediction": 0}]
)
def test_judgements_of_wrong_types_are_refused_with_their_line(fields, tmp_path):
    judged = {"key": "q0", "kind": "open_ended", "prediction": "f", "score": 4.5, "yes": True, "served_model": "m"}
    file = journal_of(tmp_path / "j.jsonl", judged, kind="judgements")
    assert read_journal(file)[1] == [judged]
    change(file, 2, **fields)
    name = next(iter(fields))
    reason = f"line 2: {name} is " if fields[name] is not None else "kind"
    with pytest.raises(JournalError, match=reason):
        read_journal(file)


def test_a_line_of_300_mb_is_refused_in_bounded_memory(tmp_path):
    file = journal_of(tmp_path / "a.jsonl", ANSWER)
    for ended in (b"", b"\n"):
        with file.open("ab") as lines:
            lines.truncate(300_000_000)
            lines.seek(0, 2)
            lines.write(ended)
        tracemalloc.start()
        with pytest.raises(JournalError, match="line 3: it has more than 16777216 bytes"):
            read_journal(file)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 60_000_000


def test_counts_refuse_what_no_run_writes():
    questions = choices(3)
    with pytest.raises(CountsError, match="1 unknown keys"):
        outcome_of(questions, {"q0": "A", "strange": None}).counts(questions)
    with pytest.raises(CountsError, match="1 unknown keys"):
        outcome_of(questions, {"q0": "A", "strange": "A"}).counts(questions)
    for record in ({"key": "q0"}, {"key": "q0", "answers": []}):
        with pytest.raises(CountsError, match="'q0' has neither answer nor error"):
            collect(SETTINGS, "f", [record])


def test_counts_name_their_file(tmp_path):
    file = journal_of(tmp_path / "a.jsonl", ANSWER, ANSWER)
    with pytest.raises(CountsError, match=r"a\.jsonl: question 'q0' is answered twice"):
        read_outcome(file)


@pytest.mark.parametrize(
    ("place", "value", "reason"),
    [
        (("counts",), 5, "counts is 5, which is no object"),
        (("counts", "failed"), "none", "counts.failed is 'none', which is no whole number"),
        (("counts", "pending"), None, "counts.pending is None"),
        (("plan",), [], r"plan is \[\], which is no object"),
        (("plan", "all"), 5, "plan.all is 5, which is no text"),
        (("judge",), "gpt", "judge is 'gpt', which is no object"),
        (("judge",), {"settings": {}}, "judge lacks served_models, counts, failures"),
        (("judge",), {"settings": {}, "counts": 5}, "judge lacks served_models, failures, stopped"),
        (("metrics",), {}, "metrics is {}, which is no list"),
        (("metrics",), ["x"], r"metrics\[0\] is 'x', which is no object"),
        (("one_by_one",), {"questions": "5"}, "one_by_one.questions is '5'"),
        (("metrics",), [{"name": "accuracy"}], r"metrics\[0\] lacks unit, papers_metric, over_expected"),
        (("timing", "stages"), {"decode": "1"}, "timing.stages.decode is '1', which is no number"),
        (("counts", "failed"), 3, "the counts do not balance: 2 expected = 2 answered"),
        (("schema_version",), "1", "schema version '1'"),
    ],
)
def test_results_of_wrong_types_are_refused_with_the_place(place, value, reason, tmp_path):
    questions = choices(2)
    results = make_results(questions, outcome_of(questions, {"q0": "A", "q1": "E"}), plan={"answers": "a", "all": "b"})
    path = write_results(results, tmp_path / "results.json")
    assert read_results(path).judge is None
    inner = fields = json.loads(path.read_text())
    for name in place[:-1]:
        inner = inner[name]
    inner[place[-1]] = value
    path.write_text(json.dumps(fields))
    with pytest.raises(ResultsError, match=reason):
        read_results(path)


def test_results_that_are_no_results_are_refused(tmp_path):
    for text in ("[" * 100_000, "5", "", "\ufeff{}", '{"schema_version": 1}'):
        (tmp_path / "r.json").write_text(text)
        with pytest.raises(ResultsError, match=r"r\.json"):
            read_results(tmp_path / "r.json")


class Inner(TypedDict):
    b: int


class Outer(TypedDict):
    a: list[Inner]
    c: NotRequired[dict[str, str] | None]


@dataclass(frozen=True)
class Value:
    a: tuple[int, ...]
    c: float | None = None


def fault(read, value, shape):
    with pytest.raises(ShapeError) as caught:
        read(value, shape)
    return str(caught.value)


def test_a_shape_is_checked_to_its_last_place():
    for sound in ({"a": [{"b": 1}], "c": {"x": "y"}, "more": object()}, {"a": []}, {"a": [], "c": None}):
        check(sound, Outer)
    assert fault(check, {"a": [{"b": 1}, {"b": 1.5}]}, Outer) == "a[1].b is 1.5, which is no whole number"
    assert fault(check, {"a": [{}]}, Outer) == "a[0] lacks b"
    assert fault(check, {"a": [], "c": {"x": 1}}, Outer) == "c.x is 1, which is no text"
    assert fault(check, [], Outer) == "it is [], which is no object"


def test_json_becomes_a_value_of_its_shape_or_is_refused():
    assert parse('{"a": [1, 2], "c": 1, "more": 5}', Value) == Value((1, 2), 1.0)
    assert fault(parse, '{"a": [true]}', Value) == "a[0] is True, which is no whole number"
    assert fault(parse, '{"a": 1}', Value) == "a is 1, which is no list"
    assert fault(parse, '{"a": [], "c": "1"}', Value) == "c is '1', which is no number"
    assert fault(parse, "[]", Value) == "it is [], which is no object"
    assert "Invalid JSON" in fault(parse, '{"a": ', Value)


def run_of(name, questions, outcome, metric=0):
    """A run whose folder has been read already, scored by one of its metrics."""
    run = Run(Path(name), questions)
    vars(run).update(answers=outcome, metric=all_metrics(questions, outcome)[metric])
    return run


def test_runs_of_different_metrics_are_not_paired():
    """The same questions, read by two rules: their difference would be of the rules, not of the runs."""
    questions = choices(6)
    outcome = outcome_of(questions, {q.key: q.answer_letter for q in questions})
    reference, strict = (run_of(name, questions, outcome, place) for place, name in enumerate(("reference", "strict")))
    assert reference.metric.name != strict.metric.name
    with pytest.raises(ValueError, match="strict and reference are not on the same questions with the same metric"):
        paired(strict, reference)
    assert first_alike([reference, strict]) is None
    again = run_of("again", questions, outcome)
    assert first_alike([strict, reference, again]) is reference
    assert paired(again, reference).difference.value == 0
    others = open_questions(6)
    renamed = run_of("renamed", others, outcome_of(others, {q.key: q.answer for q in others}))
    vars(renamed).update(metric=replace(renamed.metric, name=reference.metric.name))
    with pytest.raises(ValueError, match="not on the same questions"):
        paired(renamed, reference)


@pytest.fixture
def run(tmp_path, capsys):
    """The command line's `run` of EgoSchema's excerpt with the tiny model, done once, to do again after a change."""
    files = {"--model": "tiny", "--annotations": "excerpts/annotations", "--videos": "excerpts/videos"}
    words = [
        "bench",
        "run",
        "--run",
        "table2_7b",
        "--benchmark",
        "egoschema",
        "--max-new-tokens",
        "1",
        "--out",
        str(tmp_path),
    ]
    words += [word for option, name in files.items() for word in (option, str(DATA / name))]

    def go() -> tuple[int, str]:
        code = command(words)
        return code, capsys.readouterr().err

    assert go()[0] == 0
    return go, tmp_path / "table2_7b_egoschema"


def test_the_command_line_says_what_is_wrong_with_edited_files(run):
    """One line on standard error and exit code 1; edited results alone are made again from the answers."""
    go, folder = run
    whole, results = (folder / "answers.jsonl").read_text(), folder / "results.json"
    results.write_text(results.read_text().replace('"failed": 0', '"failed": "none"'))
    assert go()[0] == 0
    assert json.loads(results.read_text())["counts"]["failed"] == 0
    lines = whole.splitlines()
    answer = next(n for n, line in enumerate(lines) if '"answers": [' in line)
    for line, reason in (
        (lines[answer].replace('"answers": [', '"answers": 5, "x": ['), f"line {answer + 1}: answers is 5"),
        (lines[answer].replace('"run": "', '"run": "x'), f"line {answer + 1}: its run is"),
    ):
        results.unlink(missing_ok=True)
        (folder / "answers.jsonl").write_text("\n".join([*lines[:answer], line, *lines[answer + 1 :], ""]))
        code, said = go()
        assert (code, reason in said, said.count("error")) == (1, True, 1), said
        assert [part for part in said.splitlines() if "answers.jsonl" in part and reason in part]
    (folder / "answers.jsonl").write_text("\n".join([*lines, lines[answer], ""]))
    code, said = go()
    assert code == 1 and "is answered twice" in said


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["check", "--max-videos", "-3"], "max_videos=-3: take at least 1 video"),
        (["check", "--max-videos", "0"], "max_videos=0: take at least 1 video"),
        (["run", "--one-by-one", "-3"], "--one-by-one -3: give at least 1 video"),
        (["run", "--max-new-tokens", "0"], "max_new_tokens=0: ask for at least 1 token"),
    ],
)
def test_counts_below_one_are_refused_on_the_command_line(words, reason, tmp_path, capsys):
    files = ["--annotations", str(DATA / "excerpts/annotations"), "--videos", str(DATA / "excerpts/videos")]
    out = ["--out", str(tmp_path / "out")] if words[0] == "run" else []
    assert command(["bench", words[0], "--run", "table2_7b", "--benchmark", "egoschema", *files, *out, *words[1:]]) == 1
    assert reason in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
