"""Tables 1 to 7 in miniature: the kit's own films, the pocket model, a stub judge on loopback, headlessly."""

import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import nbformat
import pytest

from sfllava_bench.answers.experiment import ExperimentError
from sfllava_bench.peers.loading import METHODS as OF_PEERS
from sfllava_bench.questions.annotations import question_counts
from sfllava_bench.reports.paper_tables import paper_tables
from sfllava_bench.reports.published import load_paper
from sfllava_bench.runs.catalogue import paper_experiments
from sfllava_bench.runs.entry import annotations_beside, experiments_for, folder_for, judge_for
from sfllava_bench.runs.forecast import forecast, hours_at_least, shape_of
from sfllava_bench.runs.preflight import PreflightError, check_experiments
from sfllava_bench.runs.reproduce import reproduce, score
from sfllava_bench.runs.sweeps import sweep
from sfllava_core import VideoLLM, read_frames
from sfllava_core.budget.arithmetic import MODEL_SHAPES
from sfllava_core.defaults import DEFAULT_MODEL, POCKET, ROOT
from sfllava_core.video import folder
from sfllava_core.video.folder import VideoFolder
from sfllava_course.headless import run_notebook

from .judge_server import JudgeServer
from .test_reproduce import QUIET, judge_of

NOTEBOOK = ROOT / "notebooks" / "08_reproduce.ipynb"
EXCERPTS = ROOT / "data" / "excerpts"


def stamps(folder: Path) -> dict[Path, int]:
    return {file: file.stat().st_mtime_ns for file in folder.glob("*/*")}


def test_tables_1_to_7_in_miniature_and_a_second_run_is_skipped_whole(tmp_path, capsys):
    """The 7B runs of every table, on two films, one benchmark of each kind: all the rows that the paper has.

    Those of models trained on videos are not among them, and are said not to be.
    """
    kinds = ("msvd", "egoschema", "vcgbench")
    experiments = [
        experiment
        for kind in kinds
        for experiment in experiments_for("tables_7b", kind, toy_videos=2, max_new_tokens=4)
    ]
    listed = [one for one in paper_experiments(load_paper()) if one.cell[1] == "7b" and one.cell[0][:5] == "table"]
    told = capsys.readouterr().out
    peers = [one for one in listed if isinstance(one.method, OF_PEERS)]
    named = [one.id for one in peers if one.benchmark in kinds]
    assert told.count("does not fit the toy") == len(named) >= 4 and all(f"{name} does not" in told for name in named)
    listed = [one for one in listed if one not in peers]
    wanted = [one for one in listed if one.benchmark in kinds]
    assert {experiment.id for experiment in experiments} == {f"{one.id}_toy" for one in wanted}
    assert {one.cell[2] for one in wanted} | {"LLaVA-NeXT-Image"} == {one.cell[2] for one in listed}
    assert {Path(one.model) for one in experiments} == {POCKET} and not any(one.published for one in experiments)
    model, said = VideoLLM.from_pretrained(POCKET, device="cpu"), []
    with JudgeServer(["plain", "prose"]) as server:
        options = {**QUIET, "say": said.append}
        rows = sweep(experiments, tmp_path, judge=judge_of(server), load=lambda name: model, **options)
        assert [text for text in said if "together" in text] == [] and "runs on the same videos" in said[0]
        before, asked = stamps(tmp_path), len(server.requests)

        def refuse(name):
            raise AssertionError("a model was loaded for what is done")

        again = sweep(experiments, tmp_path, judge=judge_of(server), load=refuse, **QUIET)
        assert (again, stamps(tmp_path), len(server.requests)) == (rows, before, asked)
    assert all("value" in row for row in rows), rows
    tables = paper_tables(experiments, tmp_path)
    assert {name[:6] for name in tables} == {f"table{number}" for number in range(1, 8)}
    for table, _, name, benchmark in (one.cell for one in wanted):
        (row,) = [row for row in tables[table] if row["row"] == name]
        cells = [text for column, text in row.items() if column.startswith(f"{benchmark} ")]
        assert cells and "-" not in cells and not any("paper" in text for text in cells)
    assert {name.split()[-1] for name in tables["table3_text_generation"][0]} >= {"judge_temporal", "judge_mean"}
    assert paper_tables(experiments[:1], tmp_path / "nowhere")["table1_open_ended"][0]["row"] == "SF-LLaVA"


def test_answers_that_need_a_judge_and_have_none_are_said_to(tmp_path):
    experiments = experiments_for("table3_7b", profile="toy", toy_videos=1, max_new_tokens=2)[:1]
    (row,) = sweep(experiments, tmp_path, **QUIET)
    assert "not judged" in row["metric"] and "value" not in row
    assert paper_tables(experiments, tmp_path)["table3_text_generation"][0]["vcgbench"] == "not judged"


def test_the_time_limit_goes_wherever_a_film_is_read(tmp_path, monkeypatch):
    """Into the run, the report's pictures, and the report of a run of which only the judge has work left."""
    asked = []

    def noting(*args, timeout_s, **more):
        asked.append(("report" if more["size"] == (84, 112) else "run", timeout_s))
        return read_frames(*args, timeout_s=timeout_s, **more)

    monkeypatch.setattr(folder, "read_frames", noting)
    (experiment,) = experiments_for("table1_7b_msvd", profile="toy", toy_videos=1, max_new_tokens=2)
    quiet = {**QUIET, "open_videos": partial(VideoFolder, timeout_s=77.0)}
    quiet["load"] = lambda name: VideoLLM.from_pretrained(name, device="cpu")
    reproduce(experiment, tmp_path, **quiet)
    assert set(asked) == {("run", 77.0), ("report", 77.0)}
    asked.clear()
    with JudgeServer() as server:
        reproduce(experiment, tmp_path, judge=judge_of(server), **quiet)
    assert set(asked) == {("report", 77.0)}
    with pytest.raises(TypeError, match="positional"):
        score(experiment, experiment.questions(), None, tmp_path, None, None)


@pytest.mark.parametrize(
    ("name", "count"),
    [("table2_7b", 3), ("table2_7b_egoschema", 1), ("table4_7b", 12), ("table7_34b", 8), ("table5_7b,table6_7b", 26)],
)
def test_names_stand_for_runs(name, count):
    assert len(experiments_for(name, profile="toy")) == count


def test_parameters_that_are_left_out(tmp_path):
    """No videos: the kit's own. Videos: the paper's run, with the annotations that lie beside them."""
    toy, pocketbench = experiments_for("table2_7b"), experiments_for("pocketbench")
    assert {experiment.benchmark for experiment in toy + pocketbench} == {"pocketbench"}
    assert {experiment.max_new_tokens for experiment in toy + pocketbench} == {16}
    (real,) = experiments_for("table2_7b", "egoschema", videos=str(EXCERPTS / "videos"), toy_videos=1)
    assert (real.published, real.max_videos, real.max_new_tokens) == ({"accuracy": 47.2}, None, 128)
    assert real.annotations == EXCERPTS / "annotations"
    with pytest.raises(ExperimentError, match="give annotations"):
        annotations_beside(str(tmp_path))
    assert folder_for("", [real]) == ROOT / "runs" / "reproduce" and folder_for(str(tmp_path), toy) == tmp_path
    assert judge_for("") is None
    assert judge_for("stub", "http://127.0.0.1:9/v1").model == "stub"


def test_the_forecast_is_that_of_the_readme():
    """500 EgoSchema questions about 500 videos: 0.03 hours at least for the 7B on an H100 (data/paper/README.md)."""
    assert shape_of("llava-hf/llava-v1.6-34b-hf") is MODEL_SHAPES["34b"] and shape_of("someone/else") is None
    assert shape_of(str(DEFAULT_MODEL)).grid == (12, 12)
    (experiment,) = experiments_for("table2_7b", "egoschema", videos=str(EXCERPTS / "videos"))
    questions, videos = len(experiment.questions()), len({question.video for question in experiment.questions()})
    assert hours_at_least(experiment, MODEL_SHAPES["7b"]) / videos * 500 == pytest.approx(0.03, abs=0.005)
    row = forecast(experiment)
    assert (row["tokens"], row["questions"], row["videos"]) == ("3,680", f"{questions:,}", f"{videos:,}")


def test_questions_about_one_film_cost_more_where_nothing_is_shared():
    """By the sum of data/paper/README.md: shared, a film is seen once; the plain way once for each of its questions."""
    shape, experiment = MODEL_SHAPES["7b"], experiments_for("pocketbench", toy_videos=2)[0]
    questions, films = question_counts(experiment.questions())
    assert questions >= 4 * films
    shared, alone = (hours_at_least(replace(experiment, share=share), shape) for share in ("video", "nothing"))
    assert 0 < 2 * shared < alone <= math.ceil(questions / films) * shared


def test_one_check_for_all_plans(tmp_path):
    """A video that is missing is named once; a judge that is not there is an obstacle; nothing is begun."""
    experiments = experiments_for(
        "table2_7b", videos=str(tmp_path), annotations=str(EXCERPTS / "annotations"), model=str(POCKET)
    )
    with JudgeServer() as server:
        judge = judge_of(server)
        assert "the judge answers" in str(check_experiments(experiments, judge))
    found = check_experiments(experiments, judge)
    assert found.lost == sum(found.questions.values()) > 0
    assert len(found.obstacles) == 1 and "does not answer" in found.obstacles[0]
    with pytest.raises(PreflightError, match="no video of this name"):
        reproduce(experiments[0], tmp_path / "out", load=None, **QUIET)


def papermill(out: Path, **parameters: object) -> subprocess.CompletedProcess:
    """The call as a user types it."""
    words = [word for name, value in parameters.items() for word in ("-p", name, str(value))]
    return subprocess.run(
        [sys.executable, "-m", "papermill", str(NOTEBOOK), str(out), "-k", "python3", "--no-progress-bar", *words],
        capture_output=True, text=True, cwd=ROOT, timeout=280, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


def test_papermill_runs_a_row_of_the_paper(tmp_path):
    """The excerpts' two EgoSchema questions and random weights: the counts, and the paper's number beside ours."""
    done = papermill(
        tmp_path / "out.ipynb", run="table2_7b", benchmark="egoschema", model="data/tiny",
        videos="data/excerpts/videos", max_new_tokens=2, out_dir=tmp_path / "runs",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    results = json.loads((tmp_path / "runs" / "results.json").read_text())
    assert results["counts"] == {"table2_7b_egoschema": "2 expected = 2 answered + 0 failed"}
    assert [row["paper"] for row in results["table"]] == ["47.2", "-"]
    assert (tmp_path / "runs" / "table2_7b_egoschema" / "report.html").exists()
    text = str(nbformat.read(tmp_path / "out.ipynb", as_version=4))
    assert "(paper 47.2)" in text and "second run: skipped whole" in text


def test_a_dry_run_begins_nothing_and_says_what_is_missing(tmp_path):
    parameters = {"run": "table2_7b", "benchmark": "nextqa", "model": "data/tiny", "dry_run": True,
                  "annotations": "data/excerpts/annotations", "videos": "data/clips"}  # fmt: skip
    assert run_notebook(NOTEBOOK, tmp_path / "out", parameters) == 0
    text = str(nbformat.read(tmp_path / "out" / NOTEBOOK.name, as_version=4))
    assert "0 of 2 videos can be used, for 0 of 6 questions" in text
    assert not list((tmp_path / "out").glob("*/answers.jsonl"))
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["dry_run"] and results["table"][0]["questions"] == "6"


def test_the_notebook_builds_judged_tables(tmp_path):
    """Tables 1 and 3 in miniature through the notebook, with a judge on loopback."""
    with JudgeServer() as server:
        parameters = {"run": "table1_7b_msvd,table3_7b", "profile": "toy", "toy_videos": 1, "max_new_tokens": 6,
                      "judge": "stub", "judge_url": server.url}  # fmt: skip
        assert run_notebook(NOTEBOOK, tmp_path / "out", parameters) == 0
        assert len(server.requests) > 7
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    metrics = {row["metric"] for row in results["table"]}
    assert {"judge_accuracy", "judge_score", "exact_match", "judge_temporal", "judge_mean"} <= metrics
    text = str(nbformat.read(tmp_path / "out" / NOTEBOOK.name, as_version=4))
    assert "table3_text_generation" in text and "vcgbench judge_mean" in text
