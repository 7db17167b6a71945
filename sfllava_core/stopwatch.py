"""Seconds spent in named stages, with the GPU's work counted where it was asked for."""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class Stopwatch:
    """Adds up wall-clock seconds by stage: `with watch("encode"): ...`, then `watch.seconds["encode"]`."""

    def __init__(self, device: torch.device):
        self.device = device
        self.seconds: defaultdict[str, float] = defaultdict(float)

    def _finish_queue(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        self._finish_queue()
        start = time.perf_counter()
        try:
            yield
        finally:
            self._finish_queue()
            self.seconds[stage] += time.perf_counter() - start
