"""What tests with a real browser share."""

import shutil
import socket
import subprocess
import time
import urllib.request

import pytest
from conftest import ROOT

CHROMIUM = shutil.which("chromium")
SCREENSHOTS = ROOT / "runs" / "screenshots"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"]  # fmt: skip
# Playwright bounds every wait itself. The time limit is the last resort, and ends the worker: an alarm that raises
# inside Playwright's event loop would leave the next call waiting for ever.
MARKS = [
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: apt-get install chromium"),
    pytest.mark.timeout(600, method="thread"),
]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(server: subprocess.Popen, url: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert server.poll() is None, "the server ended"
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(f"the server did not answer within {seconds} s")
