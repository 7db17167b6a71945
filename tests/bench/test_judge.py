"""The judge, over the real client against a real HTTP server that misbehaves in every way: the counts balance."""

import json
from dataclasses import replace

import pytest

from sfllava_bench.answers.counts import collect
from sfllava_bench.answers.journal import JournalError
from sfllava_bench.questions.records import Question, questions_fingerprint
from sfllava_bench.scores.chat import Chat, Judge, JudgeError
from sfllava_bench.scores.judge import judge_answers, judgements_file, read_judgements, settings_of
from sfllava_bench.scores.replies import ReplyError, parse_reply
from sfllava_bench.scores.wording import OWN, WordingError, load_wording

from .judge_server import JudgeServer


def make(number=40, right=0.5, failed=0, task="open_ended", group="what"):
    """Questions about things, and a run's answers to them: the first part right, the last `failed` ones without."""
    pair = group == "consistency"
    texts = ("What is seen?", "What can one see?") if pair else ("What is seen?",)
    questions = [Question("msvd", f"q{n}", f"v{n // 4}", texts, f"thing{n}x", task, group=group) for n in range(number)]
    records = [
        {"key": q.key, "error": "gone"} if n >= number - failed else
        {"key": q.key, "answers": [f"There is a {q.answer if n < right * number else 'dog'}."] * len(texts)}
        for n, q in enumerate(questions)
    ]  # fmt: skip
    return questions, collect({"questions": questions_fingerprint(questions)}, "f", records)


def judge_of(server, **more):
    return Judge("stub-judge", server.url, **{"first_wait_s": 0.01, "longest_wait_s": 0.05, "tries": 6, **more})


def yes(judgements):
    return {key for (key, _), record in judgements.found.items() if record["yes"]}


@pytest.mark.parametrize(
    "moods",
    [
        ["plain"], ["slow"], ["429", "plain"], ["500", "500", "plain"], ["broken", "plain"], ["prose"], ["odd case"],
        ["python"], ["not http json", "plain"], ["hang up", "plain"], ["empty", "no verdict", "off the scale", "plain"],
        ["plain", "slow", "429", "prose", "500", "odd case", "broken", "python", "hang up", "not http json"],
    ],
    ids="+".join,
)  # fmt: skip
def test_every_answer_is_judged_rightly_whatever_the_server_does(moods, tmp_path):
    questions, outcome = make()
    with JudgeServer(moods) as server:
        judgements = judge_answers(questions, outcome, judge_of(server, tries=60), tmp_path / "j.jsonl", progress=False)
    assert str(judgements.counts) == "40 expected = 40 answered + 0 failed"
    assert yes(judgements) == {f"q{n}" for n in range(20)}
    assert judgements.served_models == {"stub-judge-2024-01-25": 40}
    assert {body["temperature"] for body in server.requests} == {0.0}
    assert {body["model"] for body in server.requests} == {"stub-judge"}


def test_what_cannot_be_judged_is_a_failure_and_is_tried_again_at_the_next_start(tmp_path):
    questions, outcome = make(12, failed=2)
    with JudgeServer(["broken", "no verdict", "off the scale"]) as server:
        first = judge_answers(
            questions[:5], make(12)[1], judge_of(server, tries=2), tmp_path / "x.jsonl", progress=False
        )
        assert first.counts.failed == 5
        assert all("unusable reply" in why for why in first.failures.values())
    with JudgeServer(["plain", "plain", "broken"]) as server:
        first = judge_answers(
            questions, outcome, judge_of(server, tries=1, concurrency=1), tmp_path / "j.jsonl", progress=False
        )
    assert str(first.counts) == "12 expected = 7 answered + 5 failed"
    assert first.unanswered == 2
    with JudgeServer() as server:
        second = judge_answers(questions, outcome, judge_of(server), tmp_path / "j.jsonl", progress=False)
    assert len(server.requests) == 3  # only those without a verdict; questions without an answer are never sent
    assert str(second.counts) == "12 expected = 10 answered + 2 failed"
    assert second.found.items() >= first.found.items()


def test_a_judge_that_dies_half_way_is_gone_on_with(tmp_path):
    questions, outcome = make(60)
    with JudgeServer(["plain", "slow", "prose"], dies_after=25) as server:
        first = judge_answers(questions, outcome, judge_of(server, tries=3), tmp_path / "j.jsonl", progress=False)
        port = server.port
    assert "no connection" in first.stopped
    counts = first.counts
    assert counts.answered + counts.failed + counts.pending == 60
    assert counts.answered == server.answered > 0  # what the judge has said is never lost
    assert counts.pending > 10
    with JudgeServer(port=port) as server:
        second = judge_answers(questions, outcome, judge_of(server), tmp_path / "j.jsonl", progress=False)
    assert str(second.counts) == "60 expected = 60 answered + 0 failed"
    assert len(server.requests) == 60 - counts.answered
    assert yes(second) == {f"q{n}" for n in range(30)}
    assert read_judgements(tmp_path / "j.jsonl", questions, outcome).found == second.found


@pytest.mark.parametrize("gone", [True, False])
def test_a_judge_that_is_not_there_or_says_nothing_is_asked_once(gone, tmp_path):
    questions, outcome = make(40)
    with JudgeServer(["hang up"]) as server:
        judge = judge_of(server, tries=1, concurrency=1)
        if not gone:
            judgements = judge_answers(questions, outcome, judge, tmp_path / "j.jsonl", progress=False)
    if gone:
        judgements = judge_answers(questions, outcome, judge, tmp_path / "j.jsonl", progress=False)
    assert str(judgements.counts) == "40 expected = 0 answered + 1 failed + 39 pending"
    assert judgements.stopped.startswith("the judge does not answer any more: no connection: ")


def test_a_judge_that_only_fails_is_not_asked_ten_thousand_times(tmp_path):
    questions, outcome = make(400)
    with JudgeServer(["500"]) as server:
        judgements = judge_answers(
            questions, outcome, judge_of(server, tries=2, first_wait_s=0.001), tmp_path / "j.jsonl", progress=False
        )
    assert len(server.requests) < 100
    assert "HTTP 500" in judgements.stopped
    assert judgements.counts.pending > 350


def test_a_judgement_is_never_used_for_another_answer(tmp_path):
    questions, outcome = make(6, right=1)
    changed = make(6, right=0.5)[1]
    with JudgeServer() as server:
        judge_answers(questions, outcome, judge_of(server), tmp_path / "j.jsonl", progress=False)
        assert read_judgements(tmp_path / "j.jsonl", questions, changed).counts.pending == 3
        judgements = judge_answers(questions, changed, judge_of(server), tmp_path / "j.jsonl", progress=False)
        assert len(server.requests) == 6 + 3
        again = judge_answers(questions, outcome, judge_of(server), tmp_path / "j.jsonl", progress=False)
        assert len(server.requests) == 6 + 3
    assert (len(yes(judgements)), len(yes(again))) == (3, 6)


def test_other_judges_and_wordings_never_mix(tmp_path):
    questions, outcome = make(4)
    (tmp_path / "theirs.yaml").write_text(
        "open_ended:\n  system: Judge.\n  user: |\n    Reference answer: {answer}\n    Model's answer: {prediction}\n"
    )
    theirs = load_wording(tmp_path / "theirs.yaml")
    with JudgeServer() as server:
        judge_answers(questions, outcome, judge_of(server), tmp_path / "j.jsonl", progress=False)
        for other in (
            judge_of(server, wording=theirs),
            Judge("another", server.url),
            judge_of(server, temperature=1.0),
            judge_of(server, structured=True),
        ):
            with pytest.raises(JournalError, match="other settings"):
                judge_answers(questions, outcome, other, tmp_path / "j.jsonl", progress=False)
        judgements = judge_answers(
            questions, outcome, judge_of(server, wording=theirs), tmp_path / "theirs.jsonl", progress=False
        )
    assert len(yes(judgements)) == 2
    assert judgements.settings["wording_fingerprint"] != OWN.fingerprint(["open_ended"])
    assert server.requests[-1]["messages"][0] == {"role": "system", "content": "Judge."}


def test_each_way_of_judging_has_a_file_of_its_own(tmp_path):
    questions, outcome = make(4)
    with JudgeServer() as server:
        judges = [judge_of(server), judge_of(server, structured=True), judge_of(server, temperature=None)]
        files = [judgements_file(tmp_path, settings_of(questions, judge)) for judge in judges]
        for judge, file in zip(judges, files):
            judge_answers(questions, outcome, judge, file, progress=False)
        assert len(set(files)) == 3 and len(server.requests) == 3 * 4
        forced = [body.get("response_format", {}).get("type") for body in server.requests]
        assert forced == [None] * 4 + ["json_schema"] * 4 + [None] * 4
        for judge, file in zip(judges, files):  # what changes no judgement keeps the file
            kept = replace(judge, concurrency=1, tries=1, timeout_s=5.0, api_key="another", requests_per_minute=600)
            assert judgements_file(tmp_path, settings_of(questions, kept)) == file


@pytest.mark.parametrize("mood", ["401", "404", "quota"])
def test_a_judge_that_will_never_answer_stops_at_once(mood, tmp_path):
    questions, outcome = make()
    with JudgeServer([mood]) as server:
        with pytest.raises(JudgeError, match=f"told to say {mood}"):
            judge_answers(questions, outcome, judge_of(server, concurrency=1), tmp_path / "j.jsonl", progress=False)
        assert len(server.requests) <= 2


def test_a_refused_request_is_not_repeated(tmp_path):
    questions, outcome = make(3)
    with JudgeServer(["400", "plain", "plain"]) as server:
        judgements = judge_answers(questions, outcome, judge_of(server), tmp_path / "j.jsonl", progress=False)
        assert len(server.requests) == 3
    assert str(judgements.counts) == "3 expected = 2 answered + 1 failed"


def test_ping_says_which_model_answers_and_why_none_does():
    with JudgeServer() as server, Chat(judge_of(server)) as chat:
        assert chat.ping() == "stub-judge-2024-01-25"
        port = server.port
    with Chat(Judge("m", f"http://127.0.0.1:{port}/v1", tries=1)) as chat:
        with pytest.raises(JudgeError, match=f"127.0.0.1:{port}/v1 does not answer: no connection"):
            chat.ping()


def test_a_key_is_needed_for_openai_and_never_shown(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(JudgeError, match="OPENAI_API_KEY"):
        Chat(Judge())
    assert "sk-secret" not in repr(Judge(api_key="sk-secret"))


def test_concurrency_and_rate_are_kept(tmp_path):
    questions, outcome = make(12)
    with JudgeServer(["slow"]) as server:
        judge_answers(questions, outcome, judge_of(server, concurrency=3), tmp_path / "j.jsonl", progress=False)
        assert 1 < server.most_at_once <= 3
        one_by_one = judge_of(server, concurrency=3, requests_per_minute=60 / 0.15)  # 0.15 s apart, 0.05 s each
        server.most_at_once = 0
        judge_answers(questions[:4], make(4)[1], one_by_one, tmp_path / "k.jsonl", progress=False)
        assert server.most_at_once <= 2


def test_vcgbench_is_scored_in_five_respects_and_pairs_together(tmp_path):
    parts = [make(4, task="text_generation", group=group) for group in ("generic", "temporal", "consistency")]
    questions, records = [], []
    for group, (asked, outcome) in zip(("generic", "temporal", "consistency"), parts):
        for question in asked:
            key = f"{group}/{question.key}"
            questions.append(type(question)(**{**vars(question), "key": key}))
            records.append({**outcome.answers[question.key], "key": key})
    outcome = collect({"questions": questions_fingerprint(questions)}, "f", records)
    with JudgeServer(["python", "prose"]) as server:
        judgements = judge_answers(questions, outcome, judge_of(server), tmp_path / "j.jsonl", progress=False)
    assert judgements.counts.answered == 4 * 3 + 4 + 4 == len(server.requests)
    assert {kind for _, kind in judgements.found} == {"correctness", "detail", "context", "temporal", "consistency"}
    assert all("yes" not in record for record in judgements.found.values())
    pairs = [body["messages"][-1]["content"] for body in server.requests if "second" in str(body)]
    assert len(pairs) == 4
    assert all("What is seen?" in text and "What can one see?" in text for text in pairs)


def test_multiple_choice_needs_no_judge(tmp_path):
    questions, outcome = make(2, task="multiple_choice")
    with JudgeServer() as server, pytest.raises(JudgeError, match="multiple choice needs no judge"):
        judge_answers(questions, outcome, judge_of(server), tmp_path / "j.jsonl", progress=False)


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ('{"pred": "yes", "score": 4}', (4, True)), ("{'pred': 'no', 'score': 0}", (0, False)),
        ('{"pred": "YES.", "score": "3"}', (3, True)), ('ok: {"score": 4.8, "pred": "Yes"} bye', (4.8, True)),
        ('{"pred": true, "score": 5}', (5, True)),
        ('{"pred": "no", "score": 1}\n{"pred": "no", "score": 1}', (1, False)),
        ('{} {"pred": "y", "score": 2}', (2, True)), ('```json\n{"pred":\n "no",\n "score": 2}\n```', (2, False)),
    ],
)  # fmt: skip
def test_replies_that_hold_a_verdict(text, verdict):
    assert (parse_reply(text, True).score, parse_reply(text, True).yes) == verdict


@pytest.mark.parametrize(
    "text",
    [
        "", None, "yes", "{", '{"pred": "yes"}', '{"score": 3}', '{"pred": "maybe", "score": 3}',
        '{"pred": "yes", "score": 6}', '{"pred": "yes", "score": -1}', '{"pred": "yes", "score": NaN}',
        '{"pred": "yes", "score": true}', '{"pred": "yes", "score": "high"}', '{"pred": "yes", "score": null}',
        '{"pred": "yes", "score": 4} or {"pred": "no", "score": 1}', "{__import__('os').system('true')}",
        '{"pred": "yes", "score": [4]}', "{1, 2}", '{"pred": ["yes"], "score": 4}',
    ],
)  # fmt: skip
def test_replies_that_hold_none(text):
    with pytest.raises(ReplyError):
        parse_reply(text, True)


def test_texts_with_places_in_them_are_put_in_as_they_are():
    question = Question("msvd", "k", "v", ("what is {answer}?",), "{prediction} {", "open_ended")
    user = OWN.messages("open_ended", question, ["{question} $ \\1 }"])[1]["content"]
    assert "what is {answer}?" in user
    assert "Reference answer: {prediction} {\n" in user
    assert "{question} $ \\1 }" in user


@pytest.mark.parametrize(
    ("content", "reason"),
    [("[]", "give a mapping"), ("a: {system: x, user: y}", "none of"), ("open_ended: {system: x}", "a text `user`"),
     ("open_ended: {system: x, user: '{answer}'}", "lacks {prediction}"), ("{", "cannot be read"),
     ("consistency: {system: x, user: '{answer} {prediction}'}", "lacks {prediction2}")],
)  # fmt: skip
def test_wording_files_that_cannot_be_used(content, reason, tmp_path):
    (tmp_path / "w.yaml").write_text(content)
    with pytest.raises(WordingError, match=reason):
        load_wording(tmp_path / "w.yaml")


def test_a_wording_file_must_hold_what_is_judged(tmp_path):
    (tmp_path / "w.json").write_text(json.dumps({"temporal": {"system": "s", "user": "{answer} {prediction}"}}))
    questions, outcome = make(2)
    judge = Judge("m", "http://127.0.0.1:9/v1", wording=load_wording(tmp_path / "w.json"))
    with pytest.raises(JudgeError, match="'w' has no open_ended"):
        judge_answers(questions, outcome, judge, tmp_path / "j.jsonl", progress=False)
