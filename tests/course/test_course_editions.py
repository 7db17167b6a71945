"""The editions: what is in them, and that every chapter of each runs headlessly, out of the unpacked offline pack."""

import html
import json
import os
import re
import subprocess
import sys
import zipfile

import nbformat
import pytest
from conftest import ROOT
from course import CHAPTERS, LESSONS, STEADY, code_cells, editions, prose, read

from sfllava_course.claims import with_claims

RUN = """
import sys
from pathlib import Path
from sfllava_core import defaults
from sfllava_course.headless import run_notebook
assert defaults.ROOT == Path.cwd(), "the pack's own code must run"
run_notebook(Path(sys.argv[1]), Path(sys.argv[2]), dict(word.split("=") for word in sys.argv[3:]))
"""
# The instructor's notebooks below are run with all.
FEWER_FILMS = {name: ["num_films=3"] for name in ("06_one_eye_two_eyes", "09_the_field")}


@pytest.fixture(scope="module")
def dist(tmp_path_factory):
    out = tmp_path_factory.mktemp("dist")
    editions().workshop(out)
    return out


@pytest.fixture(scope="module")
def unpacked(dist, tmp_path_factory):
    folder = tmp_path_factory.mktemp("room")
    with zipfile.ZipFile(dist / "slowfast-llava-course.zip") as pack:
        pack.extractall(folder)
    return folder / "slowfast-llava-course"


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_students_get_no_solutions_no_notes_and_no_outputs(dist, chapter):
    student, source = read(dist / "student" / chapter.name), read(chapter)
    assert not code_cells(student, "solution")
    assert len(student.cells) == len(source.cells) - len(code_cells(source, "solution"))
    assert len(code_cells(student, "exercise")) == len(code_cells(source, "exercise"))
    assert all(not cell.outputs for cell in code_cells(student))
    assert not any({"notes", "claims"} & set(cell.metadata) for cell in student.cells)
    assert "Instructor." not in prose(student)


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_instructors_get_solutions_notes_and_times(dist, chapter):
    instructor, source = read(dist / "instructor" / chapter.name), read(chapter)
    assert [cell.source for cell in code_cells(instructor)] == [cell.source for cell in code_cells(source)]
    assert [cell.outputs for cell in code_cells(instructor)] == [cell.outputs for cell in code_cells(source)]
    assert not any(cell.metadata.get("jupyter", {}).get("source_hidden") for cell in instructor.cells)
    for cell in source.cells:
        assert cell.metadata.get("notes", "") in prose(instructor)
    assert "minutes in class" in instructor.cells[1].source
    assert code_cells(instructor, "parameters") == [code_cells(instructor)[0]]


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_every_student_notebook_runs_with_nothing_filled_in(unpacked, tmp_path, chapter):
    """As papermill runs it, out of the pack and with the pack's code; no warning, and results at the end."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(unpacked)}
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(unpacked / "notebooks" / chapter.name), str(tmp_path),
         *FEWER_FILMS.get(chapter.stem, [])],
        capture_output=True, text=True, cwd=unpacked, timeout=290, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    executed = read(tmp_path / chapter.name)
    stderr = [out.text for cell in code_cells(executed) for out in cell.outputs if out.get("name") == "stderr"]
    assert not stderr, stderr
    assert json.loads((tmp_path / "results.json").read_text())["schema"] == 1
    todo = [cell for cell in code_cells(executed, "exercise") if "to do" in str(cell.outputs)]
    assert todo == code_cells(executed, "exercise"), "every stub says that it is to do"


@pytest.mark.parametrize("chapter", STEADY, ids=lambda path: path.stem)
def test_every_instructor_notebook_runs_and_gives_the_committed_outputs(dist, chapter):
    """nbval runs it in a fresh kernel and compares every output; cells tagged nbval-ignore-output are only run.

    The code cells and the outputs are those of notebooks/ (see above), so this is also the proof for these; and what
    the prose claims is asserted in between.
    """
    notebook = dist / "instructor" / chapter.name
    nbformat.write(with_claims(read(notebook)), notebook)
    options = ["--nbval", "--nbval-current-env", "-q", "-p", "no:cacheprovider", "-c", os.devnull]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "--rootdir", str(dist), str(notebook)],
        capture_output=True, text=True, cwd=dist, timeout=290, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:]
    assert f"{len(code_cells(read(notebook)))} passed" in done.stdout


def test_the_pack_needs_nothing_beside_the_wheels(unpacked):
    for name in (
        "START.txt",
        "Makefile",
        "requirements.lock",
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "data/tiny/config.json",
    ):
        assert (unpacked / name).exists(), name
    assert {path.name for path in (unpacked / "notebooks").glob("*.ipynb")} == {path.name for path in CHAPTERS}
    assert not [path for path in unpacked.rglob("*") if "__pycache__" in path.parts]


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_slides_are_the_tagged_cells_in_one_file(dist, chapter):
    page, source = (dist / "instructor" / "slides" / f"{chapter.stem}.html").read_text(), read(chapter)
    slides = [cell for cell in source.cells if "slide" in cell.metadata.get("tags", [])]
    figures = [cell for cell in slides if cell.cell_type == "code"]
    assert len(slides) >= 3 and source.cells[0] in slides
    assert page.count("<section") == 2 * len(slides), "reveal.js has a column for each"
    assert page.count("data:image/png") >= len(figures), "their pictures, and nothing of their code"
    assert 'src="http' not in page and not re.search(r'<link [^>]*href="http', page), "no network"
    assert not any("$" in cell.source for cell in slides if cell.cell_type == "markdown"), "no formula: no MathJax here"
    assert all("image/png" in str(cell.outputs) for cell in figures)


def test_the_handout_asks_everything_and_its_key_answers(dist):
    pages = [dist / "student" / "handout.html", dist / "instructor" / "handout_with_key.html"]
    asked, key = (html.unescape(page.read_text()) for page in pages)
    for chapter in LESSONS:
        for cell in code_cells(read(chapter), "solution"):
            function = cell.source.split("\ncheck(")[0].strip()
            assert function in key and function not in asked
        for cell in code_cells(read(chapter), "exercise"):
            assert cell.source.split("\ncheck(")[0].strip() in asked
    answers = sum(prose(read(chapter)).count("<summary>Answer</summary>") for chapter in CHAPTERS)
    assert key.count('<div class="item"><p><strong>') - asked.count('<div class="item"><p><strong>') == answers
    assert "<script" not in key and "http" not in re.sub(r"(?s)<body>.*", "", key).replace("http-equiv", "")


def test_the_pack_says_what_instructors_read(unpacked):
    from offline_check import blocks, section

    assert (unpacked / "START.txt").read_text().endswith(f"{section()}\n")
    with_network, without = blocks()
    assert "pip download" in with_network and "PIP_NO_INDEX=1" in without and without.strip().endswith("make lab")
    for target in re.findall(r"make (\S+)", with_network + without):
        assert re.search(rf"^[\w -]*\b{target}\b.*:", (ROOT / "Makefile").read_text(), re.M), target
