"""Which file is whose, and what of: a folder of students' notebooks, by student or all in one."""

import ast
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from IPython.core.inputtransformer2 import TransformerManager

from sfllava_core.defaults import COURSE, required

NAMED = re.compile(r"""^check\(\s*["'](\w+)["']""", re.M)
SKIPPED = {".ipynb_checkpoints", "__MACOSX"}


@dataclass(frozen=True)
class Chapter:
    """A chapter of the kit: its exercises in order, and the code that is no student's."""

    name: str
    exercises: tuple[str, ...]
    own: frozenset[str]
    cells: frozenset[str]

    @classmethod
    def of(cls, path: Path) -> "Chapter":
        cells = [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
        exercises, own = [], set()
        for cell in cells:
            tags, source = cell["metadata"].get("tags", []), "".join(cell["source"])
            if "exercise" in tags:
                exercises += NAMED.findall(source)
            elif "solution" not in tags:
                own.add(source.strip())
        return cls(path.stem, tuple(exercises), frozenset(own), frozenset(cell["id"] for cell in cells))

    def answered_in(self, source: str) -> list[str]:
        """The exercises that a cell of a student answers: those whose names it defines."""
        if source.strip() in self.own:
            return []
        names = defined_in(source)
        return [name for name in self.exercises if name in names]


def defined_in(source: str) -> set[str]:
    """Names that a cell binds: by def, class, import or assignment, in blocks too, but not inside of functions."""
    try:
        tree = ast.parse(TransformerManager().transform_cell(source))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return set(re.findall(r"^def\s+(\w+)", source, re.M))
    names, left = set[str](), list[ast.AST](tree.body)
    while left:
        node = left.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.alias):
            names.add((node.asname or node.name).split(".")[0])
        elif not isinstance(node, ast.Lambda):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                names.add(node.id)
            left += ast.iter_child_nodes(node)
    return names


@dataclass(frozen=True)
class Copy:
    """One notebook of one student. chapter: what its name, or the command, says it is; None where neither does."""

    name: str
    path: Path
    chapter: Chapter | None


@dataclass(frozen=True)
class Mark:
    """What became of an exercise. seconds: its cell and its check together; None where neither was run."""

    exercise: str
    verdict: str
    seconds: float | None = None
    note: str = ""


class Course:
    """The kit's chapters that have exercises."""

    @cached_property
    def chapters(self) -> dict[str, Chapter]:
        found = map(Chapter.of, sorted(required(COURSE).glob("[0-9P]*_*.ipynb")))
        return {chapter.name: chapter for chapter in found if chapter.exercises}

    def named(self, name: str) -> Chapter:
        """The chapter of this name, or number.

        Raises:
            ValueError: there is none.
        """
        for chapter in self.chapters.values():
            if name in (chapter.name, chapter.name[:2]):
                return chapter
        raise ValueError(f"chapter {name!r}: choose one of {', '.join(self.chapters)}")

    def in_name(self, stem: str) -> Chapter | None:
        """The chapter whose name is part of a file's."""
        return next((chapter for name, chapter in self.chapters.items() if name in stem), None)

    def of_cells(self, identifiers: Iterable[str]) -> Chapter | None:
        """The chapter that most of these cells' ids come from."""
        known = set(identifiers)
        best = max(self.chapters.values(), key=lambda chapter: len(chapter.cells & known))
        return best if best.cells & known else None

    def copies(self, folder: Path, chapter: str = "") -> list[Copy]:
        """All notebooks in a folder, by name. Links are not followed: they may lead anywhere.

        Raises:
            ValueError: no such chapter.
            FileNotFoundError: no folder, or no notebook in it.
        """
        if not folder.is_dir():
            raise FileNotFoundError(f"{folder}: there is no such folder; give the one with the students' notebooks")
        given = self.named(chapter) if chapter else None
        found = []
        for path in sorted(folder.rglob("*.ipynb")):
            inner = path.relative_to(folder)
            if SKIPPED & set(inner.parts) or path.name.startswith("._"):
                continue
            name = path.stem if len(inner.parts) == 1 else str(inner.parent)
            found.append(Copy(name, path, given or self.in_name(path.stem)))
        if not found:
            raise FileNotFoundError(f"{folder}: there is no notebook (.ipynb) in it")
        return found
