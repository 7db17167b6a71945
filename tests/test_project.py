"""The project itself: names that design and README promise, light imports, lock and environment, clean code."""

import ast
import os
import re
import shutil
import subprocess
import sys
import zipfile
from contextlib import suppress
from importlib import metadata
from pathlib import Path

import nbformat
import pytest
import tomllib
import torch
import yaml
from conftest import GRAND_PRIX, ROOT, TINY, WORKERS
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import sfllava_bench
import sfllava_core

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def lock() -> dict[str, Requirement]:
    lines = [
        line for line in (ROOT / "requirements.lock").read_text().splitlines() if line and not line.startswith("#")
    ]
    return {requirement.name: requirement for requirement in map(Requirement, lines)}


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def core_dependencies() -> list[Requirement]:
    return list(map(Requirement, project()["dependencies"]))


def extras() -> dict[str, list[Requirement]]:
    return {name: list(map(Requirement, lines)) for name, lines in project()["optional-dependencies"].items()}


@pytest.mark.parametrize("package", [sfllava_core, sfllava_bench], ids=lambda package: package.__name__)
def test_every_public_name_can_be_imported_and_is_shown_to_type_checkers(package):
    """What is imported under TYPE_CHECKING, what `__all__` lists, and what `__dir__` offers are the same names."""
    (block,) = (node for node in ast.parse(Path(package.__file__).read_text()).body if isinstance(node, ast.If))
    assert ast.unparse(block.test) == "TYPE_CHECKING"
    shown = [alias.name for node in block.body for alias in node.names]
    assert sorted(shown) == sorted(package.__all__) and set(shown) <= set(dir(package))
    for name in package.__all__:
        assert getattr(package, name) is not None


def test_a_name_that_is_not_there_is_an_attribute_error():
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


def test_a_type_checker_knows_the_public_names_and_their_types(tmp_path):
    """From outside, with an editor's eyes: a right call passes, a wrong one is named with the type it ought to have."""
    (tmp_path / "user.py").write_text(
        "from sfllava_core import Pool, VideoLLM, parse_choice\n"
        "from sfllava_bench import clustered_interval\n"
        "reveal_type(VideoLLM.from_pretrained('x').watch('y'))\n"
        "reveal_type(Pool.to(4, 4).per_frame)\n"
        "reveal_type(parse_choice('A'))\n"
        "Pool.window(2, 2, 'max')\n"
        "from sfllava_core import Nonsense\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", ROOT / "pyproject.toml", "--cache-dir", ROOT / ".mypy_cache",
         "--no-pretty", tmp_path / "user.py"],
        capture_output=True, text=True, cwd=ROOT, timeout=240, env={**os.environ, "MYPYPATH": str(ROOT)},
    )  # fmt: skip
    for line, said in (
        (3, 'Revealed type is "sfllava_core.answering.watched.WatchedVideo"'),
        (4, 'Revealed type is "bool"'),
        (5, 'Revealed type is "str | None"'),
        (6, 'Argument 1 to "window" of "Pool" has incompatible type "int"; expected "str"'),
        (7, 'Module "sfllava_core" has no attribute "Nonsense"'),
    ):
        assert re.search(rf"user\.py:{line}: .*{re.escape(said)}", done.stdout), done.stdout + done.stderr
    assert "user.py:1:" not in done.stdout and "user.py:2:" not in done.stdout


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
    assert '"sfllava-core[course,gpus,site,torchcodec]"' in text and '"sfllava-core[bench]"' in text, (
        "the tests' extra takes all"
    )
    wanted = [
        one for extra in ("bench", "course", "gpus", "site", "torchcodec", "test") for one in extras()[extra]
    ] + core_dependencies()
    wanted = [requirement for requirement in wanted if requirement.name != "sfllava-core"]
    assert len(wanted) > 20
    for requirement in wanted:
        version = str(lock()[requirement.name].specifier).removeprefix("==")
        assert requirement.specifier.contains(version), f"{requirement} is locked at {version}"


def names_of_modules(requirement: Requirement) -> str:
    return {"pillow": "PIL"}.get(requirement.name, requirement.name)


def test_the_core_names_no_library_but_its_dependencies():
    allowed = {*sys.stdlib_module_names, "sfllava_core", *map(names_of_modules, core_dependencies())}
    for file in (ROOT / "sfllava_core").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            assert {name.split(".")[0] for name in names} <= allowed, f"{file.name}: line {node.lineno}"


WITH_THE_CORE_ALONE = '''
import sys
from importlib.machinery import PathFinder

class CoreAlone:
    """All finders but for what is not to be there."""

    finders, find_distributions = list(sys.meta_path), staticmethod(PathFinder.find_distributions)

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] not in sys.argv[3:]:
            return next(filter(None, (finder.find_spec(name, path, target) for finder in self.finders)), None)

sys.meta_path[:] = [CoreAlone()]
import pkgutil
from importlib import import_module
import sfllava_core

for module in pkgutil.walk_packages(sfllava_core.__path__, "sfllava_core."):
    import_module(module.name)
video = sfllava_core.VideoLLM.from_pretrained(sys.argv[1], device="cpu").watch(sys.argv[2], "frames4_slow1-to2x2")
print("answered", len(video.generate(["USER: <image> why?"], max_new_tokens=2)))
from sfllava_course.__main__ import command
print("exit code", command(["run"]))
'''


def test_with_the_cores_dependencies_alone_the_core_answers_and_the_command_says_what_is_missing():
    """Of all that is installed here, whatever the core's dependencies do not bring with them cannot be imported."""
    brought, left = set(), [requirement.name for requirement in core_dependencies()]
    while left:
        name = canonicalize_name(left.pop())
        if name not in brought:
            brought.add(name)
            with suppress(metadata.PackageNotFoundError):  # what is for another system
                needed = map(Requirement, metadata.requires(name) or [])
                left += [one.name for one in needed if one.marker is None or one.marker.evaluate({"extra": ""})]
    absent = [
        module
        for module, owners in metadata.packages_distributions().items()
        if not brought & set(map(canonicalize_name, owners)) and not module.startswith("sfllava")
    ]
    assert {"pandas", "matplotlib", "accelerate", "pytest"} <= set(absent) and "torch" not in absent
    done = subprocess.run(
        [sys.executable, "-c", WITH_THE_CORE_ALONE, TINY, GRAND_PRIX, *absent],
        capture_output=True, text=True, cwd=ROOT, timeout=240,
    )  # fmt: skip
    assert "answered 1" in done.stdout, done.stderr
    assert "exit code 1" in done.stdout, done.stderr
    assert re.search(r"^error: \w+ is not installed: pip install 'sfllava-core\[course\]'$", done.stderr, re.M)


def test_environment_yml_installs_this_checkout_under_the_lock():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    *conda, pip = environment["dependencies"]
    assert environment["channels"] == ["conda-forge", "nodefaults"]
    assert conda[0] == "python=3.11" and any(line.startswith("pip") for line in conda)
    assert pip == {"pip": ["-r requirements.lock", "-e ."]}


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "Dockerfile", ".github/workflows/ci.yml"])
def test_commands_and_files_that_texts_name_exist(name):
    text, makefile = (ROOT / name).read_text(), (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"(?:`|^    |run: |RUN )make (\w+)|\[\"make\", \"(\w+)\"", text, re.M))
    assert targets
    for target in {one for found in targets for one in found if one}:
        assert re.search(rf"^(?:\w+ )*{target}(?: \w+)*:", makefile, re.M), f"{name} names `make {target}`"
    for path in re.findall(r"`((?:data|docs|notebooks|sfllava_\w+|tests)/[\w./]*)`", text):
        assert (ROOT / path).exists(), f"{name} names {path}"


def test_the_citation_and_the_changes_name_the_packages_version():
    version = project()["version"]
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == version
    assert re.search(rf"^## {re.escape(version)}", (ROOT / "CHANGELOG.md").read_text(), re.M)


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
    folders = ("sfllava_core", "pocket", "pocket2", "tools")
    files = [file for folder in folders for file in (ROOT / folder).rglob("*.py")]
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


INSTALLED = """
import sys
from sfllava_course.__main__ import command

for words in (["ask", sys.argv[1], "Which animal is it?"], ["bench", "list"], ["doctor"], ["run"]):
    print("exit code", command(words), file=sys.stderr, flush=True)
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """A folder with what the project's wheel holds, as pip would lay it down."""
    tree, folder = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("installed")
    for name in ("sfllava_core", "sfllava_bench", "sfllava_course", "data"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    build = "import sys, setuptools.build_meta as build; build.build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-c", build, folder], cwd=tree, check=True, capture_output=True, timeout=240)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(folder)
    return folder


def run_installed(folder: Path, work: Path) -> subprocess.CompletedProcess:
    """`INSTALLED` from that folder, in a working folder of its own."""
    return subprocess.run(
        [sys.executable, "-c", INSTALLED, GRAND_PRIX], capture_output=True, text=True, cwd=work, timeout=240,
        env={**os.environ, "PYTHONPATH": str(folder)},
    )  # fmt: skip


def exit_codes(done: subprocess.CompletedProcess) -> list[str]:
    return re.findall(r"^exit code (\d)$", done.stderr, re.M)


def test_a_wheel_answers_without_a_clone(installed, tmp_path):
    """The embedded model, films and the paper's tables come with it; notebooks do not, and it says so."""
    done = run_installed(installed, tmp_path)
    assert exit_codes(done) == ["0", "0", "0", "1"], done.stderr
    assert done.stdout.strip().splitlines()[0], "an answer"
    assert "table2_7b" in done.stdout and "ok       data/pocket" in done.stdout
    error = done.stderr.splitlines()[-2]
    assert error.startswith("error: ") and "08_reproduce.ipynb is not there: notebooks come with a clone" in error
    assert not list(tmp_path.iterdir())


def test_a_package_without_its_data_says_where_to_get_it(installed, tmp_path):
    """As a file browser's copy of the packages would be."""
    (bare := tmp_path / "bare").mkdir()
    for package in ("sfllava_core", "sfllava_bench", "sfllava_course"):
        shutil.copytree(installed / package, bare / package, ignore=shutil.ignore_patterns("__pycache__", "data"))
    done = run_installed(bare, tmp_path)
    assert exit_codes(done) == ["1"] * 4, done.stderr
    way_out = "models and films with a clone or a whole install of the package"
    for missing in ("data/pocket", "data/paper/paper_results.yaml"):
        assert re.search(rf"^error: .*{missing} is not there: .*{way_out}", done.stderr, re.M), done.stderr
    assert re.search(rf"MISSING  data/pocket: .*{way_out}", done.stdout)
