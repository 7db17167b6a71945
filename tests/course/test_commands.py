"""The command line and the main job, as a user starts them: in processes of their own."""

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
from contextlib import suppress

import nbformat
import pytest
from conftest import DOG, GRAND_PRIX, ROOT, TINY

from sfllava_bench.answers.layouts import LAYOUTS
from sfllava_bench.questions.annotations import load_annotations
from sfllava_bench.terminal import table
from sfllava_core.defaults import DEFAULT_VIDEO, POCKETBENCH
from sfllava_course.__main__ import parser
from sfllava_course.headless import NotebookError, run_notebook, widget_errors
from sfllava_course.notebook_parameters import ParameterError, parameters_for


def command(*words: object, **env: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "sfllava_course", *map(str, words)],
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
        (("ask", GRAND_PRIX, "why?", "--device", "cuda"), "sees no CUDA GPU"),
        (
            ("ask", GRAND_PRIX, "why?", "--spec", "frames2000000000_fastall-to4x4"),
            "2000000000: give a whole number of at",
        ),
        (
            ("ask", GRAND_PRIX, "why?", "--spec", "grid100000x100000_tiles2x2"),
            "100000: give a whole number of at most 32",
        ),
        (("ask", GRAND_PRIX, "why?", "--max-new-tokens", "0"), "at least 1"),
        (("bench", "--questions", "0"), "--questions 0: give at least 1"),
        (("bench", "--new-tokens", "-3"), "--new-tokens -3: give at least 1"),
        (("run", "-p", "dry_run", "maybe"), "dry_run='maybe': give True or False"),
        (("run", "-p", "dry", "True"), "08_reproduce.ipynb has no parameter 'dry'; it has run, benchmark,"),
    ],
)
def test_what_goes_wrong_is_one_line(words, message):
    done = command(*words, CUDA_VISIBLE_DEVICES="")
    assert done.returncode == 1
    assert done.stderr.startswith("error: ") and message in done.stderr and "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("buffered", ["", "1"])
def test_a_list_that_is_read_in_part_ends_with_one_line(buffered):
    """`bench list | head -1`, with a reader that is gone before anything is written."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "sfllava_bench", "list"],
        stdout=writer, stderr=subprocess.PIPE, text=True, cwd=ROOT, timeout=120,
        env={**os.environ, "PYTHONUNBUFFERED": buffered},
    )  # fmt: skip
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "ended: nobody reads the output any more\n")


def test_control_characters_of_others_do_not_reach_the_terminal():
    """An option that would turn the terminal red, clear it, and turn the reading direction."""
    evil = "a \x1b[31m\x1b[2J\x9b1m\u202ecat\r"
    done = command("ask", DOG, "Which?", "--options", evil, "a dog", "--spec", "frames4_slow2-to2x2", "--model", TINY)
    assert done.returncode == 0, done.stderr
    assert "a \\u001b[31m\\u001b[2J\\u009b1m\\u202ecat\\u000d" in done.stdout
    done = command("ask", f"no{evil}.mp4", "why?")
    assert (done.returncode, "\x1b" in done.stderr, "\x9b" in done.stderr) == (1, False, False)
    assert "no such file" in done.stderr


def test_hostile_annotation_files_end_in_plain_lines(tmp_path):
    header = "video_name,question_id,question,answer,a0,a1,a2,a3,a4\n"
    (tmp_path / "EgoSchema.csv").write_text(f"{header}./,\x1b[31mq1,what?,\x1b[2Jx,a,b,c,d,e\n.,q2,what?,a,a,b,c,d,e\n")
    words = ["check", "--run", "table2_7b", "--benchmark", "egoschema", "--annotations", tmp_path, "--videos", tmp_path]
    done = subprocess.run([sys.executable, "-m", "sfllava_bench", *map(str, words)],
                          capture_output=True, text=True, cwd=ROOT, timeout=120)  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert "Traceback" not in done.stderr and "\x1b" not in done.stderr
    assert "row 2: answer '\\x1b[2Jx' is none" in done.stderr and "row 3: video_name '.' names no video" in done.stderr


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


LONG_CELL = """
import time
from collections import Counter
from sfllava_bench.answers.progress import Progress
with Progress(Counter({str(n): 2 for n in range(8)}), 0) as bar:
    for n in range(8):
        time.sleep(0.3)
        bar.add([{"key": f"{n}/{k}", "video": str(n)} for k in range(2)])
"""


def test_a_long_cell_says_how_far_it_is(tmp_path):
    """On a terminal of 80 columns, behind the count of cells; and nothing of it in the notebook."""
    notebook = with_parameters(tmp_path / "long.ipynb", "dry_run = allow_missing = False")
    content = nbformat.read(notebook, as_version=4)
    content.cells.append(nbformat.v4.new_code_cell(LONG_CELL))
    nbformat.write(content, notebook)
    said = on_a_terminal("-m", "sfllava_course", "run", "--notebook", notebook, "--out", tmp_path / "out")
    wanted = r"long: 3/4 cells .* \d\d:\d\d, [1-7] of 8 videos, [\d.]+ questions/s, 00:0\d left$"
    assert re.search(wanted, said.replace("\r", "\n"), re.MULTILINE), said
    assert nbformat.read(tmp_path / "out" / "long.ipynb", as_version=4).cells[-1].outputs == []


def on_a_terminal(*words: object) -> str:
    """What a command writes to a terminal of 80 columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = subprocess.Popen([sys.executable, *map(str, words)], stdout=theirs, stderr=theirs, cwd=ROOT)
    os.close(theirs)
    too_long = threading.Timer(200, process.kill)
    too_long.start()
    said = b""
    with suppress(OSError):  # the end of a terminal's output
        while part := os.read(ours, 1 << 16):
            said += part
    os.close(ours)
    too_long.cancel()
    assert process.wait(timeout=60) == 0, said
    return said.decode()


def test_make_run_takes_all_films():
    """What `make run` would start."""
    done = subprocess.run(["make", "-n", "run"], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert "-m sfllava_course run -p toy_videos 0" in done.stdout
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


def with_parameters(path, source: str):
    """A notebook whose cell of parameters this is."""
    write_notebook(path, source, "import json; print(json.dumps([dry_run, allow_missing]))")
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[0].metadata["tags"] = ["parameters"]
    nbformat.write(notebook, path)
    return path


PARAMETERS = (
    "a = 0  # a number = a count\nb = ''\nc = []\nd = False\ne = 0\nf = 0.5\ng = None\nh: bool = True\n"
    "i = 2 * 3\ndry_run = False\nallow_missing = True"
)


def test_parameters_from_the_command_line_keep_their_types(tmp_path):
    notebook = with_parameters(tmp_path / "n.ipynb", PARAMETERS)
    texts = {"a": "3", "b": "text", "c": '["x"]', "d": "true", "e": 5}
    assert parameters_for(notebook, texts) == {"a": 3, "b": "text", "c": ["x"], "d": True, "e": 5}
    assert parameters_for(notebook, {"b": "3", "f": "2", "g": "None", "i": "false"}) == {
        "b": "3", "f": 2, "g": None, "i": False,
    }  # fmt: skip
    assert parameters_for(notebook, {"b": ""}) == {"b": ""}, "no text is no folder"


@pytest.mark.parametrize(
    ("text", "value"),
    [("False", False), ("false", False), ("no", False), ("No", False), ("off", False), ("0", False),
     ("True", True), ("true", True), ("yes", True), ("ON", True), ("1", True)],
)  # fmt: skip
def test_false_is_false_however_it_is_typed(text, value, tmp_path):
    notebook = with_parameters(tmp_path / "n.ipynb", PARAMETERS)
    found = parameters_for(notebook, {"d": text, "h": text})
    assert found["d"] is value and found["h"] is value


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("d", "maybe", "d='maybe': give True or False"), ("d", "None", "d='None': give True or False"),
        ("d", "", "d='': give True or False"), ("d", "2", "d='2': give True or False"),
        ("a", "True", "a='True': give a whole number"), ("a", "three", "a='three': give a whole number"),
        ("a", "-3", "a='-3': give a whole number of at least 0"), ("a", "2.5", "a='2.5': give a whole number"),
        ("a", "9" * 5000, "give a whole number"), ("b", "None", "b='None': give a text; '' stands for none"),
        ("b", "False", "b='False': give a text"), ("c", "x", "c='x': give a list as JSON"),
        ("c", "[" * 100_000, "give a list as JSON"), ("f", "yes", "f='yes': give a number"),
        ("dryrun", "True", "n.ipynb has no parameter 'dryrun'; it has a, b, c, d, e, f, g, h, i, dry_run"),
    ],
)  # fmt: skip
def test_parameters_of_another_type_or_name_are_refused(name, text, message, tmp_path):
    notebook = with_parameters(tmp_path / "n.ipynb", PARAMETERS)
    with pytest.raises(ParameterError) as caught:
        parameters_for(notebook, {name: text})
    assert message in str(caught.value)


def test_what_is_typed_is_what_the_notebook_gets(tmp_path):
    notebook = with_parameters(tmp_path / "n.ipynb", PARAMETERS)
    words = ["-p", "dry_run", "False", "-p", "allow_missing", "no", "--out", tmp_path / "out", "--notebook", notebook]
    done = command("run", *words)
    assert done.returncode == 0, done.stderr
    said = nbformat.read(tmp_path / "out" / "n.ipynb", as_version=4).cells[-1].outputs[0].text
    assert json.loads(said) == [False, False]


def test_the_table_has_equal_columns():
    text = table({"table": [{"name": "a", "n": 1}, {"name": "longer", "n": 22}]})
    assert text.splitlines() == ["name    n", "a       1", "longer  22"]


def test_a_cell_of_the_table_is_one_line_and_no_command_to_the_terminal():
    text = table({"table": [{"name": "a\x1b[31m\nb", "n": "\ud800"}]})
    assert text.splitlines() == ["name                n", "a\\u001b[31m\\u000ab  \\ud800"]
