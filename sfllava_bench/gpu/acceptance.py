"""`sfllava gpu-acceptance`: the first ten minutes with a GPU as one page, which whoever has one sends back.

Items (items.py) are run in order, each by itself: one that fails, or breaks, holds up no other.
"""

import platform
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from sfllava_bench.gpu.rehearsal import RehearsalError
from sfllava_bench.speed import device_name
from sfllava_core.checkpoints import ModelError, pick_device

PASSED, FAILED, NOT_HERE = "passed", "failed", "not possible here"
ON_CPU = 32  # sizes are divided by this there
PACKAGES = ("torch", "transformers", "tokenizers", "safetensors", "accelerate", "bitsandbytes", "av")


@dataclass(frozen=True)
class Result:
    """passed, failed or not possible here; a sentence with the number; what there is to read besides."""

    verdict: str
    said: str
    more: str = ""


@dataclass
class Place:
    """Where the items run, and what they hand on to each other.

    divide: sizes of 7B and 34B are divided by this; 1 is in full.
    folder: for what is written; it is removed afterwards.
    videos: real ones, of a folder; None takes the kit's two clips again and again.
    checkpoints: real ones, whose tokenizers are looked at.
    """

    device: torch.device
    divide: int
    folder: Path
    video: Path
    videos: Path | None = None
    checkpoints: Sequence[str] = ()
    say: Callable[[str], object] = print
    found: dict[str, Any] = field(default_factory=dict)

    @property
    def on_gpu(self) -> bool:
        return self.device.type == "cuda"

    @property
    def in_full(self) -> bool:
        return self.on_gpu and self.divide == 1


Item = Callable[[Place], Result]


def judged(right: bool, said: str, more: str = "") -> Result:
    """Passed where it is right."""
    return Result(PASSED if right else FAILED, said, more)


def run_items(items: Sequence[Item], place: Place) -> list[tuple[str, Result]]:
    """Each item's question (its docstring's first line) and result. What breaks has failed, with its traceback."""
    results = []
    for number, item in enumerate(items, 1):
        title = (item.__doc__ or item.__name__).splitlines()[0]
        began = time.perf_counter()
        try:
            result = item(place)
        except RehearsalError as error:
            result = Result(NOT_HERE, str(error))
        except Exception as error:  # a broken item is a finding too, and the page must go back whole
            result = Result(FAILED, f"{type(error).__name__}: {error}", traceback.format_exc())
        if place.on_gpu:
            torch.cuda.empty_cache()
        results.append((title, result))
        place.say(f"{number}. {result.verdict}: {result.said} [{time.perf_counter() - began:.0f} s]")
    return results


def versions(device: torch.device) -> list[str]:
    """The card and the versions, a line each."""
    lines = [f"- device: {device_name(device)}"]
    if device.type == "cuda":
        for card in range(torch.cuda.device_count()):
            known = torch.cuda.get_device_properties(card)
            lines.append(
                f"- GPU {card}: {known.name}, {known.total_memory / 2**30:.0f} GiB, {known.major}.{known.minor}"
            )
        lines.append(f"- CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}")
    lines.append(f"- Python {platform.python_version()} on {platform.system()} {platform.machine()}")
    for package in PACKAGES:
        try:
            lines.append(f"- {package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            lines.append(f"- {package}: not installed")
    return lines


def page(results: Sequence[tuple[str, Result]], place: Place) -> str:
    """The page, in Markdown: card and versions, a table of the verdicts, then whatever an item has to show."""
    lines = ["# GPU acceptance", "", f"`sfllava gpu-acceptance`, {date.today()}.", "", *versions(place.device), ""]
    if not place.on_gpu:
        lines += ["**A dress rehearsal of the command itself, on a CPU: nothing here is a GPU's.**", ""]
    sizes = "in full" if place.divide == 1 else f"divided by {place.divide}"
    lines += [f"7B and 34B: random weights, sizes {sizes}; their tokenizers are not the real vocabularies.", ""]
    lines += ["| | item | result | found |", "|---|---|---|---|"]
    for number, (title, result) in enumerate(results, 1):
        cells = (str(number), title, f"**{result.verdict}**", result.said)
        lines.append(f"| {' | '.join(' '.join(cell.split()).replace('|', '/') for cell in cells)} |")
    for number, (title, result) in enumerate(results, 1):
        if result.more:
            lines += ["", f"## {number}. {title}", "", "```", result.more.strip().replace("```", "'''"), "```"]
    return "\n".join([*lines, ""])


def accept(
    items: Sequence[Item],
    out: Path,
    video: Path,
    *,
    device: str = "auto",
    divide: int | None = None,
    videos: Path | None = None,
    checkpoints: Sequence[str] = (),
    say: Callable[[str], object] = print,
) -> list[tuple[str, Result]]:
    """Run the items (items.py) and write the page.

    Args:
        out: the page.  divide: sizes divided by this; None: in full on a GPU, by 32 on a CPU.
        The rest is as of `Place`.

    Raises:
        ModelError: no GPU, and no other device named.
    """
    if device == "auto" and not torch.cuda.is_available():
        raise ModelError("no CUDA GPU here; --device cpu goes through what a CPU can, in small, to try the command")
    picked = pick_device("cuda" if device == "auto" else device)
    if picked.type not in ("cuda", "cpu"):
        raise ModelError(f"--device {device}: give cuda, cuda:1 or cpu")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="sfllava-acceptance-") as folder:
        divide = divide or (1 if picked.type == "cuda" else ON_CPU)
        place = Place(picked, divide, Path(folder), video, videos, checkpoints, say)
        results = run_items(items, place)
    out.write_text(page(results, place), encoding="utf-8")
    return results
