"""How much memory is free, and how much a piece of work takes at its peak: of a GPU, or of this process."""

import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from sfllava_bench.runs.preflight import free_memory

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass
class Peak:
    """Bytes at most beside `before`, once the work is done."""

    before: int
    bytes: int = 0


def free_bytes(device: torch.device, spread: bool = False) -> int | None:
    """Bytes free on the GPU (all of them, where a model is spread), or for this process; None where none can tell."""
    if device.type == "cuda":
        return free_memory(device, spread)
    return field(Path("/proc/meminfo"), "MemAvailable")


def field(file: Path, name: str) -> int | None:
    """One of Linux's numbers of kB, in bytes; None elsewhere."""
    if not file.exists():
        return None
    found = (line.split() for line in file.read_text().splitlines() if line.startswith(f"{name}:"))
    return next((int(words[1]) * 1024 for words in found), None)


@contextmanager
def measured_peak(device: torch.device, before: int | None = None) -> Iterator[Peak]:
    """The peak of what happens inside: `max_memory_allocated` of all GPUs, or this process's resident memory.

    Args:
        before: what was held before; None asks.
    """
    cards = range(torch.cuda.device_count()) if device.type == "cuda" else ()
    for card in cards:
        torch.cuda.synchronize(card)
        torch.cuda.reset_peak_memory_stats(card)
    if not cards:
        reset_resident_peak()
    peak = Peak(held(device) if before is None else before)
    yield peak
    for card in cards:
        torch.cuda.synchronize(card)
    most = sum(torch.cuda.max_memory_allocated(card) for card in cards) if cards else resident_peak()
    peak.bytes = most - peak.before


def held(device: torch.device) -> int:
    """Bytes held now: tensors of all GPUs, or this process's resident memory."""
    if device.type == "cuda":
        return sum(torch.cuda.memory_allocated(card) for card in range(torch.cuda.device_count()))
    return field(STATUS, "VmRSS") or resident_peak()


def reset_resident_peak() -> None:
    """Let Linux count the peak anew; where it does not, the peak is the process's whole life's."""
    try:
        RESET.write_text("5")
    except OSError:
        return


def resident_peak() -> int:
    """The most resident memory since the reset."""
    if (peak := field(STATUS, "VmHWM")) is not None:
        return peak
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
