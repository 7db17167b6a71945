"""Prose that is bound to the run: every chapter claims something, and a sentence that goes stale fails its chapter."""

import ast

import nbformat
import pytest
from course import CHAPTERS, editions, read
from nbformat.v4 import new_code_cell, new_markdown_cell
from notebook_files import write_notebook

from sfllava_course.claims import StaleProse, with_claims, without_claims


def claiming(path, claims: dict[str, str], text: str = "Three films of four are right."):
    """A notebook that computes `right`, and says what came out."""
    notebook = nbformat.read(write_notebook(path, "right = 3", "print(right)"), as_version=4)
    notebook.cells.insert(1, new_markdown_cell(text, id="said-01", metadata={"claims": claims}))
    nbformat.write(notebook, path)
    return path


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_claims_stand_in_their_cells_and_are_no_truisms(path):
    notebook = read(path)
    claims = [held for cell in notebook.cells for held in cell.metadata.get("claims", {}).values()]
    assert len(claims) >= (1 if path.name[:2] == "08" else 3)
    for held in claims:
        tree = ast.parse(held, mode="eval")
        assert any(isinstance(node, (ast.Compare, ast.Call)) for node in ast.walk(tree)), held
    with_claims(notebook)  # raises where the words are not in the cell


def test_what_holds_leaves_no_trace(tmp_path):
    path = claiming(tmp_path / "true.ipynb", {"Three films": "right == 3"})
    editions().execute(path)
    cells = read(path).cells
    assert [cell.cell_type for cell in cells] == ["code", "markdown", "code"]
    assert [cell.execution_count for cell in cells if cell.cell_type == "code"] == [1, 2]


def test_a_false_sentence_fails_the_chapter_and_leaves_it_as_it_was(tmp_path):
    path = claiming(tmp_path / "stale.ipynb", {"of four are right": "right == 4"})
    before = path.read_bytes()
    with pytest.raises(StaleProse, match=r"stale\.ipynb: stale prose in cell said-01: 'of four are right'"):
        editions().execute(path)
    assert path.read_bytes() == before


def test_an_error_of_a_cell_is_no_stale_prose(tmp_path):
    path = claiming(tmp_path / "broken.ipynb", {"Three films": "missing == 3"})
    with pytest.raises(Exception, match="NameError") as error:
        editions().execute(path)
    assert not isinstance(error.value, StaleProse)


def test_words_that_are_not_in_their_cell_are_named():
    cell = new_markdown_cell("Two films.", id="said-00", metadata={"claims": {"Three films": "True"}})
    with pytest.raises(StaleProse, match=r"said-00.*'Three films' are not in it"):
        with_claims(nbformat.v4.new_notebook(cells=[cell]))


def test_a_notebook_comes_back_as_it_was():
    cell = new_markdown_cell("Two\nfilms.", id="said-00", metadata={"claims": {"Two films": "1 < 2"}})
    notebook = nbformat.v4.new_notebook(cells=[cell, new_code_cell("1", id="code-01")])
    held = with_claims(notebook)
    assert len(notebook.cells) == 2 and len(held.cells) == 3, "the source is left alone"
    assert [one.id for one in without_claims(held).cells] == ["said-00", "code-01"]
