"""The whole way, on a benchmark of our own: every kind of table, a stub judge on loopback, and nothing done twice."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, LlavaNextForConditionalGeneration

from sfllava_bench.answers.experiment import Experiment
from sfllava_bench.answers.journal import JournalError
from sfllava_bench.reports.compare import paired
from sfllava_bench.reports.results import read_results
from sfllava_bench.reports.run import Run
from sfllava_bench.runs.experiments import make_experiment
from sfllava_bench.runs.preflight import PreflightError
from sfllava_bench.runs.reproduce import reproduce, rescore
from sfllava_bench.runs.sweeps import on_the_same_videos, sweep
from sfllava_bench.scores.chat import Judge
from sfllava_core import VideoLLM, parse_spec
from sfllava_course.__main__ import command

from .judge_server import JudgeServer
from .test_report import read

TINY = Path(__file__).parents[2] / "data" / "tiny"
RUNS = [
    ("table1_7b", "msvd"), ("table2_7b", "egoschema"), ("table3_7b", "vcgbench"), ("table4_7b_fast100", "egoschema"),
    ("table5_7b_10x24x24", "activitynet"), ("table6_7b_50x8x8", "egoschema"),
    ("table7_7b_no_input_data", "activitynet"),
]  # fmt: skip
PAPERS = {"1": {"judge_accuracy", "judge_score"}, "2": {"accuracy"}, "4": {"accuracy"}, "6": {"accuracy"},
          "3": {f"judge_{name}" for name in ("correctness", "detail", "context", "temporal", "consistency", "mean")},
          "5": {"judge_accuracy", "judge_score"}, "7": {"judge_accuracy", "judge_score"}}  # fmt: skip


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """The tiny model with a grid of 12 x 12, as the pocket model has."""
    folder = tmp_path_factory.mktemp("checkpoint")
    config = AutoConfig.from_pretrained(TINY)
    config.vision_config.image_size = 168
    torch.manual_seed(0)
    LlavaNextForConditionalGeneration(config).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer.model", "tokenizer_config.json"):
        shutil.copy(TINY / name, folder)
    return str(folder)


@pytest.fixture(scope="module")
def pocketbench(tmp_path_factory):
    """Questions of the excerpts in PocketBench's shapes, open-ended and multiple choice, with their videos."""
    excerpts = TINY.parent / "excerpts"
    folder = tmp_path_factory.mktemp("pocketbench")
    for name, benchmark in (("MSVD_QA.csv", "msvd"), ("NExT_QA.csv", "nextqa")):
        shutil.copy(excerpts / "annotations" / name, folder)
        shutil.copytree(excerpts / "videos" / benchmark, folder / benchmark)
    return folder


class Loader:
    """Loads a checkpoint once, and counts how often it is asked to."""

    def __init__(self):
        self.count, self.models = 0, {}

    def __call__(self, name):
        self.count += 1
        if name not in self.models:
            self.models[name] = VideoLLM.from_pretrained(name, device="cpu")
        return self.models[name]


def experiment_for(name, benchmark, checkpoint, pocketbench, **more):
    more = {"max_new_tokens": 2, **more}
    files = {"model": checkpoint, "annotations": pocketbench, "videos": pocketbench}
    return make_experiment(name, benchmark, profile="toy", **files, **more)


def judge_of(server):
    return Judge("stub", server.url, first_wait_s=0.01, longest_wait_s=0.02, tries=30)


QUIET = {"say": lambda text: None, "progress": False}


def test_every_kind_of_table_runs_and_a_second_run_is_skipped_whole(checkpoint, pocketbench, tmp_path):
    experiments = [experiment_for(name, benchmark, checkpoint, pocketbench) for name, benchmark in RUNS]
    loader = Loader()
    with JudgeServer(["plain", "prose", "429"]) as server:
        rows = sweep(experiments, tmp_path, judge=judge_of(server), load=loader, **QUIET)
        asked = len(server.requests)
        assert loader.count == 1
        assert all("value" in row for row in rows), rows
        by_run = {}
        for row in rows:
            by_run.setdefault(row["run"], set()).add(row["metric"])
        assert {run[5] for run in by_run} == set("1234567")
        assert all(PAPERS[run[5]] <= metrics for run, metrics in by_run.items())
        times = {file: file.stat().st_mtime_ns for file in tmp_path.glob("*/*")}
        assert len(times) == 7 * 3 + 4  # answers, results and report of each, judgements of the open-ended
        again = sweep(experiments, tmp_path, judge=judge_of(server), load=loader, **QUIET)
        assert again == rows
        assert (loader.count, len(server.requests)) == (1, asked)
        assert {file: file.stat().st_mtime_ns for file in tmp_path.glob("*/*")} == times
    for experiment in experiments:
        results = read_results(tmp_path / experiment.id / "results.json")
        assert results.counts.answered == results.counts.expected == len(experiment.questions())
        assert all(row["paper"] is None for row in results.rows())  # a toy number is not the paper's
        assert "not comparable" in read(tmp_path / experiment.id / "report.html").text
    assert json.loads((tmp_path / "table.json").read_text())["table"] == rows
    read(tmp_path / "table.html")


def test_a_changed_plan_is_not_skipped(checkpoint, pocketbench, tmp_path):
    experiment, loader = experiment_for("table2_7b", "egoschema", checkpoint, pocketbench, max_videos=1), Loader()
    first = reproduce(experiment, tmp_path, load=loader, **QUIET)
    assert not first.skipped
    assert reproduce(experiment, tmp_path, load=loader, **QUIET).skipped
    other = replace(experiment, id="other", by="likelihood")
    assert not reproduce(other, tmp_path, load=loader, **QUIET).skipped
    assert loader.count == 2


def test_a_judge_that_died_is_gone_on_with_and_no_model_is_loaded(checkpoint, pocketbench, tmp_path):
    experiment, loader = experiment_for("table1_7b", "msvd", checkpoint, pocketbench), Loader()
    with JudgeServer(dies_after=3) as server:  # one answer goes to the preflight's question
        first = reproduce(experiment, tmp_path, judge=judge_of(server), load=loader, **QUIET)
        port = server.port
    assert first.judge.stopped
    assert first.judge.counts.pending + first.judge.counts.failed == 4
    with JudgeServer(port=port) as server:
        second = reproduce(experiment, tmp_path, judge=judge_of(server), load=loader, **QUIET)
        assert len(server.requests) == 4
        assert reproduce(experiment, tmp_path, judge=judge_of(server), load=loader, **QUIET).skipped
    assert str(second.judge.counts) == "6 expected = 6 answered + 0 failed"
    assert loader.count == 1
    with JudgeServer(model="another-judge") as server:
        third = rescore(
            experiment, tmp_path, replace(judge_of(server), model="another"), say=lambda t: None, progress=False
        )
    assert third.judge.served_models == {"another-judge": 6}
    assert len(list((tmp_path / experiment.id).glob("judgements-*.jsonl"))) == 2


def test_missing_videos_stop_a_run_before_the_model_is_loaded(checkpoint, pocketbench, tmp_path):
    shutil.copytree(pocketbench, tmp_path / "bench")
    next((tmp_path / "bench").glob("nextqa/*/9000000001.mp4")).unlink()
    experiment, loader = experiment_for("table2_7b", "egoschema", checkpoint, tmp_path / "bench"), Loader()
    with pytest.raises(PreflightError, match="1 of 2 videos can be used, for 3 of 6 questions"):
        reproduce(experiment, tmp_path / "runs", load=loader, **QUIET)
    assert loader.count == 0 and not (tmp_path / "runs").exists()
    results = reproduce(experiment, tmp_path / "runs", load=loader, allow_missing=True, **QUIET)
    assert str(results.counts) == "6 expected = 3 answered + 3 failed"
    accuracy = results.metrics[0]
    assert accuracy.over_expected.questions == 6 and accuracy.over_answered.questions == 3
    assert accuracy.over_expected.value * 2 == pytest.approx(accuracy.over_answered.value)
    assert "3 of 6 questions have no answer" in read(tmp_path / "runs" / experiment.id / "report.html").text


def test_a_judge_that_does_not_answer_stops_a_run_beforehand(checkpoint, pocketbench, tmp_path):
    with JudgeServer() as server:
        judge = judge_of(server)
    experiment, loader = experiment_for("table1_7b", "msvd", checkpoint, pocketbench), Loader()
    with pytest.raises(PreflightError, match=r"the judge 'stub' at .* does not answer"):
        reproduce(experiment, tmp_path, judge=judge, load=loader, **QUIET)
    assert loader.count == 0
    rows = sweep([experiment], tmp_path, judge=judge, load=loader, **QUIET)
    assert rows[0]["metric"].startswith("PreflightError")


def test_one_by_one_is_measured_and_shown(checkpoint, pocketbench, tmp_path):
    experiment = experiment_for("table2_7b", "egoschema", checkpoint, pocketbench, max_new_tokens=6)
    results = reproduce(experiment, tmp_path, load=Loader(), one_by_one=2, **QUIET)
    ways = results.one_by_one
    assert (ways.questions, ways.same, ways.videos) == (6, 6, 2)
    assert "6 of 6 answers are the same to the letter" in read(tmp_path / experiment.id / "report.html").text
    assert results.timing.released_way > results.timing.shared_way > 0


def test_the_terminal(checkpoint, excerpts, tmp_path, capsys):
    assert command(["bench", "list"]) == 0
    assert "table2_34b" in capsys.readouterr().out
    files = ["--annotations", str(excerpts / "annotations"), "--videos", str(excerpts / "videos")]
    assert command(["bench", "check", "--run", "table2_7b", "--benchmark", "nextqa", *files]) == 0
    assert "2 of 2 videos" in capsys.readouterr().out
    run = [
        "bench",
        "run",
        "--run",
        "table2_7b",
        "--benchmark",
        "egoschema",
        "--model",
        checkpoint,
        "--out",
        str(tmp_path),
        *files,
    ]
    assert command([*run, "--max-new-tokens", "2"]) == 0
    shown = capsys.readouterr().out
    assert "2 expected = 2 answered + 0 failed" in shown and "47.2" in shown
    results = read_results(tmp_path / "table2_7b_egoschema" / "results.json")
    assert (results.rows()[0]["paper"], results.set.whole) == (47.2, False)
    assert command(["bench", "run", "--run", "table9", *files]) == 1
    assert "no run 'table9'" in capsys.readouterr().err
    words = ["--run", "table2_7b", "--annotations", str(tmp_path), "--videos", str(tmp_path)]
    assert command(["bench", "check", *words]) == 1
    assert "it lacks NExT_QA.csv" in capsys.readouterr().err


def test_a_finished_run_is_scored_again_without_a_model(checkpoint, pocketbench, tmp_path, capsys):
    """With a judge that it had not; the answers stay as they are."""
    experiment = experiment_for("table1_7b", "activitynet", checkpoint, pocketbench)
    words = ["--run", "table1_7b", "--benchmark", "activitynet", "--profile", "toy", "--model", checkpoint]
    words += ["--annotations", str(experiment.annotations), "--videos", str(experiment.videos), "--out", str(tmp_path)]
    assert command(["bench", "score", *words]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: ") and "answers.jsonl" in said and len(said.splitlines()) == 1
    reproduce(experiment, tmp_path, **QUIET)
    answers = (tmp_path / experiment.id / "answers.jsonl").read_bytes()
    with JudgeServer() as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENAI_API_KEY", "key")
        patch.setattr("sfllava_bench.runs.reproduce.load_model", None)
        assert command(["bench", "score", *words, "--judge", "judge", "--judge-url", server.url]) == 0
    assert (tmp_path / experiment.id / "answers.jsonl").read_bytes() == answers
    results = read_results(tmp_path / experiment.id / "results.json")
    assert results.judge.counts.answered == len(experiment.questions())
    loader = Loader()
    with JudgeServer() as server:  # the same run goes on from there: no model is loaded
        again = reproduce(experiment, tmp_path, judge=judge_of(server), load=loader, **QUIET)
    assert again.counts.answered == again.counts.expected and loader.count == 0
    shown = capsys.readouterr().out
    assert "judge: " in shown and shown.splitlines()[-len(results.rows()) - 1].startswith("run ")


def test_the_same_asked_under_another_name_is_taken_over(checkpoint, pocketbench, tmp_path):
    """The default is a row of tables 1, 5, 6 and 7: answered once, judged once."""
    names = ("table1_7b", "table5_7b_10x12x24", "table6_7b_50x4x4", "table7_7b_no_task_instruction")
    experiments = [experiment_for(name, "activitynet", checkpoint, pocketbench) for name in names]
    with JudgeServer() as server:
        rows = sweep(experiments, tmp_path, judge=judge_of(server), load=Loader(), **QUIET)
        judged = [body for body in server.requests if "Reference" in str(body)]
    assert len({row["value"] for row in rows if row["metric"] == "judge_accuracy"}) == 1
    assert len(judged) == len(experiments[0].questions())
    answers = [(tmp_path / experiment.id / "answers.jsonl").read_bytes() for experiment in experiments]
    assert answers == answers[:1] * 4
    other = experiment_for("table6_7b_50x1x1", "activitynet", checkpoint, pocketbench)
    reproduce(other, tmp_path, load=Loader(), **QUIET)
    assert (tmp_path / other.id / "answers.jsonl").read_bytes() != answers[0]


def test_each_method_gets_the_rope_that_it_was_published_with(checkpoint, pocketbench, tmp_path, monkeypatch):
    """One model for each RoPE, never mixed in one file; in the toy profile all of them have the paper's."""
    default = experiment_for("table2_7b", "egoschema", checkpoint, pocketbench)
    toy = make_experiment("table2_7b_igvlm", "egoschema", profile="toy")
    assert default.loading == {} == toy.loading
    assert Experiment("a", parse_spec("llavanextimage32")).loading == {"rope_type": "linear", "rope_scaling": 2.0}
    assert Experiment("a", parse_spec("llavanextimage64")).loading["rope_scaling"] == 3  # by the released rule
    for name in ("igvlm6", "freeva4-D1", "tsllava"):
        assert Experiment("a", parse_spec(name)).loading["rope_scaling"] == 1
    loaded = []

    def load_model(name, **options):
        loaded.append(options)
        return VideoLLM.from_pretrained(name, device="cpu", **options)

    monkeypatch.setattr("sfllava_bench.runs.reproduce.load_model", load_model)
    linear = replace(default, id="linear", rope=("linear", 2.0))
    methods = {name: parse_spec(name).scaled((12, 12)) for name in ("igvlm", "tsllava")}
    experiments = [
        default, linear, *(replace(default, id=name, rope=None, method=method) for name, method in methods.items())
    ]  # fmt: skip
    assert on_the_same_videos(experiments) == [[0], [1], [2, 3]]
    rows = sweep(experiments, tmp_path, **QUIET)
    assert all("value" in row for row in rows), rows
    assert loaded == [{}, {"rope_type": "linear", "rope_scaling": 2.0}, {"rope_type": "dynamic", "rope_scaling": 1.0}]
    recorded = [Run(tmp_path / one.id).results.settings["rope"] for one in experiments]
    assert recorded == ["dynamic 2", "linear 2", "none", "none"]
    with pytest.raises(JournalError, match='rope: "linear 2" there, "dynamic 2" now'):
        reproduce(replace(default, id="linear"), tmp_path, **QUIET)
    with pytest.raises(ValueError, match=r"rope=\('yarn', 2\): give \(type, factor\), the type one of dynamic, linear"):
        replace(default, rope=("yarn", 2))


def test_a_sweep_compares_runs_on_the_same_questions(checkpoint, pocketbench, tmp_path):
    default = experiment_for("table2_7b", "egoschema", checkpoint, pocketbench, by="likelihood")
    same = replace(default, id="the_same_again")
    other = experiment_for("table4_7b_fast100", "egoschema", checkpoint, pocketbench, by="likelihood")
    rows = sweep([default, same, other], tmp_path, load=Loader(), **QUIET)
    assert [row["against"] for row in rows][:2] == [None, f"+0.00 [+0.00, +0.00], p = 1.000, against {default.id}"]
    runs = [Run.of(experiment, tmp_path) for experiment in (default, other)]
    difference = rows[2]["value"] - rows[0]["value"]
    assert paired(runs[1], runs[0]).difference.value == pytest.approx(difference, abs=0.1)
    assert rows[2]["against"].startswith(f"{paired(runs[1], runs[0]).difference.value:+.2f} [")
    open_ended = experiment_for("table1_7b", "msvd", checkpoint, pocketbench)
    reproduce(open_ended, tmp_path, load=Loader(), **QUIET)
    with pytest.raises(ValueError, match="not on the same questions"):
        paired(runs[0], Run.of(open_ended, tmp_path))


def test_a_sweep_asks_again_what_failed_only_where_it_is_told_to(checkpoint, pocketbench, tmp_path):
    shutil.copytree(pocketbench, tmp_path / "bench")
    video = next((tmp_path / "bench").glob("nextqa/*/9000000001.mp4"))
    aside = video.rename(tmp_path / "aside.mp4")
    experiment, loader = experiment_for("table2_7b", "egoschema", checkpoint, tmp_path / "bench"), Loader()

    def swept(**more):
        sweep([experiment], tmp_path / "runs", load=loader, **more, **QUIET)
        return str(read_results(tmp_path / "runs" / experiment.id / "results.json").counts)

    assert swept(allow_missing=True) == "6 expected = 3 answered + 3 failed"
    aside.rename(video)
    assert swept() == "6 expected = 3 answered + 3 failed"
    assert swept(retry_failed=True) == "6 expected = 6 answered + 0 failed"
