"""Many specs on the same films, decoded and encoded once: the same as each spec by itself, and the same every time."""

from collections import Counter
from dataclasses import replace
from inspect import signature
from pathlib import Path

import numpy as np
import pytest
import torch

from pocket.layouts import LAYOUTS as POCKET_LAYOUTS
from pocket.layouts import Film, read_video, tokens_of
from sfllava_bench.answers.answering import prompts_of
from sfllava_bench.answers.counts import read_outcome
from sfllava_bench.answers.experiment import Experiment
from sfllava_bench.answers.jobs import sharing
from sfllava_bench.answers.layouts import LAYOUTS, RIVALS, SLOWFAST, ask_through
from sfllava_bench.answers.loop import run
from sfllava_bench.questions.annotations import load_annotations
from sfllava_bench.questions.toy import of_other_films
from sfllava_bench.reports import pocketbench
from sfllava_bench.reports.pocketbench import pocketbench_experiments, pocketbench_scores
from sfllava_bench.runs.reproduce import reproduce
from sfllava_bench.runs.sweeps import on_the_same_videos, sweep
from sfllava_bench.scores.stats import clustered_interval
from sfllava_core import Blind, VideoLLM, parse_spec, read_frames, token_budget
from sfllava_core.budget.arithmetic import MODEL_SHAPES
from sfllava_core.defaults import POCKET, POCKETBENCH
from sfllava_core.prompts import multiple_choice_prompt, open_ended_prompt
from sfllava_core.video.folder import VideoFolder

FILMS = VideoFolder(POCKETBENCH)
SAME_AS_POCKETS = {  # names here -> names in the pocket model's own evaluation
    SLOWFAST: "slowfast 8x72 + 50x4",
    "slow only": "slow 8x72",
    "fast only": "fast 50x4",
    "slow only, equal tokens": "slow 11x72, equal tokens",
    "fast only, every frame": "fast 150x4, every frame",
    "fast only, equal tokens": "fast 48x16, equal tokens",
    "uniform, pooled": "uniform 22x36, equal tokens",
    "uniform, whole": "whole frames 5x144, equal tokens",
    "image grid": "image grid 2x2, AnyRes",
}
FEW = {name: LAYOUTS[name] for name in (SLOWFAST, "fast only", "image grid", "no visual tokens", "another film")}
QUIET = {"progress": False, "say": lambda text: None}


@pytest.fixture(scope="module")
def pocket():
    return VideoLLM.from_pretrained(POCKET, device="cpu")


@pytest.fixture(scope="module")
def questions():
    return load_annotations("pocketbench", POCKETBENCH)


def about(questions, *films):
    return [question for question in questions if question.video in films]


@pytest.mark.parametrize("name", ["pocket_0000", "pocket_0077", "pocket_0078", "pocket_0079"])
def test_frames_read_for_several_numbers_are_those_of_each(name):
    """H.264, VP9, a variable frame rate and a gif; in this process and in a worker."""
    together = read_frames(FILMS.find(name), [50, 11, 4])
    assert len(together) == len(set(together.indices)) < 50 + 11 + 4
    for number in (4, 11, 50):
        alone, taken = read_frames(FILMS.find(name), number), together.sampled(number)
        assert taken.indices == alone.indices and np.array_equal(taken.pixels, alone.pixels)
        assert np.array_equal(taken.timestamps, alone.timestamps)
    with pytest.raises(ValueError, match="not read for that number"):
        together.sampled(7)


def test_the_layouts_are_those_of_the_pocket_models_own_evaluation(pocket):
    """Two implementations that share no code: the same counts, and the same visual tokens of a film."""
    own = {name: layout.method.token_count(grid=pocket.grid) for name, layout in LAYOUTS.items()}
    assert {name: own[name] for name in SAME_AS_POCKETS} == {
        name: tokens_of(POCKET_LAYOUTS[theirs]) for name, theirs in SAME_AS_POCKETS.items()
    }
    film = Film(pocket.model, read_video(FILMS.find("pocket_0003")))
    pixels = read_frames(FILMS.find("pocket_0003"), [50, 150, 48, 22, 11, 5, 4], size=(96, 96))
    for name, theirs in SAME_AS_POCKETS.items():
        spec = LAYOUTS[name].method
        tokens = pocket.watch_frames(pixels.sampled(spec.num_frames), spec).tokens
        assert torch.allclose(tokens, film.visual_tokens(POCKET_LAYOUTS[theirs]), atol=2e-4), name


def test_the_pocket_checkpoint_records_its_default_spec(pocket):
    """config.json's `video_pathways`; pocket/model.py writes it."""
    assert pocket.method == LAYOUTS[SLOWFAST].method


def test_equal_tokens_are_nearly_equal():
    counts = {name: layout.method.token_count(grid=(12, 12)) for name, layout in LAYOUTS.items()}
    rivals = [name for name in counts if "equal" in name or name.startswith(("uniform", "image"))]
    assert len(rivals) == 5
    assert all(abs(counts[name] / counts[SLOWFAST] - 1) < 0.08 for name in rivals), counts


def test_rivals_have_about_as_many_tokens_and_are_asked_as_slowfast_is(pocket, questions):
    """On a film of PocketBench's shape: what differs is what is seen, and not how it is asked."""
    film, wanted = FILMS.find("pocket_0003"), LAYOUTS[SLOWFAST].method.token_count(grid=pocket.grid)
    tokens = {name: len(pocket.watch(film, method).tokens) for name, method in RIVALS.items()}
    assert tokens["IG-VLM"] == 552 == sum(RIVALS["IG-VLM"].token_counts_for((192, 192), (96, 96), pocket.grid).values())
    assert tokens["KTV"] == 1872 // 4 == max(504, 936, 1872) // 4, "its own counts in proportion: 12 x 12 of 24 x 24"
    assert all(abs(tokens[name] / wanted - 1) < 0.25 for name in RIVALS if name not in ("IG-VLM", "KTV")), tokens
    asked = [prompts_of(question, "vicuna", LAYOUTS[SLOWFAST]) for question in questions[:12]]
    for name in RIVALS:
        assert [prompts_of(question, "vicuna", LAYOUTS[name]) for question in questions[:12]] == asked


def test_freeva_of_five_frames_is_whole_frames_by_another_name(pocket):
    film = FILMS.find("pocket_0079")
    one, other = (pocket.watch(film, one).tokens for one in (RIVALS["FreeVA"], LAYOUTS["uniform, whole"].method))
    assert torch.equal(one, other)


def test_blind_is_a_spec_like_any_other():
    assert parse_spec("blind") == parse_spec(Blind().to_json()) == Blind()
    assert Blind().token_count(50) == 0 and len(Blind().token_frames(50, (24, 24))) == 0
    assert token_budget(Blind(), MODEL_SHAPES["7b"]).visual_tokens == 0


def test_shared_films_are_answered_as_each_spec_by_itself(pocket, questions):
    """Every layout, both forms, from the files through `watch`, with no prefix shared: the same words."""
    some = about(questions, "pocket_0003", "pocket_0079")[::3]
    assert {bool(question.options) for question in some} == {True, False}
    found = list(ask_through(pocket, LAYOUTS, some, FILMS))
    assert Counter(one.layout for one in found) == dict.fromkeys(LAYOUTS, len(some))
    elsewhere = {question.key: question.video for question in of_other_films(some)}
    texts = {(one.layout, one.question.key): one.text for one in found}
    for name, layout in LAYOUTS.items():
        watched = {film: pocket.watch(FILMS.find(film), layout.method) for film in ("pocket_0003", "pocket_0079")}
        for question in some:
            film = elsewhere[question.key] if layout.other_film else question.video
            text = question.questions[0]
            prompt = multiple_choice_prompt(text, question.options) if question.options else open_ended_prompt(text)
            (plain,) = watched[film].generate([prompt], max_new_tokens=16, share_prefix=False)
            assert plain.text == texts[name, question.key], (name, question)


def test_answers_are_the_same_from_run_to_run(questions):
    some = about(questions, "pocket_0001", "pocket_0002")
    runs = [list(ask_through(VideoLLM.from_pretrained(POCKET, device="cpu"), FEW, some, FILMS)) for _ in range(2)]
    assert runs[0] == runs[1] and not any(one.error for one in runs[0])


def test_right_is_exact_words_or_the_letter(pocket, questions):
    some = about(questions, "pocket_0003")
    for one in ask_through(pocket, {"one": LAYOUTS[SLOWFAST].method}, some, FILMS):
        if one.question.options:
            assert one.right == (one.text[:1].upper() == one.question.answer_letter)
        else:
            assert one.right == (one.text == one.question.answer)


def test_a_film_that_is_gone_is_an_error_for_every_layout(pocket, questions, tmp_path):
    (tmp_path / "pocket_0001.mp4").write_bytes(FILMS.find("pocket_0001").read_bytes())
    some = about(questions, "pocket_0001", "pocket_0002")
    found = list(ask_through(pocket, FEW, some, VideoFolder(tmp_path)))
    assert len(found) == len(FEW) * len(some)
    for one in found:
        film = one.question.video
        expected = film if one.layout != "another film" else {"pocket_0001": "pocket_0002"}.get(film, "pocket_0001")
        assert bool(one.error) == (expected == "pocket_0002")
        assert not (one.error and (one.right or one.text)), "what could not be answered is not right"


def test_another_film_is_never_ones_own(questions):
    moved = of_other_films(questions)
    assert [question.key for question in moved] == [question.key for question in questions]
    assert all(a.video != b.video for a, b in zip(moved, questions))
    assert Counter(q.video for q in moved) == Counter(q.video for q in questions)


def experiments_of(films, **more):
    return pocketbench_experiments(layouts=FEW, max_videos=films, **more)


def answers_in(folder, experiments):
    """Plan -> question -> what was written."""
    outcomes = {experiment.id: read_outcome(folder / experiment.id / "answers.jsonl") for experiment in experiments}
    return {name: {key: record["answers"] for key, record in one.answers.items()} for name, one in outcomes.items()}


def test_a_run_that_was_broken_off_ends_as_one_that_was_not(pocket, tmp_path):
    experiments = experiments_of(3)
    run(pocket, experiments, FILMS, tmp_path / "whole", progress=False)
    for experiment in experiments:  # what a kill in the midst of the second film leaves: some have more of it
        lines = (tmp_path / "whole" / experiment.id / "answers.jsonl").read_bytes().splitlines(keepends=True)
        keep = 20 if experiment is experiments[0] else 16
        (tmp_path / "torn" / experiment.id).mkdir(parents=True)
        (tmp_path / "torn" / experiment.id / "answers.jsonl").write_bytes(b"".join(lines[:keep]) + lines[keep][:30])
    run(pocket, experiments, FILMS, tmp_path / "torn", progress=False)
    whole = answers_in(tmp_path / "whole", experiments)
    assert answers_in(tmp_path / "torn", experiments) == whole
    assert all(len(answers) == 3 * 12 for answers in whole.values())


def test_together_and_one_after_another_give_the_same_answers(pocket, tmp_path):
    """With every option that a sweep has, each at its default: none may travel on to where it is not known."""
    experiments = experiments_of(2)
    options = {name: one.default for name, one in signature(sweep).parameters.items() if one.kind is one.KEYWORD_ONLY}
    options |= {"load": lambda name: pocket, **QUIET}
    assert options.keys() >= {"one_by_one", "batch", "retry_failed", "open_videos"}
    sweep(experiments, tmp_path / "together", **options)
    for experiment in experiments:
        reproduce(experiment, tmp_path / "apart", load=lambda name: pocket, **QUIET)
    assert answers_in(tmp_path / "together", experiments) == answers_in(tmp_path / "apart", experiments)


def test_only_experiments_of_one_kind_share(pocket):
    experiments = experiments_of(2)
    assert sharing(experiments) == [experiments]
    for alone in ({"share": "nothing"}, {"decoder": "decord"}):
        assert sharing(changed := [replace(one, **alone) for one in experiments]) == [[one] for one in changed]
    assert on_the_same_videos(experiments) == [list(range(len(experiments)))]
    first, second, third = experiments[:3]
    assert on_the_same_videos([first, replace(second, model="another"), third]) == [[0, 2], [1]]
    assert on_the_same_videos([first, replace(second, videos=Path("elsewhere")), third]) == [[0, 2], [1]]
    with pytest.raises(ValueError, match="ids of their own"):
        run(pocket, [experiments[0], experiments[0]], FILMS, Path("nowhere"))


def test_the_table_weighs_forms_and_families_alike(pocket, tmp_path):
    """Each number by hand from the records, the intervals by the library's own bootstrap."""
    experiments = experiments_of(4)
    sweep(experiments, tmp_path, load=lambda name: pocket, **QUIET)
    scores = pocketbench_scores(experiments, tmp_path, FEW)
    assert [row.layout for row in scores] == list(FEW) and scores[0].lead is None
    assert [row.tokens for row in scores] == [776, 200, 744, 0, 776]
    means = {}
    for row, experiment in zip(scores, experiments):
        outcome, cells = read_outcome(tmp_path / experiment.id / "answers.jsonl"), {}
        for question in experiment.questions():
            text = outcome.answers[question.key]["answers"][0]
            right = text == question.answer if not question.options else text[:1].upper() == question.answer_letter
            cells.setdefault((question.group, bool(question.options)), []).append(right)
        families = {family: 50 * (np.mean(cells[family, True]) + np.mean(cells[family, False])) for family, _ in cells}
        assert {family: found.value for family, found in row.families.items()} == pytest.approx(families)
        means[row.layout] = np.mean(list(families.values()))
        assert row.accuracy.value == pytest.approx(means[row.layout])
        assert row.accuracy.videos == 4 and row.accuracy.questions == 48
    for row in scores[1:]:
        assert row.lead.value == pytest.approx(means[SLOWFAST] - means[row.layout])
        assert row.lead.low <= row.lead.value <= row.lead.high
    texts = pocketbench.text_rows(scores)
    assert texts[0]["lead of SlowFast (95 %)"] == "-" and texts[0]["tokens"] == "776"


def test_the_lead_is_paired_by_film():
    """Two layouts that differ by the same on every film: no doubt about the lead, whatever the films' own spread."""
    rng = np.random.default_rng(0)
    films = {str(n): str(n // 10) for n in range(200)}
    hard = {film: rng.random() for film in set(films.values())}
    weights = dict.fromkeys(films, 1.0)
    lead = pocketbench.mean(
        {key: (hard[film] + 0.1) - hard[film] for key, film in films.items()}, weights, films, False
    )
    assert lead.value == pytest.approx(10) and lead.high - lead.low < 1e-6
    alone = clustered_interval([hard[film] for film in films.values()], list(films.values()))
    assert 100 * (alone.high - alone.low) > 10


def test_layouts_may_be_bare_specs(pocket, questions):
    some = about(questions, "pocket_0003")[:2]
    spec = parse_spec("frames4_slowall-max1x2")
    bare, named = (list(ask_through(pocket, {"x": one}, some, FILMS)) for one in (spec, Experiment("x", spec)))
    assert bare == named and len(bare) == 2
