"""What the benchmark tests share: the excerpts, where the full annotation files are, one thread."""

import os
from pathlib import Path

import pytest
import torch


@pytest.fixture(scope="package", autouse=True)
def one_thread():
    """Small models gain nothing from more threads, and beside others on the machine they lose."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def real_annotations() -> Path:
    folder = os.environ.get("SFLLAVA_ANNOTATIONS")
    if not folder:
        pytest.skip("set SFLLAVA_ANNOTATIONS to the folder of IG-VLM's annotation files")
    return Path(folder)
