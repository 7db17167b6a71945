"""The house: each package uses only those below it, and nothing goes round in a circle."""

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from conftest import ROOT

# Of the lowest floor first. pocket stands beside them, on the core alone, and pocket2 on pocket.
FLOORS = {"sfllava_core": 0, "sfllava_bench": 1, "sfllava_course": 2, "pocket": 1, "pocket2": 2}
BESIDE = {"pocket": {"sfllava_core"}, "pocket2": {"sfllava_core", "pocket"}}


def modules(root: Path) -> dict[str, Path]:
    """All modules of the packages, by name."""
    found = {}
    for package in FLOORS:
        for path in (root / package).rglob("*.py"):
            parts = path.relative_to(root).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(root: Path) -> dict[str, set[str]]:
    """For each module, those of the house that it imports anywhere, functions included; type hints apart."""
    known = modules(root)
    arrows = {}
    for name, path in known.items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for block in ast.walk(tree):
            if isinstance(block, ast.If) and getattr(block.test, "id", "") == "TYPE_CHECKING":
                block.body = []
        wanted = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                wanted |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                wanted |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
        arrows[name] = {one for one in wanted & known.keys() if one != name}
    return arrows


def upward(arrows: dict[str, set[str]]) -> list[str]:
    """Imports of a package by one that stands below it, or beside it."""
    wrong = []
    for name, targets in arrows.items():
        here = name.split(".")[0]
        for there in (target.split(".")[0] for target in targets):
            if there != here and FLOORS[there] >= FLOORS[here]:
                wrong.append(f"{name} imports {there}")
            elif there != here and there not in BESIDE.get(here, {there}):
                wrong.append(f"{name} imports {there}")
    return wrong


def circle(arrows: dict[str, set[str]]) -> list[str]:
    """A circle of imports between modules; empty where there is none."""
    packages = {name for name in arrows if any(other.startswith(f"{name}.") for other in arrows)}
    try:
        TopologicalSorter({name: targets - packages for name, targets in arrows.items()}).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def test_no_floor_uses_one_above_it():
    assert upward(imports(ROOT)) == []


def test_nothing_goes_round_in_a_circle():
    assert circle(imports(ROOT)) == []


@pytest.fixture
def small_house(tmp_path):
    """Two modules a floor, which use those below."""
    for package in FLOORS:
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
    (tmp_path / "sfllava_core" / "a.py").write_text("import json")
    (tmp_path / "sfllava_core" / "b.py").write_text("from sfllava_core.a import x")
    (tmp_path / "sfllava_bench" / "c.py").write_text("from sfllava_core import b")
    return tmp_path


def test_a_planted_circle_and_a_planted_upward_import_are_found(small_house):
    assert not circle(imports(small_house)) and not upward(imports(small_house))
    (small_house / "sfllava_core" / "a.py").write_text("def f():\n    from sfllava_core.b import y")
    assert {"sfllava_core.a", "sfllava_core.b"} <= set(circle(imports(small_house)))
    (small_house / "sfllava_core" / "a.py").write_text("from sfllava_bench.c import z")
    assert upward(imports(small_house)) == ["sfllava_core.a imports sfllava_bench"]
    (small_house / "sfllava_core" / "a.py").write_text("")
    (small_house / "pocket" / "d.py").write_text("import sfllava_bench.c")
    assert upward(imports(small_house)) == ["pocket.d imports sfllava_bench"]
    (small_house / "pocket" / "d.py").write_text("")
    (small_house / "pocket2" / "e.py").write_text("import pocket.d")
    assert not upward(imports(small_house))
    (small_house / "pocket2" / "e.py").write_text("import sfllava_bench.c")
    assert upward(imports(small_house)) == ["pocket2.e imports sfllava_bench"]


def test_the_core_is_small():
    """The method in one sitting; beside it rooms where each rival, model family and decoder has a file of its own."""
    rooms = [ROOT / "sfllava_core" / name for name in ("methods", "backbones", "video/decoders")]
    files = [path for path in (ROOT / "sfllava_core").rglob("*.py") if path.parent not in rooms]
    lines = sum(len(path.read_text().splitlines()) for path in files)
    assert lines <= 3500, f"sfllava_core without its rooms has {lines} lines"


def test_the_core_loads_without_the_floors_above():
    """Installed alone, it answers: nothing in it needs the benchmarks or the course."""
    code = "import sys\nsys.modules['sfllava_bench'] = sys.modules['sfllava_course'] = None\n"
    code += "import pkgutil, sfllava_core\nfrom importlib import import_module\n"
    code += "[import_module(m.name) for m in pkgutil.walk_packages(sfllava_core.__path__, 'sfllava_core.')]"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert done.returncode == 0, done.stderr
