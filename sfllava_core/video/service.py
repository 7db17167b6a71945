"""The decoding service: a few long-lived child processes that decode, since decoders may hang or crash on broken files.

A request goes to a free worker as one line of JSON, the answer comes back as another, and pixels in a block of memory
that has no name: nothing is copied, and nothing is left behind, however either side ends. A worker that hangs or
crashes is ended and costs its own request alone; the next request starts another. Workers end with their parent.
"""

import atexit
import contextlib
import json
import math
import mmap
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sfllava_core.video.frames import FrameRule, Frames, choose
from sfllava_core.video.integrity import REENCODE, HostError, VideoError

Message = dict[str, Any]
Rule = Callable[[int], list[int]]  # frames of a video of so many
ROOM = "is there memory, and room for processes and open files (ulimit -u, ulimit -n)?"
START_S = 60.0  # for a worker to start on a machine that is busy
LOG_BYTES = 2000  # of what a worker has written before it crashed
# The package is found where it is now; the folder the user is in is not searched for modules.
START = f"""
import sys
sys.path[0] = {str(Path(__file__).parents[2])!r}
from sfllava_core.video.worker import main
main(*map(int, sys.argv[1:]))
"""


class WorkerGone(Exception):
    """A worker gave no answer; says how it ended. late: it was still at work when its time was up."""

    def __init__(self, cause: str, late: bool = False):
        super().__init__(cause)
        self.late = late


class Worker:
    """One child process, which answers one request after another."""

    def __init__(self) -> None:
        """Start it, and wait until it is ready.

        Raises:
            HostError: it cannot be started.
        """
        with contextlib.ExitStack() as opened:
            try:
                self.socket, theirs = map(opened.enter_context, socket.socketpair())
                life, held = (opened.enter_context(os.fdopen(end, mode)) for end, mode in zip(os.pipe(), ("rb", "wb")))
                self.log = opened.enter_context(tempfile.TemporaryFile())
                handles = theirs.fileno(), life.fileno()
                self.process = subprocess.Popen(
                    [sys.executable, "-c", START, *map(str, handles)], pass_fds=handles, start_new_session=True,
                    stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
                )  # fmt: skip
                opened.callback(self.process.wait)
                opened.callback(self.process.kill)
                theirs.close()
                life.close()
                self.answer("a worker process", START_S, deadline_in(START_S))
            except (OSError, WorkerGone) as error:
                raise HostError(f"no worker process can be started to decode videos: {error}; {ROOM}") from error
            self.opened, self.held = opened.pop_all(), held  # `held` is never written to: see `die_with_parent`

    def request(self, message: Message, who: str, timeout_s: float | None, rule: Rule | None = None) -> Message:
        """One answer; `who` is named where none comes. `rule` picks frames of a video's total, when it is known.

        Raises:
            WorkerGone: the worker crashed, or gave no answer in time; it is of no use any more.
        """
        deadline = deadline_in(timeout_s)
        self.send({**message, "timeout_s": timeout_s})
        while "choose_of" in (answer := self.answer(who, timeout_s, deadline)):
            assert rule is not None, f"{who} asked for frames of {message}, which names them"
            self.send({"indices": rule(answer["choose_of"])})
        return answer

    def send(self, message: Message) -> None:
        """One line to the worker; if it is dead already, its answer is none."""
        with contextlib.suppress(OSError):
            self.socket.sendall(json.dumps(message).encode() + b"\n")

    def answer(self, who: str, timeout_s: float | None, deadline: float) -> Message:
        """The next line from the worker, with the block of memory that came with it as `block`."""
        line, handles = b"", list[int]()
        while not line.endswith(b"\n"):
            left = None if deadline == math.inf else max(0.0, deadline - time.monotonic())
            if not select.select([self.socket], [], [], left)[0]:
                raise WorkerGone(f"{who} gave no answer within {timeout_s:g} s", late=True)
            try:
                data, found = receive(self.socket)
            except OSError:
                data, found = b"", []
            line, handles = line + data, handles + found
            if not data:
                raise WorkerGone(f"{who} crashed ({self.ending()}): {self.last_words()}")
        return {**json.loads(line), "block": handles[0] if handles else None}

    def ending(self) -> str:
        """How the process ended."""
        try:
            code = self.process.wait(5)
        except subprocess.TimeoutExpired:
            return "it closed its line"
        return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"

    def last_words(self) -> str:
        """The last line that it wrote."""
        self.log.seek(max(0, self.log.seek(0, os.SEEK_END) - LOG_BYTES))
        return (self.log.read().decode(errors="replace").strip().splitlines() or ["no message"])[-1][:200]

    def end(self) -> None:
        """Kill it, and close what belongs to it."""
        self.opened.close()


class DecodingService:
    """Workers, started when they are first needed and never more than `size`; any thread may ask."""

    def __init__(self, size: int | None = None):
        """size: workers at most; None is the number of cores at hand."""
        self.size = size or cores()
        self.free: list[Worker] = []
        self.busy: set[Worker] = set()
        self.places = threading.BoundedSemaphore(self.size)
        self.owner = os.getpid()

    def request(
        self, message: Message, who: str, path: Path, timeout_s: float | None, rule: Rule | None = None
    ) -> Message:
        """The answer of some worker; time spent in waiting for a free one does not count.

        Raises:
            VideoError: the worker crashed or gave no answer in time.  HostError: the machine is at fault.
        """
        with self.places:
            worker = self.taken() or Worker()
            self.busy.add(worker)
            try:
                answer = worker.request(message, who, timeout_s, rule)
            except BaseException as error:  # broken off, its answer would be taken for the next one's
                worker.end()
                if isinstance(error, WorkerGone):
                    remedy = "raise timeout_s if the file is merely long; else " if error.late else ""
                    raise VideoError(path, str(error), remedy + REENCODE) from None
                raise
            finally:
                self.busy.discard(worker)
            self.free.append(worker)
        if "host" in answer:
            raise HostError(answer["host"])
        if "cause" in answer:
            raise VideoError(answer["path"], answer["cause"], answer["remedy"])
        return answer

    def taken(self) -> Worker | None:
        """A worker that was free, if there is one; other threads take them too."""
        try:
            return self.free.pop()
        except IndexError:
            return None

    def close(self) -> None:
        """End all workers; what is being decoded ends as a `VideoError`, and the next request starts a new worker."""
        for worker in self.busy.copy():
            worker.process.kill()
        while (free := self.taken()) is not None:
            free.end()


SERVICE: DecodingService | None = None
ONE = threading.Lock()


def service() -> DecodingService:
    """The process's own service; after a fork the child gets one of its own."""
    with ONE:
        return own() or begin(None)


def set_workers(size: int) -> None:
    """Let at most `size` videos be decoded at once in this process (default: its cores)."""
    if size < 1:
        raise ValueError(f"size={size}: at least 1 worker is needed")
    with ONE:
        if (old := own()) is not None:
            old.close()
        begin(size)


def own() -> DecodingService | None:
    """The service, if there is one and it is of this process: not of the one that it was forked from."""
    return SERVICE if SERVICE is not None and SERVICE.owner == os.getpid() else None


def begin(size: int | None) -> DecodingService:
    """Put a new service in place, which ends its workers with the process."""
    global SERVICE
    SERVICE = DecodingService(size)
    atexit.register(SERVICE.close)
    return SERVICE


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def decode_workers() -> int:
    """How many videos are decoded at a time while a model works: the cores less two for it, from 1 to 16."""
    return min(16, max(1, cores() - 2))


def deadline_in(timeout_s: float | None) -> float:
    """When so many seconds are over, by the clock that only goes forward."""
    return math.inf if timeout_s is None else time.monotonic() + timeout_s


def decode_in_worker(
    decoder: str, path: Path, rules: Sequence[FrameRule], size: tuple[int, int] | None, timeout_s: float | None
) -> Frames:
    """`read_frames` in a worker. Numbers go with the request; any other rule stays here, and is asked for its frames.

    Raises:
        VideoError: decoding failed, crashed, or took too long.  HostError: no worker, or no memory for the pixels.
    """
    numbers = None if any(map(callable, rules)) else list(rules)
    message = {"read": str(path), "decoder": decoder, "size": size, "numbers": numbers}
    answer = service().request(message, decoder, path, timeout_s, partial(choose, rules, path))
    block, shape = answer.pop("block"), answer.pop("shape")
    with os.fdopen(block, "rb") as file:
        pixels = np.frombuffer(mmap.mmap(file.fileno(), 0, flags=mmap.MAP_PRIVATE), dtype=np.uint8).reshape(shape)
    timestamps = np.asarray(answer.pop("timestamps"), dtype=np.float64)
    return Frames(pixels, timestamps=timestamps, **answer)


def why_not(path: Path, timeout_s: float | None) -> str | None:
    """Why a file does not open (its packets are counted and its first frame is decoded); None if it does.

    Raises:
        HostError: the machine is at fault.
    """
    try:
        service().request({"open": str(path)}, "the decoder", path, timeout_s)
    except VideoError as error:
        return error.cause
    return None


def side_by_side(
    work: Callable[[Path], Any], paths: Iterable[Path], *, at_once: int | None = None
) -> Iterator[tuple[Path, Any]]:
    """(path, what `work` gives for it), as they are done; `work` waits for workers, in up to `at_once` threads.

    What it raises is raised here, and whatever has not begun is not begun any more; Ctrl-C ends the workers too.
    """
    pool = ThreadPoolExecutor(at_once or cores(), thread_name_prefix="decode")
    try:
        asked = {pool.submit(work, path): path for path in paths}
        for done in as_completed(asked):
            yield asked[done], done.result()
    except KeyboardInterrupt:
        service().close()
        raise
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def receive(child: socket.socket) -> tuple[bytes, list[int]]:
    """Some bytes, and the handles that came with them."""
    data, handles, _, _ = socket.recv_fds(child, 1 << 16, 1)
    return data, handles
