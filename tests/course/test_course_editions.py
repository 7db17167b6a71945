"""The editions: what is in them, and that every chapter of each runs headlessly, out of the unpacked offline pack."""

import json
import os
import subprocess
import sys
import zipfile

import nbformat
import pytest
from conftest import ROOT
from course import CHAPTERS, STEADY, code_cells, editions, prose, read

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
