"""The site: the executed course, the project's pages and its API, laid out for Sphinx and built without a network.

Everything is made anew from notebooks/, docs/ and the packages; tools/site/ has the settings and the style sheet.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell

ROOT = Path(__file__).parents[1]
SETTINGS = Path(__file__).parent / "site"
PACKAGES = ("sfllava_core", "sfllava_bench", "sfllava_course", "pocket")
DOCS = ("methods", "benchmarks", "architecture")
START = """# SlowFast-LLaVA kit

A video LLM made of a pretrained *image* LLM, with no training at all: a **slow** pathway of few frames with many tokens
sees detail, a **fast** pathway of all frames with few tokens sees motion. This is the course about it, executed, with
the reference of the kit that it is written with. The method is that of
[arXiv:2407.15841](https://arxiv.org/abs/2407.15841).

Read it here; to run it, take the kit (`make lab` opens the notebooks) and, from the top of each chapter, the learner's
edition: the same notebook without solutions and outputs.

## The course

{chapters}

## Look things up

- [Glossary](glossary.md): the course's words, and where each is met first.
- [Paper index](paper_index.md): which section and which table of the paper is where in the kit.
- [Methods](methods.md), [measured speed](benchmarks.md), [the house](architecture.md).
- [API reference](api/index.md): every public name, from its docstring.

```{{toctree}}
:hidden:
:caption: The course
{stems}
```

```{{toctree}}
:hidden:
:caption: Look things up
glossary
paper_index
methods
benchmarks
architecture
api/index
```
"""


class SiteError(RuntimeError):
    """Sphinx could not build the site, or had something to warn of."""


def write_site(
    chapters: list[Path],
    learners: Callable[[NotebookNode], NotebookNode],
    out: Path,
    packages: tuple[str, ...] = PACKAGES,
) -> Path:
    """Build the site in `out`, which is replaced; returns the path of its start page.

    Args:
        chapters: notebooks, in order.
        learners: the learner's edition of a notebook, which a chapter offers for download.
        packages: whose modules the API reference describes.

    Raises:
        SiteError: Sphinx warned of something, or failed; it says of what and where.
    """
    with tempfile.TemporaryDirectory() as folder:
        pages, built = Path(folder) / "pages", Path(folder) / "built"
        shutil.copytree(SETTINGS, pages, ignore=shutil.ignore_patterns("*.css", "*.svg"))
        shutil.copytree(SETTINGS, pages / "static", ignore=shutil.ignore_patterns("*.py"))
        write_course(chapters, learners, pages)
        write_docs(chapters, pages)
        write_api(packages, pages / "api")
        words = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", "-d", f"{folder}/read"]
        done = subprocess.run([*words, str(pages), str(built)], capture_output=True, text=True, check=False)
        if done.returncode or done.stderr.strip():
            raise SiteError(f"Sphinx:\n{done.stdout}{done.stderr}")
        (built / ".buildinfo").unlink()  # for Sphinx's next build in the same folder, which is never
        for template in (built / "_static").glob("*.html"):  # the theme's, and no pages
            template.unlink()
        for page in built.rglob("*.html"):
            page.write_text(for_screen_readers(page.read_text()))
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(built, out)
    return out / "index.html"


SIGNATURE = re.compile(r"<dl>\n((?:<dd>.*?</dd>\n)+)</dl>", re.S)


def for_screen_readers(page: str) -> str:
    """What the theme says wrongly to those who listen, put right; a test of the finished pages looks after it."""
    page = page.replace('<summary aria-label="Toggle hidden content">', "<summary>")  # it has a text of its own
    page = re.sub(r'(<button class="btn search-button-field[^>]*?)\s+aria-label="Search"', r"\1", page)  # so has this
    page = page.replace(
        '<summary><span class="toctree-toggle"', '<summary aria-label="its pages"><span class="toctree-toggle"'
    )
    # The parameters of a signature are marked up as definitions of nothing.
    return SIGNATURE.sub(lambda found: re.sub("(</?)dd>", r"\1div>", f'<div class="parameters">{found[1]}</div>'), page)


def write_course(chapters: list[Path], learners: Callable[[NotebookNode], NotebookNode], pages: Path) -> None:
    """The chapters, their learner's editions, and the start page that lists them."""
    (pages / "downloads").mkdir()
    entries = []
    for path in chapters:
        nbformat.write(learners(nbformat.read(path, as_version=4)), pages / "downloads" / path.name)
        notebook = for_the_web(nbformat.read(path, as_version=4), path.name)
        nbformat.write(notebook, pages / path.name)
        entries.append(f"- [{title(notebook)}]({path.name}): {question(notebook)}")
    text = START.format(chapters="\n".join(entries), stems="\n".join(path.stem for path in chapters))
    (pages / "index.md").write_text(text)


def for_the_web(notebook: NotebookNode, name: str) -> NotebookNode:
    """Solutions behind a click, descriptions where the site's builder looks for them, the download behind the title."""
    cells = [part for cell in notebook.cells for part in one_picture_each(cell)]
    for cell in cells:
        tags = cell.metadata.get("tags", [])
        if "solution" in tags:
            cell.metadata.update(tags=[*tags, "hide-cell"], mystnb=dict.fromkeys(PROMPTS, "A solution"))
    offer = f"{{download}}`Download this chapter as a notebook, without solutions and outputs <downloads/{name}>`"
    notebook.cells = [cells[0], new_markdown_cell(offer, id="site-download"), *cells[1:]]
    return notebook


PROMPTS = ("code_prompt_show", "code_prompt_hide")


def one_picture_each(cell: NotebookNode) -> list[NotebookNode]:
    """A cell, and one without source for each picture after its first: a description is of a whole cell here."""
    from sfllava_course.web import description

    parts, outputs = [cell], cell.get("outputs", [])
    if outputs:
        cell.outputs = []
    for output in outputs:
        if "image/png" in output.get("data", {}):
            if "image" in parts[-1].metadata.get("mystnb", {}):
                made = new_code_cell("# as above", id=f"{cell.id}-{len(parts)}", metadata={"tags": ["remove-input"]})
                parts.append(made)
            parts[-1].metadata["mystnb"] = {"image": {"alt": description(output)}}
        parts[-1].outputs.append(output)
    return parts


def title(notebook: NotebookNode) -> str:
    """The first heading."""
    return notebook.cells[0].source.splitlines()[0].lstrip("# ")


def question(notebook: NotebookNode) -> str:
    """The question that the chapter answers."""
    match = re.search(r"\*\*The question of this chapter:\*\* (.+)", notebook.cells[0].source)
    return match[1] if match else ""


def write_docs(chapters: list[Path], pages: Path) -> None:
    """The pages of docs/; the glossary and the index of the paper, which share a file, as two, with links."""
    for name in DOCS:
        shutil.copy(ROOT / "docs" / f"{name}.md", pages)
    glossary, index = (ROOT / "docs" / "glossary.md").read_text().split("\n# ", maxsplit=1)
    (pages / "glossary.md").write_text(linked(glossary, chapters, -1))
    index = re.sub(r"`([A-Za-z_.]+)`", r"{py:obj}`\1 <.\1>`", index)  # any object whose name ends like this
    (pages / "paper_index.md").write_text("# " + linked(index, chapters, 2))


def linked(text: str, chapters: list[Path], column: int) -> str:
    """A table's chapter numbers, which stand in this column, as links to the chapters."""
    paths = {int(path.stem[:2]): path.name for path in chapters if path.stem[:2].isdigit()}

    def link(found: re.Match) -> str:
        return f"[{found[0]}]({paths[int(found[0])]})" if int(found[0]) in paths else found[0]

    lines = text.split("\n")
    for place, line in enumerate(lines):
        if line.startswith("| "):
            cells = line.strip("|").split("|")
            cells[column] = re.sub(r"\d+", link, cells[column])
            lines[place] = f"|{'|'.join(cells)}|"
    return "\n".join(lines)


def write_api(packages: tuple[str, ...], folder: Path) -> None:
    """One page for each folder of modules, which autodoc fills from the docstrings."""
    folder.mkdir()
    rooms: dict[str, list[str]] = {}  # the package with a folder of modules -> the modules
    for package in packages:
        for path in sorted((ROOT / package).rglob("*.py")):
            if path.name != "__main__.py":
                *parents, name = path.relative_to(ROOT).with_suffix("").parts
                rooms.setdefault(".".join(parents), []).append(name)
    for room, names in rooms.items():
        modules = [room if name == "__init__" else f"{room}.{name}" for name in sorted(names)]
        (folder / f"{room}.rst").write_text("\n".join([heading(room, "="), *map(section, modules)]))
    listed = "\n".join(rooms)
    text = f"# API reference\n\nEvery public name, from its docstring.\n\n```{{toctree}}\n:maxdepth: 1\n{listed}\n```\n"
    (folder / "index.md").write_text(text)


def section(module: str) -> str:
    """A module's part of its page."""
    return f"{heading(module, '-')}\n.. automodule:: {module}\n   :members:\n   :ignore-module-all:\n"


def heading(text: str, line: str) -> str:
    return f"{text}\n{line * len(text)}\n"
