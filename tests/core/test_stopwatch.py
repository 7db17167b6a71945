"""A stage's seconds are those of the work that was asked for within it, on a device that works through a queue too."""

from types import SimpleNamespace

import pytest
import torch

from sfllava_core import stopwatch
from sfllava_core.stopwatch import Stopwatch


class Clock(SimpleNamespace):
    """A clock that only moves when told. queue: seconds of work that a GPU has taken and not done."""

    def __init__(self):
        super().__init__(now=0.0, queue=[])

    def perf_counter(self) -> float:
        return self.now

    def synchronize(self, device: torch.device) -> None:
        self.now += sum(self.queue)
        self.queue.clear()


@pytest.fixture()
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(stopwatch, "time", clock)
    monkeypatch.setattr(torch.cuda, "synchronize", clock.synchronize)
    return clock


def test_work_on_a_gpus_queue_counts_for_the_stage_that_asked_for_it(clock):
    """A GPU takes work and the program goes on at once: each stage must wait for its own, and not for earlier work."""
    watch = Stopwatch(torch.device("cuda"))
    clock.queue.append(5.0)
    with watch("first"):
        clock.queue.append(2.0)
    with watch("second"):
        clock.now += 1.0
        clock.queue.append(3.0)
    assert watch.seconds == {"first": 2.0, "second": 4.0}


def test_the_seconds_of_a_stage_add_up_and_count_where_it_fails(clock):
    watch = Stopwatch(torch.device("cpu"))
    for _ in range(2):
        with pytest.raises(KeyError), watch("stage"):
            clock.now += 1.0
            raise KeyError
    assert watch.seconds == {"stage": 2.0}
