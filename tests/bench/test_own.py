"""Own questions on own videos: files as people write them, runs with and without answers to compare with."""

import json

import pytest
from conftest import ROOT

from sfllava_bench.answers.experiment import Experiment, ExperimentError
from sfllava_bench.answers.layouts import ask_through
from sfllava_bench.answers.loop import run
from sfllava_bench.command_line import call
from sfllava_bench.commands import bench
from sfllava_bench.questions.annotations import AnnotationError, load_annotations
from sfllava_bench.reports.compare import paired
from sfllava_bench.reports.report import write_report
from sfllava_bench.reports.results import make_results, read_results
from sfllava_bench.reports.run import Run
from sfllava_bench.reports.tables import load_answers
from sfllava_bench.runs.own import named_method, own_experiments
from sfllava_bench.runs.reproduce import reproduce
from sfllava_bench.runs.sweeps import sweep
from sfllava_bench.scores.judge import items_of
from sfllava_core import VideoLLM, parse_spec
from sfllava_core.defaults import DEFAULT_MODEL
from sfllava_core.methods.base import SpecError
from sfllava_core.video.folder import VideoFolder

CLIPS = ROOT / "data" / "clips"
SPEC = "frames4_slow2-max1x2_fastall-to2x2"
MIXED = """video,question,answer,a0,a1,a2,type
dog.mp4,Which animal is it?,dog,cat,dog,,animals
dog,What is it doing?,running,,,,doings
grand_prix_1906,What is this?,c,a house,a tree,a car,things
grand_prix_1906.mp4,Who wins?,,,,,doings
"""


def written(folder, text, name="mine.csv"):
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def problems_of(file) -> list[str]:
    with pytest.raises(AnnotationError) as caught:
        load_annotations("own", file)
    return caught.value.problems


def test_a_csv_file_mixes_choices_open_questions_and_questions_without_an_answer(tmp_path):
    questions = load_annotations("own", written(tmp_path, MIXED))
    assert [(q.key, q.video, q.task) for q in questions] == [
        ("dog.mp4#1", "dog", "multiple_choice"), ("dog#1", "dog", "open_ended"),
        ("grand_prix_1906#1", "grand_prix_1906", "multiple_choice"),
        ("grand_prix_1906.mp4#1", "grand_prix_1906", "open_ended"),
    ]  # fmt: skip
    assert [(q.options, q.answer, q.answer_letter, q.group) for q in questions] == [
        (("cat", "dog"), "dog", "B", "animals"), ((), "running", None, "doings"),
        (("a house", "a tree", "a car"), "a car", "C", "things"), ((), "", None, "doings"),
    ]  # fmt: skip
    assert [q.has_reference for q in questions] == [True, True, True, False]


def test_json_lines_and_json_hold_the_same(tmp_path):
    rows = [
        {"video": "dog", "question": "Which animal?", "options": ["cat", "dog"], "answer": "dog", "key": "first"},
        {"video": "dog", "question": "How many?", "options": [1, 2, 3], "answer": 3},
        {"video": "dog", "question": "What is it doing?", "answer": None, "options": []},
    ]
    lines = written(tmp_path, "\n".join(map(json.dumps, rows)) + "\n\n", "mine.jsonl")
    questions = load_annotations("own", lines)
    assert [(q.key, q.options, q.answer, q.answer_letter) for q in questions] == [
        ("first", ("cat", "dog"), "dog", "B"), ("dog#2", ("1", "2", "3"), "3", "C"), ("dog#3", (), "", None),
    ]  # fmt: skip
    assert load_annotations("own", written(tmp_path, json.dumps(rows), "mine.json")) == questions


def test_options_are_a_list_in_a_cell_too_and_26_at_most(tmp_path):
    file = written(tmp_path, 'video,question,options,answer\nv,what?,"[""a, b"", ""c""]","a, b"\n')
    assert load_annotations("own", file)[0].options == ("a, b", "c")
    for number, said in ((26, None), (27, "27 options, 2 to 26 are needed"), (1, "1 options")):
        row = {"video": "v", "question": "which?", "options": [f"o{n}" for n in range(number)], "answer": "o0"}
        file = written(tmp_path, json.dumps(row), "many.jsonl")
        if said is None:
            assert len(load_annotations("own", file)[0].options) == 26
        else:
            assert said in problems_of(file)[0]


@pytest.mark.parametrize(
    ("text", "reasons"),
    [
        ("video,answer\nv,a\n", ["mine.csv: it lacks the column question; it has 'video', 'answer'"]),
        ("video;question\nv;what?\n", ["lacks the column video and question; it has 'video;question'"]),
        ("video,question,options,answer\nv,what?,cat|dog,cat\n", ["row 2: options is 'cat|dog': give a JSON list"]),
        ('video,question,options\nv,what?,"[""\\ud800"", ""b""]"\n', ["row 2: options is", "JSON list of texts"]),
        ("video,question,a0,a1,answer\nv,what?,cat,dog,cow\n", ["row 2: answer 'cow' is none of its 2 options, and"]),
        ("video,question,a0,a1,answer\nv,what?,cat,dog,C\n", ["row 2: answer 'C' is none of its 2 options"]),
        ("video,question,a0,a1,answer\nv,what?,cat,cat,cat\n", ["answer 'cat' is 2 of its options: give its letter"]),
        ("video,question,a0,a1\nv,what?,,dog\n", ["row 2: an option is empty"]),
        ("key,video,question\n1,v,what?\n1,v,who?\n", ["row 3: key '1' is that of row 2 too"]),
        ("key,video,question\n,v,what?\n", ["row 2: key is ''"]),
        ("video,question\n,what?\nv,\n../v,what?\n", ["row 2: video is", "row 3: question is", "row 4: video '../v'"]),
        ("video,question\n", ["mine.csv: it has no rows"]),
        ("", ["mine.csv: it has no rows"]),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_file_is_said_with_the_way_out(text, reasons, tmp_path):
    said = "\n".join(problems_of(written(tmp_path, text)))
    for reason in reasons:
        assert reason in said, said


def test_json_lines_are_named_by_their_line(tmp_path):
    rows = [
        '{"video": "v", "question": "what?"}',
        "",
        "{",
        "[1]",
        '{"video": "v"}',
        '{"video": ["v"], "question": "?"}',
    ]
    problems = problems_of(written(tmp_path, "\n".join(rows), "mine.jsonl"))
    assert sorted(problem.split(":")[0] for problem in problems) == [f"mine.jsonl row {n}" for n in (3, 4, 5, 6)]


def test_a_folder_and_other_files_are_refused(tmp_path):
    for path in (tmp_path, written(tmp_path, "x", "mine.xlsx")):
        assert "own questions are one file: .csv, .jsonl, .json" in problems_of(path)[0]
    assert "there is no such file" in problems_of(tmp_path / "no.csv")[0]


def made(llm, folder, text, name="mine"):
    """(questions, outcome, results, page) of a run."""
    questions = load_annotations("own", written(folder, text, f"{name}.csv"))
    one, videos = Experiment(name, parse_spec(SPEC), max_new_tokens=4, asked=tuple(questions)), VideoFolder(CLIPS)
    outcome = run(llm, [one], videos, folder, progress=False)[name]
    results = make_results(questions, outcome, run=name)
    page = write_report(results, questions, outcome, folder / f"{name}.html", videos=videos).read_text()
    return questions, outcome, results, page


def test_without_answers_there_are_answers_and_no_score(llm, tmp_path):
    text = "video,question,a0,a1\ndog,What <b>is</b> it?,,\ndog,Which?,a cat,a dog\n"
    questions, outcome, results, page = made(llm, tmp_path, text)
    assert results.metrics == () and results.rows() == [] and items_of(questions, outcome) == []
    assert (results.counts.answered, results.set.unscored) == (2, 2)
    assert "no question has an answer to compare with" in page and "Answers without a score" in page
    assert (
        "What &lt;b&gt;is&lt;/b&gt; it?" in page
        and "<h2>Numbers</h2>" not in page
        and "0.0" not in page.split("<h2>Time")[0]
    )
    frame = load_answers(tmp_path / "mine", questions)
    assert frame.reference.isna().all() and frame.answer.notna().all()
    asked = list(ask_through(llm, {"mine": parse_spec(SPEC)}, questions, VideoFolder(CLIPS), max_new_tokens=4))
    assert [one.right for one in asked] == [False, False]


def test_numbers_are_over_the_questions_that_have_an_answer(llm, tmp_path):
    """The same file without the row that has none gives the same numbers."""
    _, _, results, page = made(llm, tmp_path, MIXED)
    _, _, without, _ = made(llm, tmp_path, MIXED[: MIXED.rindex("grand_prix")], "less")
    assert results.set.unscored == 1 and without.set.unscored == 0
    assert repr([m.over_expected for m in results.metrics]) == repr([m.over_expected for m in without.metrics])
    assert {m.name: m.over_expected.questions for m in results.metrics} == {
        "accuracy": 2, "accuracy_strict": 2, **dict.fromkeys([m.name for m in results.metrics][2:], 1),
    }  # fmt: skip
    assert "1 of 4 questions have no answer to compare with: the numbers are over the other 3" in page


def test_the_command_runs_one_file_and_says_what_has_no_score(tmp_path, capsys):
    file = written(tmp_path, "video,question\ndog,What is it?\n")
    words = f"run --annotations {file} --videos {CLIPS} --max-new-tokens 3 --out {tmp_path / 'runs'} --method".split()
    for _ in "done", "already done":
        assert call(bench, [*words, "slowfast"]) == 0
        said = capsys.readouterr().out
        assert "answers, and no score: no question has an answer to compare with" in said
        assert "own_mine_slowfast/answers.jsonl" in said
        assert not [line for line in said.splitlines() if "%" in line and not line.endswith("for frames")]
    assert call(bench, [*words, "slowfast", "blind"]) == 0  # two methods: one table
    said = capsys.readouterr().out
    assert said.count("answers, and no score") >= 2 and "own_mine_blind" in said
    assert call(bench, ["check", "--annotations", str(file), "--videos", str(CLIPS), "--method", "slowfast"]) == 0


def test_a_run_with_answers_has_a_score_and_two_methods_are_compared_over_what_is_scored(tmp_path):
    file = written(tmp_path, MIXED)
    load, quiet = lambda name: VideoLLM.from_pretrained(name, device="cpu"), {"progress": False, "say": lambda _: None}
    experiments = own_experiments([SPEC, "blind"], annotations=file, videos=CLIPS, max_new_tokens=4)
    rows = sweep(experiments, tmp_path, load=load, **quiet)
    assert {row["metric"] for row in rows} >= {"accuracy", "exact_match"} and all(
        row["value"] is not None for row in rows
    )
    first, second = (Run.of(one, tmp_path) for one in experiments)
    assert paired(first, second).difference.questions == 2 == first.metric.over_expected.questions
    assert reproduce(experiments[0], tmp_path, load=load, **quiet).skipped
    assert read_results(tmp_path / experiments[0].id / "results.json").set.unscored == 1


def test_methods_have_names(tmp_path):
    model, paths = str(DEFAULT_MODEL), {"annotations": tmp_path / "mine.csv", "videos": tmp_path}
    assert named_method("slowfast", model) == named_method("SlowFast", model)
    assert named_method("Another film", model).other_film
    ids = [one.id for one in own_experiments(["Image grid", SPEC], **paths)]
    assert ids == ["own_mine_image_grid", f"own_mine_{SPEC}"]
    with pytest.raises(SpecError, match=r"method 'slow' is none of 'slowfast', 'SlowFast', .*'another film'"):
        named_method("slow", model)
    with pytest.raises(ExperimentError, match="named twice"):
        own_experiments(["slowfast", "SlowFast"], **paths)
    with pytest.raises(ExperimentError, match="give videos"):
        own_experiments(["slowfast"], annotations=tmp_path)
    with pytest.raises(
        ExperimentError, match="is a folder: give one file of your own questions, or name the benchmark"
    ):
        own_experiments(["slowfast"], annotations=tmp_path, videos=tmp_path)
    with pytest.raises(ValueError, match="benchmark 'mine': choose one of"):
        own_experiments(["slowfast"], "mine", **paths)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("run --method slowfast", "method slowfast: give annotations and videos"),
        ("run --method slowfast --run table2_7b", "--method slowfast: --run table2_7b says already"),
        ("run --method slowfast --profile toy", "--profile toy: it goes with --run"),
        ("check --method slowfast --annotations no.csv --videos .", "no.csv: there is no such file"),
    ],
)
def test_words_that_do_not_go_together_are_one_line(words, message, capsys):
    assert call(bench, words.split()) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: ") and message in said
