"""Prefetching: the frames of the coming videos, read by worker processes while the model works on this one."""

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from queue import SimpleQueue

from sfllava_core.video.frames import Frames
from sfllava_core.video.integrity import VideoError


@dataclass(frozen=True)
class Decoded:
    """A video's frames, or the error that came in their place.

    seconds: how long decoding took.  waited: how much of it the model stood idle for.
    """

    video: str
    frames: Frames | None
    error: VideoError | None
    seconds: float
    waited: float

    def share(self, parts: int) -> "Decoded":
        """The same frames, for one of several that look at them: each bears its share of the seconds."""
        return self if parts == 1 else replace(self, seconds=self.seconds / parts, waited=self.waited / parts)


def prefetch(
    names: Iterable[str], read: Callable[[str], Frames], *, workers: int = 2, count: int = 4
) -> Generator[Decoded, None, None]:
    """Each video's frames, in order, with up to `count` more being decoded or waiting in memory.

    Args:
        names: of the videos; one may come several times.
        read: reads the frames of a video by name, in a thread; `VideoFolder.read` leaves the work to a worker process.
        workers: how many videos at a time.
        count: how many in advance.

    A `VideoError` is handed on in the frames' place; any other error is raised, in the frames' place too. Close it to
    end early: what has not begun is not read any more, and what hangs is not waited for.
    """
    waiting: SimpleQueue[tuple[str, Future] | None] = SimpleQueue()
    coming: deque[tuple[str, Future]] = deque()
    left = iter(names)
    # No executor: Python waits for its threads at exit, so that a decode that hangs would hold up a Ctrl-C.
    for number in range(workers):
        threading.Thread(target=work, args=(waiting, read), name=f"decode-{number}", daemon=True).start()

    def fill() -> None:
        while len(coming) < count and (name := next(left, None)) is not None:
            coming.append((name, Future()))
            waiting.put(coming[-1])

    try:
        fill()
        while coming:
            name, future = coming.popleft()
            start = time.perf_counter()
            frames, error, seconds = future.result()
            waited = time.perf_counter() - start
            fill()
            yield Decoded(name, frames, error, seconds, waited)
    finally:
        for _, future in coming:
            future.cancel()
        for _ in range(workers):
            waiting.put(None)


def work(waiting: SimpleQueue, read: Callable[[str], Frames]) -> None:
    """A thread's life: read what waits, one after another, until it is told to end."""
    while (asked := waiting.get()) is not None:
        name, future = asked
        if not future.set_running_or_notify_cancel():
            continue
        start = time.perf_counter()
        try:
            future.set_result((read(name), None, time.perf_counter() - start))
        except VideoError as error:
            future.set_result((None, error, time.perf_counter() - start))
        except BaseException as error:
            future.set_exception(error)
