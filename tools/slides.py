"""Slides of each chapter by nbconvert and reveal.js: one file a deck, all in it, nothing fetched.

A cell tagged `slide` is one: of Markdown, what it says; of code, its figure, under the heading of its section. Notes to
instructors are in the speaker's view (key S).
"""

import re
from pathlib import Path

import nbformat
from jinja2 import DictLoader
from nbconvert import SlidesExporter
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell

REVEAL = Path(__file__).parent / "reveal"
STYLE = """
:root { --jp-content-font-size1: 26px }
.reveal .slides { text-align: left; font-family: system-ui, "Liberation Sans", sans-serif }
.reveal h1 { font-size: 2.2em } .reveal h2 { font-size: 1.3em; margin: 0 0 .4em }
.reveal img { display: block; margin: 0 auto; max-width: 100%; max-height: 560px; width: auto; object-fit: contain }
.jp-InputPrompt, .jp-OutputPrompt, .jp-Collapser, .anchor-link { display: none }
.jp-Cell { padding: 0 } .jp-OutputArea-output { overflow: hidden }
"""
TEMPLATE = """{% extends "reveal/index.html.j2" %}
{% block html_head_js %}{% endblock %}
{% block html_head_js_mathjax %}<style>REVEAL_STYLE</style>{% endblock %}
{% block footer_js %}<script>REVEAL_CODE</script>
<script>Reveal.initialize({hash: true, slideNumber: "c/t", width: 1120, height: 700, plugins: [RevealNotes]})
function fit({currentSlide: slide}) {  // long texts are made smaller, not cut
  slide.style.zoom = 1
  slide.style.zoom = Math.min(1, 680 / slide.scrollHeight)
  Reveal.layout()
}
Reveal.on("ready", fit)
Reveal.on("slidechanged", fit)</script>
{% endblock %}"""


def deck(notebook: NotebookNode) -> NotebookNode:
    """The chapter's slides, with nothing between them."""
    cells, heading = [], ""
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and (found := re.match(r"## .+", cell.source)):
            heading = found[0]
        if "slide" not in cell.metadata.get("tags", []):
            continue
        begin = {"slideshow": {"slide_type": "slide"}}
        if cell.cell_type == "code":
            cells.append(new_markdown_cell(heading or title(notebook), id=f"{cell.id}-title", metadata=begin))
            begin = {"slideshow": {"slide_type": "-"}}
            cell.outputs = [output for output in cell.outputs if "image/png" in output.get("data", {})]
        elif not cell.source.startswith("#"):
            cells.append(new_markdown_cell(heading or title(notebook), id=f"{cell.id}-title", metadata=begin))
            begin = {"slideshow": {"slide_type": "-"}}
        notes = cell.metadata.get("notes")
        cell.metadata = nbformat.from_dict({**begin, "tags": cell.metadata.get("tags", [])})
        cells.append(cell)
        if notes:
            aside = {"slideshow": {"slide_type": "notes"}}
            cells.append(new_markdown_cell(notes, id=f"{cell.id}-notes", metadata=aside))
    notebook.cells = cells
    return notebook


def title(notebook: NotebookNode) -> str:
    """The chapter's name, as a section's heading."""
    return "#" + notebook.cells[0].source.splitlines()[0]


def write_slides(path: Path, out: Path) -> Path:
    """Write a chapter's deck into a folder; returns its path."""
    code = "\n".join((REVEAL / name).read_text() for name in ("reveal.js", "notes.js"))
    style = (REVEAL / "reveal.css").read_text() + STYLE
    whole = TEMPLATE.replace("REVEAL_STYLE", raw(style)).replace("REVEAL_CODE", raw(code))
    exporter = SlidesExporter(extra_loaders=[DictLoader({"deck.html.j2": whole})], exclude_input=True)
    exporter.template_file = "deck.html.j2"
    page, _ = exporter.from_notebook_node(deck(nbformat.read(path, as_version=4)), {"metadata": {"name": path.stem}})
    page = re.sub(r'<link [^>]*href="https://[^>]*>', "", page)  # reveal's own, which are in here
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{path.stem}.html").write_text(page)
    return out / f"{path.stem}.html"


def raw(text: str) -> str:
    """A text that Jinja leaves as it is."""
    return "{% raw %}" + text + "{% endraw %}"
