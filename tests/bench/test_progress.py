"""How far a run is: for people, and for whoever runs a notebook headlessly."""

from collections import Counter
from types import SimpleNamespace

import pytest

from sfllava_bench.answers import progress
from sfllava_bench.answers.progress import PROGRESS_FILE, Progress


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test moves."""
    now = SimpleNamespace(seconds=100.0)
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: now.seconds))
    return now


def answers(video: str, count: int) -> list[dict]:
    return [{"key": f"{video}/{n}", "video": video, "answers": ["a"]} for n in range(count)]


def test_videos_done_rate_and_time_left(clock, tmp_path, monkeypatch, capsys):
    file = tmp_path / "progress"
    monkeypatch.setenv(PROGRESS_FILE, str(file))
    with Progress(Counter(a=6, b=2, c=4), before=5) as bar:
        assert file.read_text() == str(bar) == "0 of 3 videos"
        clock.seconds += 2
        bar.add(answers("a", 4))
        assert file.read_text() == "0 of 3 videos, 2 questions/s, 00:04 left"
        bar.add([{"watched": "a", "questions": 4}])  # no question
        clock.seconds += 2
        bar.add([*answers("a", 2), *answers("b", 2)])
        assert file.read_text() == str(bar) == "2 of 3 videos, 2 questions/s, 00:02 left"
    assert not list(tmp_path.iterdir())
    assert capsys.readouterr() == ("", "")


def test_a_bar_on_the_terminal_only_where_something_is_left(monkeypatch, capsys):
    monkeypatch.delenv(PROGRESS_FILE, raising=False)
    for left, shown in ((Counter(), True), (Counter(a=2), False)):
        with Progress(left, before=3, shown=shown) as bar:
            bar.add(answers("a", left["a"]))
        assert capsys.readouterr() == ("", "")
    with Progress(Counter(a=2), before=3) as bar:
        bar.add(answers("a", 2))
    said = capsys.readouterr().err
    assert "1/1 videos: 100%" in said and "5/5" in said and "q/s]" in said
