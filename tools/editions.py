"""The course's editions, all made from the notebooks in notebooks/ by their cells' tags; nothing is kept twice.

    python tools/editions.py execute NOTEBOOK ...   run in place, leaving small, clean outputs to commit; what the
                                                    prose claims (sfllava_course/claims.py) must hold
    python tools/editions.py lab                    my-course/: the student edition to work in; what is there is kept
    python tools/editions.py workshop               dist/student, dist/instructor, slides, handouts, an offline pack
    python tools/editions.py site                   dist/site: the executed course and the API as a site

Tags: `solution` cells are taken out for students; `nbval-ignore-output` marks what differs from run to run;
`slide` cells make the slides.
A cell's metadata may hold `notes`, shown to instructors behind it. Notebook metadata `course` holds planned minutes
and, written by `execute`, measured seconds.
"""

import argparse
import base64
import io
import os
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import nbformat
from nbconvert.preprocessors import ClearOutputPreprocessor, TagRemovePreprocessor
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell

sys.path.insert(0, str(Path(__file__).parent))
from handout import write_handout
from offline_check import SECTION, section
from slides import write_slides

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # this checkout's package, installed or not
NOTEBOOKS = ROOT / "notebooks"
PACKED = ("sfllava_core", "sfllava_bench", "sfllava_course", "pocket", "pocket2", "data/tiny",
          "data/clips", "data/hub", "data/paper", "data/pocket", "data/pocketbench", "docs", "tools",
          "README.md", "LICENSE", "Makefile", "pyproject.toml", "requirements.lock", "environment.yml")  # fmt: skip
SKIPPED = {"__pycache__", ".ipynb_checkpoints"}


def chapters() -> list[Path]:
    """The course's notebooks in reading order: the primer (P), then 0 and on."""
    return [*sorted(NOTEBOOKS.glob("P_*.ipynb")), *sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))]


def execute(path: Path) -> None:
    """Run a notebook in place and leave outputs that can be committed.

    Raises:
        RuntimeError: a cell wrote to stderr (a warning, most likely).
        StaleProse: the text claims what this run does not give.
    """
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    from sfllava_course.claims import StaleProse, with_claims, without_claims
    from sfllava_course.kernels import private_kernel

    notebook = with_claims(nbformat.read(path, as_version=4))
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        kernel, where = private_kernel(Path(folder)), {"metadata": {"path": str(path.parent)}}
        try:
            NotebookClient(notebook, timeout=300, config=kernel, resources=where).execute(env=with_this_checkout())
        except CellExecutionError as error:
            if error.ename == "AssertionError" and error.evalue.startswith("stale prose"):
                raise StaleProse(f"{path.name}: {error.evalue}") from None
            raise
    seconds = time.perf_counter() - start
    tidy(without_claims(notebook))
    notebook.metadata.setdefault("course", {})["run_seconds"] = 5 * max(1, round(seconds / 5))
    nbformat.write(notebook, path)
    print(f"{path.name}: {seconds:.0f} s")


def with_this_checkout() -> dict[str, str]:
    """The environment of a kernel that imports this checkout's package, installed or not."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))}


def tidy(notebook: NotebookNode) -> None:
    """Keep what a reader sees: no widget states (dead without a kernel), no times, small pictures."""
    notebook.metadata.pop("widgets", None)
    notebook.metadata["language_info"] = {"name": "python"}
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type != "code":
            continue
        for output in cell.outputs:
            if output.get("name") == "stderr":
                raise RuntimeError(f"cell {cell.id} wrote to stderr: {output.text}")
            if "image/png" in output.get("data", {}):
                output.data["image/png"] = smaller(output.data["image/png"])
        cell.outputs = [output for output in cell.outputs if not is_widget(output)]


def is_widget(output: NotebookNode) -> bool:
    """Whether an output is a widget's view."""
    return "application/vnd.jupyter.widget-view+json" in output.get("data", {})


def smaller(png: str) -> str:
    """A PNG, in base64, with at most 256 colours."""
    from PIL import Image

    out = io.BytesIO()
    with Image.open(io.BytesIO(base64.b64decode(png))) as picture:
        picture.convert("RGB").quantize(256).save(out, "PNG", optimize=True)
    return base64.b64encode(out.getvalue()).decode()


def student_edition(notebook: NotebookNode) -> NotebookNode:
    """No solutions, no outputs, no notes: the notebook to code along in."""
    without = TagRemovePreprocessor(remove_cell_tags={"solution"}, enabled=True)
    notebook, resources = without.preprocess(notebook, {})
    notebook, _ = ClearOutputPreprocessor(enabled=True).preprocess(notebook, resources)
    for cell in notebook.cells:
        for private in ("notes", "claims"):
            cell.metadata.pop(private, None)
    return notebook


def instructor_edition(notebook: NotebookNode) -> NotebookNode:
    """Solutions open, outputs kept, notes shown behind their cells, planned and measured times on top."""
    plan = notebook.metadata.get("course", {})
    times = f"Planned: {plan.get('minutes', '?')} minutes in class. Runs in about {plan.get('run_seconds', '?')} s."
    cells = [notebook.cells[0], note("times", times)]
    for place, cell in enumerate(notebook.cells):
        cell.metadata.get("jupyter", {}).pop("source_hidden", None)
        text = cell.metadata.pop("notes", None)
        cells += [cell] * (place > 0) + ([note(cell.id, text)] if text else [])
    notebook.cells = cells
    return notebook


def note(name: str, text: str) -> NotebookNode:
    """A cell that only instructors see."""
    return new_markdown_cell(f"> **Instructor.** {text}", id=f"note-{name}", metadata={"tags": ["instructor"]})


EDITIONS = {"student": student_edition, "instructor": instructor_edition}


def write_edition(name: str, out: Path) -> list[Path]:
    """Write one edition of all chapters into a folder; returns their paths."""
    out.mkdir(parents=True, exist_ok=True)
    written = []
    for path in chapters():
        notebook = EDITIONS[name](nbformat.read(path, as_version=4))
        written.append(out / path.name)
        nbformat.write(notebook, written[-1])
    return written


def learners_folder(out: Path) -> list[Path]:
    """Put the student edition where a learner works, with the file that progress is kept in.

    Nothing that is there already is written over: a chapter that was begun stays as it was left. Returns what is new.
    """
    out.mkdir(parents=True, exist_ok=True)
    new = []
    for path in chapters():
        place = out / path.name
        if not place.exists():
            nbformat.write(student_edition(nbformat.read(path, as_version=4)), place)
            new.append(place)
    if not (out / "progress.json").exists():
        (out / "progress.json").write_text("{}")
    return new


def write_pack(student: Path, out: Path) -> Path:
    """One zip file with the student notebooks, the code and all data: everything but the wheels."""
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(out.stem)
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as pack:
        pack.writestr(str(folder / "START.txt"), f"{SECTION}\n\n{section()}\n")
        for path in sorted(student.glob("*.ipynb")):
            pack.write(path, folder / "notebooks" / path.name)
        for source in (ROOT / name for name in PACKED):
            files = [source] if source.is_file() else sorted(source.rglob("*"))
            for path in files:
                if path.is_file() and not SKIPPED & set(path.parts):
                    pack.write(path, folder / path.relative_to(ROOT))
    return out


def workshop(out: Path) -> None:
    """Both editions, slides, handouts and the pack."""
    for name in EDITIONS:
        print(f"{name}: {len(write_edition(name, out / name))} notebooks in {out / name}")
    slides = [write_slides(path, out / "instructor" / "slides") for path in chapters()]
    print(f"slides: {len(slides)} decks in {out / 'instructor' / 'slides'}")
    for name, key in (("student/handout.html", False), ("instructor/handout_with_key.html", True)):
        print(f"handout: {write_handout(chapters(), out / name, key)}")
    pack = write_pack(out / "student", out / "slowfast-llava-course.zip")
    print(f"offline pack: {pack} ({pack.stat().st_size / 1e6:.1f} MB, wheels aside)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["execute", "lab", "workshop", "site"])
    parser.add_argument("notebooks", nargs="*", type=Path, help="for execute; all chapters if none is named")
    parser.add_argument("--out", type=Path, default=ROOT / "dist")
    chosen = parser.parse_args()
    if chosen.what == "execute":
        for path in chosen.notebooks or chapters():
            execute(path.resolve())
    elif chosen.what == "lab":
        folder = ROOT / "my-course"
        new = learners_folder(folder)
        print(f"{folder}: {len(new)} chapters are new, {len(chapters()) - len(new)} are as you left them")
    elif chosen.what == "workshop":
        workshop(chosen.out)
    else:
        sys.path.insert(0, str(Path(__file__).parent))
        from site_pages import write_site

        print(f"site: {write_site(chapters(), student_edition, chosen.out / 'site')}")


if __name__ == "__main__":
    main()
