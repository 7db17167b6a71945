"""Decoding ahead: the frames of the coming videos, read by child processes while the model works on this one."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from queue import SimpleQueue

from sfllava_bench.questions.records import Question
from sfllava_core.video.frames import Frames
from sfllava_core.video.integrity import VideoError


@dataclass(frozen=True)
class Job:
    """One video to watch, and the questions to ask it."""

    video: str
    questions: list[Question]


@dataclass(frozen=True)
class Decoded:
    """A job's frames, or the error that came in their place.

    seconds: how long decoding took.  waited: how much of it the model stood idle for.
    """

    job: Job
    frames: Frames | None
    error: VideoError | None
    seconds: float
    waited: float


def decode_ahead(
    jobs: list[Job], read: Callable[[str], Frames], *, workers: int = 2, ahead: int = 4
) -> Iterator[Decoded]:
    """Each job's frames, in order, with up to `ahead` more being decoded or waiting in memory.

    Args:
        read: reads the frames of a video by name, in a thread; `read_frames` leaves the work to a child process.
        workers: how many videos at a time.

    A `VideoError` is handed on in the frames' place; any other error is raised, in the frames' place too. Close it to
    end early: what has not begun is not read any more, and what hangs is not waited for.
    """
    if workers < 1 or ahead < 1:
        raise ValueError(f"workers={workers}, ahead={ahead}: both must be at least 1")
    waiting: SimpleQueue[tuple[str, Future] | None] = SimpleQueue()
    coming, left = deque(), iter(jobs)
    # No executor: Python waits for its threads at exit, so that a decode that hangs would hold up a Ctrl-C.
    for number in range(workers):
        threading.Thread(target=work, args=(waiting, read), name=f"decode-{number}", daemon=True).start()

    def fill() -> None:
        while len(coming) < ahead and (job := next(left, None)) is not None:
            coming.append((job, Future()))
            waiting.put((job.video, coming[-1][1]))

    try:
        fill()
        while coming:
            job, future = coming.popleft()
            start = time.perf_counter()
            frames, error, seconds = future.result()
            waited = time.perf_counter() - start
            fill()
            yield Decoded(job, frames, error, seconds, waited)
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
