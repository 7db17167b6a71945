"""The project itself: names that design and README promise, light imports, lock and environment, clean code."""

import ast
import os
import re
import shutil
import subprocess
import sys

import nbformat
import pytest
import torch
import yaml
from conftest import GRAND_PRIX, ROOT, WORKERS
from packaging.requirements import Requirement

import sfllava_core

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def lock() -> dict[str, Requirement]:
    lines = [
        line for line in (ROOT / "requirements.lock").read_text().splitlines() if line and not line.startswith("#")
    ]
    return {requirement.name: requirement for requirement in map(Requirement, lines)}


def test_every_public_name_can_be_imported():
    for name in sfllava_core.__all__:
        assert getattr(sfllava_core, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        sfllava_core.Nonsense  # noqa: B018


def test_public_names_have_docstrings():
    for name in sfllava_core.__all__:
        value = getattr(sfllava_core, name)
        if callable(value):
            assert value.__doc__, name


@pytest.mark.parametrize(
    ("statement", "heavy"), [("import sfllava_core", "numpy"), ("from sfllava_core import read_frames", "torch")]
)
def test_imports_are_light(statement, heavy):
    """The package loads nothing by itself; the decoding worker must start without torch."""
    code = f"{statement}\nimport sys\nassert {heavy!r} not in sys.modules, 'imported'"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert done.returncode == 0, done.stderr


def test_workers_and_what_they_start_share_the_cores():
    cores = os.cpu_count() or 1
    assert int(os.environ["OMP_NUM_THREADS"]) * WORKERS <= max(cores, WORKERS)
    assert torch.get_num_threads() == int(os.environ["OMP_NUM_THREADS"])


def test_the_lock_holds_exact_versions_and_no_addresses():
    text = (ROOT / "requirements.lock").read_text()
    assert "://" not in text and "--hash" not in text and " @ " not in text
    for requirement in lock().values():
        (specifier,) = requirement.specifier
        assert specifier.operator == "==", requirement
    (pinned,) = re.findall(r"^TORCH := (.+)$", (ROOT / "Makefile").read_text(), re.M)
    assert str(lock()["torch"]) == pinned, "torch is installed first, by the Makefile's pin"


def test_the_lock_satisfies_the_ranges_of_the_package():
    text = (ROOT / "pyproject.toml").read_text()
    wanted = [Requirement(line) for block in re.findall(r"^(?:dependencies|test) = \[(.*?)^\]", text, re.M | re.S)
              for line in re.findall(r'"(.+?)"', block)]  # fmt: skip
    assert len(wanted) > 20
    for requirement in wanted:
        version = str(lock()[requirement.name].specifier).removeprefix("==")
        assert requirement.specifier.contains(version), f"{requirement} is locked at {version}"


def test_environment_yml_installs_this_checkout_under_the_lock():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    *conda, pip = environment["dependencies"]
    assert environment["channels"] == ["conda-forge", "nodefaults"]
    assert conda[0] == "python=3.11" and any(line.startswith("pip") for line in conda)
    assert pip == {"pip": ["-r requirements.lock", "-e ."]}


def test_readme_commands_exist():
    readme, makefile = (ROOT / "README.md").read_text(), (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"(?:`|^    )make (\w+)", readme, re.M))
    assert {"run", "test", "lab", "speed"} <= targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.M), f"README names `make {target}`"
    for path in re.findall(r"`((?:data|docs|notebooks|sfllava_core|tests)/[\w./]*)`", readme):
        assert (ROOT / path).exists(), f"README names {path}"


def test_readme_code_runs(llm, monkeypatch):
    """The README's Python, with the tiny checkpoint in place of the 7B."""
    monkeypatch.chdir(ROOT)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    assert len(blocks) == 2
    for block in blocks:
        exec(block.replace("llava-hf/llava-v1.6-vicuna-7b-hf", "data/tiny"), {})


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_keep_the_house_rules(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code[0].metadata["tags"] == ["parameters"] and code[-1].metadata["tags"] == ["results"]
    assert max(len(cell.source.splitlines()) for cell in code) <= 25
    assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)


def sources() -> dict[str, str]:
    """The code of packages, tools and notebooks, by where it stands."""
    files = [file for folder in ("sfllava_core", "pocket", "tools") for file in (ROOT / folder).rglob("*.py")]
    cells = {str(path): nbformat.read(path, as_version=4).cells for path in NOTEBOOKS}
    code = {path: "\n".join(c.source for c in found if c.cell_type == "code") for path, found in cells.items()}
    return {**{str(file): file.read_text() for file in files}, **code}


def test_no_call_lets_transformers_ask_whether_to_run_a_checkpoints_code():
    """Its Auto classes ask on the terminal unless they are told: `trust_remote_code=False`, each time."""
    seen = 0
    for place, source in sources().items():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Call) and re.match(r"Auto\w+\.from_", ast.unparse(node.func)):
                seen += 1
                assert "trust_remote_code=False" in ast.unparse(node), f"{place}, line {node.lineno}"
    assert seen == 3, "load_config, load_tokenizer, and pocket's own"


WITHOUT_A_CLONE = """
import sys
from sfllava_course.__main__ import command

for words in (["ask", sys.argv[1], "why?"], ["speed"], ["run"], ["doctor"]):
    print("exit code", command(words), file=sys.stderr, flush=True)
"""


def test_an_installed_package_says_that_models_films_and_notebooks_come_with_a_clone(tmp_path):
    """What a wheel holds, unpacked: the packages alone."""
    for package in ("sfllava_core", "sfllava_bench", "sfllava_course"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_A_CLONE, GRAND_PRIX], capture_output=True, text=True, cwd=tmp_path, timeout=240,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    lines = done.stderr.splitlines()
    way_out = "models, films and notebooks come with a clone of the kit's repository, not with the installed package"
    for line, missing in zip(lines[::2], ("data/pocket", "data/clips/grand_prix_1906.mp4", "08_reproduce.ipynb")):
        assert line.startswith(f"error: {tmp_path}") and f"{missing} is not there: {way_out}" in line
    assert lines[1::2] == ["exit code 1"] * 3 and lines[6:] == ["exit code 1"], done.stderr
    assert f"  MISSING  data/pocket: {way_out}" in done.stdout
