"""The command line and the main job, as a user starts them: in processes of their own."""

import json
import os
import subprocess
import sys

import nbformat
import pytest
from conftest import DOG, GRAND_PRIX, ROOT

from sfllava_core.__main__ import parser
from sfllava_core.bench.annotations import load_annotations
from sfllava_core.bench.layouts import LAYOUTS
from sfllava_core.defaults import DEFAULT_VIDEO, POCKETBENCH
from sfllava_core.headless import NotebookError, run_notebook, table, typed, widget_errors


def command(*words: object, **env: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "sfllava_core", *map(str, words)],
        capture_output=True, text=True, cwd=ROOT, timeout=240, env={**os.environ, **env},
    )  # fmt: skip


def test_ask_answers_a_question():
    """Nothing but a film and a question: the pocket model, by its own spec, knows what is in the bubble."""
    film, answer = DEFAULT_VIDEO, open_answer(DEFAULT_VIDEO.stem, "What is in the bubble?")
    done = command("ask", film, "What is in the bubble?")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{answer}\n"
    assert "50 frames of 150" in done.stderr and "slow8-max1x2_fastall-to2x2" in done.stderr
    assert "random weights" not in done.stderr


def open_answer(film: str, question: str) -> str:
    """What PocketBench has as the answer."""
    found = load_annotations("pocketbench", POCKETBENCH / "PocketBench_QA.csv")
    return next(one.answer for one in found if (one.video, one.questions) == (film, (question,)))


def test_ask_with_random_weights_says_that_its_words_mean_nothing():
    done = command("ask", GRAND_PRIX, "What is on the road?", "--max-new-tokens", 5, "--model", "data/tiny")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert "50 frames of 288" in done.stderr and "random weights" in done.stderr and "3680 visual" in done.stderr


def test_ask_chooses_among_options():
    done = command("ask", DOG, "Which animal is it?", "--options", "a cat", "a dog", "--spec", "frames8_slow2-max1x2")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 2 and sum(line.startswith("*") for line in lines) == 1
    assert sum(float(line.split("%")[0].split()[-1]) for line in lines) == pytest.approx(100, abs=0.2)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("ask", "not_there.mp4", "why?"), "no such file"),
        (("ask", GRAND_PRIX, "why?", "--model", "no/such/folder"), "no such folder"),
        (("ask", GRAND_PRIX, "why?", "--spec", "nonsense"), "not understood"),
        (("bench", "--model", "random-900b"), "choose one of random-small"),
        (("bench", "--model", "random-7b", "--device", "cpu"), "needs a GPU"),
    ],
)
def test_what_goes_wrong_is_one_line(words, message):
    done = command(*words)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ") and message in done.stderr and "Traceback" not in done.stderr


def test_doctor_reports_versions_and_device():
    done = command("doctor")
    assert done.returncode == 0, done.stdout
    for word in ("torch 2", "transformers 5", "decord", "device\n  ok", "data/pocket", DEFAULT_VIDEO.name):
        assert word in done.stdout


@pytest.mark.parametrize(("absent", "healthy"), [({"einops"}, False), ({"decord"}, True), ({"decord", "av"}, False)])
def test_doctor_names_what_is_missing_and_how_to_get_it(monkeypatch, absent, healthy):
    """One decoder is enough, none is not."""
    from sfllava_core import doctor

    real = doctor.version
    monkeypatch.setattr(doctor, "version", lambda package: None if package in absent else real(package))
    lines, found_healthy = doctor.report()
    assert found_healthy is healthy
    for package in absent:
        assert f"  MISSING  {package}: pip install {package}" in lines


def test_bench_prints_both_ways_and_the_bound():
    done = command("bench", "--questions", 2, "--new-tokens", 3, "--model", "data/tiny")
    assert done.returncode == 0, done.stderr
    rows = [line.split("|") for line in done.stdout.splitlines() if line.startswith("| 2")]
    assert [row[2].strip() for row in rows] == ["released", "shared", "released, bound", "shared, bound"]
    released, shared = (float(row[7]) for row in rows[:2])
    assert float(rows[1][8].strip(" x")) == pytest.approx(released / shared, rel=0.1)


def test_the_main_job_writes_notebook_report_and_results(tmp_path, capsys):
    """`make run` on two films: every layout, the table on the terminal, one page that needs no network."""
    assert run_notebook(ROOT / "notebooks" / "08_reproduce.ipynb", tmp_path / "out", {"toy_videos": "2"}) == 0
    out = capsys.readouterr().out
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [row["layout"] for row in results["table"]] == list(LAYOUTS)
    assert (results["films"], results["profile"], results["dry_run"]) == (2, "toy", False)
    assert set(results["books"].values()) == {"24 expected = 24 answered + 0 failed"}
    assert out.splitlines()[-1] == f"report: {tmp_path / 'out' / '08_reproduce.html'}"
    assert all(row["layout"] in out and row["mean (95 %)"] in out for row in results["table"])
    page = (tmp_path / "out" / "08_reproduce.html").read_text()
    assert page.count("<img") == 2
    assert 'src="http' not in page and '<link rel="stylesheet" href="http' not in page, (
        "the report must need no network"
    )
    executed = nbformat.read(tmp_path / "out" / "08_reproduce.ipynb", as_version=4)
    assert all(not output.name == "stderr" for cell in executed.cells if cell.cell_type == "code"
               for output in cell.outputs if output.output_type == "stream"), "no warnings"  # fmt: skip


def test_make_run_takes_all_films():
    """What `make run` would start."""
    done = subprocess.run(["make", "-n", "run"], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert "-m sfllava_core run -p toy_videos 0" in done.stdout
    assert parser().parse_args(["run"]).notebook.name == "08_reproduce.ipynb"


def write_notebook(path, *sources: str):
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=metadata), path)
    return path


def test_a_cell_that_raises_fails_the_run(tmp_path):
    notebook = write_notebook(tmp_path / "bad.ipynb", "x = 1", "raise KeyError('lost')")
    with pytest.raises(NotebookError, match=r"bad.ipynb: cell \d raised KeyError: 'lost'"):
        run_notebook(notebook, tmp_path / "out")
    assert (tmp_path / "out" / "bad.ipynb").exists()


def test_a_widget_that_raises_fails_the_run(tmp_path):
    """papermill alone would call this a success."""
    source = "from ipywidgets import interact\ndef show(n): raise ValueError('inside a widget')\ninteract(show, n=3);"
    with pytest.raises(NotebookError, match="ValueError: inside a widget"):
        run_notebook(write_notebook(tmp_path / "widget.ipynb", source), tmp_path / "out")


def test_widgets_that_work_are_no_errors(tmp_path):
    source = "from ipywidgets import interact\ndef show(n): print(n)\ninteract(show, n=3);"
    assert run_notebook(write_notebook(tmp_path / "widget.ipynb", source), tmp_path / "out") == 0
    executed = nbformat.read(tmp_path / "out" / "widget.ipynb", as_version=4)
    assert executed.metadata["widgets"] and widget_errors(executed) == []


def test_parameters_from_the_command_line_keep_their_types():
    texts = {"a": "3", "b": "text", "c": '["x"]', "d": "true", "e": 5}
    assert typed(texts) == {"a": 3, "b": "text", "c": ["x"], "d": True, "e": 5}


def test_the_table_has_equal_columns():
    text = table({"table": [{"name": "a", "n": 1}, {"name": "longer", "n": 22}]})
    assert text.splitlines() == ["name    n", "a       1", "longer  22"]
