"""Chapter 0's cell that installs the kit in Colab, with pip and Colab played: the real ones are not here."""

import subprocess
import sys
from types import ModuleType

import pytest
from course import CHAPTERS, code_cells, read

(CELL,) = (cell.source for path in CHAPTERS for cell in code_cells(read(path), "colab"))
WHEEL, GIT = "/content/sfllava_core-0.1.0-py3-none-any.whl", "git+https://example.org/kit.git"


@pytest.fixture
def installed(monkeypatch):
    """What pip was told to install; pip fails for a kit that is called broken."""
    words = []

    def run(command, **_):
        words.append(command[-1])
        assert command[:4] == [sys.executable, "-m", "pip", "install"]
        return subprocess.CompletedProcess(command, int("broken" in command[-1]), "", "no such thing")

    monkeypatch.setattr(subprocess, "run", run)
    return words


def run_with(kit: str) -> None:
    """The cell, its variable filled."""
    assert CELL.count('KIT = ""') == 1
    exec(CELL.replace('KIT = ""', f"KIT = {kit!r}"), {})


@pytest.mark.parametrize("kit", ["", WHEEL, GIT])
def test_elsewhere_it_does_nothing(installed, kit):
    assert "google.colab" not in sys.modules
    run_with(kit)
    assert installed == []


@pytest.fixture
def in_colab(monkeypatch):
    monkeypatch.setitem(sys.modules, "google.colab", ModuleType("google.colab"))


def test_an_empty_variable_is_named(in_colab, installed):
    with pytest.raises(RuntimeError, match="KIT is empty: write the kit's wheel, or a git address"):
        run_with("")
    assert installed == []


@pytest.mark.parametrize(
    ("kit", "told"),
    [(WHEEL, f"{WHEEL}[course]"), (GIT, f"sfllava-core[course] @ {GIT}"),
     ("https://example.org/kit.whl", "sfllava-core[course] @ https://example.org/kit.whl")],
)  # fmt: skip
def test_a_wheel_or_an_address_is_installed_with_what_the_course_needs(in_colab, installed, kit, told):
    run_with(kit)
    assert installed == [told]


def test_what_pip_says_is_said(in_colab, installed):
    with pytest.raises(RuntimeError, match=r"could not install broken\.whl:\nno such thing"):
        run_with("broken.whl")


def test_the_cell_comes_before_the_kit_is_imported():
    (chapter,) = (path for path in CHAPTERS if path.stem == "00_start_here")
    sources = [cell.source for cell in code_cells(read(chapter))]
    kit = [place for place, source in enumerate(sources) if "import sfllava" in source or "from sfllava" in source]
    assert sources.index(CELL) < kit[0]
