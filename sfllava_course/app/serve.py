"""`sfllava app`: the page behind Voilà, on loopback unless told otherwise."""

import os
import tempfile
from pathlib import Path

from sfllava_core.defaults import DEFAULT_MODEL, absent
from sfllava_course.app.upload import DEFAULT_LIMIT, MIB

NOTEBOOK = Path(__file__).with_name("your_own_video.ipynb")
MODEL, LIMIT = "SFLLAVA_APP_MODEL", "SFLLAVA_APP_LIMIT"  # from the server to the notebook's kernels
# Voilà's page names style sheets of other hosts, which it does not need: a browser that may not ask for them is not
# held up where there is no network.
HEADERS = {"Content-Security-Policy": "default-src 'self' 'unsafe-inline' 'unsafe-eval' blob: data:"}
IDLE_S = 600  # a kernel whose page is gone is ended then


def serve(model: str, ip: str, port: int, max_upload: int, browser: bool) -> int:
    """Serve the page until Ctrl-C or SIGTERM. Uploads lie in a folder of the server's own, removed at the end.

    Args:
        max_upload: MiB of an upload at most.

    Raises:
        ValueError: a bound below 1.  FileNotFoundError: the embedded model is not there.
    """
    from traitlets.config import Config
    from voila.app import Voila

    if max_upload < 1:
        raise ValueError(f"--max-upload {max_upload}: let at least 1 MiB be uploaded")
    if reason := absent(model):
        raise FileNotFoundError(reason)
    settings = Config({
        "Voila": {"ip": ip, "port": port, "open_browser": browser, "tornado_settings": {"headers": HEADERS}},
        "MappingKernelManager": {"cull_idle_timeout": IDLE_S, "cull_interval": 60},
    })  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="sfllava-app-") as folder:
        os.environ.update({"TMPDIR": folder, MODEL: model, LIMIT: str(max_upload * MIB)})
        Voila.launch_instance([str(NOTEBOOK)], config=settings)
    return 0


def show_page() -> None:
    """What the notebook's one cell does."""
    from IPython.display import display

    from sfllava_course.app.page import Page

    page = Page(os.environ.get(MODEL, str(DEFAULT_MODEL)), int(os.environ.get(LIMIT, DEFAULT_LIMIT)))
    display(page.box)
