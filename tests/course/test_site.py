"""The site: built without a warning, whole, the same each time; readable by all in a browser, at two widths."""

import functools
import http.server
import re
import shutil
import subprocess
import sys
import tarfile
import threading
from pathlib import Path

import nbformat
import pytest
from bs4 import BeautifulSoup
from conftest import ROOT
from course import CHAPTERS, code_cells, editions, read
from test_course_browser import CHROMIUM, FLAGS

from sfllava_course.web import description

AXE = "axe-core@4.14.1"
FEW = [path for path in CHAPTERS if path.name[:2] in ("08", "09")]
PACKAGE = "pocket"
PAGES = ("index.html", "09_the_field.html", "glossary.html", "api/pocket.html", "methods.html", "search.html?q=token")


def build(chapters: list[Path], out: Path, packages: tuple[str, ...]) -> Path:
    tools = editions()
    from site_pages import write_site

    return write_site(chapters, tools.student_edition, out, packages).parent


@pytest.fixture(scope="module")
def few(tmp_path_factory) -> list[Path]:
    """Two chapters, which link to each other; their links to further ones are text."""
    folder, names = tmp_path_factory.mktemp("few"), "|".join(path.name for path in FEW)
    for path in FEW:
        notebook = read(path)
        for cell in notebook.cells:
            if cell.cell_type == "markdown":
                cell.source = re.sub(rf"\[([^]]+)\]\((?!{names})\w+\.ipynb\)", r"\1", cell.source)
        nbformat.write(notebook, folder / path.name)
    return [folder / path.name for path in FEW]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """`make site`: it stops at the first warning of Sphinx's."""
    out = tmp_path_factory.mktemp("whole")
    done = subprocess.run([sys.executable, "tools/editions.py", "site", "--out", str(out)],
                          capture_output=True, text=True, cwd=ROOT, timeout=280)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return out / "site"


@pytest.fixture(scope="module")
def small(few, tmp_path_factory):
    return build(few, tmp_path_factory.mktemp("small") / "site", (PACKAGE,))


def soup(page: Path) -> BeautifulSoup:
    return BeautifulSoup(page.read_text(), "html.parser")


def test_the_site_is_whole_and_needs_no_network(whole):
    start = soup(whole / "index.html")
    for chapter in CHAPTERS:
        page = soup(whole / f"{chapter.stem}.html")
        assert start.find("a", href=f"{chapter.stem}.html")
        source, text = read(chapter), page.get_text()
        assert "$$" not in text and len(page("math")) == sum(cell.source.count("$$") // 2 for cell in source.cells)
        assert text.count("A solution") == 2 * len(code_cells(source, "solution")), "to open, and to close again"
        outputs = [out for cell in code_cells(source) for out in cell.outputs if "image/png" in out.get("data", {})]
        assert [image.get("alt", "") for image in page("img")] == [description(out) for out in outputs]
    for page in whole.rglob("*.html"):
        text = page.read_text()
        needed = re.findall(r'<(?:script|img|link)\b[^>]*?(?:src|href)="([^"]*)"', text)
        assert needed and not [one for one in needed if re.match(r"(https?:)?//", one)], page
        for link in {
            one.split("#")[0].split("?")[0] for one in [*needed, *re.findall(r'<a\b[^>]*?href="([^"]*)"', text)]
        }:
            assert "://" in link or (page.parent / link).exists(), f"{page.name}: {link}"


def test_each_chapter_offers_the_learners_edition(whole):
    for chapter in CHAPTERS:
        (link,) = soup(whole / f"{chapter.stem}.html")("a", href=re.compile(r"\.ipynb$"))
        offered = nbformat.read(whole / link["href"], as_version=4)
        assert not code_cells(offered, "solution") and not [cell for cell in code_cells(offered) if cell.outputs]
        assert len(code_cells(offered)) == len(code_cells(read(chapter))) - len(code_cells(read(chapter), "solution"))


def test_the_api_reference_has_signatures_with_shapes_and_the_paper_index_leads_there(whole):
    entry = soup(whole / "api" / "sfllava_core.methods.html").find(id="sfllava_core.methods.pooling.Pool")
    assert "Float[Tensor" in (whole / "api" / "sfllava_core.methods.html").read_text()
    assert "windows of size" in " ".join(entry.parent.get_text().split()), "the docstring"
    index = soup(whole / "paper_index.html")
    assert index.find("a", href="api/sfllava_core.methods.html#sfllava_core.methods.pooling.Pool")
    assert index.find("a", href="03_slow_and_fast.html")


def test_built_twice_it_is_the_same(small, few, tmp_path):
    again = build(few, tmp_path / "site", (PACKAGE,))
    files = [{path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
             for folder in (small, again)]  # fmt: skip
    assert files[0].keys() == files[1].keys()
    assert not [str(name) for name in files[0] if files[0][name] != files[1][name]]


def test_what_sphinx_warns_of_stops_the_build(few, tmp_path):
    editions()  # its folder is where modules are found from now on
    from site_pages import SiteError

    broken = read(few[0])
    broken.cells.append(nbformat.v4.new_markdown_cell("[nowhere](77_nowhere.ipynb)"))
    nbformat.write(broken, tmp_path / few[0].name)
    with pytest.raises(SiteError, match="77_nowhere"):
        build([tmp_path / few[0].name, few[1]], tmp_path / "site", ())
    assert not (tmp_path / "site").exists()


@pytest.fixture(scope="module")
def axe(tmp_path_factory) -> str:
    """The script of axe-core, which looks for what keeps people from reading a page."""
    if shutil.which("npm") is None:
        pytest.skip("no npm here, which brings axe-core: apt-get install npm")
    folder = tmp_path_factory.mktemp("axe")
    done = subprocess.run(["npm", "pack", "--silent", AXE], cwd=folder, capture_output=True, text=True, timeout=60)
    if done.returncode:
        pytest.skip(f"npm cannot get {AXE} here: {done.stderr.strip()[-200:]}")
    with tarfile.open(next(folder.glob("*.tgz"))) as pack:
        return pack.extractfile("package/axe.min.js").read().decode()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *words) -> None:
        """Nothing on the terminal."""


@pytest.fixture(scope="module")
def address(small):
    """The site on loopback, by whatever port is free."""
    handler = functools.partial(Quiet, directory=str(small))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("no chromium here: apt-get install chromium")
    sync_api = pytest.importorskip("playwright.sync_api", reason="no playwright here: pip install playwright")
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


@pytest.mark.parametrize(("width", "mode"), [(1280, "light"), (420, "dark")])
def test_nothing_keeps_people_from_reading(browser, address, axe, width, mode):
    """No fault that axe-core calls serious or critical, no sideways scrolling of a page, no error in its console."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=mode, reduced_motion="reduce")
    page = context.new_page()
    problems = []
    page.on("console", lambda line: problems.append(line.text) if line.type == "error" else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    for name in PAGES:
        page.goto(f"{address}/{name}")
        page.wait_for_load_state("networkidle")
        assert page.evaluate("document.documentElement.dataset.theme") == mode
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, f"{name} is too wide"
        page.evaluate(axe)
        for fault in page.evaluate("axe.run({resultTypes: ['violations']})")["violations"]:
            if fault["impact"] in ("serious", "critical"):
                problems += [f"{name}: {fault['id']}: {node['html'][:200]}" for node in fault["nodes"][:3]]
    context.close()
    assert not problems, "\n".join(problems)


def test_the_search_finds_a_word_and_formulas_are_drawn(browser, address):
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(f"{address}/search.html?q=bootstrap")
    page.wait_for_selector("#search-results li a")
    found = page.locator("#search-results li a").evaluate_all("links => links.map(link => link.getAttribute('href'))")
    assert any("glossary.html" in link for link in found)
    page.goto(f"{address}/09_the_field.html")
    box = page.locator("math").first.bounding_box()
    assert box["height"] > 30 and box["width"] > 100, "a fraction is higher than a line"
    width = page.evaluate("""() => {
        const measured = document.createElement("span");
        measured.textContent = "0".repeat(75);
        document.querySelector(".bd-article p").append(measured);
        const wide = measured.getBoundingClientRect().width;
        measured.remove();
        return document.querySelector(".bd-article p").getBoundingClientRect().width / wide * 75;
    }""")
    assert 55 <= width <= 76, f"{width:.0f} characters in a line"
    page.close()
