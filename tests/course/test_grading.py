"""Thirty copies with ten kinds of mischief, graded for real: thirty rows, in bounded time, nothing left behind."""

import csv
import json
import os
import socket
import subprocess
import sys
import threading
import time

import psutil
import pytest
from conftest import ROOT
from notebook_files import write_notebook
from test_course_exercises import SOLUTIONS, defined_in
from wrong_answers import WRONG

from sfllava_course import exercises
from sfllava_course.__main__ import command
from sfllava_course.grading import values
from sfllava_course.grading.grade import grade, harmless
from sfllava_course.grading.sandbox import Limits, missing
from sfllava_course.grading.submissions import Course
from sfllava_course.grading.submissions import defined_in as names_in

IMPORTS = "import os, sys, time\nfrom itertools import pairwise"
CHECK = '\nfrom sfllava_course.exercises import check\n\ncheck("sample", sample)'  # torch comes with it
RIGHT = """
def sample(total, n):
    edges = [round(piece * ((total - 1) / n)) for piece in range(n + 1)]
    return [(start + end) // 2 for start, end in pairwise(edges)]
"""
STUB = "def sample(total, n):\n    # TODO\n    return None"
WRONG_ONE = "def sample(total, n):\n    return list(range(n))"
SWALLOWS = """
def sample(total, n):
    while True:
        try:
            time.sleep(1)
        except KeyboardInterrupt:
            pass
"""
# Two of each kind of mischief: the cells of a copy, and what it gets.
MISCHIEF = {
    "endless loop": ([IMPORTS, "while True:\n    pass", RIGHT], "right"),
    "endless loop that clings": ([IMPORTS, SWALLOWS], "wrong"),
    "fork bomb": ([IMPORTS, "while True:\n    os.fork()", RIGHT], "wrong"),
    "fork bomb in new sessions": (
        [IMPORTS, "while True:\n    if os.fork() == 0:\n        os.setsid()\n        os.fork()", RIGHT],
        "wrong",
    ),
    "5 GB": ([IMPORTS, "data = bytearray(5 * 10**9)", RIGHT], "right"),
    "5 GB in pieces": ([IMPORTS, "data = [bytearray(10**8) for _ in range(50)]", RIGHT], "right"),
    "exit": ([IMPORTS, "exit()", RIGHT], "wrong"),
    "hard exit": ([IMPORTS, RIGHT, "os._exit(0)"], "right"),
    "removed cell": ([IMPORTS], "to do"),
    "removed cells": ([], "to do"),
    "renamed function": ([IMPORTS, RIGHT.replace("sample", "mine") + CHECK.replace(", sample)", ", mine)")], "to do"),
    "renamed to another": ([IMPORTS, RIGHT.replace("def sample", "def catch_chance")], "to do"),
    "output spam": ([IMPORTS, "while True:\n    print('spam' * 10_000)", RIGHT], "right"),
    "output spam for ever": (
        [IMPORTS, "import threading\n\n\ndef spam():\n    while True:\n        os.write(1, b'spam' * 10_000)\n\n\n"
         "threading.Thread(target=spam, daemon=True).start()", RIGHT],
        "right",
    ),
    "deleted import": ([IMPORTS.replace("\nfrom itertools import pairwise", ""), RIGHT], "wrong"),
    "deleted imports": ([RIGHT], "wrong"),
    "writing outside": ([IMPORTS, "OUTSIDE", RIGHT], "right"),
    "deleting outside": ([IMPORTS, "import shutil\nshutil.rmtree(OUTSIDE_FOLDER, ignore_errors=True)", RIGHT], "right"),
    "network call": ([IMPORTS, "import socket\nsocket.create_connection(LISTENER, 3).send(b'x')", RIGHT], "right"),
    "network call and escape": (
        [IMPORTS, "import subprocess\nsubprocess.Popen(['sleep', '4321'], start_new_session=True)", RIGHT], "right",
    ),
}  # fmt: skip
HONEST = {
    **{f"right {number}": ([IMPORTS, RIGHT + CHECK], "right") for number in range(4)},
    **{f"wrong {number}": ([IMPORTS, WRONG_ONE + CHECK], "wrong") for number in range(3)},
    **{f"to do {number}": ([IMPORTS, STUB + CHECK], "to do") for number in range(3)},
}


@pytest.fixture
def one_exercise(monkeypatch):
    """Chapter 1 with its first exercise alone."""
    whole = Course().chapters["01_frames"]
    small = type(whole)(whole.name, whole.exercises[:1], whole.own, whole.cells)
    monkeypatch.setattr(Course, "chapters", {whole.name: small})


@pytest.fixture
def listener():
    """A server that counts who comes."""
    came = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        ended = threading.Event()

        def listen():
            while not ended.is_set():
                try:
                    came.append(server.accept())
                except TimeoutError:
                    pass

        thread = threading.Thread(target=listen)
        thread.start()
        yield server.getsockname(), came
        ended.set()
        thread.join()
    for connection, _ in came:
        connection.close()


def rows_of(out):
    with (out / "grades.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_thirty_copies_with_ten_kinds_of_mischief_give_thirty_rows(one_exercise, listener, tmp_path):
    (address, came), copies = listener, {**MISCHIEF, **HONEST}
    treasure = tmp_path / "treasure"
    treasure.mkdir()
    (treasure / "kept.txt").write_text("kept")
    write = f"for path in ({str(ROOT / 'planted')!r}, {str(treasure / 'planted')!r}, '/tmp/planted'):\n"
    write += "    try:\n        open(path, 'w').write('here')\n    except OSError:\n        pass"
    for name, (cells, _) in copies.items():
        cells = [write if cell == "OUTSIDE" else cell for cell in cells]
        cells = [
            cell.replace("OUTSIDE_FOLDER", repr(str(treasure))).replace("LISTENER", str(address)) for cell in cells
        ]
        folder = tmp_path / "copies" / name
        folder.mkdir(parents=True)
        write_notebook(folder / "01_frames.ipynb", *cells)
    start = time.monotonic()
    grade(tmp_path / "copies", tmp_path / "out", Limits(30, 3 * 1024**3), jobs=2)
    seconds = time.monotonic() - start
    rows = rows_of(tmp_path / "out")
    assert {row["name"]: row["verdict"] for row in rows} == {name: wanted for name, (_, wanted) in copies.items()}
    assert len(copies) == len(rows) == 30
    assert seconds < 30 * (30 + 30) / 2, "bounded by the copies' own time"
    page = (tmp_path / "out" / "grades.html").read_text()
    assert all(name in page for name in copies) and "<script" not in page
    assert not [p for p in psutil.process_iter(["cmdline"]) if "4321" in (p.info["cmdline"] or [])], "it escaped"
    if not missing():
        assert not came, "somebody reached the network"
        assert [path.name for path in treasure.iterdir()] == ["kept.txt"]
        assert not (ROOT / "planted").exists()


# What a copy may do to be called right without an answer.
FORGERIES = {
    "prints": STUB + "\nprint('✓ sample: right.')",
    "bends the checks": """
import sfllava_course.exercises as e, sfllava_course.exercises.on_frames as f, sfllava_course.exercises.judging as j
import sfllava_course.grading.inside as i, sfllava_course.grading.values as v
e.check = e.judged = lambda name, answer: e.Verdict("right", "right")
f.check_sample = f.expect_indices = j.expect_indices = lambda *words: "right"
f.sample_frame_indices = lambda total, n: [0] * n
v.encode = lambda value: {"other": "int"}
def sample(total, n):
    return [0] * n
""",
    "equals everything": """
class Yes(list):
    def __eq__(self, other):
        return True
def sample(total, n):
    return Yes([0] * n)
""",
    "answers for the box": """
import sfllava_course.grading.inside as inside
def sample(total, n):
    return [0] * n
inside.call = lambda *words: '{"value": {"status": "right", "verdict": "right"}}'
""",
    "floods the answer": "def sample(total, n):\n    return list(range(10**8))",
    "nests the answer": """
import sfllava_course.grading.inside as inside
def sample(total, n):
    return 1
inside.call = lambda *words: '{"value": ' + '[' * 10**6 + ']' * 10**6 + '}'
""",
}


def test_a_right_mark_cannot_be_forged(one_exercise, tmp_path):
    for name, source in FORGERIES.items():
        folder = tmp_path / "copies" / name
        folder.mkdir(parents=True)
        write_notebook(folder / "01_frames.ipynb", IMPORTS, source)
    grade(tmp_path / "copies", tmp_path / "out", Limits(60), jobs=2)
    verdicts = {row["name"]: row["verdict"] for row in rows_of(tmp_path / "out")}
    assert verdicts == {name: "to do" if name == "prints" else "wrong" for name in FORGERIES}


def test_files_that_are_no_notebooks_cost_their_own_rows(one_exercise, tmp_path, capsys):
    copies = tmp_path / "copies"
    for name in ("broken", "bytes", "link", "pipe", "nested", "=HYPERLINK", ".ipynb_checkpoints"):
        (copies / name).mkdir(parents=True)
    (copies / "broken" / "01_frames.ipynb").write_text('{"cells": [')
    (copies / "bytes" / "01_frames.ipynb").write_bytes(bytes(range(256)))
    (copies / "link" / "01_frames.ipynb").symlink_to("/etc/passwd")
    os.mkfifo(copies / "pipe" / "01_frames.ipynb")
    (copies / "nested" / "01_frames.ipynb").write_text("[" * 10**5)
    (copies / "=HYPERLINK" / "01_frames.ipynb").write_text("")
    (copies / ".ipynb_checkpoints" / "01_frames.ipynb").write_text("")
    write_notebook(copies / "nameless.ipynb", "1 + 1")
    assert command(["course", "grade", str(copies), "--out", str(tmp_path / "out"), "--seconds", "20"]) == 0
    rows = {row["name"]: row for row in rows_of(tmp_path / "out")}
    assert set(rows) == {"broken", "bytes", "link", "pipe", "nested", "'=HYPERLINK", "nameless"}
    assert {row["verdict"] for row in rows.values()} == {"wrong"}
    notes = {"broken": "no notebook", "link": "cannot be opened", "pipe": "no plain file", "nameless": "--chapter"}
    assert all(words in rows[name]["note"] for name, words in notes.items()), rows
    assert "grades.csv" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere"], "no such folder"),
        (["empty"], "no notebook"),
        (["empty", "--chapter", "77"], "choose one of 00_start_here"),
        (["empty", "--seconds", "1"], "give at least 5"),
        (["empty", "--jobs", "0"], "give at least 1"),
    ],
)
def test_a_wrong_call_is_named(words, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    assert command(["course", "grade", *words]) == 1
    assert said in capsys.readouterr().err and not (tmp_path / "runs").exists()


def through_the_box(answer):
    """An answer whose values take the way out of the box and back."""
    return lambda *inputs: values.decode(json.loads(json.dumps(values.encode(answer(*inputs)))))


@pytest.mark.parametrize("name", SOLUTIONS)
def test_on_its_way_out_of_the_box_an_answer_stays_what_it_was(name):
    for answer in (defined_in(SOLUTIONS[name], name), *(mistake for mistake, _ in WRONG[name].values())):
        assert exercises.judged(name, through_the_box(answer))[:2] == exercises.judged(name, answer)[:2]


@pytest.mark.parametrize("hostile", [{}, {"array": "AAAA", "scalar": False}, {"tensor": "AAAA"}, {"method": "no"}])
def test_what_is_no_value_is_an_error_and_is_not_run(hostile):
    with pytest.raises(Exception, match=r".+"):
        values.decode(hostile)


def test_the_answers_of_a_cell_are_found_where_they_are_bound():
    source = "%matplotlib inline\nx = 1\nif x:\n    def sample(): pass\nwith open('a') as f: join = lambda splice: 1"
    source += "\nimport shares"
    assert {"x", "sample", "join", "f", "shares"} <= names_in(source) and "splice" not in names_in(source)
    assert names_in("def sample(:\n  pass") == {"sample"}, "a cell that does not parse"
    chapter = Course().chapters["07_attention"]
    assert chapter.answered_in("strip = 1") == ["strip"] and "shares" in chapter.exercises


def test_a_chapter_is_known_by_its_cells_and_its_number():
    course = Course()
    assert course.of_cells(["frames-01", "x"]).name == "01_frames" and course.of_cells(["x"]) is None
    assert course.named("03").name == "03_slow_and_fast" and course.in_name("Copy of 05_assembly_and_prompts (2)")
    names = [name for chapter in course.chapters.values() for name in chapter.exercises]
    assert set(names) == set(exercises.HOMES), "every exercise is graded"


def test_a_spreadsheet_sees_texts_and_no_formulas():
    assert harmless("=1+1") == "'=1+1" and harmless(1.5) == 1.5 and harmless("a") == "a" and harmless("") == ""


def test_where_nothing_can_be_isolated_it_says_so_and_still_ends_what_runs(tmp_path):
    """No `unshare` on the path: limits are left, a word of warning, and an end for what escapes into a session."""
    escape = "import subprocess\nsubprocess.Popen(['/bin/sleep', '4322'], start_new_session=True)"
    (tmp_path / "copies" / "ann").mkdir(parents=True)
    write_notebook(tmp_path / "copies" / "ann" / "01_frames.ipynb", IMPORTS, escape, RIGHT)
    done = subprocess.run(
        [sys.executable, "-m", "sfllava_course", "course", "grade", "copies", "--out", "out", "--seconds", "90"],
        capture_output=True, text=True, cwd=tmp_path, timeout=240,
        env={**os.environ, "PATH": "", "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "warning: copies are not isolated" in done.stderr
    assert "copies are not isolated" in (tmp_path / "out" / "grades.html").read_text()
    assert rows_of(tmp_path / "out")[0]["verdict"] == "right"
    assert not [p for p in psutil.process_iter(["cmdline"]) if "4322" in (p.info["cmdline"] or [])], "it escaped"
