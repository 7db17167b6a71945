"""Shapes and types in the signatures of both packages are checked at run time in every test."""

import os
from pathlib import Path

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
THREADS = max(1, (os.cpu_count() or 1) // WORKERS)
# For the kernels and commands that tests start. Set, not defaulted: a worker inherits what xdist's controller has set.
os.environ["OMP_NUM_THREADS"] = str(THREADS)

from jaxtyping import install_import_hook

ROOT = Path(__file__).parents[1]
# Of pocket2 what tensors go through: the others are called a million times by the tests of shortcuts.
MANY_CALLS = ("bench", "claims", "oracle", "questions", "shortcuts", "sight", "stories", "world")
POCKET2 = [f"pocket2.{file.stem}" for file in (ROOT / "pocket2").glob("[a-z]*.py") if file.stem not in MANY_CALLS]
install_import_hook(["sfllava_core", "sfllava_bench", "sfllava_course", "pocket", *POCKET2], "typecheck.check")

import numpy as np
import pytest
import torch

from sfllava_core import Pathway, Pool, SlowFast

GOLDENS = ROOT / "tests" / "data" / "goldens"
TINY = ROOT / "data" / "tiny"
GRAND_PRIX = ROOT / "data" / "clips" / "grand_prix_1906.mp4"
DOG = ROOT / "data" / "clips" / "dog.mp4"
SMALL = SlowFast(8, Pathway(2, Pool.window("max", 2, 2)), Pathway(None, Pool.to(2, 2)))  # 2 * 144 + 8 * 4 tokens


class ToldAtOnce:
    """Under xdist a failure is written when it happens: a run that is ended from outside never gets to its summary."""

    def __init__(self, terminal, lines: int = 30):
        self.terminal, self.lines = terminal, lines

    def pytest_runtest_logreport(self, report):
        if report.failed:
            last = report.longreprtext.splitlines()[-self.lines :]
            self.terminal.write_line("\n".join(["", f"{report.nodeid} failed ({report.when}):", *last]))


@pytest.hookimpl(trylast=True)
def pytest_configure(config):
    if config.getoption("numprocesses", None) and not hasattr(config, "workerinput"):  # xdist's controller
        config.pluginmanager.register(ToldAtOnce(config.pluginmanager.get_plugin("terminalreporter")))


def pytest_collection_modifyitems(config, items):
    """Tests marked `gpu` run where there is a GPU and are skipped, visibly, elsewhere."""
    if not torch.cuda.is_available():
        for item in items:
            if "gpu" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="no CUDA GPU here"))


@pytest.fixture(scope="session", autouse=True)
def share_of_the_cores():
    """Under xdist each worker gets its share of the cores: torch is many times slower with more threads than cores."""
    torch.set_num_threads(THREADS)


@pytest.fixture(scope="session")
def llm():
    """The tiny random LLaVA-NeXT checkpoint, float32 on the CPU."""
    from sfllava_core import VideoLLM

    return VideoLLM.from_pretrained(TINY, device="cpu")


@pytest.fixture(scope="session")
def golden_frames() -> np.ndarray:
    """The 50 small frames of the end-to-end goldens, uint8 (50, 36, 48, 3)."""
    return np.load(GOLDENS / "e2e" / "frames.npz")["frames"]


@pytest.fixture(scope="session")
def excerpts() -> Path:
    return ROOT / "data" / "excerpts"


@pytest.fixture(scope="module")
def small_video(llm, golden_frames):
    """The first 8 of these frames, watched with `SMALL`."""
    return llm.watch_frames(golden_frames[:8], SMALL)


@pytest.fixture()
def rng() -> np.random.Generator:
    return np.random.default_rng(0)
