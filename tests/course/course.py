"""What the course's tests share: its chapters, and cells by tag."""

import sys
from pathlib import Path
from types import ModuleType

import nbformat
from conftest import ROOT

NOTEBOOKS = ROOT / "notebooks"
CHAPTERS = [NOTEBOOKS / "P_primer.ipynb", *sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))]
LESSONS = [path for path in CHAPTERS if path.name[:2].isdigit() and path.name[:2] != "08"]  # with all their parts
STEADY = [path for path in CHAPTERS if path.name[:2] != "08"]  # 8 is run with other parameters, and by `make run`


def read(path: Path):
    return nbformat.read(path, as_version=4)


def code_cells(notebook, tag: str | None = None) -> list:
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return [cell for cell in cells if tag is None or tag in cell.metadata.get("tags", [])]


def prose(notebook) -> str:
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def editions() -> ModuleType:
    """tools/editions.py, which is a script and no part of the package."""
    sys.path.insert(0, str(ROOT / "tools"))
    import editions

    return editions
