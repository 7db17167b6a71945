"""A chapter in a real JupyterLab, in a real browser: open, run all, move a slider, see the figure change.

Needs Debian's chromium and the Python client of Playwright; skipped, with a message, where one of them is missing.
Screenshots stay under runs/screenshots.
"""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from conftest import ROOT

CHROMIUM = shutil.which("chromium")
SCREENSHOTS = ROOT / "runs" / "screenshots"
TOKEN = "course"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"]  # fmt: skip
CELLS, RUNNING = ".jp-NotebookPanel .jp-Cell", ".jp-Notebook-ExecutionIndicator"
READY = "#jp-main-statusbar >> text=/ipykernel.*Idle/"
PICTURE = ".widget-output img"

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: apt-get install chromium")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(server: subprocess.Popen, url: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert server.poll() is None, "JupyterLab ended"
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(f"JupyterLab did not answer within {seconds} s")


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """JupyterLab on loopback, with a copy of the notebooks and all its own files in a temporary folder."""
    folder, port = tmp_path_factory.mktemp("lab"), free_port()
    shutil.copytree(ROOT / "notebooks", folder / "notebooks", ignore=shutil.ignore_patterns(".*"))
    names = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "JUPYTERLAB_SETTINGS_DIR",
             "JUPYTERLAB_WORKSPACES_DIR", "IPYTHONDIR")  # fmt: skip
    own = {"PYTHONPATH": str(ROOT), **{name: str(folder / name.lower()) for name in names}}
    quiet = (
        folder / "jupyterlab_settings_dir" / "@jupyterlab" / "apputils-extension" / "notification.jupyterlab-settings"
    )
    quiet.parent.mkdir(parents=True)
    quiet.write_text('{"fetchNews": "false"}')
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
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(timeout=30)


@pytest.fixture()
def page(tmp_path):
    """A tab of a fresh browser; the test fails if the page raises or its console shows an error."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="no playwright here: pip install playwright")
    with sync_api.sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            str(tmp_path / "profile"), executable_path=CHROMIUM, args=FLAGS, viewport={"width": 1280, "height": 1000}
        )
        tab = context.new_page()
        tab.set_default_timeout(90_000)
        problems = []
        tab.on("pageerror", lambda error: problems.append(str(error)))
        tab.on("console", lambda line: problems.append(line.text) if line.type == "error" else None)
        yield tab
        context.close()
    assert not problems, problems


def run_all(page, address: str) -> None:
    """Open a notebook and run all of it; every cell must have run, none of them with an error."""
    page.goto(address)
    page.wait_for_selector(CELLS)
    page.wait_for_selector(READY)  # else Lab asks which kernel to take
    page.wait_for_selector(f'{RUNNING}[data-status="idle"]')
    page.click('text="Run" >> nth=0')
    page.click('.lm-Menu-item[data-command="runmenu:run-all"]')
    page.wait_for_selector(f'{RUNNING}[data-status="busy"]', timeout=20_000)
    page.wait_for_selector(f'{RUNNING}[data-status="idle"]', timeout=120_000)
    assert page.locator('[data-mime-type="application/vnd.jupyter.stderr"]').count() == 0
    assert page.locator('[data-mime-type="application/vnd.jupyter.error"]').count() == 0


def shot(page, name: str) -> Path:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=str(SCREENSHOTS / f"{name}.png"))
    return SCREENSHOTS / f"{name}.png"


def test_a_slider_changes_the_figure(lab, page):
    run_all(page, f"{lab}/lab/tree/03_slow_and_fast.ipynb?reset&token={TOKEN}")
    handle = page.locator(".widget-slider .noUi-handle").first
    handle.scroll_into_view_if_needed()
    page.wait_for_selector(PICTURE)
    picture = page.locator(PICTURE).first
    before, value = picture.get_attribute("src"), page.locator(".widget-readout").first.inner_text()
    shot(page, "03_slider_before")
    handle.focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    page.wait_for_function(
        "([selector, old]) => { const image = document.querySelector(selector); return image && image.src !== old }",
        arg=[PICTURE, before],
    )
    assert page.locator(".widget-readout").first.inner_text() == str(int(value) + 3)
    shot(page, "03_slider_after")


def test_solutions_are_folded_away_until_clicked(lab, page):
    page.goto(f"{lab}/lab/tree/01_frames.ipynb?reset&token={TOKEN}")
    page.wait_for_selector(CELLS)
    folded = page.locator(".jp-Placeholder").first
    folded.wait_for(state="attached")
    folded.evaluate("element => element.scrollIntoView({block: 'center'})")
    folded.wait_for(state="visible", timeout=20_000)
    shot(page, "01_exercise")
    assert not page.locator("text=/for start, end in pairwise/").is_visible()
