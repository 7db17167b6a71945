"""`sfllava app` in a real browser: a film of the kit, a video of one's own, a broken and a far too large one."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from browser import CHROMIUM, FLAGS, MARKS, SCREENSHOTS, free_port, wait_for
from conftest import ROOT

from sfllava_core import VideoLLM
from sfllava_core.defaults import POCKET, POCKETBENCH

pytestmark = MARKS
FILMS = POCKETBENCH / "videos"
QUESTION = "What is in the bubble?"
SAID, ANSWERS, ERROR = ".sfllava-upload-said", ".sfllava-answer", ".sfllava-said [role=alert]"
ANSWERED = """() => [...document.querySelectorAll('button')].some(one => !one.disabled)
  && [...document.querySelectorAll('.sfllava-answer')].every(one => !['', '...'].includes(one.innerText.trim()))"""
WORDS = """() => {
  window.said = [];
  new MutationObserver(() => window.said.push(document.querySelector('.sfllava-answer').innerText.trim()))
    .observe(document.querySelector('.sfllava-answer'), {childList: true, subtree: true, characterData: true});
}"""


class App(NamedTuple):
    """A running app: its address, and the folder where it keeps everything."""

    address: str
    folder: Path

    def uploads(self) -> list[Path]:
        return [path for path in self.folder.rglob("sfllava-upload-*/*")]


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    """The command, with its temporary files in a folder of the test's; nothing is left of them when it has ended."""
    folder, port = tmp_path_factory.mktemp("app"), free_port()
    words = ["app", "--no-browser", "--port", str(port), "--max-upload", "8"]
    with (folder.parent / "app.log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "sfllava_course", *words], stdout=log, stderr=subprocess.STDOUT, cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(folder), "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
    try:
        wait_for(server, f"http://127.0.0.1:{port}/voila/static/favicon.ico")
        yield App(f"http://127.0.0.1:{port}", folder)
    finally:
        server.send_signal(signal.SIGTERM)
        code = server.wait(30)
    assert not list(folder.iterdir()), "uploads and connection files go when the app does"
    assert code == 0


@pytest.fixture(scope="module")
def page(app, tmp_path_factory):
    """The app's page, ready to be asked."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="no playwright here: pip install playwright")
    with sync_api.sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            tmp_path_factory.mktemp("profile"), executable_path=CHROMIUM, args=FLAGS,
            viewport={"width": 1280, "height": 1100},
        )  # fmt: skip
        page = context.new_page()
        asked = []
        page.on("request", lambda request: asked.append(request))
        page.set_default_timeout(90_000)
        page.goto(app.address, timeout=180_000)  # the notebook has been run by then
        page.get_by_role("button", name="Ask both").wait_for(timeout=120_000)
        idle(page)
        yield page
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=SCREENSHOTS / "app.png", full_page=True)
        others = [one for one in asked if not one.url.startswith((app.address, "data:", "blob:"))]
        asked_for = [(one.url, one.failure) for one in others if one.failure != "csp"]  # forbidden, never sent
        context.close()
    assert not asked_for, "nothing comes from another host"


def idle(page) -> None:
    page.wait_for_function("() => [...document.querySelectorAll('button')].some(one => !one.disabled)", timeout=60_000)


def answers_after_asking(page) -> list[str]:
    """The answers of both sides to `QUESTION`."""
    page.get_by_label("question").fill(QUESTION)
    page.get_by_role("button", name="Ask both").click()
    page.wait_for_function(ANSWERED, timeout=60_000)
    return [one.inner_text().strip() for one in page.locator(ANSWERS).all()]


def expected(page, film: Path) -> list[str]:
    """What the two specs on the page answer, asked without a page."""
    from sfllava_core import parse_spec

    llm = VideoLLM.from_pretrained(POCKET)
    specs = [page.get_by_label(f"method {side}").input_value() for side in "AB"]
    return [llm.watch(film, parse_spec(spec)).ask(QUESTION) for spec in specs]


def test_a_film_of_the_kit_is_answered_on_both_sides_word_by_word(page):
    page.evaluate(WORDS)
    film = page.get_by_label("film").locator("option:checked").inner_text()
    found = answers_after_asking(page)
    assert found == expected(page, FILMS / f"{film}.mp4")
    said = list(dict.fromkeys(page.evaluate("() => window.said")))
    assert len([word for word in said if word and found[0].startswith(word)]) >= 2, f"streamed: {said}"
    assert page.get_by_text("knows only its own drawn world").is_visible()
    assert page.locator("img[alt*='visual tokens']").count() == 2


def test_an_uploaded_video_is_answered(page, app):
    film = FILMS / "pocket_0017.mp4"
    with page.expect_file_chooser() as chooser:
        page.get_by_label("upload a video").click()
    chooser.value.set_files(film)
    page.locator(SAID, has_text="pocket_0017.mp4: 0.0 MiB").wait_for()
    idle(page)
    assert [path.read_bytes() for path in app.uploads()] == [film.read_bytes()]
    assert answers_after_asking(page) == expected(page, film)


def test_a_broken_file_is_told_by_its_name_and_replaces_the_last_one(page, app, tmp_path):
    broken = tmp_path / "holiday.mp4"
    broken.write_bytes((FILMS / "pocket_0017.mp4").read_bytes()[:3000])
    page.get_by_label("upload a video").set_input_files(broken)
    error = page.locator(ERROR)
    error.wait_for()
    assert error.inner_text().startswith("error: holiday.mp4: ") and "what to do" in error.inner_text()
    assert len(app.uploads()) == 1
    page.get_by_role("button", name="Ask both").click()
    page.locator(ERROR, has_text="no film has been watched").wait_for()


def test_a_file_of_4_gb_is_refused_before_a_byte_of_it_is_read(page, app, tmp_path):
    huge = tmp_path / "huge.mp4"
    with huge.open("wb") as file:
        file.truncate(4 * 2**30)
    page.get_by_label("upload a video").set_input_files(huge)
    page.locator(SAID, has_text="huge.mp4 has 4,096 MiB, and 8 are taken at most").wait_for(timeout=5_000)
    assert not app.uploads()


def test_after_errors_another_film_is_watched(page):
    page.get_by_label("film").select_option(index=0)
    page.locator(ERROR).wait_for(state="detached")
    idle(page)
    film = page.get_by_label("film").locator("option:checked").inner_text()
    assert answers_after_asking(page) == expected(page, FILMS / f"{film}.mp4")
