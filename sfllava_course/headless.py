"""Run a notebook headlessly with papermill: an executed notebook, an HTML report, results.json, and a table.

papermill returns success where a widget's callback raised: the error sits in the notebook's widget state. So the
executed notebook is searched for such errors, and a run that has one fails.
"""

import json
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path
from tempfile import TemporaryDirectory

from sfllava_bench.answers.progress import PROGRESS_FILE
from sfllava_bench.terminal import show_table
from sfllava_core.defaults import WORK
from sfllava_course.notebook_parameters import parameters_for

BAR = "{desc}: {n_fmt}/{total_fmt} cells {bar} {elapsed}{postfix}"


class NotebookError(RuntimeError):
    """A notebook that did not run to its end, or whose widgets raised."""


def run_notebook(notebook: Path, out: Path | None = None, parameters: dict[str, object] | None = None) -> int:
    """Run `notebook` with `parameters`, write everything into `out` (runs/ and the time), print table and path.

    Raises:
        NotebookError: a cell or a widget raised; the half-run notebook is kept in `out`.
        ParameterError: a parameter that the notebook has not, or of another type than its default.
        KeyboardInterrupt: with what is kept and how to go on; the kernel is ended.
    """
    import nbformat
    import papermill
    from papermill.engines import papermill_engines
    from papermill.exceptions import PapermillExecutionError

    from sfllava_course.kernels import private_kernel

    parameters = parameters_for(notebook, parameters or {})
    papermill_engines.register("sfllava", engine())
    out = out or WORK / "runs" / datetime.now(timezone.utc).strftime("%Y%m%d-%H%M%S")
    out.mkdir(parents=True, exist_ok=True)
    executed = out / notebook.name
    try:
        with TemporaryDirectory(prefix="sfllava-") as sockets, progress_in(Path(sockets) / "progress"):
            papermill.execute_notebook(
                str(notebook),
                str(executed),
                parameters={**parameters, "out_dir": str(out.resolve())},
                cwd=str(WORK),
                kernel_name="python3",
                engine_name="sfllava",
                progress_bar={"file": sys.stderr, "desc": notebook.stem, "bar_format": BAR},
                log_output=False,
                config=private_kernel(Path(sockets)),
            )
    except PapermillExecutionError as error:
        raise NotebookError(
            f"{notebook.name}: cell {error.exec_count} raised {error.ename}: {error.evalue}; see {executed}"
        ) from error
    except KeyboardInterrupt as error:
        raise type(error)(how_to_go_on(out)) from None
    content = nbformat.read(executed, as_version=4)
    if errors := widget_errors(content):
        raise NotebookError(f"{notebook.name}: {len(errors)} widget outputs raised, first: {errors[0]}; see {executed}")
    report = write_html(content, out / f"{notebook.stem}.html")
    results = out / "results.json"
    if results.exists():
        show_table(json.loads(results.read_text()).get("table", []))
    print(f"report: {report}")
    return 0


def how_to_go_on(out: Path) -> str:
    """What a run that was broken off has left in its folder, and how to go on, in one line."""
    from sfllava_bench.answers.journal import count_answered

    counts = [count_answered(path) for path in out.glob("*/answers.jsonl")]
    if not counts:
        return "no question is answered yet: the same command starts again"
    answered, expected = map(sum, zip(*counts))
    return f"{answered:,} of {expected:,} questions are answered and kept: the same command with --out {out} goes on"


def engine() -> type:
    """papermill's way to run a notebook, but that a Ctrl-C kills the kernel at its work, which does not get it."""
    from papermill.clientwrap import PapermillNotebookClient
    from papermill.engines import NBClientEngine

    class Client(PapermillNotebookClient):
        def papermill_execute_cells(self):
            try:
                super().papermill_execute_cells()
            except KeyboardInterrupt:
                self.shutdown_kernel = "immediate"  # asked politely, it would take its time and print a traceback
                raise

    class Engine(NBClientEngine):
        @classmethod
        def execute_managed_notebook(cls, nb_man, kernel_name, *, config, start_timeout=60, **unused):
            client = Client(nb_man, kernel_name=kernel_name, startup_timeout=start_timeout, config=config)
            with showing_progress(nb_man.pbar):
                return client.execute()

    return Engine


@contextmanager
def progress_in(file: Path) -> Iterator[None]:
    """Within, a kernel that is started writes how far its cell is into this file, not into the notebook."""
    before = os.environ.get(PROGRESS_FILE)
    os.environ[PROGRESS_FILE] = str(file)
    try:
        yield
    finally:
        if before is None:
            del os.environ[PROGRESS_FILE]
        else:
            os.environ[PROGRESS_FILE] = before


@contextmanager
def showing_progress(bar) -> Iterator[None]:
    """Within, what a long cell says of its progress stands behind the bar of cells."""
    ended, file = threading.Event(), Path(os.environ[PROGRESS_FILE])
    pause_s = 0.5 if sys.stderr.isatty() else 15.0  # a log wants few lines

    def show() -> None:
        shown = ""
        while not ended.wait(pause_s):
            said = ""
            with suppress(FileNotFoundError):  # no long cell is running
                said = file.read_text(encoding="utf-8")
            if said != shown:
                shown = said
                bar.set_postfix_str(said)

    thread = threading.Thread(target=show, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        bar.set_postfix_str("", refresh=False)


def widget_errors(content) -> list[str]:
    """What raised inside `interact` or an Output widget, from the notebook's widget state."""
    states = content.metadata.get("widgets", {}).get("application/vnd.jupyter.widget-state+json", {}).get("state", {})
    outputs = [output for state in states.values() for output in state.get("state", {}).get("outputs", [])]
    return [f"{o.get('ename')}: {o.get('evalue')}" for o in outputs if o.get("output_type") == "error"]


def write_html(content, path: Path) -> Path:
    """The executed notebook as one HTML page that needs no network."""
    from nbconvert import HTMLExporter

    from sfllava_course.web import ready

    no_addresses = dict.fromkeys(("mathjax_url", "require_js_url", "jquery_url", "widget_renderer_url"), "")
    exporter = HTMLExporter(embed_images=True, exclude_input_prompt=True, exclude_output_prompt=True, **no_addresses)
    body, _ = exporter.from_notebook_node(ready(content))
    path.write_text(body)
    return path
