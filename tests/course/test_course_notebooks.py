"""The committed chapters: their form and their pictures. (That their outputs are true: test_course_editions.py.)"""

import base64
import re

import pytest
from conftest import ROOT
from course import CHAPTERS, LESSONS, NOTEBOOKS, code_cells, prose, read

PROSE_TO_CODE, AT_LEAST = 2.0, 1.5  # words of prose to one of code: in the course as a whole, and in each chapter

EACH = pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)


@EACH
def test_a_chapter_has_all_its_parts(path):
    notebook = read(path)
    text = prose(notebook)
    for part in (
        "**The question of this chapter:**",
        "Afterwards you can",
        "What the paper found",
        "## Check yourself",
        "## Go further",
        "**Needs:**",
        "**Gives:**",
    ):
        assert part in text, part
    assert text.lower().count("predict") >= 3, "predict first, then run"
    assert 3 <= text.count("<details><summary>Answer</summary>") <= 5, "quiz questions"
    stubs, solutions = code_cells(notebook, "exercise"), code_cells(notebook, "solution")
    assert len(stubs) == len(solutions) >= 2
    assert all(cell.metadata.jupyter.source_hidden for cell in solutions)
    assert any("explore(" in cell.source for cell in code_cells(notebook)), "something to turn"
    assert any("notes" in cell.metadata for cell in notebook.cells), "notes for the instructor"
    assert {"minutes", "run_seconds"} <= set(notebook.metadata.course)


@EACH
def test_code_cells_are_short_and_prose_leads(path):
    notebook = read(path)
    lengths = [len(cell.source.splitlines()) for cell in code_cells(notebook)]
    assert max(lengths) <= 25 and sorted(lengths)[len(lengths) // 2] <= 7
    assert len(notebook.cells) - len(lengths) >= len(lengths), "at least as many cells of prose as of code"
    assert [cell.id for cell in notebook.cells] == [
        f"{notebook.cells[0].id.split('-')[0]}-{place:02d}" for place in range(len(notebook.cells))
    ]


def words(path) -> tuple[int, int]:
    """Words (what blanks and line ends part) of a chapter's prose, and of its code."""
    notebook = read(path)
    return len(prose(notebook).split()), sum(len(cell.source.split()) for cell in code_cells(notebook))


@EACH
def test_prose_outweighs_code(path):
    text, code = words(path)
    assert text / code >= AT_LEAST, f"{text} words of prose to {code} of code"


def test_the_course_has_two_words_of_prose_to_one_of_code():
    text, code = (sum(column) for column in zip(*map(words, CHAPTERS)))
    assert text / code >= PROSE_TO_CODE, f"{text} words of prose to {code} of code"


@EACH
def test_it_is_committed_executed_clean_and_small(path):
    notebook = read(path)
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1)), "run from top to bottom"
    assert "widgets" not in notebook.metadata, "widget states are dead without a kernel"
    pictures = [
        output.data["image/png"] for cell in cells for output in cell.outputs if "image/png" in output.get("data", {})
    ]
    assert len(pictures) >= 4
    assert max(len(base64.b64decode(picture)) for picture in pictures) < 100_000
    for cell in cells:
        for output in cell.outputs:
            assert output.output_type != "error" and output.get("name") != "stderr"
            words = str(output.get("text", "")) + str(
                {k: v for k, v in output.get("data", {}).items() if k != "image/png"}
            )
            assert not re.search(r"(?<![\w.])/(work|home|root|tmp|usr)/", words), f"{cell.id}: a path of one machine"


@EACH
def test_links_lead_somewhere(path):
    for target in re.findall(r"\]\(([\w./]+)\)", prose(read(path))):
        assert (NOTEBOOKS / target).exists(), target


def test_instructors_find_every_chapter_with_its_times_and_in_both_plans():
    guide = (ROOT / "INSTRUCTOR.md").read_text()
    for path in CHAPTERS:
        planned = read(path).metadata.course.minutes
        (row,) = re.findall(rf"^\| `{path.stem}` .*$", guide, re.M)
        assert f"| {planned} min |" in row and re.search(r"\| [0-9]+ s \|$", row), row
    for name in ("90 minutes", "half a day"):
        plan = guide.split(f"## A plan for {name}")[1].split("\n## ")[0]
        assert set(re.findall(r"`(\w+)`", plan)) >= {path.stem for path in CHAPTERS}, name
    mistakes = guide.split("## What people get wrong")[1].split("\n## ")[0]
    for path in CHAPTERS:
        assert f"**`{path.stem}`**" in mistakes, path.stem
    total = sum(read(path).metadata.course.minutes for path in CHAPTERS)
    assert f"{total} minutes" in guide
