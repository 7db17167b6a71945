"""Stopping a command: one Ctrl-C, or one SIGTERM, ends it and its children at once, with one line of how to go on."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import NoReturn

GRACE_S = 3.0  # to close what is open; what hangs then is left
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}


class Terminated(KeyboardInterrupt):
    """SIGTERM has come. It is to be treated as Ctrl-C is: all that is open is closed on the way out."""


def run_command(main: Callable[[], int]) -> NoReturn:
    """Run a command as all that its process does, and end with its exit code; 130 after Ctrl-C, 143 after SIGTERM.

    `main` catches `KeyboardInterrupt` and returns `stopped(...)`. Threads are not waited for then: one may hang in a
    decoder or in a socket. Where `main` itself hangs on its way out, the process ends without it.
    """
    came = threading.Event()
    number = signal.SIGINT

    def interrupt(which: int, frame: object) -> NoReturn:
        nonlocal number
        for each in CODES:
            signal.signal(each, signal.SIG_IGN)  # one is enough: a second would break into the closing
        number = signal.Signals(which)
        came.set()
        raise (Terminated if which == signal.SIGTERM else KeyboardInterrupt)

    def watch() -> None:
        came.wait()
        time.sleep(GRACE_S)
        print("stopped; what is answered is kept: the same command goes on", file=sys.stderr)
        leave(CODES[number])

    threading.Thread(target=watch, daemon=True).start()
    for each in CODES:
        signal.signal(each, interrupt)
    code = main()
    if came.is_set():
        leave(code)
    sys.exit(code)


def stopped(error: KeyboardInterrupt, how_to_go_on: str) -> int:
    """Say in one line on standard error that a command was stopped, and how to go on; its exit code."""
    print(f"stopped; {how_to_go_on}", file=sys.stderr)
    return CODES[signal.SIGTERM if isinstance(error, Terminated) else signal.SIGINT]


def leave(code: int) -> NoReturn:
    """End the process now, whatever its threads are at."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):  # nobody listens any more
            pass
    os._exit(code)
