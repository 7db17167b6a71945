"""Notebooks as web pages: formulas that a browser draws by itself, and pictures with their descriptions."""

import copy
import html
import re

from nbformat import NotebookNode

BLOCK = re.compile(r"\$\$(.+?)\$\$", re.S)


def mathml(tex: str, block: bool = True) -> str:
    """A formula in TeX as MathML, which browsers draw with no script and no style sheet.

    Args:
        block: whether it stands by itself; else it is part of a line.

    >>> "<msup><mi>a</mi><mn>2</mn></msup>" in mathml("a^2", block=False)
    True
    """
    from latex2mathml.converter import convert

    made = convert(tex.strip(), display="block" if block else "inline")
    # A formula wider than the page is scrolled in its own box, also by who has only a keyboard.
    return f'<div class="formula" tabindex="0">{made}</div>' if block else made


def ready(notebook: NotebookNode) -> NotebookNode:
    """A copy of the notebook for nbconvert, which leaves formulas as TeX and shows no description of a picture."""
    notebook = copy.deepcopy(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = BLOCK.sub(lambda found: mathml(found[1]), cell.source)
        for output in cell.get("outputs", []):
            if description(output):
                output.data = {"text/html": picture(output)}
    return notebook


def description(output: NotebookNode) -> str:
    """What a picture shows, in words, as its figure wrote it (`figures.described`); "" for other outputs."""
    return output.get("metadata", {}).get("image/png", {}).get("alt", "")


def picture(output: NotebookNode) -> str:
    """A picture that a cell showed, with its description, in HTML."""
    png = output.data["image/png"].replace("\n", "")
    return f'<img alt="{html.escape(description(output))}" src="data:image/png;base64,{png}">'
