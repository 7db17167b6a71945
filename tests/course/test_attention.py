"""Attention rows over the assembled sequence: against transformers' own eager weights, and against our answers."""

import csv

import pytest
import torch
from accelerate.hooks import AlignDevicesHook, add_hook_to_module, remove_hook_from_module
from conftest import ROOT

from sfllava_core import Pathway, Pool, SlowFast, VideoLLM, open_ended_prompt, read_frames
from sfllava_core.answering.sharing import encode_prompt
from sfllava_course.attention import look
from sfllava_course.similarity import brief_moment

SMALL = SlowFast(8, Pathway(2, Pool.window("max", 2, 2)), Pathway(None, Pool.to(2, 2)))  # 2 * 144 + 8 * 4 tokens
PROMPT = open_ended_prompt("What is in the bubble?")


@pytest.fixture(scope="module")
def video(llm, golden_frames):
    return llm.watch_frames(golden_frames[:8], SMALL)


@pytest.fixture(scope="module")
def answer(video):
    return video.generate([PROMPT], max_new_tokens=4)[0].token_ids


@pytest.fixture(scope="module")
def looks(video, answer):
    return look(video, PROMPT, answer)


def test_rows_sum_to_one_and_look_back_only(looks):
    torch.testing.assert_close(looks.weights.sum(dim=-1), torch.ones(looks.weights.shape[:3]))
    words, keys = looks.weights.shape[2:]
    future = torch.ones(words, keys, dtype=torch.bool).triu(keys - words + 1)
    assert (looks.weights[:, :, future] == 0).all()


def test_it_works_with_layers_on_several_devices(looks, video, answer):
    """accelerate moves what goes into a layer to the layer's device, a list by making another one."""
    layers = video.llm.language_model.layers
    for layer in layers:
        add_hook_to_module(layer, AlignDevicesHook("cpu", io_same_device=True))
    try:
        again = look(video, PROMPT, answer)
    finally:
        for layer in layers:
            remove_hook_from_module(layer)
    torch.testing.assert_close(again.weights, looks.weights)


def test_segments_cover_the_sequence_in_order(looks, video, answer):
    assert [one.name for one in looks.segments] == ["before", "slow", "fast", "after"]
    edges = [edge for one in looks.segments for edge in (one.start, one.stop)]
    assert edges[0] == 0 and edges[-1] == looks.weights.shape[-1] and edges[1:-1:2] == edges[2::2]
    assert [len(one) for one in looks.segments][1:3] == [288, 32]
    encoded = encode_prompt(PROMPT, video.llm.tokenizer)
    assert len(looks.segment("after")) == len(encoded.after) + len(answer) - 1 == len(looks.words)
    shares = torch.stack([looks.mass(one.name) for one in looks.segments])
    torch.testing.assert_close(shares.sum(dim=0), torch.ones(len(looks.weights)))
    with pytest.raises(KeyError, match="there are before, slow, fast, after"):
        looks.segment("middle")


def test_frames_share_what_their_pathway_gets(looks):
    for name in ("slow", "fast"):
        strip = looks.per_frame(name, 8)
        torch.testing.assert_close(strip.sum(dim=1), looks.mass(name))
    both = looks.per_frame("slow", 8, [3]) + looks.per_frame("fast", 8, [3])
    torch.testing.assert_close(looks.on_frames([0, 5], [3])[:, 0], both[:, [0, 5]].sum(dim=1))
    assert (looks.per_frame("slow", 8)[:, [1, 2, 3, 5, 6, 7]] == 0).all(), "only frames 0 and 4 are slow ones"
    assert (looks.per_frame("fast", 8) > 0).all()


def test_weights_are_those_of_transformers_eager_attention(llm, video, looks, answer):
    encoded = encode_prompt(PROMPT, llm.tokenizer)
    embeddings = video.sharing.embeddings(encoded.before, (*encoded.after, *answer[:-1]))
    before = llm.language_model.config._attn_implementation
    llm.language_model.set_attn_implementation("eager")
    try:
        with torch.inference_mode():
            out = llm.language_model(inputs_embeds=embeddings[None], output_attentions=True, use_cache=False)
    finally:
        llm.language_model.set_attn_implementation(before)
    expected = torch.cat(out.attentions)[:, :, -len(looks.words) :]
    torch.testing.assert_close(looks.weights, expected, atol=1e-5, rtol=0)


def test_the_answer_is_the_models_own(video, looks, answer):
    torch.testing.assert_close(looks.logits[0], video.next_token_logits([PROMPT])[0], atol=1e-4, rtol=0)
    assert looks.would_say_it() and 0 < looks.probability() < 1
    other = look(video, PROMPT, [answer[0] + 1, *answer[1:]])
    assert not other.would_say_it() and other.probability() < looks.probability()


def test_looking_leaves_the_model_as_it_was(llm, video, answer):
    before = llm.language_model.config._attn_implementation
    look(video, PROMPT, answer)
    assert llm.language_model.config._attn_implementation == before
    assert video.generate([PROMPT], max_new_tokens=4)[0].token_ids == answer


def test_hidden_tokens_get_no_look_and_matter_no_more(llm, golden_frames, video, answer):
    hidden = torch.zeros(len(video.tokens), dtype=torch.bool)
    hidden[5:40] = True
    blind = look(video, PROMPT, answer, hidden)
    first = blind.segment("slow").start
    assert (blind.weights[..., first + 5 : first + 40] == 0).all()
    torch.testing.assert_close(blind.weights.sum(dim=-1), torch.ones(blind.weights.shape[:3]))
    assert not torch.allclose(blind.logits, look(video, PROMPT, answer).logits, atol=1e-4), "it does matter"
    changed = llm.watch_frames(golden_frames[:8], SMALL)
    changed.sharing.tokens = changed.tokens.clone()
    changed.sharing.tokens[5:40] = torch.randn(35, llm.dim, generator=torch.Generator().manual_seed(0))
    assert not torch.allclose(look(changed, PROMPT, answer).logits, look(video, PROMPT, answer).logits, atol=1e-4)
    torch.testing.assert_close(look(changed, PROMPT, answer, hidden).logits, blind.logits, atol=1e-4, rtol=0)


def test_what_cannot_be_is_refused(video):
    with pytest.raises(ValueError, match="at least one token"):
        look(video, PROMPT, [])
    with pytest.raises(ValueError, match="the video has 320 tokens"):
        look(video, PROMPT, [5], torch.zeros(3, dtype=torch.bool))


def test_the_pocket_models_answers_need_the_bubbles_frames():
    """Hide the frames that show the bubble from right answers, and most of them go; hide as many others: they stay."""
    llm = VideoLLM.from_pretrained(ROOT / "data" / "pocket", device="cpu")
    with (ROOT / "data" / "pocketbench" / "PocketBench_QA.csv").open() as file:
        right = {row["video_name"]: row["answer"] for row in csv.DictReader(file) if row["family"] == "brief"}
    changed = {"bubble": [], "others": []}
    for name in ("pocket_0002", "pocket_0004", "pocket_0008", "pocket_0010", "pocket_0011"):
        frames = read_frames(ROOT / "data" / "pocketbench" / "videos" / f"{name}.mp4", 50)
        video = llm.watch_frames(frames, "frames50_slow8-max1x2_fastall-to2x2")
        (answer,) = video.generate([PROMPT], max_new_tokens=8)
        shown, _ = brief_moment(torch.from_numpy(frames.pixels), llm.grid)
        assert look(video, PROMPT, answer.token_ids).would_say_it()
        if answer.text == right[name]:
            others = [(place + 20) % 50 for place in shown]
            for what, places in (("bubble", shown), ("others", others)):
                hidden = torch.isin(video.method.token_frames(50, llm.grid), torch.tensor(places))
                changed[what].append(not look(video, PROMPT, answer.token_ids, hidden).would_say_it())
    assert len(changed["bubble"]) >= 3, "most answers are right"
    assert sum(changed["bubble"]) > len(changed["bubble"]) / 2 > 2 * sum(changed["others"])
