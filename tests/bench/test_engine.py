"""Workers in Ray: the same records as in one process, whoever is killed, and nothing of Ray left behind."""

import contextlib
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from sfllava_bench.answers.counts import read_outcome
from sfllava_bench.answers.experiment import Experiment
from sfllava_bench.answers.journal import count_answered, read_journal
from sfllava_bench.answers.loop import once, run
from sfllava_bench.engine.cluster import PATIENT, PREFIX, RayEngine, locked, temporary_folder
from sfllava_bench.engine.stub import StubModel, StubVideos
from sfllava_bench.questions.annotations import load_annotations
from sfllava_bench.questions.records import MULTIPLE_CHOICE
from sfllava_bench.reports.status import status_rows
from sfllava_bench.runs.own import own_experiments
from sfllava_bench.runs.reproduce import reproduce
from sfllava_bench.scores.chat import Judge
from sfllava_core import parse_spec
from sfllava_core.backbones.base import ModelError
from sfllava_core.defaults import ROOT
from sfllava_core.methods.dcode import DCoDe
from sfllava_core.video.folder import VideoFolder
from sfllava_core.video.integrity import HostError

from .engine_films import STUB, Changing, Films, Gone, Told, asked, refuse, tiny
from .judge_server import JudgeServer, body_of
from .test_interrupts import alive, children

pytest.importorskip("ray")
TINY, POCKETBENCH = ROOT / "data" / "tiny", ROOT / "data" / "pocketbench"
SPEC = parse_spec("frames4_slow2-to2x2_fastall-to1x1")
HERE = {**PATIENT, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
AGENTS: list[int] = []  # of Ray's that was killed: they notice within a minute, so they are looked for at the end


@pytest.fixture(scope="module")
def engine():
    """Ray, started once; workers find the kit and these tests."""
    before = {name: os.environ.get(name) for name in HERE}
    os.environ.update(HERE)
    others = children(os.getpid())  # other tests' servers, whose command lines name Ray's folders on their path
    with RayEngine(2, gpus=0) as engine:
        below = [pid for pid in children(os.getpid()) if pid not in others]
        yield engine
    with warnings.catch_warnings(action="ignore", category=ResourceWarning):
        gc.collect()  # Ray leaves handles of processes that have ended
    for name, value in before.items():
        os.environ.pop(name) if value is None else os.environ.update({name: value})
    assert alive([pid for pid in below if "ray" in command_of(pid)], 20) == []
    assert alive(AGENTS, 90) == []
    assert left_behind() == []


def left_behind() -> list[Path]:
    """Folders of Ray's that nobody uses any more; another run's is locked."""
    found = []
    for lock in Path(tempfile.gettempdir()).glob(f"{PREFIX}*/lock"):
        with contextlib.suppress(OSError), locked(lock.parent):
            found.append(lock.parent)
    return found


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """Where the workers of `pool` write down what they were asked."""
    return tmp_path_factory.mktemp("told")


@pytest.fixture
def pool(engine, told):
    """Two workers with a stub; they are the same in all tests until another model is loaded."""
    if engine.pool is None:
        engine(partial(Told, told))
    return engine.pool


@pytest.fixture
def films():
    """Two films of PocketBench, and their questions with options, as `own_experiments` takes them."""
    return {
        "benchmark": "pocketbench", "model": str(TINY), "annotations": POCKETBENCH, "videos": POCKETBENCH / "videos",
        "max_videos": 2, "task": MULTIPLE_CHOICE,
    }  # fmt: skip


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def said(outcome) -> dict:
    """What does not depend on when, or in which order."""
    kept = {key: {n: v for n, v in record.items() if n != "seconds"} for key, record in outcome.answers.items()}
    looked = Counter(json.dumps({n: v for n, v in one.items() if n != "seconds"}) for one in outcome.watched)
    return {"answers": kept, "failures": outcome.failures, "watched": looked}


def plain(out, experiment=STUB):
    """The same in one process."""
    return said(run(StubModel(), [experiment], StubVideos(), out / "plain", progress=False)[experiment.id])


def test_a_killed_worker_loses_nothing_and_a_poison_video_fails_alone(pool, tmp_path):
    once, always = "film000005", "film000011"
    outcome = run(pool, [STUB], Films(tmp_path, once, always), tmp_path, progress=False)["stub"]
    assert outcome.counts(list(STUB.asked)).failed == 3 and outcome.counts(list(STUB.asked)).complete
    assert {record["video"] for record in outcome.failures.values()} == {always}
    for record in outcome.failures.values():
        assert (
            record["stage"] == "worker"
            and "it ended 3 workers one after another; the last one: The actor" in record["error"]
        )
    expected = plain(tmp_path)
    rest = {key: record for key, record in expected["answers"].items() if record["video"] != always}
    assert said(outcome)["answers"] == rest
    assert (tmp_path / f"killed_{once}").exists()


def test_what_a_work_raises_ends_the_run_and_leaves_the_workers(pool, tmp_path):
    for _ in range(2):
        with pytest.raises(HostError, match="gone"):
            run(pool, [STUB], Gone(), tmp_path, progress=False)
    assert run(pool, [STUB], StubVideos(), tmp_path, progress=False)["stub"].counts(list(STUB.asked)).answered == 72


def test_a_question_is_written_once_whatever_comes_twice():
    waiting = {"a", "b"}
    answer, watched = {"key": "a"}, {"watched": "x"}
    assert once([answer, watched], waiting) == [answer, watched] and waiting == {"b"}
    assert once([answer, watched], waiting) == []  # a batch that ran twice
    assert once([answer, {"key": "b"}], waiting) == [{"key": "b"}]
    assert once([watched], waiting) == [watched]  # of this process, which tells it by itself


DRIVER = """
import sys
from functools import partial
from pathlib import Path
from bench.engine_films import STUB, Films, Told
from sfllava_bench.answers.loop import run
from sfllava_bench.engine.cluster import RayEngine
folder = Path(sys.argv[1])
with RayEngine(2, gpus=0) as engine:
    run(engine(partial(Told, folder, 0.1)), [STUB], Films(folder), folder, progress=False)
"""


def script(code: str, folder: Path, temporary: Path) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", code, str(folder)], cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, **HERE, "TMPDIR": str(temporary), "OMP_NUM_THREADS": "1"}, start_new_session=True,
    )  # fmt: skip


@pytest.fixture
def temporary():
    """A folder with a short name: sockets are put below it."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        yield Path(folder)


def test_a_killed_driver_has_lost_nothing_that_was_recorded(pool, told, tmp_path, temporary, monkeypatch):
    driver = script(DRIVER, tmp_path, temporary)
    journal = tmp_path / "stub" / "answers.jsonl"
    until = time.monotonic() + 200
    while not 0 < count_answered(journal)[0] < 60:
        assert driver.poll() is None and time.monotonic() < until, driver.communicate()[1]
        time.sleep(0.02)
    (row,) = status_rows(tmp_path)
    assert row["state"] == "running" and row["videos"].endswith(" of 24") and row["questions"].endswith(" of 72")
    below = children(driver.pid)
    agents = {pid for pid in below if "Agent" in command_of(pid)}
    assert len(below) > 4 and len(agents) <= 2
    driver.kill()
    driver.communicate()
    AGENTS.extend(agents)
    assert alive([pid for pid in below if pid not in agents], 30) == []
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    assert len(list(temporary.glob(f"{PREFIX}*"))) == 1
    with temporary_folder() as new:  # the next start takes away what was left
        assert list(temporary.glob(f"{PREFIX}*")) == [new]

    recorded = read_outcome(journal).answers
    assert 0 < len(recorded) < 72 and status_rows(tmp_path)[0]["state"] == "stopped"
    before = len(asked(told))
    outcome = run(pool, [STUB], Films(tmp_path), tmp_path, progress=False)["stub"]
    assert outcome.counts(list(STUB.asked)).answered == 72 and said(outcome)["answers"] == plain(tmp_path)["answers"]
    assert len(asked(told)) - before == 72 - len(recorded)
    assert status_rows(tmp_path)[0] == {
        **status_rows(tmp_path)[0], "state": "done", "videos": "24 of 24", "questions": "72 of 72", "time left": "",
    }  # fmt: skip


def test_two_workers_give_the_records_of_one_process(engine, llm, excerpts, tmp_path):
    """The tiny model on real films, two experiments that share frames and features; then a run of its own."""
    questions = tuple(
        load_annotations("msvd", excerpts / "annotations") + load_annotations("nextqa", excerpts / "annotations")
    )
    first = Experiment("a", SPEC, max_new_tokens=4, asked=questions, model=str(TINY), videos=excerpts / "videos")
    both = [first, replace(first, id="b", method=parse_spec("frames4_slow1-to2x2_fastall-to1x1"))]
    videos = VideoFolder(excerpts / "videos")
    here = run(llm, both, videos, tmp_path / "here", progress=False)
    there = run(engine(tiny), both, videos, tmp_path / "there", progress=False)
    assert {name: said(one) for name, one in here.items()} == {name: said(one) for name, one in there.items()}
    assert "ray: 2" in there["a"].sessions[0]["workers"] and here["a"].fingerprint == there["a"].fingerprint
    results = reproduce(first, tmp_path / "there", engine=engine, progress=False, say=lambda text: None)
    assert results.counts.answered == len(questions)  # found answered: by whom makes no difference


def test_captions_and_sub_questions_are_those_of_one_process(engine, llm, films, tmp_path):
    """By workers' models, written by this process, which alone asks servers; the first film has captions already."""
    told, parts = (
        body_of("prediction: B\nframe relevance: [3, 3, 3, 3, 3, 3]"),
        body_of('["Who is it?", "What moves?"]'),
    )
    with JudgeServer([told]) as reads, JudgeServer([parts]) as takes_apart:
        options = {**films, "max_new_tokens": 3}
        some = own_experiments(["llovi", "videotree"], **options, reasoner=Judge("stub", reads.url))
        apart = {"reasoner": Judge("stub", takes_apart.url), "subquestions": "original"}
        some += own_experiments([str(DCoDe(6, 4, 0.6, 40, 0.95))], **options, **apart)
        some += [replace(one, id="by itself") for one in own_experiments(["llovi"], **options, reasoner="own")]
        outcomes, requests, captions = {}, {}, {}
        for where, model in (("here", lambda: llm), ("there", lambda: engine(tiny))):
            first = replace(some[0], id="first", asked=tuple(some[0].questions()[:1]))
            run(llm, [first], VideoFolder(films["videos"]), tmp_path / where, progress=False)
            reads.requests.clear(), takes_apart.requests.clear()
            outcomes[where] = run(model(), some, VideoFolder(films["videos"]), tmp_path / where, progress=False)
            requests[where] = sorted(map(json.dumps, reads.requests + takes_apart.requests))
            captions[where] = read_journal(next((tmp_path / where / "captions").glob("*.jsonl")))
    for one in some:
        assert said(outcomes["here"][one.id]) == said(outcomes["there"][one.id])
        assert len(outcomes["there"][one.id].answers) == 10, outcomes["there"][one.id].failures
    assert requests["here"] == requests["there"] and len(requests["here"]) >= 30
    assert captions["here"] == captions["there"] and len({one["video"] for one in captions["there"][1]}) == 2


def test_workers_that_cannot_be_are_refused(engine, tmp_path):
    with pytest.raises(ModelError, match="nowhere: no such"):
        engine(refuse)
    from sfllava_bench.engine.pool import RayWorkers  # needs Ray

    with pytest.raises(HostError, match="no worker was there within"):
        RayWorkers(StubModel, 1, gpus=9, patience_s=2)
    with pytest.raises(ModelError, match=r"two workers have not the same model.*dtype: float\d+, float\d+"):
        pool = engine(partial(Changing, tmp_path))
        while not all(seat.ready for seat in pool.seats):
            pool.landed()


NODES = """
import os, sys, threading, time
from functools import partial
from pathlib import Path
folder = Path(sys.argv[1])
os.environ.update(RAY_TMPDIR=os.environ["TMPDIR"], RAY_USAGE_STATS_ENABLED="0", RAY_AUTH_MODE="disabled")
import ray._private.services
ray._private.services.node_ip_address_from_perspective = lambda *_: "127.0.0.1"  # asks a network otherwise
from ray.cluster_utils import Cluster
from bench.engine_films import STUB, Films, Told
from sfllava_bench.answers.journal import count_answered
from sfllava_bench.answers.loop import run
from sfllava_bench.engine.cluster import RayEngine

node = {"num_cpus": 1, "node_ip_address": "127.0.0.1", "object_store_memory": 100 << 20}
cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
other = cluster.add_node(**node)

def remove():
    while count_answered(folder / "stub" / "answers.jsonl")[0] < 12:
        time.sleep(0.02)
    cluster.remove_node(other, allow_graceful=False)
    (folder / "removed").touch()

try:
    with RayEngine(2, gpus=0, address=cluster.address) as engine:
        pool = engine(partial(Told, folder, 0.1))
        while sum(seat.ready for seat in pool.seats) < 2:
            pool.landed()
        threading.Thread(target=remove, daemon=True).start()
        run(pool, [STUB], Films(folder), folder, progress=False)
finally:
    cluster.shutdown()
"""


def test_a_node_that_is_removed_loses_nothing(tmp_path, temporary):
    (temporary / "ray").mkdir()
    driver = script(NODES, tmp_path, temporary)
    errors = driver.communicate(timeout=240)[1]
    assert driver.returncode == 0, errors[-3000:]
    outcome = read_outcome(tmp_path / "stub" / "answers.jsonl")
    assert (tmp_path / "removed").exists()
    assert outcome.counts(list(STUB.asked)).answered == 72
    assert said(outcome)["answers"] == plain(tmp_path)["answers"]
    assert len(list(tmp_path.glob("asked_*"))) == 2  # both machines were at work


def test_options_that_cannot_be_are_refused():
    for wrong, why in (({"workers": 0}, "--workers 0"), ({"gpus": -1}, "--gpus-per-worker -1")):
        with pytest.raises(ValueError, match=why):
            RayEngine(**wrong)
