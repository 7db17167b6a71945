"""The executed course as static pages that need no network: one for each chapter, and an index."""

import html
import re
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell

from sfllava_course.headless import write_html

STYLE = "body{font-family:sans-serif;max-width:46em;margin:2em auto;padding:0 1em;line-height:1.5}li{margin:.6em 0}"


def write_site(notebooks: list[Path], out: Path) -> Path:
    """Write all pages; returns the path of the index."""
    out.mkdir(parents=True, exist_ok=True)
    entries = []
    for path in notebooks:
        notebook = for_the_web(nbformat.read(path, as_version=4), path, notebooks)
        page = write_html(notebook, out / f"{path.stem}.html")
        entries.append(f'<li><a href="{page.name}">{html.escape(title(notebook))}</a><br>{question(notebook)}</li>')
    index = out / "index.html"
    index.write_text(
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>SlowFast-LLaVA, the course</title>"
        f"<style>{STYLE}</style><h1>SlowFast-LLaVA, the course</h1>"
        f"<p>Read it here; run it from the notebooks.</p><ul>{''.join(entries)}</ul></html>"
    )
    return index


def for_the_web(notebook: NotebookNode, path: Path, notebooks: list[Path]) -> NotebookNode:
    """Solutions fold open at a click; links lead to pages; a line on top leads to the neighbours."""
    notebook.cells = [folded(cell) if "solution" in cell.metadata.get("tags", []) else cell for cell in notebook.cells]
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = re.sub(r"\]\(((?:\d\d|P)_\w+)\.ipynb\)", r"](\1.html)", cell.source)
    place = notebooks.index(path)
    neighbours = {"before": notebooks[:place][-1:], "next": notebooks[place + 1 :][:1]}
    links = ["[all chapters](index.html)"]
    links += [f"[{word}: {there[0].stem}]({there[0].stem}.html)" for word, there in neighbours.items() if there]
    notebook.cells.insert(1, new_markdown_cell(" · ".join(links), id="site-links"))
    return notebook


def folded(cell: NotebookNode) -> NotebookNode:
    """A solution as text behind a click; on one line, since a blank one would end the block in Markdown."""
    code = html.escape(cell.source).replace("\n", "&#10;")
    return new_markdown_cell(f"<details><summary>A solution</summary><pre>{code}</pre></details>", id=cell.id)


def title(notebook: NotebookNode) -> str:
    """The first heading."""
    return notebook.cells[0].source.splitlines()[0].lstrip("# ")


def question(notebook: NotebookNode) -> str:
    """The question that the chapter answers."""
    match = re.search(r"\*\*The question of this chapter:\*\* (.+)", notebook.cells[0].source)
    return html.escape(match[1].replace("*", "")) if match else ""
