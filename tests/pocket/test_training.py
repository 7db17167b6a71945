"""Training: the loss falls, a finished run is not trained on, and packing several questions changes nothing."""

import json

import numpy as np
import pytest
import torch

from pocket import prompts
from pocket.evaluate import packed_prompts
from pocket.lessons import EVERYTHING, LESSONS, LONGEST, draw_step, scene_at
from pocket.library import POOLED
from pocket.model import build, build_tokenizer, corpus
from pocket.packing import EXTENT, collate, hints, pack
from pocket.questions import Question
from pocket.train import OtherSettings, run

STEPS = {"tower": 4, "align": 4, "answers": 20}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    out = tmp_path_factory.mktemp("run")
    run(5, out, STEPS, resume=False, places=1500)
    return out, [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def test_every_stage_lowers_its_loss(trained):
    _, log = trained
    answers = [entry["loss"] for entry in log if entry["stage"] == "answers"]
    assert len(answers) == STEPS["answers"]
    assert np.mean(answers[-4:]) < 0.8 * np.mean(answers[:3])
    state = torch.load(trained[0] / "tower.pt", weights_only=False)
    assert state["step"] == STEPS["tower"]


def test_resuming_a_finished_run_trains_no_more(trained):
    out, log = trained
    run(5, out, STEPS, resume=True, places=1500)
    again = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert again == log and (out / "checkpoint" / "model.safetensors").exists()


def test_a_run_is_not_gone_on_with_by_other_settings(trained):
    out, log = trained
    with pytest.raises(
        OtherSettings, match=r"seed 5, now 6; without \[\], now \['offsets'\]\): give these, or another --out"
    ):
        run(6, out, STEPS, resume=True, places=1500, without=["offsets"])
    with pytest.raises(OtherSettings, match=r"holds a run already \(settings.json, tower.pt, answers.pt\): --resume"):
        run(6, out, STEPS, resume=False, places=1500)
    assert len((out / "log.jsonl").read_text().splitlines()) == len(log), "nothing is lost"


def test_packed_questions_score_as_if_each_were_alone():
    model, tokenizer = build(1)
    model = model.eval()
    asked = [
        Question("brief", "What is in the bubble?", "a cat"),
        Question("motion", "Which way does the car move?", "to the left"),
    ]
    visual = torch.randn(20, 128, generator=torch.Generator().manual_seed(0))
    packed, places = packed_prompts(tokenizer, asked, False, 20)
    batch, language = collate([packed]), model.model.language_model
    with torch.inference_mode():
        embedded = language.embed_tokens(batch["ids"])
        embedded[0, packed.before : packed.before + 20] = visual
        together = language(
            inputs_embeds=embedded, attention_mask=batch["mask"], position_ids=batch["positions"], use_cache=False
        ).last_hidden_state[0]
        for question, (place, wanted) in zip(asked, places):
            before, shared, own = prompts.open_ended(question.text)
            first = tokenizer(before).input_ids
            rest = tokenizer(f"{shared}{own} {question.answer}", add_special_tokens=False).input_ids
            alone = torch.cat(
                [language.embed_tokens(torch.tensor(first)), visual, language.embed_tokens(torch.tensor(rest))]
            )
            hidden = language(
                inputs_embeds=alone[None], attention_mask=torch.ones(1, len(alone)), use_cache=False
            ).last_hidden_state[0]
            torch.testing.assert_close(
                together[place : place + len(wanted)], hidden[-len(wanted) :], atol=1e-4, rtol=1e-4
            )


def test_any_text_survives_the_tokenizer_and_letters_are_single_tokens():
    tokenizer = build_tokenizer(corpus())
    for text in ("Où est le chat ?", "日本語 🐈", "What is in the bubble?\n\t(A) a cat"):
        assert tokenizer.decode(tokenizer(text).input_ids, skip_special_tokens=True) == text
    for letter in prompts.LETTERS:
        own = prompts.multiple_choice("Which?", ["a cat"] * 5)[2]
        assert tokenizer.convert_tokens_to_ids(letter) in tokenizer(own).input_ids
        assert tokenizer(own + letter).input_ids == [*tokenizer(own).input_ids, tokenizer.convert_tokens_to_ids(letter)]
    for question in ("Which way does the umbrella move?", "Which comes first, the key or the boat?"):
        words = tokenizer(f"Question: {question}", add_special_tokens=False).input_ids
        assert len(words) == len(question.replace("?", " ?").replace(",", " ,").split()) + 2


def test_lessons_fill_the_stage_and_their_comics_fit():
    assert sum(lesson.share for lesson in LESSONS) == pytest.approx(1)
    rng = np.random.default_rng(0)
    drawn = [draw_step(rng, scene_at(rng, progress)) for progress in np.linspace(0, 1, 3000)]
    assert max(panels * POOLED[how] for panels, how, _ in drawn if how != "page") <= LONGEST
    assert {panels for panels, *_ in drawn} == set(range(1, 10)) and "page" in {how for _, how, _ in drawn}
    before_letters = int(3000 * (LESSONS[0].share + LESSONS[1].share))
    assert not any(choice for *_, choice in drawn[:before_letters])


def test_training_choices_can_be_left_out():
    """`--without`: no lessons is the last one all the time, no pooling the slow pathway's only, no offsets none."""
    rng = np.random.default_rng(0)
    assert all(scene_at(rng, progress, ["curriculum"]) is EVERYTHING for progress in (0, 0.3, 0.99))
    drawn = [draw_step(rng, scene_at(rng, 0.9), ["pooling"]) for _ in range(300)]
    assert {how for _, how, _ in drawn} == {"max 1x2", "page"}
    tokenizer = build_tokenizer(corpus())
    ids = lambda text: tokenizer(text, add_special_tokens=False).input_ids  # noqa: E731
    question = Question("brief", "What is in the bubble?", "a cat")
    close, spread = (pack(np.random.default_rng(3), ids, [question], False, 3, 4, offsets) for offsets in (False, True))
    assert close.positions == list(range(len(close.ids))) and close.ids == spread.ids
    assert spread.positions[-1] > close.positions[-1] + EXTENT[0] / 2


@pytest.mark.parametrize(("end", "at_cat", "at_dog"), [("first", " first", " last"), ("last", " first", " last")])
def test_an_order_question_hints_which_thing_is_which(end, at_cat, at_dog):
    """The cat is first, the dog is last, whichever end is asked for."""
    tokenizer = build_tokenizer(corpus())
    ids = lambda text: tokenizer(text, add_special_tokens=False).input_ids  # noqa: E731
    question = Question("order", f"Which comes {end}, the cat or the dog?", "the cat" if end == "first" else "the dog")
    words = ids(question.text)
    found = {words[place]: word for place, word in hints(ids, question, words, False).items()}
    assert found[ids(" cat")[0]] == ids(at_cat)[0] and found[ids(" dog")[0]] == ids(at_dog)[0]
    assert found[ids("?")[0]] == ids(" cat" if end == "first" else " dog")[0]
