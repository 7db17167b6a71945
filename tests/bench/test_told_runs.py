"""LLoVi, VideoTree and D-CoDe's sub-questions as runs: PocketBench's films, a server that misbehaves, kills."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from shutil import copyfile

import pytest
import torch
from conftest import ROOT
from safetensors.torch import save_file

from sfllava_bench.answers.experiment import Experiment, ExperimentError
from sfllava_bench.answers.journal import read_journal
from sfllava_bench.answers.loop import records_of, run
from sfllava_bench.captions import captioner, words
from sfllava_bench.captions.captioner import Clips, clip_embeddings
from sfllava_bench.captions.methods import ToldLLoVi, ToldVideoTree
from sfllava_bench.captions.telling import tell
from sfllava_bench.command_line import call
from sfllava_bench.commands import bench
from sfllava_bench.questions.records import MULTIPLE_CHOICE, Question
from sfllava_bench.reports.results import read_results
from sfllava_bench.reports.run import Run
from sfllava_bench.runs.experiments import make_experiment
from sfllava_bench.runs.own import own_experiments
from sfllava_bench.runs.preflight import PreflightError
from sfllava_bench.runs.reproduce import reproduce
from sfllava_bench.runs.sweeps import sweep
from sfllava_bench.scores.chat import Judge, JudgeError
from sfllava_core import VideoLLM, parse_spec
from sfllava_core.methods.dcode import DCoDe
from sfllava_core.methods.slowfast import uniform
from sfllava_core.video.folder import VideoFolder

from .judge_server import JudgeServer, body_of

POCKETBENCH = ROOT / "data" / "pocketbench"
QUIET = {"say": lambda text: None, "progress": False}
BOTH = "B\nprediction: B\nframe relevance: [3, 3, 3, 3, 3, 3]"  # what either method's requests are content with
MOODS = [body_of(BOTH), "429", body_of(BOTH), "500", "slow", body_of(BOTH), "hang up", "prose", "not http json"]
RIGHT = body_of(BOTH)


@pytest.fixture(scope="module")
def tiny():
    return VideoLLM.from_pretrained(ROOT / "data" / "tiny", device="cpu")


@pytest.fixture
def quick(monkeypatch):
    """Captions that cost nothing, where they are not the point."""
    monkeypatch.setattr(captioner, "tell", lambda llm, clips, *_: [f"#C clip {n}" for n in range(len(clips))])


@pytest.fixture
def films(tmp_path_factory):
    """Two films of PocketBench with their questions."""
    folder = tmp_path_factory.mktemp("films")
    for number in range(2):
        copyfile(POCKETBENCH / "videos" / f"pocket_{number:04}.mp4", folder / f"pocket_{number:04}.mp4")
    return folder


def reader(server, **changes) -> Judge:
    settings = {"tries": 4, "first_wait_s": 0.01, "longest_wait_s": 0.03, "timeout_s": 5.0, "concurrency": 2}
    return Judge("stub", server.url, **{**settings, **changes})


def experiments(films, methods, **more) -> list[Experiment]:
    files = {"model": str(ROOT / "data" / "tiny"), "annotations": POCKETBENCH, "videos": films}
    return own_experiments(methods, "pocketbench", **files, **{"max_videos": 2, "task": MULTIPLE_CHOICE, **more})


def never(*_, **__):
    raise AssertionError("captions were made twice")


def counts(experiment, out) -> str:
    return str(Run.of(experiment, out).answers.counts(experiment.questions()))


# Books


@pytest.mark.parametrize("method", ["llovi", "llovi-summary", "videotree", "videotree-aligned"])
def test_books_balance_through_a_server_that_is_slow_fails_and_rambles(method, quick, tiny, films, tmp_path):
    with JudgeServer(MOODS) as server:
        (one,) = experiments(films, [method], reasoner=reader(server, tries=12))
        outcome = run(tiny, [one], VideoFolder(films), tmp_path, progress=False)[one.id]
    found = outcome.counts(one.questions())
    assert found.complete and found.expected == 10
    assert found.failed == 0 or "as_" not in method, outcome.failures
    told = [record["reasoning"] for record in outcome.answers.values() if "reasoning" in record]
    if method.startswith("videotree"):
        assert all(
            "frame relevance" in why["error"] or "8 clusters" in why["error"] for why in outcome.failures.values()
        )
        assert all({"clusters", "nodes", "scores", "chosen"} == set(way) for way in told)
    else:
        assert found.failed == 0 and all(record["served_model"] for record in outcome.answers.values())


def test_a_server_that_dies_stops_the_run_and_a_second_start_finishes(tiny, films, tmp_path, monkeypatch):
    with JudgeServer(["slow"], dies_after=7) as server:
        (one,) = experiments(films, ["llovi"], reasoner=reader(server, tries=2, concurrency=1))
        with pytest.raises(JudgeError, match=r"does not answer any more.*it goes on"):
            run(tiny, [one], VideoFolder(films), tmp_path, progress=False)
    outcome = Run.of(one, tmp_path).answers
    found = outcome.counts(one.questions())
    assert found.answered == 7 and found.pending >= 1 and found.answered + found.failed + found.pending == 10
    kept = dict(outcome.answers)
    monkeypatch.setattr(captioner, "tell", never)
    with JudgeServer([RIGHT], port=server.port) as again:
        outcome = run(tiny, [one], VideoFolder(films), tmp_path, progress=False, retry_failed=True)[one.id]
        assert len(again.requests) == 3
    assert str(outcome.counts(one.questions())) == "10 expected = 10 answered + 0 failed"
    assert kept.items() <= outcome.answers.items()


def test_a_refused_request_is_a_failure_that_names_the_stride_that_would_fit(quick, tiny, films, tmp_path):
    said = "This model's maximum context length is 100 tokens. However, your messages resulted in 160 tokens."
    refusal = (400, {}, json.dumps({"error": {"message": said}}).encode())
    with JudgeServer([refusal]) as server:
        (one,) = experiments(films, ["llovi"], reasoner=reader(server), max_videos=1)
        outcome = run(tiny, [one], VideoFolder(films), tmp_path, progress=False)[one.id]
        assert len(server.requests) == 5, "a refusal is not asked again"
    assert len(outcome.failures) == 5
    assert all("every=2 would fit" in record["error"] for record in outcome.failures.values())
    with JudgeServer(["401"]) as server, pytest.raises(JudgeError, match="the reasoner refuses the key"):
        run(
            tiny,
            experiments(films, ["videotree"], reasoner=reader(server)),
            VideoFolder(films),
            tmp_path,
            progress=False,
        )


# Captions are made once


def test_captions_are_made_once_for_all_methods_runs_and_starts(tiny, films, tmp_path, monkeypatch):
    made = []

    def counted(llm, clips, question, new_tokens):
        made.append(len(clips))
        return [f"#C clip {number}" for number in range(len(clips))]

    monkeypatch.setattr(captioner, "tell", counted)
    with JudgeServer([RIGHT]) as server:
        methods = ["llovi", "llovi-summary", "videotree", "videotree-aligned"]
        some = experiments(films, methods, reasoner=reader(server))
        outcomes = run(tiny, some, VideoFolder(films), tmp_path, progress=False)
        assert sum(made) == 12 and all(outcome.counts(some[0].questions()).complete for outcome in outcomes.values())
        monkeypatch.setattr(captioner, "tell", never)
        (later,) = experiments(films, ["llovi-next_1s_every1"], reasoner=reader(server))
        run(tiny, [later], VideoFolder(films), tmp_path, progress=False)
        asked = server.requests[-1]["messages"][-1]["content"]
        assert "0: #C clip 0.\n1: #C clip 1.\n" in asked and "(A): " in asked
        (wider,) = experiments(films, ["llovi-next"], reasoner=reader(server), max_videos=1)
        monkeypatch.setattr(captioner, "tell", counted)
        run(tiny, [wider], VideoFolder(films), tmp_path, progress=False)
        asked = server.requests[-1]["messages"][-1]["content"]
        assert sum(made) == 15 and "0: #C clip 0.\n2: #C clip 1.\n4: #C clip 2" in asked
    assert len(list((tmp_path / "captions").glob("*.jsonl"))) == 2


def test_clips_told_together_are_told_as_one_by_one(tiny, films):
    clips = VideoFolder(films).read("pocket_0000", 6).pixels[:, None]
    each = [tiny.watch_frames(one, uniform(1)).ask("What happens?", max_new_tokens=6) for one in clips]
    assert tell(tiny, list(clips), "What happens?", 6) == each and len(set(each)) > 1


def test_a_video_that_was_half_told_is_gone_on_with(tiny, films, tmp_path, monkeypatch):
    clips, real, made = Clips(together=2, new_tokens=3), captioner.tell, []

    def breaks(llm, some, *more):
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append(len(some))
        return real(llm, some, *more)

    monkeypatch.setattr(captioner, "tell", breaks)
    videos, path = VideoFolder(films), tmp_path / "c.jsonl"
    with pytest.raises(KeyboardInterrupt):
        captioner.caption_videos(tiny, videos, ["pocket_0000"], path, clips)
    monkeypatch.setattr(captioner, "tell", lambda llm, some, *more: made.append(len(some)) or real(llm, some, *more))
    found, _ = captioner.caption_videos(tiny, videos, ["pocket_0000"], path, clips)
    assert made == [2, 2, 2]
    assert found["pocket_0000"] == captioner.caption_video(tiny, videos.read, "pocket_0000", clips)


def test_files_of_captions_and_features_stand_in(tiny, films, tmp_path, monkeypatch):
    monkeypatch.setattr(captioner, "tell", never)
    monkeypatch.setattr(words, "clip_embeddings", never)
    told, features = tmp_path / "told.json", tmp_path / "features.safetensors"
    told.write_text(json.dumps({"pocket_0000": [f"a man stirs {place}" for place in range(9)]}))
    save_file({"pocket_0000": torch.eye(9)}, features)
    with JudgeServer([RIGHT]) as server:
        both = {"captions": told, "features": features, "reasoner": reader(server)}
        (one,) = experiments(films, ["videotree"], **both)
        outcome = run(tiny, [one], VideoFolder(films), tmp_path, progress=False)[one.id]
        assert "a man stirs" in server.requests[0]["messages"][-1]["content"]
    assert str(outcome.counts(one.questions())) == "10 expected = 5 answered + 5 failed"
    assert all("no captions of 'pocket_0001'" in record["error"] for record in outcome.failures.values())
    settings = outcome.settings
    assert settings["captions"] and settings["features"] and str(told) not in json.dumps(settings)
    with pytest.raises(ExperimentError, match="has no use for them"):
        experiments(films, ["llovi"], features=features)


def test_features_are_the_towers_cls_of_each_clips_middle_frame(tiny, films):
    videos, clips = VideoFolder(films), Clips(frames=3, every_s=2, length_s=2)
    found = clip_embeddings(tiny, videos.read, "pocket_0000", clips, ToldVideoTree())
    middle = [clip[1] for clip in clips.indices(150, 25.0)]
    seen = tiny.look(videos.read("pocket_0000", lambda _: middle).pixels, ToldVideoTree()).more["embeddings"]
    assert torch.allclose(found, seen, atol=1e-5) and len(found) == 3


# Kills

STARTS = """  # loads once; each line on its input starts the run in a child of its own
import os, sys
from sfllava_bench.answers.loop import run
from sfllava_bench.runs.own import own_experiments
from sfllava_bench.scores.chat import Judge
from sfllava_core import VideoLLM
from sfllava_core.video.folder import VideoFolder

url, tiny, pocketbench, films, out = sys.argv[1:]
llm = VideoLLM.from_pretrained(tiny, device="cpu")
some = own_experiments(["llovi", "videotree"], "pocketbench", model=tiny, annotations=pocketbench, videos=films,
                       max_videos=2, task="multiple_choice", reasoner=Judge("stub", url, tries=3, concurrency=2))
for _ in sys.stdin:
    if child := os.fork():
        print(child, flush=True)
        os.waitpid(child, 0)
    else:
        run(llm, some, VideoFolder(films), out, progress=False)
        os._exit(0)
"""


def lines_of(out) -> dict[str, list[dict]]:
    """Every record of every file that a run writes, by file."""
    return {str(path): read_journal(path)[1] for path in sorted(out.rglob("*.jsonl")) if b"\n" in path.read_bytes()}


def test_five_kills_lose_nothing_of_captions_or_answers(tiny, films, tmp_path):
    """At random moments; with a file's lines before a kill being its first ones ever after."""
    out, seen, chance = tmp_path / "runs", {}, random.Random(7)
    with JudgeServer([(200, {}, RIGHT)]) as server:
        some = experiments(films, ["llovi", "videotree"], reasoner=reader(server))
        arguments = [server.url, str(ROOT / "data" / "tiny"), str(POCKETBENCH), str(films), str(out)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        with subprocess.Popen([sys.executable, "-c", STARTS, *arguments], env=environment, **pipes) as starter:
            for _ in range(5):
                print(file=starter.stdin, flush=True)
                child = int(starter.stdout.readline())
                time.sleep(chance.uniform(0.2, 1.2))
                with suppress(ProcessLookupError):  # it was quick
                    os.kill(child, signal.SIGKILL)
                now = lines_of(out)
                for path, records in seen.items():
                    assert now[path][: len(records)] == records
                seen = now
            starter.stdin.close()
        outcomes = run(tiny, some, VideoFolder(films), out, progress=False)
    assert all(str(outcomes[one.id].counts(one.questions())) == "10 expected = 10 answered + 0 failed" for one in some)
    (captions,) = [records for path, records in lines_of(out).items() if "/captions/" in path]
    each = [(record["video"], record["first"]) for record in captions]
    assert len(set(each)) == len(each) and sum(len(record["captions"]) for record in captions) == 12


# Language models


def test_the_models_own_language_model_reads(tiny, films, tmp_path):
    some = experiments(films, ["llovi", "videotree"], reasoner="own", max_new_tokens=3, max_videos=1)
    rows = sweep(some, tmp_path, load=lambda _: tiny, **QUIET)
    assert all("value" in row for row in rows)
    assert counts(some[0], tmp_path) == "5 expected = 5 answered + 0 failed"
    failed = Run.of(some[1], tmp_path).answers.failures.values()
    assert len(failed) == 5 and all("frame relevance" in record["error"] for record in failed), "it cannot score"
    settings = Run.of(some[0], tmp_path).results.settings
    assert (settings["reasoner"], settings["method"]) == ("own", "llovi-standard_1s")
    assert "the language model of" in Run.of(some[0], tmp_path).results.note


def test_a_narration_that_does_not_fit_the_own_context_names_the_stride(tiny, films, tmp_path):
    told = tmp_path / "told.json"
    told.write_text(json.dumps({"pocket_0000": ["word " * 400] * 40}))
    (one,) = experiments(films, ["llovi"], reasoner="own", captions=told, max_videos=1)
    outcome = run(tiny, [one], VideoFolder(films), tmp_path, progress=False)[one.id]
    (why, *_) = {record["error"] for record in outcome.failures.values()}
    wider = int(why.split("every=")[1].split()[0])
    assert "the context has room for 7,892" in why and len(outcome.failures) == 5
    (wide,) = experiments(films, [f"llovi_every{wider}"], reasoner="own", captions=told, max_videos=1, max_new_tokens=2)
    outcome = run(tiny, [wide], VideoFolder(films), tmp_path, progress=False)[wide.id]
    assert len(outcome.answers) == 5, outcome.failures


# Reports


def test_a_report_names_variant_captioner_language_model_and_split(quick, tiny, films, tmp_path):
    with JudgeServer([RIGHT]) as server:
        files = {"model": str(ROOT / "data" / "tiny"), "annotations": POCKETBENCH, "videos": films, "max_videos": 1}
        options = {**files, "profile": "toy", "reasoner": reader(server)}
        for run_name, variant in (
            ("table2_llovi", "llovi-standard_1s"),
            ("table2_videotree", "videotree-as_described_1s"),
        ):
            one = make_experiment(run_name, "egoschema", **options)
            results = reproduce(one, tmp_path, load=lambda _: tiny, **QUIET)
            assert f"{variant}: captions by {one.model}, read by stub" in results.note
            assert "5 questions of PocketBench" in results.note
            assert results.benchmark == "pocketbench" and str(results.counts) == "5 expected = 5 answered + 0 failed"
            page = (tmp_path / one.id / "report.html").read_text()
            assert variant in page and "read by stub" in page
            assert reproduce(one, tmp_path, load=never, **QUIET).skipped
        credited = {metric.name: metric.over_expected.value for metric in results.metrics}
        assert "accuracy_llovi_credit" not in credited
        llovi = read_results(tmp_path / "table2_llovi_egoschema_toy" / "results.json")
        assert {"accuracy", "accuracy_llovi_credit"} <= {metric.name for metric in llovi.metrics}


def test_published_numbers_stand_beside_their_own_language_model_alone(quick, tiny, films, tmp_path):
    with JudgeServer([body_of("A because")]) as server:
        files = {"model": str(ROOT / "data" / "tiny"), "videos": films, "annotations": POCKETBENCH}
        one = make_experiment("table2_llovi", "egoschema", **files)
        assert (one.llm, one.published) == ("gpt-3.5-turbo-0613", {"accuracy": 51.2})
        asked = tuple(question for question in experiments(films, ["llovi"], max_videos=1)[0].questions())
        for model, paper in (("stub", None), ("gpt-3.5-turbo-0613", 51.2)):
            judge = replace(reader(server), model=model)
            mine = replace(one, id=model, asked=asked, reasoner=judge)
            results = reproduce(mine, tmp_path, load=lambda _: tiny, **QUIET)
            assert "cannot be matched as printed" in results.note
            assert results.metrics[0].published == paper
            assert ("nothing is compared" in results.note) == (paper is None)


def test_without_a_language_model_the_error_says_the_way_out(tiny, films, tmp_path, capsys):
    (one,) = experiments(films, ["llovi"])
    with pytest.raises(PreflightError, match=r"--reasoner MODEL --reasoner-url URL .* or --reasoner own"):
        reproduce(one, tmp_path, load=lambda _: tiny, **QUIET)
    with pytest.raises(ExperimentError, match="--reasoner own"):
        run(tiny, [one], VideoFolder(films), tmp_path, progress=False)
    assert not list(tmp_path.rglob("answers.jsonl"))
    with pytest.raises(ExperimentError, match="captions are kept in a folder"):
        list(records_of(tiny, [replace(one, reasoner="own")], VideoFolder(films)))
    with (
        JudgeServer(["500"]) as server,
        pytest.raises(PreflightError, match=r"the reasoner 'stub' at .* does not answer"),
    ):
        reproduce(replace(one, reasoner=reader(server)), tmp_path, load=lambda _: tiny, **QUIET)
    words = [
        "run",
        "--method",
        "llovi",
        "--annotations",
        "x",
        "--videos",
        "y",
        "--reasoner-url",
        "http://127.0.0.1:9/v1",
    ]
    assert call(bench, words) == 1
    assert "--reasoner MODEL with it" in capsys.readouterr().err
    for wrong in ({"by": "likelihood"}, {"prompts": "paper"}, {"reasoner": "mine"}, {"subquestions": "original"}):
        with pytest.raises(ExperimentError):
            experiments(films, ["llovi"], **wrong)


def test_open_questions_and_short_films_fail_by_name(quick, tiny, films, tmp_path):
    with JudgeServer([RIGHT]) as server:
        (one,) = experiments(films, ["videotree-as_released"], task="", reasoner=reader(server), max_videos=1)
        outcome = run(tiny, [one], VideoFolder(films), tmp_path, progress=False)[one.id]
    errors = {record["error"].split(":")[0] for record in outcome.failures.values()}
    assert errors == {"videotree-as_released_1s asks questions with options alone, this one has none",
                      "8 clusters of 6 frames"}  # fmt: skip


def test_a_question_of_three_options_has_three_lines(quick, tiny, films, tmp_path):
    question = Question("own", "k", "pocket_0000", ("Which?",), "y", MULTIPLE_CHOICE, ("x", "y", "z"), 1)
    with JudgeServer([RIGHT, body_of("E")]) as server:
        (one,) = experiments(films, ["llovi"], reasoner=reader(server))
        mine = replace(one, asked=(question, replace(question, key="l")), task="")
        outcome = run(tiny, [mine], VideoFolder(films), tmp_path, progress=False)[one.id]
        asked = server.requests[0]["messages"][-1]["content"]
    assert " C: z\n" in asked and "D: " not in asked and "None" not in asked
    replies = sorted(record["answers"][0] for record in outcome.answers.values())
    assert [one.method.read_choice(reply, question.options) for reply in replies] == [1, None]


@pytest.mark.parametrize("text", ["llovi-standard_1s", "llovi-next_1s_every2", "videotree-aligned_2.5s"])
def test_texts_of_methods_are_read_back(text):
    method = parse_spec(text)
    assert str(method) == text and parse_spec(method.to_json()) == method
    assert isinstance(method, (ToldLLoVi, ToldVideoTree))


# D-CoDe

PARTS = body_of('["Who is it?", "What moves?"]')


def test_sub_questions_are_asked_of_the_same_model_and_recorded(tiny, films, tmp_path):
    method = DCoDe(num_frames=6, kept=4, uniform=0.6, top_k=40, threshold=0.95)
    with JudgeServer([PARTS, "500", body_of("[1, 2]"), body_of("none")]) as server:
        options = {"reasoner": reader(server, concurrency=1), "subquestions": "original", "max_new_tokens": 3}
        (one,) = experiments(films, [str(method)], max_videos=1, **options)
        outcome = run(tiny, [one], VideoFolder(films), tmp_path, progress=False)[one.id]
        assert all(body["temperature"] == 0.5 for body in server.requests)
    assert one.id.endswith("_subquestions") and outcome.settings["subquestions"] == "original"
    assert str(outcome.counts(one.questions())) == "5 expected = 5 answered + 0 failed"
    parts = {tuple(record["subquestions"]) for record in outcome.answers.values()}
    assert parts == {("Who is it?", "What moves?"), ()}
    plain = run(tiny, experiments(films, [str(method)], max_videos=1, max_new_tokens=3), VideoFolder(films), tmp_path,
                progress=False)  # fmt: skip
    (plain,) = plain.values()
    for key, record in outcome.answers.items():
        assert len(record["captions"]) == len(record["subquestions"])
        assert record["captions"] or record["answers"] == plain.answers[key]["answers"], "none is the plain way"


def test_sub_questions_are_off_by_default_and_dcodes_alone(films):
    (one,) = experiments(films, ["dcode_egoschema"])
    assert not one.worded and "subquestions" not in one.settings()
    with pytest.raises(ExperimentError, match="they are D-CoDe's"):
        experiments(films, ["igvlm6"], subquestions="original")
    (apart,) = experiments(films, ["dcode_egoschema"], subquestions="original")
    assert "takes questions apart: give --reasoner" in apart.without_reasoner


def test_a_film_that_cannot_be_decoded_fails_with_its_cause(quick, tiny, films, tmp_path):
    (films / "pocket_0001.mp4").write_bytes(b"no film")
    with JudgeServer([RIGHT]) as server:
        (one,) = experiments(films, ["llovi"], reasoner=reader(server))
        outcome = run(tiny, [one], VideoFolder(films), tmp_path, progress=False)[one.id]
    assert str(outcome.counts(one.questions())) == "10 expected = 5 answered + 5 failed"
    assert {record["stage"] for record in outcome.failures.values()} == {"video"}
