"""A judge's server is not to be trusted: a malformed reply is one failed item, and nothing is without bounds."""

import gzip
import json
import signal
import threading
import time
import tracemalloc
from types import SimpleNamespace

import pytest

from sfllava_bench.answers.journal import Journal
from sfllava_bench.scores.chat import Chat, Gate, ItemError, Judge, JudgeError
from sfllava_bench.scores.judge import judge_answers, read_judgements, settings_of
from sfllava_bench.scores.wire import WireError

from .judge_server import JudgeServer, answer_of, body_of, sound
from .test_judge import judge_of, make

YES = sound(True)
DEEP = 100_000
TEXTS = {  # replies that hold no verdict, by what is odd about them
    "a set with a list in it": "{['yes', 5]}",
    "a list as a name": "{[1]: 2}",
    "a score of 400 digits": '{"pred": "yes", "score": ' + "4" * 400 + "}",
    "a score of 5,000 digits": '{"pred": "yes", "score": ' + "4" * 5000 + "}",
    "5,000 digits in Python": "{'pred': 'yes', 'score': " + "4" * 5000 + "}",
    "a score too long to print": "{'pred': 'yes', 'score': 0x" + "f" * 9000 + "}",
    "a name too long to print": "{'pred': 'yes', 0x" + "f" * 9000 + ": 5}",
    "a verdict too long to print": "{'pred': 0x" + "f" * 9000 + ", 'score': 5}",
    "a megabyte of score": '{"pred": "yes", "score": "' + "0" * 900_000 + '5"}',
    "a lone surrogate": "\ud800 " + YES,
    "deep JSON": '{"pred": "yes", "score": ' + "[" * DEEP + "5" + "]" * DEEP + "}",
    "deep Python": "{'score': " + "-" * DEEP + "5}",
    "deep enough": "{'score': " + "-" * 3000 + "5}",
    "many braces": "{" * 500_000,
    "many objects": "{}" * 250_000,
    "a zero byte": "{'pred': 'yes', 'score': 5\x00}",
    "numbers of Python only": "{'pred': 'yes', 'score': 5j}",
    "bytes": "{'pred': b'yes', 'score': b'5'}",
}
BODIES = {
    **{name: body_of(text) for name, text in TEXTS.items()},
    "no choices": body_of("", choices=[]),
    "choices that are null": body_of("", choices=None),
    "a null among the choices": body_of("", choices=[None]),
    "choices that are a text": body_of("", choices="abc"),
    "choices that are an object": body_of("", choices={"0": {"message": {"content": YES}}}),
    "a null message": body_of("", choices=[{"message": None}]),
    "no message": body_of("", choices=[{"index": 0}]),
    "a message that is a text": body_of("", choices=[{"message": YES}]),
    "null for a text": body_of(None),
    "a number for a text": body_of(5),
    "parts for a text": body_of([{"type": "text", "text": YES}]),
    "tokens that are NaN": body_of(YES, usage={"total_tokens": float("nan")}),
    "deep body": b'{"choices": ' + b"[" * DEEP + b"]" * DEEP + b"}",
    "digits without end": b'{"choices": ' + b"1" * 5000 + b"}",
    "a list": b"[]",
    "null": b"null",
    "nothing": b"",
    "no text at all": b"\xff\xfe\xfd",
    "half a letter": body_of(YES)[:-1] + b"\xc3",
    "more than a megabyte": body_of(YES, padding=" " * 2**20),
    "a packed body that is damaged": (200, {"Content-Encoding": "gzip"}, gzip.compress(body_of(YES))[:40]),
    "a body that is packed in name only": (200, {"Content-Encoding": "gzip"}, b"no gzip"),
    "a packing that nobody asked for": (200, {"Content-Encoding": "br"}, b"\x8b\x03\x80"),
    "a refusal in deep JSON": (400, {}, b'{"error": ' + b"[" * DEEP + b"]" * DEEP + b"}"),
    "a refusal that is deep enough": (400, {}, b'{"error": ' + b"[" * 940 + b"]" * 940 + b"}"),
    "a refusal that is no object": (400, {}, b"[]"),
    "a refusal whose message is none": (400, {}, b'{"error": {"message": ["a"], "code": [], "type": {}}}'),
    "a refusal in a strange script": (400, {"Content-Type": "text/plain; charset=zip"}, b"no"),
    "a refusal by a megabyte": (400, {}, json.dumps({"error": {"message": "\x1b[2J\ud800" * 100_000}}).encode()),
    "a move": (308, {"Location": "http://[::1"}, b""),
    "no http": "no http",
}


def strict(constant):
    raise AssertionError(f"{constant} is no JSON")


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_a_malformed_reply_is_one_failed_item_at_every_start(body, tmp_path):
    questions, outcome = make(3)
    path = tmp_path / "j.jsonl"
    with JudgeServer(["plain", body, "plain", body]) as server:
        judge = judge_of(server, tries=1, concurrency=1)
        for _ in range(2):
            judgements = judge_answers(questions, outcome, judge, path, progress=False)
            assert str(judgements.counts) == "3 expected = 2 answered + 1 failed"
            assert not judgements.stopped
    assert len(server.requests) == 4
    assert read_judgements(path, questions, outcome).failures == judgements.failures
    (why,) = judgements.failures.values()
    assert why.isprintable() and len(why) < 500
    for line in path.read_bytes().splitlines():
        assert len(line) < 1500
        json.loads(line, parse_constant=strict)


@pytest.mark.parametrize(
    ("changes", "model", "tokens"),
    [
        ({}, "stub-judge-2024-01-25", 100),
        ({"model": None}, "", 100),
        ({"model": ["m"]}, "", 100),
        ({"model": "m\ud800\x1b[2J"}, "m\ufffd\ufffd[2J", 100),
        ({"usage": None}, "stub-judge-2024-01-25", None),
        ({"usage": []}, "stub-judge-2024-01-25", None),
        ({"usage": {"total_tokens": True}}, "stub-judge-2024-01-25", None),
        ({"usage": {"total_tokens": 7.5}}, "stub-judge-2024-01-25", None),
        ({"usage": {"total_tokens": -1}}, "stub-judge-2024-01-25", None),
        ({"usage": {"total_tokens": 10**4000}}, "stub-judge-2024-01-25", None),
        ({"usage": {"total_tokens": "9" * 1000}}, "stub-judge-2024-01-25", None),
    ],
)
def test_what_stands_beside_a_verdict_is_read_as_what_it_must_be(changes, model, tokens, tmp_path):
    questions, outcome = make(1)
    with JudgeServer([body_of(YES, **changes)]) as server:
        (record,) = judge_answers(questions, outcome, judge_of(server), tmp_path / "j", progress=False).found.values()
    assert (record["served_model"], record["tokens"], record["score"]) == (model, tokens, 5)


def test_long_texts_are_cut_before_they_are_written(tmp_path):
    questions, outcome = make(1)
    thoughts = "I think. " * 5000
    with JudgeServer([body_of(f"first {thoughts}{YES} last", model="m" * 500_000)]) as server:
        judgements = judge_answers(questions, outcome, judge_of(server), tmp_path / "j.jsonl", progress=False)
    (record,) = judgements.found.values()
    assert record["score"] == 5
    assert record["reply"].startswith("first I think.") and record["reply"].endswith(f"{YES} last")
    assert (tmp_path / "j.jsonl").stat().st_size < 5000


def test_a_file_of_an_earlier_version_is_gone_on_with(tmp_path):
    """It kept replies whole, and tokens as the server gave them."""
    questions, outcome = make(3)
    with JudgeServer() as server:
        judge_answers(questions[:1], outcome, judge_of(server), tmp_path / "j", progress=False)
        (mark,) = [json.loads(line)["prediction"] for line in (tmp_path / "j").read_text().splitlines()[1:]]
        judge = judge_of(server)
        with Journal(tmp_path / "k", "judgements", settings_of(questions, judge)) as journal:
            told = {"served_model": "m", "reply": "." * 10**6, "tries": 1, "tokens": {"a": [7.5]}}
            journal.append({"key": "q0", "kind": "open_ended", "prediction": mark, "score": 4.0, "yes": True, **told})
        judgements = judge_answers(questions, outcome, judge, tmp_path / "k", progress=False)
    assert judgements.counts.answered == 3 and len(server.requests) == 3
    assert judgements.found["q0", "open_ended"]["score"] == 4


@pytest.mark.parametrize("mood", ["hang", "trickled head", "trickled body"])
def test_a_request_has_one_deadline_whatever_trickles_in(mood, tmp_path):
    questions, outcome = make(2)
    with JudgeServer([mood]) as server:
        start = time.monotonic()
        judge = judge_of(server, tries=1, timeout_s=0.6)
        judgements = judge_answers(questions, outcome, judge, tmp_path / "j.jsonl", progress=False)
        assert 0.6 <= time.monotonic() - start < 2
    assert str(judgements.counts) == "2 expected = 0 answered + 2 failed"
    assert set(judgements.failures.values()) == {"no answer in time: 0.6 s"}


def test_a_body_is_read_and_unpacked_no_further_than_its_limit(tmp_path):
    questions, outcome = make(3)
    bomb = gzip.compress(bytes(200 * 2**20), 6)
    assert len(bomb) < 2**20
    packed = (200, {"Content-Encoding": "gzip"}, gzip.compress(body_of(YES)))
    moods = [(200, {"Content-Encoding": "gzip"}, bomb), "endless", packed]
    with JudgeServer(moods) as server:
        tracemalloc.start()
        judge = judge_of(server, tries=1, concurrency=1, timeout_s=20)
        judgements = judge_answers(questions, outcome, judge, tmp_path / "j.jsonl", progress=False)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 20 * 2**20
    assert str(judgements.counts) == "3 expected = 1 answered + 2 failed"
    assert all("more than 1,048,576 bytes" in why for why in judgements.failures.values())


@pytest.mark.parametrize("mood", ["hang", "trickled body", "429"])
def test_one_interrupt_ends_the_judging_while_requests_are_under_way(mood, tmp_path):
    questions, outcome = make(40)
    with JudgeServer([mood], retry_after_s=60) as server:
        main = threading.main_thread().ident
        timer = threading.Timer(0.5, lambda: signal.pthread_kill(main, signal.SIGINT))
        timer.start()
        start = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            judge_answers(questions, outcome, judge_of(server, longest_wait_s=60), tmp_path / "j", progress=False)
        assert time.monotonic() - start < 5
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("judge")]
    with JudgeServer() as server:
        judgements = judge_answers(questions, outcome, judge_of(server), tmp_path / "j", progress=False)
    assert judgements.counts.complete and judgements.counts.answered == 40


def test_what_is_broken_off_ends_at_once_and_nothing_is_asked_afterwards():
    with JudgeServer(["hang"]) as server, Chat(judge_of(server)) as chat:
        threading.Timer(0.3, chat.abort).start()
        start = time.monotonic()
        with pytest.raises(ItemError, match="broken off"):
            chat.ask([], True)
        with pytest.raises(WireError, match="broken off"):
            chat.wire.post(b"{}")
        assert time.monotonic() - start < 5
        assert len(server.requests) == 1


KEY = "sk-0123456789abcdef"
ECHOES = [
    body_of(f"Your key is {KEY}."),
    body_of("." * (100 - len(KEY) // 2) + KEY),  # where the text is cut
    body_of(f"{KEY} {YES}", model=KEY),
    json.dumps(answer_of(f"{KEY} {YES}")).replace("sk-", "\\u0073k-").encode(),
    f"<html>{KEY}".encode(),
    (400, {}, json.dumps({"error": {"message": f"bad key {KEY}"}}).encode()),
    (500, {}, KEY.encode()),
    (308, {"Location": f"http://other/{KEY}"}, b""),
    "no http",
]


@pytest.mark.parametrize("echo", ECHOES, ids=range(len(ECHOES)))
def test_a_key_that_the_server_echoes_is_not_written(echo, tmp_path):
    questions, outcome = make(2)
    with JudgeServer([echo]) as server:
        judge = judge_of(server, tries=1, api_key=f" {KEY}\n")
        judgements = judge_answers(questions, outcome, judge, tmp_path / "j.jsonl", progress=False)
    assert judgements.counts.complete
    text = (tmp_path / "j.jsonl").read_text()
    assert KEY[:9] not in text
    assert "[API key]" in text


@pytest.mark.parametrize("status", [401, 404])
def test_a_key_that_the_server_echoes_is_not_shown(status):
    refusal = (status, {}, json.dumps({"error": {"message": f"wrong: {KEY}"}}).encode())
    with JudgeServer([refusal]) as server, Chat(judge_of(server, api_key=KEY)) as chat:
        with pytest.raises(JudgeError) as error:
            chat.ping()
    assert KEY not in str(error.value) and "[API key]" in str(error.value)


@pytest.mark.parametrize(
    ("judge", "reason"),
    [
        (Judge("m", "http://127.0.0.1:9/v1", api_key="sk-\u00e9"), "API key"),
        (Judge("m", "127.0.0.1:9/v1", api_key="k"), "127.0.0.1:9/v1"),
        (Judge("m", "http://[::1", api_key="k"), "http://"),
    ],
)
def test_a_key_or_an_address_that_cannot_be_sent_is_told_at_once(judge, reason):
    with pytest.raises(JudgeError, match=reason) as error:
        Chat(judge)
    assert "sk-" not in str(error.value)


def test_when_one_is_told_to_wait_all_wait():
    """Also a request that had its turn, by the rate, before the wait is over."""
    ask = [{"role": "user", "content": "Judge."}]
    with JudgeServer(["429", *["plain"] * 4], retry_after_s=1) as server:
        with Chat(judge_of(server, longest_wait_s=60, requests_per_minute=60 / 0.3)) as chat:
            threads = [threading.Thread(target=chat.ask, args=(ask, True)) for _ in range(3)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    first, *others = server.times
    assert len(others) == 3
    assert min(others) - first >= 1


class Waits(threading.Event):
    """Never set; waiting moves a clock of its own on, at once."""

    now = 1000.0

    def wait(self, timeout: float) -> bool:
        assert timeout > 0, "it spins"
        self.now += timeout
        return False


def test_requests_are_no_closer_and_no_further_apart_than_the_rate(monkeypatch):
    stopped, gate, sent = Waits(), Gate(requests_per_minute=30), []
    monkeypatch.setattr("sfllava_bench.scores.chat.time", SimpleNamespace(monotonic=lambda: stopped.now))
    for _ in range(4):
        gate.enter(stopped)
        sent.append(stopped.now)
    assert sent == [1000.0, 1002.0, 1004.0, 1006.0]
