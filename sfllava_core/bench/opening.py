"""Does a video open? Asked of many files, in child processes that a broken one may hang or crash.

A child reads paths from its standard input and answers each with one line: null, or why the file does not open.
It counts the file's video packets against its header and decodes the first frame; it does not decode the whole video.
"""

import contextlib
import json
import os
import queue
import selectors
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from sfllava_core.decoders import open_reader
from sfllava_core.integrity import VideoError, checked_path


def check_files(
    paths: list[Path],
    *,
    workers: int = 2,
    timeout_s: float = 60.0,
    progress: Callable[[int, int], None] | None = None,
) -> dict[Path, str]:
    """The files that do not open, with the cause.

    Args:
        workers: child processes side by side.  timeout_s: seconds for one file.
        progress: called as progress(files done, files in all).
    """
    waiting: queue.SimpleQueue[Path] = queue.SimpleQueue()
    for path in paths:
        waiting.put(path)
    causes: dict[Path, str | None] = {}
    threads = [
        threading.Thread(target=work, args=(waiting, causes, timeout_s)) for _ in range(min(workers, len(paths)))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        while thread.is_alive():
            thread.join(timeout=0.1)
            if progress is not None:
                progress(len(causes), len(paths))
    return {path: causes[path] for path in paths if causes[path] is not None}


def work(waiting: queue.SimpleQueue, causes: dict[Path, str | None], timeout_s: float) -> None:
    """Check files until none is waiting; a child that hangs or dies is replaced."""
    child = None
    try:
        while True:
            try:
                path = waiting.get_nowait()
            except queue.Empty:
                return
            child = child or start_child()
            try:
                causes[path] = json.loads(ask(child, path, timeout_s))
            except TimeoutError:
                causes[path] = f"the decoder gave no answer within {timeout_s:g} s"
            except EOFError:
                causes[path] = "the decoder crashed on it"
            else:
                continue
            end(child)
            child = None
    finally:
        if child is not None:
            end(child)


def start_child() -> subprocess.Popen:
    """A child that waits for paths."""
    package = str(Path(__file__).parents[2])
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([package, os.environ.get("PYTHONPATH", "")])}
    return subprocess.Popen(
        [sys.executable, "-m", "sfllava_core.bench.opening"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env,
    )  # fmt: skip


def ask(child: subprocess.Popen, path: Path, timeout_s: float) -> bytes:
    """The child's answer for one file.

    Raises:
        TimeoutError: there is none in time.  EOFError: the child has died.
    """
    with contextlib.suppress(OSError):  # if it is dead already, its answer is empty
        child.stdin.write(json.dumps(str(path)).encode() + b"\n")
        child.stdin.flush()
    with selectors.DefaultSelector() as selector:
        selector.register(child.stdout, selectors.EVENT_READ)
        if not selector.select(timeout_s):
            raise TimeoutError
    answer = child.stdout.readline()
    if not answer.endswith(b"\n"):
        raise EOFError
    return answer


def end(child: subprocess.Popen) -> None:
    """Stop a child and close its pipes."""
    child.kill()
    child.wait()
    with contextlib.suppress(OSError):
        child.stdin.close()
    child.stdout.close()


def why_not(path: Path) -> str | None:
    """Why the file does not open; None if it does."""
    try:
        checked_path(path)
        next(iter(open_reader("images" if path.is_dir() else "pyav", path).read([0])))
    except VideoError as error:
        return error.cause
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:200]}"
    return None


def main() -> None:
    """The child."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # lest a library print among the answers
    for line in sys.stdin:
        out.write(json.dumps(why_not(Path(json.loads(line)))).encode() + b"\n")
        out.flush()


if __name__ == "__main__":
    main()
