"""Notebooks run headlessly: what is written, what is shown, what fails; and a client that misses no reply."""

import asyncio
import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
import time
from contextlib import suppress

import nbformat
import pytest
import zmq
import zmq.asyncio
from conftest import ROOT
from jupyter_client.session import Session
from notebook_files import with_parameters, write_notebook

from sfllava_bench.answers.layouts import LAYOUTS
from sfllava_course.headless import NotebookError, run_notebook, widget_errors
from sfllava_course.kernels import Channel


def test_the_main_job_writes_notebook_report_and_results(tmp_path, capsys):
    """`make run` on two films: every layout, the table on the terminal, one page that needs no network."""
    assert run_notebook(ROOT / "notebooks" / "08_reproduce.ipynb", tmp_path / "out", {"toy_videos": "2"}) == 0
    out = capsys.readouterr().out
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [row["layout"] for row in results["table"]] == list(LAYOUTS)
    assert (results["films"], results["profile"], results["dry_run"]) == (2, "toy", False)
    assert set(results["counts"].values()) == {"24 expected = 24 answered + 0 failed"}
    assert out.splitlines()[-1] == f"report: {tmp_path / 'out' / '08_reproduce.html'}"
    assert all(row["layout"] in out and row["mean (95 %)"] in out for row in results["table"])
    page = (tmp_path / "out" / "08_reproduce.html").read_text()
    assert page.count("<img") == 2
    assert 'src="http' not in page and '<link rel="stylesheet" href="http' not in page, (
        "the report must need no network"
    )
    executed = nbformat.read(tmp_path / "out" / "08_reproduce.ipynb", as_version=4)
    assert all(not output.name == "stderr" for cell in executed.cells if cell.cell_type == "code"
               for output in cell.outputs if output.output_type == "stream"), "no warnings"  # fmt: skip


LONG_CELL = """
import time
from collections import Counter
from sfllava_bench.answers.progress import Progress
with Progress(Counter({str(n): 2 for n in range(8)}), 0) as bar:
    for n in range(8):
        time.sleep(0.3)
        bar.add([{"key": f"{n}/{k}", "video": str(n)} for k in range(2)])
"""


def test_a_long_cell_says_how_far_it_is(tmp_path):
    """On a terminal of 80 columns, behind the count of cells; and nothing of it in the notebook."""
    notebook = with_parameters(tmp_path / "long.ipynb", "dry_run = allow_missing = False")
    content = nbformat.read(notebook, as_version=4)
    content.cells.append(nbformat.v4.new_code_cell(LONG_CELL))
    nbformat.write(content, notebook)
    said = on_a_terminal("-m", "sfllava_course", "run", "--notebook", notebook, "--out", tmp_path / "out")
    wanted = r"long: 3/4 cells .* \d\d:\d\d, [1-7] of 8 videos, [\d.]+ questions/s, 00:0\d left$"
    assert re.search(wanted, said.replace("\r", "\n"), re.MULTILINE), said
    assert nbformat.read(tmp_path / "out" / "long.ipynb", as_version=4).cells[-1].outputs == []


def on_a_terminal(*words: object) -> str:
    """What a command writes to a terminal of 80 columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = subprocess.Popen([sys.executable, *map(str, words)], stdout=theirs, stderr=theirs, cwd=ROOT)
    os.close(theirs)
    too_long = threading.Timer(200, process.kill)
    too_long.start()
    said = b""
    with suppress(OSError):  # the end of a terminal's output
        while part := os.read(ours, 1 << 16):
            said += part
    os.close(ours)
    too_long.cancel()
    assert process.wait(timeout=60) == 0, said
    return said.decode()


def test_a_cell_that_raises_fails_the_run(tmp_path):
    notebook = write_notebook(tmp_path / "bad.ipynb", "x = 1", "raise KeyError('lost')")
    with pytest.raises(NotebookError, match=r"bad.ipynb: cell \d raised KeyError: 'lost'"):
        run_notebook(notebook, tmp_path / "out")
    assert (tmp_path / "out" / "bad.ipynb").exists()


def test_a_widget_that_raises_fails_the_run(tmp_path):
    """papermill alone would call this a success."""
    source = "from ipywidgets import interact\ndef show(n): raise ValueError('inside a widget')\ninteract(show, n=3);"
    with pytest.raises(NotebookError, match="ValueError: inside a widget"):
        run_notebook(write_notebook(tmp_path / "widget.ipynb", source), tmp_path / "out")


def test_widgets_that_work_are_no_errors(tmp_path):
    source = "from ipywidgets import interact\ndef show(n): print(n)\ninteract(show, n=3);"
    assert run_notebook(write_notebook(tmp_path / "widget.ipynb", source), tmp_path / "out") == 0
    executed = nbformat.read(tmp_path / "out" / "widget.ipynb", as_version=4)
    assert executed.metadata["widgets"] and widget_errors(executed) == []


def test_a_reply_that_comes_in_before_something_is_sent_is_seen():
    """Without the look after sending, the reader waits for ever: a socket tells once that a message is there."""

    async def talk(kernel, ours) -> str:
        ours.identity = b"ours"
        kernel.connect(f"tcp://127.0.0.1:{ours.bind_to_random_port('tcp://127.0.0.1')}")
        session = Session(key=b"")
        channel = Channel(ours, session)
        channel.send(session.msg("hello"))
        name = kernel.recv_multipart()[0]
        reader = asyncio.ensure_future(channel.get_msg())
        await asyncio.sleep(0.05)  # it waits
        session.send(kernel, "execute_reply", ident=name)
        time.sleep(0.2)  # the reply is here, and the loop has not looked yet
        channel.send(session.msg("comm_msg"))
        return (await asyncio.wait_for(reader, 5))["msg_type"]

    async def with_sockets() -> str:
        with zmq.Context() as theirs, zmq.asyncio.Context() as context:
            with theirs.socket(zmq.ROUTER) as kernel, context.socket(zmq.DEALER) as ours:
                kernel.linger = ours.linger = 0
                return await talk(kernel, ours)

    assert asyncio.run(with_sockets()) == "execute_reply"
