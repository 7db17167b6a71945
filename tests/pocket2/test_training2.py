"""Sequences hold what they should, every stage trains and goes on where it was, and a checkpoint is a LLaVA-NeXT."""

import json

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, LlavaNextForConditionalGeneration

from pocket import prompts
from pocket.evaluate import answer, load
from pocket.layouts import LAYOUTS
from pocket.library import POOLED
from pocket.packing import block_mask, collate
from pocket.train import OtherSettings
from pocket2 import train
from pocket2.evaluate import run_films, table
from pocket2.lessons import COARSE, LONGEST, OFTEN, PAGES, PANELS, SCENES, draw_step, often
from pocket2.model import build_tokenizer, corpus
from pocket2.packing import STRETCH, choose, pack
from pocket2.questions import FAMILIES, Question

STEPS = {"tower": 2, "align": 2, "answers": 2}
PLACES = 400  # of a step: a few comics
BRIEF = Question("brief", "What is in the bubble?", "cat", "What is in the bubble?", ("dog", "cat", "boat"), "cat")
WHERE = Question("where", "Where is the dog?", "top left")
TOKENIZER = build_tokenizer(corpus())


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """The model is so small that a second thread only waits, and where other work runs, for long."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def ids(text):
    return TOKENIZER(text, add_special_tokens=False).input_ids


def packed(seed=0, questions=(BRIEF, WHERE), choice=False, panels=3, tokens=4):
    return pack(np.random.default_rng(seed), ids, list(questions), choice, panels, tokens)


def test_questions_do_not_see_each_other_and_all_see_what_is_shared():
    one = packed()
    allowed = (block_mask(torch.tensor([one.part]))[0, 0] == 0).numpy()
    part = np.array(one.part)
    first, second, shared = (np.flatnonzero(part == number) for number in (1, 2, 0))
    assert len(first) and len(second) and one.before + one.visual < len(shared)
    assert not allowed[np.ix_(first, second)].any() and not allowed[np.ix_(second, first)].any()
    assert allowed[np.ix_(first, shared)].all() and allowed[np.ix_(second, shared)].all()
    assert not np.triu(allowed, 1).any(), "nothing looks ahead"
    assert collate([one])["mask"].shape == (1, 1, len(part), len(part))


def test_each_question_stands_where_the_first_does():
    """Positions begin anew with every question, and rise by one within it, and over the panels they only rise."""
    one = packed()
    positions, part = np.array(one.positions), np.array(one.part)
    begins = [positions[part == number][0] for number in (1, 2)]
    assert begins[0] == begins[1] == positions[part == 0].max() + 1
    for number in (1, 2):
        assert (np.diff(positions[part == number]) == 1).all()
    assert (np.diff(positions[part == 0]) > 0).all()


def test_panels_are_spread_in_some_sequences_and_stand_close_in_others():
    spans = []
    for seed in range(40):
        one = packed(seed, panels=4)
        visual = np.array(one.positions[one.before : one.before + one.visual]).reshape(4, 4)
        assert (np.diff(visual, axis=1) == 1).all()
        spans.append(int(visual[-1, 0] - visual[0, 0]))
    assert min(spans) == 12 and 12 + STRETCH / 4 < max(spans) <= 12 + STRETCH


@pytest.mark.parametrize("choice", [False, True])
def test_answers_are_learned_and_nothing_else(choice):
    one = packed(questions=(BRIEF, BRIEF), choice=choice)
    target, part = np.array(one.target), np.array(one.part)
    for number, (family, place) in enumerate(one.telling, start=1):
        own = np.flatnonzero((part == number) & (target >= 0))
        learned = TOKENIZER.convert_ids_to_tokens(target[own].tolist())
        assert learned[-1] == "</s>" and all(one.ids[at + 1] == target[at] for at in own)
        assert family == ("brief/choice" if choice else "brief/open")
        assert target[place] == ids("B" if choice else " cat")[0]
        assert TOKENIZER.decode(target[own], skip_special_tokens=True).strip("( )") == ("B" if choice else "cat")
    assert (target[part == 0] == -100).all()


def test_the_telling_place_is_the_letter_whether_or_not_the_prompt_opens_the_bracket():
    opened = set()
    for seed in range(30):
        one = packed(seed, (BRIEF,), choice=True)
        [(_, place)] = one.telling
        assert one.target[place] == ids("B")[0] and one.ids[place] in (ids("(")[0], ids(":(")[0])
        opened.add(one.target[place - 1] != -100)  # the answer opens it
    assert opened == {True, False}


def test_families_are_drawn_as_often_as_they_say():
    rng, asked = np.random.default_rng(0), {"brief": [BRIEF], "where": [WHERE]}
    drawn = choose(rng, asked, {"brief": 1.0, "where": 3.0}, 2000, False)
    assert abs(sum(q is WHERE for q in drawn) - 1500) < 5 * (2000 * 3 / 16) ** 0.5
    assert {q.family for q in choose(rng, asked, {"brief": 1.0, "where": 3.0}, 50, True)} == {"brief"}, "it has options"
    assert choose(rng, asked, {"hop": 1.0}, 5, False) == []


def test_lessons_are_one_pooling_of_a_comic_and_fit():
    """Never slow panels before fast ones: a step has one pooling, and a page is four panels."""
    rng = np.random.default_rng(0)
    drawn = [draw_step(rng) for _ in range(4000)]
    for (panels, _, as_page), how, _ in drawn:
        assert how in POOLED and as_page == (how == "page")
        assert panels == 4 if as_page else panels in PANELS
        assert POOLED[how] * (1 if as_page else panels) <= LONGEST
    assert {how for _, how, _ in drawn} == set(POOLED)
    assert abs(np.mean([how == "page" for _, how, _ in drawn]) - PAGES) < 0.03
    assert abs(np.mean([scenes for (_, scenes, _), *_ in drawn]) - SCENES) < 0.04
    assert all(panels > 1 for (panels, scenes, _), *_ in drawn if scenes)
    assert set(FAMILIES) == set(OFTEN)
    assert often("to 2x2")["plate"] == COARSE["plate"] < often("max 1x2")["plate"] == OFTEN["plate"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    out = tmp_path_factory.mktemp("run")
    train.run(5, out, STEPS, resume=False, places=PLACES)
    return out


def entries(out):
    found = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [{name: value for name, value in entry.items() if name != "seconds"} for entry in found]


def weights(out):
    return torch.load(out / "answers.pt", weights_only=False)["model"]


def test_every_stage_runs(trained):
    found = entries(trained)
    assert [entry["stage"] for entry in found] == ["tower", "align", "answers", "answers"]
    assert all(np.isfinite(entry["loss"]) for entry in found)
    counts = [count for entry in found[2:] for count in entry["right"].values()]
    assert counts and all(0 <= right <= asked and asked > 0 for right, asked in counts)


def test_a_run_that_was_ended_goes_on_to_the_same_weights(trained, tmp_path, monkeypatch):
    """Ended in its last stage, after the first step was kept."""
    save, kept = torch.save, []

    def end(state, file):
        save(state, file)
        kept.append(file.name)
        if file.name == "answers.tmp" and kept.count("answers.tmp") == 1:
            file.replace(file.with_name("answers.pt"))
            raise KeyboardInterrupt

    monkeypatch.setattr(train, "KEPT", 1)
    monkeypatch.setattr(torch, "save", end)
    with pytest.raises(KeyboardInterrupt):
        train.run(5, tmp_path, STEPS, resume=False, places=PLACES)
    assert torch.load(tmp_path / "answers.pt", weights_only=False)["step"] == 1
    train.run(5, tmp_path, STEPS, resume=True, places=PLACES)
    assert entries(tmp_path) == entries(trained)
    for name, value in weights(trained).items():
        assert torch.equal(value, weights(tmp_path)[name]), name


def test_a_finished_run_is_not_trained_on_nor_gone_on_with_by_another_seed(trained):
    before, log = weights(trained), entries(trained)
    train.run(5, trained, STEPS, resume=True, places=PLACES)
    assert entries(trained) == log and all(torch.equal(before[n], v) for n, v in weights(trained).items())
    with pytest.raises(OtherSettings, match="seed 5, now 6"):
        train.run(6, trained, STEPS, resume=True, places=PLACES)


def test_what_finds_learns_slowly(trained):
    """Groups by rate: every parameter that learns is in one, once."""
    model, _ = load(trained / "checkpoint")
    groups = train.rates(model, 1.0)
    numbers = [id(p) for group in groups for p in group["params"]]
    assert len(numbers) == len(set(numbers)) == sum(p.requires_grad for p in model.parameters())
    rate = {id(p): group["lr"] for group in groups for p in group["params"]}
    assert rate[id(model.model.language_model.layers[3].self_attn.q_proj.weight)] < rate[id(model.lm_head.weight)]


def test_the_checkpoint_is_a_llava_next_of_at_most_four_million_parameters(trained):
    folder = trained / "checkpoint"
    model, tokenizer = load(folder)
    plain = LlavaNextForConditionalGeneration.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    assert sum(p.numel() for p in model.parameters()) <= 4_000_000
    for name, value in plain.state_dict().items():
        assert torch.equal(value, model.state_dict()[name]), name
        assert torch.equal(value, weights(trained)[name].half().float()), name
    size = sum(file.stat().st_size for file in folder.iterdir())
    assert size <= 10e6, "as the files are given: in half precision"
    text = "USER: What is in the bubble? 日本語"
    assert AutoTokenizer.from_pretrained(folder, local_files_only=True)(text).input_ids == tokenizer(text).input_ids
    assert tokenizer.decode(tokenizer(text).input_ids, skip_special_tokens=True) == text
    right = answer(model, tokenizer, torch.zeros(4, 192), [BRIEF], True)
    assert right in ([True], [False]) and right == answer(plain.eval(), tokenizer, torch.zeros(4, 192), [BRIEF], True)


def test_every_word_of_an_answer_is_one_token_and_prompts_are_the_released_ones():
    for word in (*map(str, range(10)), "yes", "no", "cat", "top", "left"):
        assert len(ids(f" {word}")) == 1, word
    asked = prompts.multiple_choice("Which?", ["cat"] * 5)[2]
    for letter in prompts.LETTERS:
        assert ids(asked + letter) == [*ids(asked), *ids(letter)] and len(ids(letter)) == 1


def test_films_are_asked_through_layouts_and_both_controls(trained):
    """Two films; the film before is the other film, so the first has none."""
    model, tokenizer = load(trained / "checkpoint")
    layouts = {name: LAYOUTS[name] for name in ("slow 8x72", "fast 50x4")}
    found = run_films(model, tokenizer, 2024, 2, layouts)
    assert list(found) == [*layouts, "no visual tokens", "another film"]
    films = {name: {film for rows in cells.values() for film, _ in rows} for name, cells in found.items()}
    assert films == {
        **{name: {0, 1} for name in (*layouts, "no visual tokens")},
        "another film": {1},
    }
    assert found == run_films(model, tokenizer, 2024, 2, layouts)


def rows(share, films=20):
    """A layout's rows: of each cell this share of the films is right."""
    cells = [f"{family}/{form}" for family in FAMILIES for form in ("open", "choice")]
    return {cell: [(film, film < share * films) for film in range(films)] for cell in cells}


def test_the_table_of_made_up_rows():
    found = table({"slowfast 8x72 + 50x4": rows(0.9), "fast 50x4": rows(0.4), "like the first": rows(0.9)})
    first, second, third = found.values()
    assert (first["mean"], second["mean"]) == (90, 40) and first["lead"] == [0, 0, 0] == third["lead"]
    lead, low, high = second["lead"]
    assert lead == 50 and 20 < low < 40 and 60 < high < 80, "paired, by film: 10 of 20 films differ"
    assert second["cells"]["hop/open"] == [40, 20] and second["tokens"] == 200 and third["tokens"] is None


def test_families_count_the_same_however_often_they_are_asked():
    some = rows(0.5)
    some["plate/open"] = [(film, True) for film in range(20) for _ in range(5)]
    expected = 100 * (6 * 0.5 + 0.75) / 7
    assert table({"one": some})["one"]["mean"] == pytest.approx(expected, abs=0.06)
