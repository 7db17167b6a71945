"""The handout: every chapter's exercises, predictions and questions on paper, and the key behind them.

One HTML page with a style for print: the browser's "Save as PDF" makes it a document, a chapter to a page's beginning.
"""

import re
from pathlib import Path

import nbformat
from jinja2 import DictLoader, Environment, select_autoescape
from markupsafe import Markup
from nbconvert.filters.markdown import markdown2html
from nbformat import NotebookNode

PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>SlowFast-LLaVA: handout{{ " with key" if key }}</title>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<style>
@page { size: A4; margin: 18mm 20mm }
body { font: 11pt/1.45 "Liberation Serif", Georgia, serif; max-width: 44rem; margin: 2rem auto; padding: 0 1rem }
h1, h2, h3 { font-family: system-ui, "Liberation Sans", sans-serif; line-height: 1.2; break-after: avoid }
pre { font: 9.5pt/1.4 "Liberation Mono", monospace;
      border-left: 3px solid #999; padding: .3rem .8rem; white-space: pre-wrap }
code { font-family: "Liberation Mono", monospace; font-size: .92em }
section { break-before: page } section:first-of-type { break-before: auto }
.item, pre, li { break-inside: avoid } .lines { height: 4.5em; background: repeating-linear-gradient(
  transparent 0 calc(1.5em - 1px), #bbb calc(1.5em - 1px) 1.5em) } .anchor-link { display: none }
@media print { body { margin: 0; max-width: none; padding: 0 } * { print-color-adjust: exact } }
</style></head><body>
<h1>SlowFast-LLaVA, the course: handout{{ " with key" if key }}</h1>
{% for chapter in chapters %}
<section><h2>{{ chapter.title }}</h2>
{% if chapter.predictions %}<h3>Predict</h3>{% endif %}
{% for text in chapter.predictions %}<div class="item">{{ text }}<div class="lines"></div></div>{% endfor %}
{% for exercise in chapter.exercises %}
<div class="item">{{ exercise.text }}<pre>{{ exercise.stub }}</pre></div>{% endfor %}
{% if chapter.questions %}<h3>Check yourself</h3>{% endif %}
{% for question in chapter.questions %}
<div class="item">{{ question.text }}<div class="lines"></div></div>{% endfor %}
</section>{% endfor %}
{% if key %}{% for chapter in chapters %}
<section class="key"><h2>Key to {{ chapter.title }}</h2>
{% for exercise in chapter.exercises %}<h3>{{ exercise.name }}</h3><pre>{{ exercise.solution }}</pre>{% endfor %}
{% if chapter.questions %}<h3>Check yourself</h3>{% endif %}
{% for question in chapter.questions %}<div class="item">{{ question.answer }}</div>{% endfor %}
</section>{% endfor %}{% endif %}
</body></html>
"""
QUESTION = re.compile(r"(\*\*\d+\.\*\*)(.*?)<details><summary>Answer</summary>(.*?)</details>", re.S)
CHECKED = re.compile(r"\s*^check\(.*", re.M | re.S)


def html(text: str) -> Markup:
    """Markdown of the kit's own notebooks."""
    return Markup(markdown2html(text))


def chapter(notebook: NotebookNode) -> dict:
    """What of a chapter is on paper."""
    cells, exercises = notebook.cells, []
    for place, cell in enumerate(cells):
        if "exercise" in cell.metadata.get("tags", []):
            (solution,) = (one for one in cells[place : place + 2] if "solution" in one.metadata.get("tags", []))
            asked = cells[place - 1].source
            exercises.append(
                {
                    "name": re.findall(r"def (\w+)", cell.source)[0],
                    "text": html(re.sub(r"^##+ ", "### ", asked)),
                    "stub": CHECKED.sub("", cell.source),
                    "solution": CHECKED.sub("", solution.source),
                }
            )
    prose = [cell.source for cell in cells if cell.cell_type == "markdown"]
    questions = [
        {"text": html(number + text), "answer": html(f"{number} {answer}")}
        for number, text, answer in QUESTION.findall("\n".join(prose))
    ]
    return {
        "title": cells[0].source.splitlines()[0].lstrip("# "),
        "exercises": exercises,
        "predictions": [html(text) for text in prose if text.startswith("**Predict")],
        "questions": questions,
    }


def write_handout(notebooks: list[Path], out: Path, key: bool) -> Path:
    """Write the page; returns its path."""
    chapters = [chapter(nbformat.read(path, as_version=4)) for path in notebooks]
    environment = Environment(loader=DictLoader({"page.html": PAGE}), autoescape=select_autoescape(), trim_blocks=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(environment.get_template("page.html").render(chapters=chapters, key=key))
    return out
