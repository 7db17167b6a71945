"""A worker: a process with a model of its own, loaded once. It reads what is coming while the model works.

Ray makes an actor of it (`pool.py`); nothing here knows of Ray. Videos are decoded by the worker's own decoding
service, on the machine where the worker is.
"""

import threading
import time
from collections.abc import Callable
from typing import Any

from sfllava_bench.answers.jobs import Work
from sfllava_bench.answers.video_model import ModelFacts, facts_of


class Worker:
    """Does jobs of one work. Calls come in several threads: as many as it may read ahead, and one more."""

    def __init__(self) -> None:
        self.llm: Any = None
        self.work: Work | None = None
        self.turn = threading.Lock()  # to load the model, or to use it

    def begin(self, make: Callable[[], Any], work: Work | None) -> ModelFacts:
        """Load the model, if it is not there yet, and take up a work; what the model is."""
        with self.turn:
            if self.llm is None:
                self.llm = make()
            if work is not None:
                self.work, self.reading = work, threading.BoundedSemaphore(work.workers)
            self.idle_since = time.perf_counter()
            return facts_of(self.llm)

    def do(self, job: object) -> object:
        """What came of a job; the model does one after another, in any order."""
        work = self.work
        assert work is not None, "jobs come after a beginning"
        with self.reading:
            read = work.read(self.llm, job)
        with self.turn:
            try:
                return work.answer(self.llm, job, read, time.perf_counter() - self.idle_since)
            finally:
                self.idle_since = time.perf_counter()
