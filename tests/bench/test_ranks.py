"""KTV's ranks belong to a question: a file of them goes through a run, and each question sees its own tokens."""

import json
from dataclasses import replace

import pytest

from sfllava_bench.answers.counts import read_outcome
from sfllava_bench.answers.experiment import Experiment
from sfllava_bench.answers.layouts import POCKET_SLOWFAST
from sfllava_bench.answers.loop import run
from sfllava_bench.answers.ranks import RanksError
from sfllava_bench.command_line import call
from sfllava_bench.commands import bench
from sfllava_bench.questions.annotations import load_annotations
from sfllava_bench.runs.reproduce import reproduce
from sfllava_core import VideoLLM
from sfllava_core.defaults import POCKET, POCKETBENCH
from sfllava_core.methods.ktv import KTV
from sfllava_core.video.folder import VideoFolder

DENSE = KTV(6, 1872, loaded=50).scaled((12, 12))
FRAMES = [0, 20, 45, 60, 99, 140]
QUIET = {"progress": False, "say": lambda text: None}


@pytest.fixture(scope="module")
def pocket():
    return VideoLLM.from_pretrained(POCKET, device="cpu")


@pytest.fixture
def asked():
    """Two open questions about one film, one about another."""
    opened = [question for question in load_annotations("pocketbench", POCKETBENCH) if not question.options]
    first, second, *_ = dict.fromkeys(question.video for question in opened)
    return [question for question in opened if question.video == first][:2] + [
        question for question in opened if question.video == second
    ][:1]


@pytest.fixture
def ranks(asked, tmp_path):
    """The file: each question's keyframes in the order of their ranks, as released."""
    content = {
        question.key: [[frame + place, rank] for rank, frame in enumerate(FRAMES[place:] + FRAMES[:place])]
        for place, question in enumerate(asked)
    }
    (tmp_path / "ranks.json").write_text(json.dumps(content))
    return tmp_path / "ranks.json"


def experiment(asked, ranks, **more):
    files = {"model": str(POCKET), "videos": POCKETBENCH, "asked": tuple(asked), "max_new_tokens": 8}
    return Experiment("ktv", DENSE, ranks=ranks, benchmark="pocketbench", **files, **more)


def test_each_question_sees_the_tokens_of_its_own_ranks(pocket, asked, ranks, tmp_path):
    """Alone, beside a method that shares the films, and one by one: what `KTV.of` sees by itself."""
    one, videos = experiment(asked, ranks), VideoFolder(POCKETBENCH)
    beside = replace(one, id="slowfast", method=POCKET_SLOWFAST, ranks=None)
    nothing = replace(one, id="nothing", share="nothing")
    run(pocket, [one], videos, tmp_path / "alone", progress=False)
    run(pocket, [beside, one, nothing], videos, tmp_path / "together", progress=False)
    found = [
        read_outcome(tmp_path / name / "answers.jsonl") for name in ("alone/ktv", "together/ktv", "together/nothing")
    ]
    given, expected, seen = json.loads(ranks.read_text()), {}, {}
    for question in asked:
        method = KTV.of(map(tuple, given[question.key]), tokens=1872, patches=144)
        video = pocket.watch(videos.find(question.video), method)
        seen[tuple(sorted(frame for frame, _ in given[question.key]))] = len(video.tokens)
        assert len(video.tokens) == 1872 // 4 and method.budgets(pocket.grid) != [78] * 6
        (said,) = video.generate([method.open_ended(question.questions[0], "vicuna")], max_new_tokens=8)
        expected[question.key] = [said.text]
    assert len(seen) == 3
    for outcome in found:
        assert {key: record["answers"] for key, record in outcome.answers.items()} == expected
        assert {tuple(record["frames"]): record["visual_tokens"] for record in outcome.watched} == seen
        assert sum(record["questions"] for record in outcome.watched) == 3


def test_the_report_says_whether_there_were_ranks(pocket, asked, ranks, tmp_path):
    one = experiment(asked, ranks)
    with_ranks = reproduce(one, tmp_path, load=lambda name: pocket, **QUIET)
    without = reproduce(replace(one, id="plain", ranks=None), tmp_path, load=lambda name: pocket, **QUIET)
    assert with_ranks.counts.answered == without.counts.answered == 3
    pages = [(tmp_path / name / "report.html").read_text() for name in ("ktv", "plain")]
    assert ["keyframes and ranks by question: ranks.json" in page for page in pages] == [True, False]
    assert ["no ranks of keyframes by question" in page for page in pages] == [False, True]
    settings = [read_outcome(tmp_path / name / "answers.jsonl").settings for name in ("ktv", "plain")]
    assert settings[0]["method"] == settings[1]["method"] and "ranks" not in settings[1]
    assert reproduce(one, tmp_path, load=lambda name: pocket, **QUIET).skipped
    content = json.loads(ranks.read_text())
    content[asked[0].key][0][1], content[asked[0].key][1][1] = 1, 0
    ranks.write_text(json.dumps(content))
    assert one.settings() != {name: settings[0].get(name) for name in one.settings()}, "other ranks, another run"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content.popitem(), "no ranks of 1 of 3 questions: pocketbench"),
        (lambda content: content.update({key: [[3, 0], [9, 1.5]] for key in content}), r"\[9, 1.5\] is not a frame"),
        (lambda content: content.update(dict.fromkeys(content, 7)), "not a file of ranks, which is JSON as"),
    ],
)
def test_ranks_that_cannot_be_are_refused_before_anything_is_loaded(asked, ranks, change, message):
    content = json.loads(ranks.read_text())
    change(content)
    ranks.write_text(json.dumps(content))
    with pytest.raises(RanksError, match=message.replace("pocketbench", asked[-1].key)):
        reproduce(experiment(asked, ranks), ranks.parent, load=lambda name: pytest.fail("loaded"), **QUIET)


def test_ranks_are_for_ktv_and_for_its_budgets(asked, ranks, capsys):
    with pytest.raises(RanksError, match=r"ranks are of KTV's keyframes; frames50_slow8"):
        replace(experiment(asked, ranks), method=POCKET_SLOWFAST).questions()
    with pytest.raises(RanksError, match=r"KTV tokens=1000: 6 ranked frames get 504, 936, 1872"):
        replace(experiment(asked, ranks), method=KTV(tokens=1000)).questions()
    words = "run --method frames4_fastall-to2x2 --benchmark pocketbench --annotations data/pocketbench --videos"
    assert call(bench, [*words.split(), str(POCKETBENCH), "--ranks", str(ranks), "--out", str(ranks.parent)]) == 1
    assert "takes none" in capsys.readouterr().err
