"""Decoding ahead: the frames of the coming videos, read by child processes while the model works on this one."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from sfllava_core.bench.records import Question
from sfllava_core.frames import Frames, VideoError


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

    A `VideoError` is handed on in the frames' place; any other error is raised.
    """
    if workers < 1 or ahead < 1:
        raise ValueError(f"workers={workers}, ahead={ahead}: both must be at least 1")
    pool = ThreadPoolExecutor(workers, thread_name_prefix="decode")
    coming, left = deque(), iter(jobs)

    def timed(name: str) -> tuple[Frames | None, VideoError | None, float]:
        start = time.perf_counter()
        try:
            return read(name), None, time.perf_counter() - start
        except VideoError as error:
            return None, error, time.perf_counter() - start

    def fill() -> None:
        while len(coming) < ahead and (job := next(left, None)) is not None:
            coming.append((job, pool.submit(timed, job.video)))

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
        pool.shutdown(wait=False, cancel_futures=True)
