"""Figures say in words what they show, and notebooks and the pages made of them carry it; formulas need no script."""

import ast

import matplotlib.pyplot as plt
import nbformat
import pytest
from bs4 import BeautifulSoup
from conftest import ROOT
from course import CHAPTERS, code_cells, editions, read
from notebook_files import write_notebook

from sfllava_course.figures.described import courses, described
from sfllava_course.headless import write_html
from sfllava_course.web import description

FIGURES = sorted((ROOT / "sfllava_course" / "figures").glob("*.py"))
SHOWN = """
import matplotlib.pyplot as plt
from IPython.display import display
from sfllava_core import Pool
from sfllava_course.figures.pooling import plot_spot
spot = plot_spot({"max": Pool.window("max", 2, 2)})
"""
DISPLAYED = 'plt.close(spot)\ndisplay(plot_spot({"mean <b>": Pool.to(2, 2)}))\nplt.close()\nplt.plot([0, 1]);'


@pytest.fixture(scope="module")
def notebook(tmp_path_factory):
    """A figure shown at the end of its cell, another by `display`, and one that is none of ours."""
    path = write_notebook(tmp_path_factory.mktemp("shown") / "shown.ipynb", SHOWN, DISPLAYED)
    made = read(path)
    made.cells.append(nbformat.v4.new_markdown_cell("So\n\n$$\\frac{1}{2} \\le x$$\n\nholds."))
    nbformat.write(made, path)
    editions().execute(path)
    return read(path)


def pictures(notebook) -> list:
    return [out for cell in code_cells(notebook) for out in cell.outputs if "image/png" in out.get("data", {})]


def test_a_notebook_writes_a_figures_words_beside_its_picture(notebook):
    first, second, other = map(description, pictures(notebook))
    assert first.startswith("One bright patch on grey") and "max brightest 1.00" in first
    assert "mean <b> brightest 0.03" in second and other == ""


def test_a_report_has_the_words_and_draws_formulas_without_a_script(notebook, tmp_path):
    page = BeautifulSoup(write_html(notebook, tmp_path / "page.html").read_text(), "html.parser")
    alts = [image["alt"] for image in page("img")]
    assert alts[:2] == [description(out) for out in pictures(notebook)][:2]
    assert alts[2] == "No description has been provided for this image"
    assert page.find("math").find("mfrac") and "$$" not in page.find("main").get_text()
    assert "$$" in notebook.cells[-1].source, "the notebook itself stays as it is"


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_every_committed_picture_has_its_words(path):
    words = [description(out) for out in pictures(read(path))]
    assert words and all(words)


def test_no_figure_is_returned_without_words():
    functions = [node for path in FIGURES for node in ast.walk(ast.parse(path.read_text()))
                 if isinstance(node, ast.FunctionDef) and node.name.startswith("plot_")]  # fmt: skip
    assert len(functions) > 40
    for function in functions:
        for node in ast.walk(function):
            if isinstance(node, ast.Return):
                assert ast.unparse(node.value).startswith("described(figure"), f"{function.name}, line {node.lineno}"


def test_the_course_of_lines_is_told_by_their_ends_and_what_lies_beyond():
    figure, axis = plt.subplots()
    axis.plot([0, 1, 2], [1, 5, 3], label="up and down")
    axis.plot([0, 1], [2000, 4], label="down")
    axis.axhline(7)
    plt.close(figure)
    assert courses(axis) == "up and down: from 1 to 3, between 1 and 5; down: from 2,000 to 4"
    assert described(figure, "two\n  lines").get_label() == "two lines."
