"""The chapters in a real JupyterLab, in a real browser: open, run all, move a control, see its figure change.

Every chapter that has an explorer is driven. Needs Debian's chromium and the Python client of Playwright; skipped,
with a message, where one of them is missing. Screenshots stay under runs/screenshots.
"""

import json
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import NamedTuple

import nbformat
import pytest
from browser import CHROMIUM, FLAGS, MARKS, SCREENSHOTS, free_port, wait_for
from conftest import ROOT
from course import CHAPTERS, LESSONS, code_cells, read

TOKEN = "course"
CELLS, RUNNING = ".jp-NotebookPanel .jp-Cell", ".jp-Notebook-ExecutionIndicator"
READY = "#jp-main-statusbar >> text=/ipykernel.*Idle/"
EXPLORER, PICTURE = ".widget-interact", ".widget-interact .widget-output img"
BAD = "application/vnd.jupyter.stderr", "application/vnd.jupyter.error"
EXPLORED = [path for path in CHAPTERS if any("explore(" in cell.source for cell in code_cells(read(path)))]
FEWER_FILMS = ("num_films = 20", "num_films = 3")  # in chapter 6: the browser is tested here, not the numbers

pytestmark = MARKS


class Lab(NamedTuple):
    """A running JupyterLab: its address, the folder that it serves, and how many tests had failed before it."""

    address: str
    folder: Path
    failures: int

    def page_of(self, name: str) -> str:
        return f"{self.address}/lab/tree/{name}?reset&token={TOKEN}"

    def end_kernels(self) -> None:
        for session in json.loads(self.call("GET", "sessions")):
            self.call("DELETE", f"sessions/{session['id']}")

    def call(self, method: str, what: str) -> bytes:
        request = urllib.request.Request(f"{self.address}/api/{what}?token={TOKEN}", method=method)
        with urllib.request.urlopen(request, timeout=20) as reply:
            return reply.read()


def without_outputs(path: Path):
    """A chapter as nobody has run it."""
    notebook = read(path)
    for cell in code_cells(notebook):
        cell.outputs, cell.execution_count = [], None
        cell.source = cell.source.replace(*FEWER_FILMS)
    return notebook


@pytest.fixture(scope="module")
def lab(request, tmp_path_factory):
    """JupyterLab on loopback, with the notebooks (no outputs) and all its own files in a temporary folder."""
    folder, port = tmp_path_factory.mktemp("lab"), free_port()
    (folder / "notebooks").mkdir()
    for path in CHAPTERS:
        nbformat.write(without_outputs(path), folder / "notebooks" / path.name)
    names = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "JUPYTERLAB_SETTINGS_DIR",
             "JUPYTERLAB_WORKSPACES_DIR", "IPYTHONDIR")  # fmt: skip
    own = {"PYTHONPATH": str(ROOT), **{name: str(folder / name.lower()) for name in names}}
    settings = folder / "jupyterlab_settings_dir" / "@jupyterlab"
    for name, text in (("apputils-extension/notification", '{"fetchNews": "false"}'),
                       ("notebook-extension/tracker", '{"windowingMode": "none"}')):  # fmt: skip
        file = settings / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True)
        file.write_text(text)
    options = {
        "ServerApp.ip": "127.0.0.1", "ServerApp.port": port, "ServerApp.port_retries": 0,
        "IdentityProvider.token": TOKEN, "ServerApp.root_dir": folder / "notebooks",
        "LabApp.check_for_updates_class": "jupyterlab.NeverCheckForUpdate", "LabApp.extension_manager": "readonly",
    }  # fmt: skip
    words = [f"--{name}={value}" for name, value in options.items()]
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", *words],
            stdout=log, stderr=subprocess.STDOUT, env={**os.environ, **own}, cwd=folder,
        )  # fmt: skip
    try:
        wait_for(server, f"http://127.0.0.1:{port}/api?token={TOKEN}")
        yield Lab(f"http://127.0.0.1:{port}", folder / "notebooks", request.session.testsfailed)
    finally:
        server.terminate()
        try:
            server.wait(timeout=30)
        except subprocess.TimeoutExpired:  # a machine with much else to do
            server.kill()
            server.wait()


@pytest.fixture()
def page(request, lab, tmp_path):
    """A tab of a fresh browser; the test fails if the page raises or its console shows an error."""
    if request.session.testsfailed - lab.failures >= 2:  # each failure may be minutes of waiting
        pytest.fail("two tests of this file failed before this one: JupyterLab or the browser does not work here")
    sync_api = pytest.importorskip("playwright.sync_api", reason="no playwright here: pip install playwright")
    with sync_api.sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            str(tmp_path / "profile"), executable_path=CHROMIUM, args=FLAGS,
            viewport={"width": 1280, "height": 1000},
        )  # fmt: skip
        tab = context.new_page()
        tab.set_default_timeout(90_000)
        problems = []
        tab.on("pageerror", lambda error: problems.append(str(error)))
        tab.on("console", lambda line: problems.append(line.text) if line.type == "error" else None)
        yield tab
        context.close()
        lab.end_kernels()
    assert not problems, problems


def run_all(page, lab: Lab, name: str) -> None:
    """Open a notebook and run all of it; every cell must have run, none of them with an error or a warning."""
    page.goto(lab.page_of(name))
    page.wait_for_selector(CELLS)
    page.wait_for_selector(READY)  # else Lab asks which kernel to take
    page.wait_for_selector(f'{RUNNING}[data-status="idle"]')
    page.click('text="Run" >> nth=0')
    page.click('.lm-Menu-item[data-command="runmenu:run-all"]')
    page.wait_for_selector(f'{RUNNING}[data-status="busy"]', timeout=20_000)
    page.wait_for_selector(f'{RUNNING}[data-status="idle"]', timeout=240_000)
    assert all(page.locator(f'[data-mime-type="{kind}"]').count() == 0 for kind in BAD)
    cells = saved(page, lab.folder / name)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1)), "a cell did not run"
    outputs = [output for cell in cells for output in cell.outputs]
    assert not [out for out in outputs if out.output_type == "error" or out.get("name") == "stderr"]


def saved(page, path: Path) -> list:
    """The code cells as Lab has written them."""
    before = path.stat().st_mtime_ns
    page.keyboard.press("Control+s")
    deadline = time.monotonic() + 30
    while path.stat().st_mtime_ns == before or not path.read_text().rstrip().endswith("}"):  # not yet whole
        assert time.monotonic() < deadline, f"{path.name} was not saved"
        page.wait_for_timeout(100)
    return code_cells(read(path))


def shot(page, name: str) -> Path:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=str(SCREENSHOTS / f"{name}.png"))
    return SCREENSHOTS / f"{name}.png"


def move(page, explorer) -> None:
    """Move the explorer's first slider by two steps, or take the next entry of its list if it has no slider."""
    handles = explorer.locator(".noUi-handle")
    if handles.count() == 0:
        explorer.locator("select").first.select_option(index=1)
        return
    readout, before = explorer.locator(".widget-readout").first, explorer.locator(".widget-readout").first.inner_text()
    handles.first.focus()
    for key in ("ArrowRight", "ArrowLeft"):  # to the left if it stands at its right end
        for _ in range(2):
            page.keyboard.press(key)
        if readout.inner_text() != before:
            return
    raise AssertionError(f"the slider stays at {before}")


@pytest.mark.parametrize("chapter", EXPLORED, ids=lambda path: path.stem)
def test_a_control_changes_its_figure(lab, page, chapter):
    run_all(page, lab, chapter.name)
    explorer = page.locator(EXPLORER).first
    explorer.scroll_into_view_if_needed()
    picture = page.locator(PICTURE).first
    picture.wait_for()
    before = picture.get_attribute("src")
    shot(page, f"{chapter.stem[:2]}_before")
    move(page, explorer)
    page.wait_for_function(
        "([selector, old]) => { const image = document.querySelector(selector); return image && image.src !== old }",
        arg=[PICTURE, before],
    )
    assert all(page.locator(f'[data-mime-type="{kind}"]').count() == 0 for kind in BAD)
    shot(page, f"{chapter.stem[:2]}_after")


def test_every_lesson_has_an_explorer_and_the_short_run_is_one():
    """Else a chapter would drop out of the test above without a word."""
    assert {path.stem[:2] for path in EXPLORED} >= {path.stem[:2] for path in LESSONS}
    assert FEWER_FILMS[0] in "".join(cell.source for path in CHAPTERS for cell in code_cells(read(path), "parameters"))


def test_solutions_are_folded_away_until_clicked(lab, page):
    page.goto(lab.page_of("01_frames.ipynb"))
    page.wait_for_selector(CELLS)
    folded = page.locator(".jp-Placeholder").first
    folded.wait_for(state="attached")
    folded.evaluate("element => element.scrollIntoView({block: 'center'})")
    folded.wait_for(state="visible", timeout=20_000)
    shot(page, "01_exercise")
    assert not page.locator("text=/for start, end in pairwise/").is_visible()
