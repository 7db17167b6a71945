"""The runner: complete, resumable under SIGKILL, honest about failures, and the same answers shared or one by one."""

import json
import multiprocessing
import os
import random
import shutil
import signal
import time
from dataclasses import replace

import pytest
import torch
from accelerate import cpu_offload, disk_offload

from sfllava_bench.answers.answering import answer_video, answers, ask
from sfllava_bench.answers.counts import CountsError, read_outcome
from sfllava_bench.answers.experiment import Experiment
from sfllava_bench.answers.journal import JournalError
from sfllava_bench.answers.loop import run as run_experiments
from sfllava_bench.answers.prefetch import Decoded
from sfllava_bench.answers.video_model import model_fingerprint
from sfllava_bench.questions.annotations import load_annotations
from sfllava_bench.questions.records import Question
from sfllava_core import VideoLLM, fast_only, parse_spec, read_frames
from sfllava_core.answering.sharing import ContextError
from sfllava_core.answering.watched import Generation
from sfllava_core.prompts import PromptParts
from sfllava_core.video.folder import VideoFolder

SPEC = parse_spec("frames4_slow2-to2x2_fastall-to1x1")
SETTINGS = Experiment("a", SPEC, max_new_tokens=6)


def run(llm, questions, excerpts, path, settings=SETTINGS, **more):
    """Answer these questions, in one file."""
    videos = VideoFolder(excerpts / "videos", workers=1, prefetch=2)
    return answer(llm, questions, videos, path, settings, **more)


def answer(llm, questions, videos, path, settings=SETTINGS, **more):
    """One experiment by itself: its outcome."""
    one = replace(settings, id=path.parent.name, asked=tuple(questions))
    more = {"file": path.name, "progress": False, **more}
    return run_experiments(llm, [one], videos, path.parents[1], **more)[one.id]


def load(name, excerpts):
    return load_annotations(name, excerpts / "annotations")


class Forgetful:
    """A VideoLLM that counts what it is asked to watch, and fails where it is told to."""

    def __init__(self, llm, fail=None):
        self.llm, self.fail, self.watched = llm, fail, 0

    def __getattr__(self, name):
        return getattr(self.llm, name)

    def watch_frames(self, *args, **kwargs):
        self.watched += 1
        if self.fail is not None and self.watched == self.fail[0]:
            raise self.fail[1]
        return self.llm.watch_frames(*args, **kwargs)


@pytest.mark.parametrize("name", ["msvd", "tgif", "nextqa", "egoschema", "vcgbench"])
def test_every_question_gets_its_record(name, llm, excerpts, tmp_path):
    questions = load(name, excerpts)
    outcome = run(llm, questions, excerpts, tmp_path / "a.jsonl")
    counts = outcome.counts(questions)
    assert (counts.expected, counts.answered, counts.failed, counts.pending) == (len(questions), len(questions), 0, 0)
    for question in questions:
        record = outcome.answers[question.key]
        assert len(record["answers"]) == len(question.questions) == len(record["new_tokens"])
        assert record["method"] == str(SPEC)
        assert record["model"] == model_fingerprint(llm.model)
        assert all(tokens > 12 for tokens in record["prompt_tokens"])  # 2 * 4 + 4 visual tokens and the text
    assert {record["watched"] for record in outcome.watched} == {q.video for q in questions}
    assert all(len(record["frames"]) == 4 and record["visual_tokens"] == 12 for record in outcome.watched)


def test_records_hold_what_the_model_itself_answers(llm, excerpts, tmp_path):
    questions = load("nextqa", excerpts)
    outcome = run(llm, questions, excerpts, tmp_path / "a.jsonl", batch=2)
    videos = VideoFolder(excerpts / "videos")
    for question in questions:
        video = llm.watch(videos.find(question.video), SPEC)
        choice = video.choose(question.questions[0], list(question.options), by="generation", max_new_tokens=6)
        assert outcome.answers[question.key]["answers"] == [choice.text]


def test_by_likelihood_there_is_always_a_letter(llm, excerpts, tmp_path):
    questions = load("intentqa", excerpts) + load("msvd", excerpts)[:2]
    questions = [replace(question, benchmark="pocketbench") for question in questions]
    outcome = run(llm, questions, excerpts, tmp_path / "a.jsonl", replace(SETTINGS, by="likelihood"))
    for question in questions:
        record = outcome.answers[question.key]
        assert ("letter" in record) == bool(question.options)
        assert "letter" not in record or record["letter"] in "ABCDE"
        assert "scores" not in record or sum(record["scores"]) == pytest.approx(1, abs=1e-4)


def test_a_second_start_does_nothing(llm, excerpts, tmp_path):
    questions = load("msvd", excerpts)
    run(llm, questions, excerpts, tmp_path / "a.jsonl")
    before = (tmp_path / "a.jsonl").read_bytes()
    counting = Forgetful(llm)
    outcome = run(counting, questions[::-1], excerpts, tmp_path / "a.jsonl")
    assert counting.watched == 0
    assert outcome.counts(questions).complete
    assert (tmp_path / "a.jsonl").read_bytes() == before


def test_a_run_that_died_goes_on_with_the_rest_only(llm, excerpts, tmp_path):
    questions = load("msvd", excerpts)
    with pytest.raises(ZeroDivisionError):  # an error that is no question's fault stops the run
        run(Forgetful(llm, fail=(2, ZeroDivisionError())), questions, excerpts, tmp_path / "a.jsonl", batch=2)
    outcome = read_outcome(tmp_path / "a.jsonl")
    assert outcome.counts(questions).pending == 3
    counting = Forgetful(llm)
    assert run(counting, questions, excerpts, tmp_path / "a.jsonl").counts(questions).answered == 6
    assert counting.watched == 1


def test_a_torn_line_is_mended_and_told_in_the_sessions_record(llm, excerpts, tmp_path):
    questions = load("egoschema", excerpts)
    run(llm, questions, excerpts, tmp_path / "a.jsonl", batch=1)
    lines = (tmp_path / "a.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "a.jsonl").write_bytes(b"".join(lines[:-2]) + lines[-2][:33])
    outcome = run(llm, questions, excerpts, tmp_path / "a.jsonl")
    assert outcome.counts(questions).answered == 2
    assert [session["repaired_bytes"] for session in outcome.sessions] == [0, 33]


def test_answers_are_cut_where_the_method_was_published_with(llm, excerpts):
    """D-CoDe: choices after 16 tokens, open answers after 128; IG-VLM after 512; asked as the paper does, 128."""
    kinds = ("multiple_choice", "open_ended", "text_generation")

    def limits(method, **more):
        one = Experiment("a", parse_spec(method), **more)
        return [one.new_tokens(kind) for kind in kinds], one.settings()["max_new_tokens"]

    assert limits("dcode_nextqa") == ([16, 128, 128], {"multiple_choice": 16, "open_ended": 128})
    assert limits("dcode_nextqa", max_new_tokens=64) == ([64] * 3, 64)
    assert limits("igvlm6") == ([512] * 3, 512) and limits("igvlm6", prompts="paper") == ([128] * 3, 128)
    assert limits(str(SPEC)) == ([128] * 3, 128)

    class Noting:
        """A watched video that says how long its answers may be, and what may not repeat in them."""

        def generate(self, prompts, max_new_tokens, share_prefix, no_repeat_ngram_size=0):
            return [Generation(f"{max_new_tokens} {no_repeat_ngram_size}", [0], 1) for _ in prompts]

    choice, other = load("egoschema", excerpts)
    opened = replace(other, task="open_ended")
    records = answers(llm, Experiment("a", parse_spec("dcode_nextqa")), Noting(), [opened, choice])
    assert [(record["key"], record["answers"]) for record in records] == [
        (opened.key, ["128 5"]),
        (choice.key, ["16 0"]),
    ]
    assert Experiment("a", parse_spec("dcode_open")).settings()["no_repeat_ngram_size"] == 5
    assert "no_repeat_ngram_size" not in Experiment("a", parse_spec("dcode_open"), prompts="paper").settings()


def test_a_films_record_keeps_its_seconds_of_decoding_and_of_waiting_apart(llm, excerpts):
    (question, *_) = load("egoschema", excerpts)
    frames = read_frames(VideoFolder(excerpts / "videos").find(question.video), 4)
    decoded = Decoded(question.video, frames, None, seconds=30.0, waited=2.0)
    *_, (told,) = answer_video(llm, SETTINGS, [question], decoded, batch=1)
    assert (told["seconds"]["decode"], told["seconds"]["waited"]) == (30.0, 2.0)
    assert 0 < told["seconds"]["total"] < 30  # of the model's work alone


@pytest.mark.parametrize(
    "other",
    [
        Experiment("a", fast_only(4, (2, 2)), max_new_tokens=6), replace(SETTINGS, max_new_tokens=7),
        replace(SETTINGS, parts=PromptParts(input_data=False)), replace(SETTINGS, by="likelihood"),
        replace(SETTINGS, share="nothing"), replace(SETTINGS, resize="torch"),
    ],
    ids=["spec", "tokens", "prompt", "choosing", "sharing", "resize"],
)  # fmt: skip
def test_other_settings_never_mix_into_a_file(other, llm, excerpts, tmp_path):
    questions = load("egoschema", excerpts)
    run(llm, questions, excerpts, tmp_path / "a.jsonl")
    before = (tmp_path / "a.jsonl").read_bytes()
    with pytest.raises(JournalError, match="other settings"):
        run(llm, questions, excerpts, tmp_path / "a.jsonl", other)
    assert (tmp_path / "a.jsonl").read_bytes() == before


def test_other_weights_or_questions_never_mix_either(llm, excerpts, tmp_path):
    questions = load("egoschema", excerpts)
    run(llm, questions, excerpts, tmp_path / "a.jsonl")
    with pytest.raises(JournalError, match="expected: 2 there, 1 now"):
        run(llm, questions[:1], excerpts, tmp_path / "a.jsonl")
    changed = [replace(questions[0], answer="other"), questions[1]]
    with pytest.raises(JournalError, match="questions"):
        run(llm, changed, excerpts, tmp_path / "a.jsonl")
    with pytest.raises(CountsError, match="other questions"):
        read_outcome(tmp_path / "a.jsonl").counts(changed)
    other = VideoLLM.from_pretrained(llm.name, device="cpu")
    assert model_fingerprint(other.model) == model_fingerprint(llm.model)
    with torch.no_grad():
        other.model.lm_head.weight[0, 0] += 1
    with pytest.raises(JournalError, match="model"):
        run(other, questions, excerpts, tmp_path / "a.jsonl")


@pytest.mark.parametrize("where", ["host", "disk"])
def test_weights_that_are_kept_elsewhere_are_the_same_weights(llm, tmp_path, where):
    """device_map="auto" leaves what no GPU holds on the host or the disk, and shapes without values in its place."""
    model = VideoLLM.from_pretrained(llm.name, device="cpu").model
    cpu_offload(model, "cpu") if where == "host" else disk_offload(model, tmp_path, "cpu")
    assert all(weight.is_meta for weight in model.model.language_model.parameters())
    assert model_fingerprint(model) == model_fingerprint(llm.model)


def test_out_of_memory_halves_the_batch(llm, excerpts):
    """16 -> 8 -> 4, which fits."""
    (question, *_) = load("egoschema", excerpts)
    questions = [replace(question, key=f"q{number}", questions=(f"What is {number}?",)) for number in range(16)]
    sizes = []

    class Small:
        """A watched video of a GPU that holds five answers."""

        def generate(self, prompts, **options):
            sizes.append(len(prompts))
            if len(prompts) > 5:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return [Generation(prompt[1], [1], 9) for prompt in prompts]

    records = ask(llm, SETTINGS, Small(), questions)
    assert sizes == [16, 8, 4, 4, 8, 4, 4]
    assert [record["key"] for record in records] == [one.key for one in questions]
    assert all(f"What is {number}?" in record["answers"][0] for number, record in enumerate(records))


def test_a_question_too_long_costs_its_mates_nothing(llm, excerpts):
    """Nothing is gained by halving: each is asked by itself."""
    (question, *_) = load("egoschema", excerpts)
    sizes = []

    class Full:
        def generate(self, prompts, **options):
            sizes.append(len(prompts))
            raise ContextError("too long")

    records = ask(llm, SETTINGS, Full(), [replace(question, key=f"q{number}") for number in range(4)])
    assert sizes == [4, 1, 1, 1, 1]
    assert [record["error"] for record in records] == ["too long"] * 4


def test_the_batch_is_part_of_a_runs_surroundings(llm, excerpts, tmp_path):
    """In half precision answers may depend on it; it is no part of the run's settings, which it may be gone on with."""
    questions = load("egoschema", excerpts)
    for batch in (5, 7):  # at the second start nothing is left to ask
        run(llm, questions, excerpts, tmp_path / "a" / "a.jsonl", batch=batch)
    lines = map(json.loads, (tmp_path / "a" / "a.jsonl").read_text().splitlines())
    assert [line["session"]["batch"] for line in lines if "session" in line] == [5]


def test_shared_and_one_by_one_give_the_same_answers(llm, excerpts, tmp_path):
    questions = load("nextqa", excerpts) + [replace(q, benchmark="nextqa") for q in load("vcgbench", excerpts)]
    shared = run(llm, questions, excerpts, tmp_path / "shared.jsonl")
    alone = run(llm, questions, excerpts, tmp_path / "alone.jsonl", replace(SETTINGS, share="nothing"))
    assert {k: r["answers"] for k, r in shared.answers.items()} == {k: r["answers"] for k, r in alone.answers.items()}
    assert len({r["answers"][0] for r in shared.answers.values()}) > 3
    assert (len(shared.watched), len(alone.watched)) == (4, 12)
    assert all(record["prefix_bytes"] > 0 for record in shared.watched)
    assert all(record["prefix_bytes"] == 0 for record in alone.watched)  # nothing was shared


@pytest.fixture
def damaged(excerpts, tmp_path):
    """The excerpts with one NExT-QA video gone and one broken."""
    shutil.copytree(excerpts, tmp_path / "data")
    (tmp_path / "data/videos/nextqa/1164/9000000001.mp4").unlink()
    broken = tmp_path / "data/videos/nextqa/0003/9000000002.mov"
    broken.write_bytes(broken.read_bytes()[:600])
    return tmp_path / "data"


def test_videos_that_fail_become_records_and_can_be_tried_again(llm, excerpts, damaged, tmp_path):
    questions = load("nextqa", excerpts) + [replace(q, benchmark="nextqa") for q in load("intentqa", excerpts)]
    outcome = run(llm, questions, damaged, tmp_path / "a.jsonl")
    assert str(outcome.counts(questions)) == "9 expected = 3 answered + 6 failed"
    assert {r["video"]: r["stage"] for r in outcome.failures.values()} == {"9000000001": "video", "9000000002": "video"}
    assert "no video of this name" in outcome.failures[questions[0].key]["error"]
    again = run(llm, questions, excerpts, tmp_path / "a.jsonl")
    assert again.counts(questions).failed == 6  # not of itself, though the videos are there now
    mended = run(llm, questions, excerpts, tmp_path / "a.jsonl", retry_failed=True)
    assert str(mended.counts(questions)) == "9 expected = 9 answered + 0 failed"


def test_one_bad_question_fails_alone(llm, excerpts, tmp_path):
    questions = load("nextqa", excerpts)
    questions[1] = replace(questions[1], questions=("what is <image> here?",))
    questions[4] = replace(questions[4], questions=("what " * 9000,))
    outcome = run(llm, questions, excerpts, tmp_path / "a.jsonl")
    assert outcome.failures.keys() == {questions[1].key, questions[4].key}
    assert "<image>" in outcome.failures[questions[1].key]["error"]
    assert "shorten the question" in outcome.failures[questions[4].key]["error"]
    assert outcome.counts(questions).answered == 4


def test_a_video_that_does_not_fit_the_memory_fails_and_the_next_goes_on(llm, excerpts, tmp_path):
    questions = load("msvd", excerpts)
    full = Forgetful(llm, fail=(1, torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")))
    outcome = run(full, questions, excerpts, tmp_path / "a.jsonl")
    assert str(outcome.counts(questions)) == "6 expected = 3 answered + 3 failed"
    assert "out of memory" in outcome.failures[questions[0].key]["error"]


def test_a_context_that_is_too_long_fails_the_video(llm, excerpts, tmp_path):
    questions = load("egoschema", excerpts)
    settings = Experiment("a", parse_spec("frames24_slowall-none"), max_new_tokens=2)
    outcome = run(llm, questions, excerpts, tmp_path / "a.jsonl", settings)
    assert outcome.counts(questions).failed == 1  # 24 frames give 13,824 tokens, the folder's 12 images give 6,912
    assert "visual tokens" in next(iter(outcome.failures.values()))["error"]


def many_questions(excerpts) -> list[Question]:
    """210 questions about ten of the excerpts' videos, open-ended and multiple choice."""
    videos = [question.video for name in ("msvd", "msrvtt", "nextqa", "egoschema", "activitynet")
              for question in load(name, excerpts)]  # fmt: skip
    things = ("shape", "colour", "edge", "ground", "size", "corner", "motion")
    questions = []
    for video in dict.fromkeys(videos):
        for n in range(21):
            text, key = f"what of the {things[n % 7]} number {n}?", f"{video}/{n}"
            options = ("left", "right", "up", "down", "nowhere") if n % 2 else ()
            questions.append(Question("pocketbench", key, video, (text,), "left", "multiple_choice" if options else
                                      "open_ended", options, 0 if options else None))  # fmt: skip
    return questions


def live(tiny, excerpts, path, speed):
    """A life of a run, in a process of its own: load the model, go on with the file."""
    torch.set_num_threads(1)
    llm = VideoLLM.from_pretrained(tiny, device="cpu")
    slow = Slowed(llm, speed)
    run(slow, many_questions(excerpts), excerpts, path, batch=5)


class Slowed(Forgetful):
    """A VideoLLM that takes its time to watch, so that a kill can hit anywhere."""

    def __init__(self, llm, seconds):
        super().__init__(llm)
        self.seconds = seconds

    def watch_frames(self, *args, **kwargs):
        time.sleep(self.seconds)
        return super().watch_frames(*args, **kwargs)


def finish(context, tiny, excerpts, path):
    """A life that is let live to its end."""
    child = context.Process(target=live, args=(tiny, excerpts, path, 0))
    child.start()
    child.join()
    assert child.exitcode == 0


def test_sigkill_at_ten_random_moments_loses_and_repeats_nothing(llm, excerpts, tmp_path):
    """A real process is killed at ten random moments of its run and started again each time, and ends with the answers
    of one that was never killed. The moments: a random delay after the file has grown to a random size, or while the
    model is being loaded; so a kill falls into loading, watching, answering and writing alike."""
    questions, rng = many_questions(excerpts), random.Random(11)
    context = multiprocessing.get_context("forkserver")  # a clean process with torch imported, forked for each life
    context.set_forkserver_preload(["sfllava_core.model", "sfllava_bench.answers.loop"])
    path, whole = tmp_path / "killed.jsonl", tmp_path / "whole.jsonl"
    finish(context, llm.name, excerpts, whole)
    size = whole.stat().st_size
    for kill in range(10):
        child = context.Process(target=live, args=(llm.name, excerpts, path, 0.1))
        child.start()
        until = size * (kill + rng.random()) / 14
        while child.is_alive() and (path.stat().st_size if path.exists() else 0) <= until:
            time.sleep(0.002)
        time.sleep(rng.random() * 0.03)
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        assert child.exitcode == -signal.SIGKILL
    killed_midway = read_outcome(path).counts(questions)
    assert 0 < killed_midway.answered < len(questions)
    finish(context, llm.name, excerpts, path)

    outcome = read_outcome(path)
    assert str(outcome.counts(questions)) == "210 expected = 210 answered + 0 failed"
    written = [json.loads(line) for line in path.read_text().splitlines()]
    keys = [line["key"] for line in written if "key" in line]
    assert sorted(keys) == sorted(question.key for question in questions)  # each once: nothing lost, nothing repeated
    assert len([line for line in written if "session" in line]) >= 5

    def bare(records):
        return {key: {n: v for n, v in record.items() if n != "seconds"} for key, record in records.items()}

    assert bare(outcome.answers) == bare(read_outcome(whole).answers)
    assert len({tuple(record["answers"]) for record in outcome.answers.values()}) > 10
