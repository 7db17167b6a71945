"""Prose that states a result is bound to the run: it fails when the sentence goes stale.

A markdown cell's metadata may hold `claims`: words of the cell -> a Python expression that is true where the words are.
`with_claims` puts a cell of asserts behind each of them, which see what the cells above it have computed; they are
taken out again when all has run. So the notebook's reader meets none of it.

    "claims": {"slow loses the bubble alone": "lost['slow only'] == ['What is in the bubble?']"}
"""

import copy
import re

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

TAG = "claims"


class StaleProse(AssertionError):
    """A sentence of a notebook is not what its cells compute; says which."""


def with_claims(notebook: NotebookNode) -> NotebookNode:
    """A copy in which each markdown cell that makes claims is followed by their asserts.

    Raises:
        StaleProse: words that are claimed do not stand in their cell.
    """
    out, cells = copy.copy(notebook), []
    for cell in notebook.cells:
        cells.append(cell)
        claims = cell.metadata.get(TAG, {})
        for words in claims:
            if plain(words) not in plain(cell.source):
                raise StaleProse(f"cell {cell.id}: the words {words!r} are not in it")
        if claims:
            asserts = [f"assert {held}, {stale(cell.id, words)!r}" for words, held in claims.items()]
            cells.append(new_code_cell("\n".join(asserts), id=f"claims-{cell.id}", metadata={"tags": [TAG]}))
    out.cells = cells
    return out


def without_claims(notebook: NotebookNode) -> NotebookNode:
    """The notebook as it was before `with_claims`, its cells counted from 1 again."""
    notebook.cells = [cell for cell in notebook.cells if TAG not in cell.metadata.get("tags", [])]
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for count, cell in enumerate(code, 1):
        cell.execution_count = count
        for output in cell.outputs:
            if output.output_type == "execute_result":
                output.execution_count = count
    return notebook


def stale(cell: str, words: str) -> str:
    """What a false claim says."""
    return f"stale prose in cell {cell}: {words!r} is not what this run gives"


def plain(text: str) -> str:
    """A text with single spaces, whatever its lines."""
    return re.sub(r"\s+", " ", text)
