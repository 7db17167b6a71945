"""Captions, then reason, as runs: captions made once, a language model on loopback that misbehaves, and the books."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from shutil import copyfile

import pytest
import torch
from conftest import GRAND_PRIX, ROOT

from bench.judge_server import JudgeServer, body_of
from sfllava_bench.answers.journal import JournalError, read_journal
from sfllava_bench.answers.subquestions import TEMPERATURE, answer_in_parts, ask_for_subquestions
from sfllava_bench.captions import captioner
from sfllava_bench.captions.captioner import Clips, caption_videos, read_captions
from sfllava_bench.captions.llovi import FROM_SUMMARY, STANDARD, SUMMARY, summarise_and_answer
from sfllava_bench.captions.own_model import own_language_model
from sfllava_bench.captions.reasoner import GIVE_UP_AFTER, Reasoner, fit, reason
from sfllava_bench.captions.replies import UNREAD
from sfllava_bench.captions.trees import READINGS
from sfllava_bench.captions.videotree import VideoTree
from sfllava_bench.scores.chat import Judge, JudgeError
from sfllava_core import ContextError
from sfllava_core.methods.dcode import DCoDe
from sfllava_core.prompts import IMAGE_TOKEN, conversation_pieces, tokenize_prompt
from sfllava_core.video.folder import VideoFolder

QUESTIONS = {f"q{number}": f"What is {number}?" for number in range(12)}
OPTIONS = list("vwxyz")


def judge(server: JudgeServer, **changes) -> Judge:
    settings = {"tries": 3, "first_wait_s": 0.01, "longest_wait_s": 0.05, "timeout_s": 5.0, "concurrency": 3}
    return Judge("tiny", base_url=server.url, **{**settings, **changes})


def standard(question: str):
    """The work of one question by LLoVi's standard request."""

    def work(reasoner) -> dict:
        slots = STANDARD.slots(["a man cooks", "he eats"], question, OPTIONS, 2)
        place, reply = STANDARD.answer(reasoner.asker(STANDARD.request), slots)
        return {"place": place, "reply": reply}

    return work


WORK = {key: standard(question) for key, question in QUESTIONS.items()}


def test_a_run_through_a_server_that_is_slow_fails_and_rambles(tmp_path):
    moods = [body_of("B"), "429", "500", "slow", body_of("C. He eats"), "prose", "hang up", "not http json"]
    with JudgeServer(moods) as server:
        records, counts = reason(WORK, judge(server, tries=8, concurrency=1), tmp_path / "r.jsonl", {"method": "llovi"})
    assert str(counts) == "12 expected = 12 answered + 0 failed"
    assert {record["place"] for record in records} == {1, 2, UNREAD}, "prose is no answer, and says so"
    assert [set(body) for body in server.requests] == [{"model", "messages", "temperature"}] * len(server.requests)


def test_a_server_that_dies_leaves_the_rest_pending_and_a_second_start_finishes(tmp_path):
    path, settings = tmp_path / "r.jsonl", {"method": "llovi"}
    with JudgeServer(dies_after=5) as server:
        _, counts = reason(WORK, judge(server, tries=1, concurrency=1), path, settings)
    assert counts.answered == 5 and counts.failed + counts.pending == 7
    with JudgeServer([body_of("D")]) as server:
        records, counts = reason(WORK, judge(server), path, settings)
        assert len(server.requests) == 7 and counts.answered == 12 and counts.complete
    assert sum(record["place"] == 3 for record in records) == 7
    with JudgeServer([body_of("A")]) as server:
        reason(WORK, judge(server), path, settings)
        assert not server.requests


def test_a_refused_request_is_a_failure_and_no_random_letter(tmp_path):
    with JudgeServer(["400"]) as server:
        one = {"q0": WORK["q0"]}
        records, counts = reason(one, judge(server), tmp_path / "r.jsonl", {})
        assert str(counts) == "1 expected = 0 answered + 1 failed" and "told to say 400" in records[0]["error"]
        assert len(server.requests) == 1 and "Randomly" not in str(server.requests)


def test_a_wrong_key_stops_at_once_and_names_the_reasoner(tmp_path):
    with JudgeServer(["401"]) as server, pytest.raises(JudgeError, match="the reasoner refuses the key"):
        reason(WORK, judge(server), tmp_path / "r.jsonl", {})


def test_a_summary_in_two_stages_has_its_own_temperatures(tmp_path):
    def work(reasoner) -> dict:
        place, reply, summary = summarise_and_answer(
            reasoner.asker(FROM_SUMMARY.request), ["a", "b"], "Why?", OPTIONS, 2,
            ask_summary=reasoner.asker(SUMMARY.request))  # fmt: skip
        return {"place": place, "reply": reply, "summary": summary}

    long = "They cook. " * 400  # longer than what is kept of a judge's reply
    with JudgeServer([body_of(long), body_of("E")]) as server:
        records, _ = reason({"q": work}, judge(server), tmp_path / "r.jsonl", {})
        assert [body["temperature"] for body in server.requests] == [1.0, 0.0]
        assert records[0]["place"] == 4 and records[0]["summary"] == long
        assert long in server.requests[1]["messages"][1]["content"]


def test_another_setting_is_another_file(tmp_path):
    with JudgeServer([body_of("A")]) as server:
        reason({"q0": WORK["q0"]}, judge(server), tmp_path / "r.jsonl", {"reading": "as_described"})
        with pytest.raises(JournalError, match="other settings"):
            reason(WORK, judge(server), tmp_path / "r.jsonl", {"reading": "aligned"})


KILLED = """
import sys
from sfllava_bench.captions.llovi import STANDARD
from sfllava_bench.captions.reasoner import reason
from sfllava_bench.scores.chat import Judge

def work(reasoner):
    slots = STANDARD.slots(["a man cooks"], "What?", list("vwxyz"), 2)
    place, reply = STANDARD.answer(reasoner.asker(STANDARD.request), slots)
    return {"place": place, "reply": reply}

reason({f"q{n}": work for n in range(12)}, Judge("tiny", base_url=sys.argv[1], tries=3, concurrency=2), sys.argv[2], {})
"""


def test_five_kills_lose_nothing_that_was_written(tmp_path):
    path, seen, chance = tmp_path / "r.jsonl", {}, random.Random(0)
    with JudgeServer(["slow"], slow_s=0.05) as server:
        for _ in range(5):
            child = subprocess.Popen(
                [sys.executable, "-c", KILLED, server.url, str(path)], cwd=ROOT, env={**os.environ}
            )
            before, ends = len(server.requests), time.monotonic() + 60
            while len(server.requests) == before and child.poll() is None and time.monotonic() < ends:
                time.sleep(0.01)
            time.sleep(chance.uniform(0, 0.12))
            child.send_signal(signal.SIGKILL)
            child.wait()
            if path.exists():
                now = {record["key"]: record for record in read_journal(path)[1]}
                assert {key: now.get(key) for key in seen} == seen
                seen = now
        records, counts = reason(WORK, judge(server), path, {})
        assert counts.answered == 12 and {key: one for key, one in seen.items()}.items() <= {
            record["key"]: record for record in records}.items()  # fmt: skip


def test_a_narration_that_does_not_fit_is_refused_with_the_stride_that_would():
    fit(1000, 1000, 180)
    with pytest.raises(ValueError, match=r"9,000 tokens .* room for 4,000: every=3 would fit"):
        fit(9000, 4000, 180)
    with pytest.raises(ValueError, match="no number of captions would fit"):
        fit(9000, 10, 180)


SCORED = body_of("prediction: A\nframe relevance: [3, 3, 3, 3, 3, 3, 3, 3]")


@pytest.mark.parametrize("reading", READINGS)
def test_videotree_asks_twice_and_says_its_reading(tmp_path, reading):
    features = torch.randn(40, 6, generator=torch.Generator().manual_seed(0))
    captions, method = [f"#C caption {frame}" for frame in range(40)], VideoTree(reading)

    def work(reasoner) -> dict:
        return method.run(reasoner.asker(method.request), features, captions, "Why?", OPTIONS)

    with JudgeServer([SCORED, "500", body_of("prediction: E")]) as server:
        records, counts = reason({"q": work}, judge(server), tmp_path / "r.jsonl", {"reading": reading})
        assert counts.answered == 1 and len(server.requests) == 3
    (record,) = records
    assert (record["reading"], record["place"], record["clusters"]) == (reading, 4, 8)
    asked = server.requests[-1]["messages"][-1]["content"]
    shift = 0 if reading == "as_described" else 1
    assert all(f"caption {frame - shift}" in asked for frame in record["chosen"] if frame >= shift)


def test_videotree_without_scores_is_a_failure_that_says_so(tmp_path):
    method = VideoTree()
    features, captions = torch.eye(9), list("abcdefghi")

    def work(reasoner) -> dict:
        return method.run(reasoner.asker(method.request), features, captions, "Why?", OPTIONS)

    with JudgeServer([body_of("I cannot tell.")]) as server:
        records, counts = reason({"q": work}, judge(server), tmp_path / "r.jsonl", {})
    assert counts.failed == 1 and "no 'frame relevance" in records[0]["error"]


def test_what_a_model_cannot_say_or_a_method_refuses_fails_by_itself(tmp_path):
    """Many such replies one after another do not end the run, unlike a server that fails."""
    released = VideoTree("as_released")

    def scored_7(reasoner) -> dict:
        method = VideoTree()
        return method.run(reasoner.asker(method.request), torch.eye(9), list("abcdefghi"), "Why?", OPTIONS)

    def too_short(reasoner) -> dict:
        return released.run(reasoner.asker(released.request), torch.eye(5), list("abcde"), "Why?", OPTIONS)

    work = {f"q{number}": scored_7 for number in range(GIVE_UP_AFTER + 2)} | {"short": too_short}
    with JudgeServer([body_of("frame relevance: [3, 3, 3, 3, 7, 1, 1, 1]")]) as server:
        records, counts = reason(work, judge(server), tmp_path / "r.jsonl", {})
    assert counts.failed == GIVE_UP_AFTER + 3 and counts.complete
    errors = {record["key"]: record["error"] for record in records}
    assert "scores are 1, 2 or 3" in errors["q0"] and "8 clusters of 5 frames" in errors["short"]


def test_a_server_that_refuses_everything_is_given_up(tmp_path):
    with JudgeServer(["400"]) as server:
        work = {f"q{number}": WORK["q0"] for number in range(GIVE_UP_AFTER + 9)}
        _, counts = reason(work, judge(server, concurrency=1), tmp_path / "r.jsonl", {})
    assert (counts.failed, counts.pending) == (GIVE_UP_AFTER, 9)


def test_sub_questions_come_from_the_reasoner_and_are_asked_of_the_same_model(llm, golden_frames):
    method = DCoDe(num_frames=6, kept=4, uniform=0.6, top_k=40, threshold=0.95)
    watched = llm.watch_frames(golden_frames[:6], method)
    asked = []

    def generate(prompt, most: int) -> str:
        asked.append("".join(prompt))
        return watched.generate([prompt], max_new_tokens=min(most, 4))[0].text or "100% sure"

    with JudgeServer([body_of("Sure!"), body_of("[1, 2]"), body_of('Here: ["Who is it?", "What moves?"]')]) as server:
        with Reasoner(judge(server)) as reasoner:
            ask = reasoner.asker(lambda messages: {"messages": messages, "temperature": TEMPERATURE})
            assert ask_for_subquestions(ask, "Why?") == [], "no list in the reply is none, as released"
            parts = ask_for_subquestions(ask, "Why?")
        assert server.requests[0]["temperature"] == 0.5 and "Why?" in server.requests[0]["messages"][1]["content"]
    assert parts == ["Who is it?", "What moves?"]
    _, captions = answer_in_parts(generate, method, "Why?", ["a", "b"], parts)
    assert len(asked) == 3 and "Who is it?" in asked[0] and len(captions) == 2
    assert " ".join(captions) in asked[2]


def test_sub_questions_that_never_come_are_an_error():
    with pytest.raises(ValueError, match=r"\[1, 2\] are not all texts"):
        ask_for_subquestions(lambda _: "[1, 2]", "Why?", tries=2)
    with pytest.raises(ValueError, match="wording 'x'"):
        ask_for_subquestions(lambda _: "[]", "Why?", wording="x")


def test_the_models_own_language_model_reads_captions(llm):
    """Against its weights' plain logits: the same text without any picture."""
    ask, setting = own_language_model(llm, 3), STANDARD
    slots = setting.slots(["a man cooks", "he eats"], "What?", OPTIONS, 2)
    place, reply = setting.answer(ask, slots)
    assert place in (UNREAD, *range(5))
    text = f"{setting.template.system}\n{setting.text(slots)}"
    ids = [one for one in tokenize_prompt("".join(conversation_pieces(text, llm.prompt_style)), llm.tokenizer)
           if one != IMAGE_TOKEN]  # fmt: skip
    for _ in range(3):
        with torch.inference_mode():
            hidden = llm.language_model(inputs_embeds=llm.embed(ids)[None]).last_hidden_state
        ids.append(int(llm.logits(hidden[:, -1]).argmax()))
        if ids[-1] == llm.tokenizer.eos_token_id:
            break
    assert reply == llm.tokenizer.decode(ids[-3:], skip_special_tokens=True).strip()


def test_the_models_own_reader_refuses_what_it_cannot_take(llm):
    ask = own_language_model(llm, 3)
    with pytest.raises(ValueError, match="a talk of 1 messages"):
        ask([{"role": "user", "content": "x"}])
    with pytest.raises(ValueError, match="<image>"):
        ask([{"role": "system", "content": ""}, {"role": "user", "content": "an <image>"}])
    with pytest.raises(ContextError):
        ask([{"role": "system", "content": ""}, {"role": "user", "content": "word " * 50_000}])


def test_clips_of_a_video():
    assert Clips().indices(90, 30.0) == [[15], [45], [75]]
    assert Clips(every_s=2, length_s=2, frames=2).indices(100, 25.0) == [[12, 37], [62, 87]]
    assert Clips().indices(5, 30.0) == [[4]], "a video shorter than a clip has one"
    with pytest.raises(ValueError, match="give a video with a clock"):
        Clips().indices(5, float("nan"))
    with pytest.raises(ValueError, match="each number must be above 0"):
        Clips(every_s=0)


def test_captions_are_made_once(llm, tmp_path, monkeypatch):
    copyfile(GRAND_PRIX, tmp_path / "a.mp4")
    (tmp_path / "b.mp4").write_bytes(b"no video")
    videos, clips, path = VideoFolder(tmp_path), Clips(every_s=4, new_tokens=4), tmp_path / "captions.jsonl"
    captions, counts = caption_videos(llm, videos, ["a", "b", "a"], path, clips)
    first = videos.read("a", 1)
    assert str(counts) == "2 expected = 1 answered + 1 failed"
    assert len(captions["a"]) == len(clips.indices(first.total, first.fps)) > 1

    def never(*_):
        raise AssertionError("made twice")

    monkeypatch.setattr(captioner, "caption_video", never)
    assert caption_videos(llm, videos, ["a"], path, clips)[0] == captions
    with pytest.raises(JournalError, match="other settings"):
        caption_videos(llm, videos, ["a"], path, Clips(every_s=2, new_tokens=4))


def test_a_file_of_captions_that_somebody_has(tmp_path):
    path = tmp_path / "captions.json"
    path.write_text(json.dumps({"v": ["a", "b"], "w": "a text", "x": {"10": "ten", "2": "two"}}))
    assert read_captions(path) == {"v": ["a", "b"], "w": "a text", "x": ["two", "ten"]}
    path.write_text(json.dumps({"v": [1]}))
    with pytest.raises(ValueError, match=r"captions of 'v' are \[1\]"):
        read_captions(path)
