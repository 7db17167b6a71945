"""KTV as its released code gives it: keyframes, ranks, budgets, tokens, prompts; and on a model."""

import field
import numpy as np
import pytest
import torch
from conftest import GRAND_PRIX
from einops import rearrange
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor, CLIPTokenizer

from sfllava_core import SpecError, multiple_choice_prompt, parse_choice, parse_spec
from sfllava_core.features import cls_scores, preprocess
from sfllava_core.methods.base import Seen, decode_method
from sfllava_core.methods.keyframes import (
    clip_similarities,
    dense_frames,
    keyframes,
    kmeans,
    nearest_to_centres,
    question_words,
    rank_frames,
    similarities,
    video_frame,
)
from sfllava_core.methods.ktv import KTV, choose_tokens, token_budgets


def single(stored) -> np.ndarray:
    return np.asarray(stored, dtype=np.float32)


def check_dense(inputs, outputs):
    found = dense_frames(inputs["total_frames"], inputs["max_frames"])
    assert found == outputs.get("indices", found)
    if "count" in outputs:
        number = len(outputs["first"])
        assert (len(found), sum(found)) == (outputs["count"], outputs["sum"])
        assert (found[:number], found[-number:]) == (outputs["first"], outputs["last"])


def check_video_frame(inputs, outputs):
    first = int(inputs["ts"][0] * inputs["fps"]) if inputs["ts"] else 0
    if "error" in outputs:
        with pytest.raises(ValueError, match="there is none"):
            video_frame(inputs["index"], inputs["total_frames"], first=first)
    else:
        assert video_frame(inputs["index"], inputs["total_frames"], first=first) == outputs["frame"]


def check_keyframes(inputs, outputs):
    features, number = single(inputs["features"]), inputs["num_cluster"]
    if "error" in outputs:
        with pytest.raises(ValueError, match="clusters of"):
            kmeans(features, number)
        return
    labels, centres, inertia = kmeans(features, number)
    found = nearest_to_centres(features, number)
    if "labels" in outputs:
        assert labels.tolist() == outputs["labels"].tolist()
        assert inertia == pytest.approx(outputs["inertia"], rel=1e-5, abs=1e-9)
    if outputs.get("distinct", number) < number:  # which of the same vectors an empty cluster names is rounding's
        assert set(found) == set(outputs["frames_in_cluster_order"]) and len(set(found)) == outputs["distinct"]
        assert keyframes(features, number, len(features)) == [int(n * len(features) / number) for n in range(number)]
        return
    for ours, theirs, centre in zip(found, outputs["frames_in_cluster_order"], centres):
        if ours != theirs:  # of two frames as near as each other rounding decides
            apart = [np.linalg.norm(features[frame] - centre) for frame in (ours, theirs)]
            assert apart[0] == pytest.approx(apart[1], rel=1e-6)


def check_ranking(inputs, outputs):
    dense, number = single(inputs["dino_features"]), inputs["keyframes"]
    found, frames = nearest_to_centres(dense, number), keyframes(dense, number, inputs["total_frames"])
    assert (frames != found) == outputs["fallback_even_spacing"]
    assert sorted(frames) == outputs["frames_as_loaded"]
    if frames == found:
        assert frames == outputs["cluster_order_frames"]
    assert question_words(inputs["question"]) == outputs["text_sent_to_clip"]
    images, text = (torch.from_numpy(single(inputs[name])) for name in ("image_features", "text_feature"))
    similar = similarities(images, text)
    torch.testing.assert_close(similar, torch.tensor(outputs["similarity_of_loaded_frames"]), rtol=0, atol=1e-4)
    assert rank_frames(frames, similar) == [tuple(pair) for pair in outputs["order_without_the_index_bug"]]
    released = rank_frames(frames, similar, as_released=True)
    assert released == [tuple(pair) for pair in outputs["released_json"]]
    assert (released == rank_frames(frames, similar)) == outputs["same"]


def check_inputs(inputs, outputs):
    settings = {"keyframes": inputs["num_frames"], "tokens": inputs["tokens_num"]}
    settings |= {} if inputs["rate"] is None else {"rate": inputs["rate"]}  # there without a default
    ranked, total = [tuple(pair) for pair in (inputs["key_frame_json"] or {}).get("q1", [])], inputs["total_frames"]
    try:
        method = KTV.of(ranked, **settings) if ranked else KTV(**settings)
    except SpecError:  # budgets that are not of so many frames, or not of the sum asked for: seen later there, or never
        assert (settings["keyframes"], settings["tokens"]) not in {(6, 504), (6, 936), (6, 1872), (12, 1872)}
        method = KTV.of(ranked)
    assert (list(method.ranks) or None) == outputs["keyframe_order"]
    if ranked and max(method.frames) >= total:  # left out there, refused here
        assert outputs["frames"] == [frame for frame in method.frames if frame < total]
        with pytest.raises(ValueError, match="the last one is not there"):
            method.sample(total)
    else:
        assert method.sample(total) == outputs["frames"]
    style = "vicuna" if inputs.get("conv_mode", "34b").endswith("allvideo_v4") else "chatml"
    asked = method.multiple_choice("why does the girl bend down", ["a b", "c d", "e f"], style)
    assert "".join(asked) == outputs["prompt"]
    call = outputs["model_call"]
    assert (call["max_new_tokens"], call["num_beams"]) == (KTV.max_new_tokens, 1)
    assert (call["num_frames"], call["tokens_num"]) == (settings["keyframes"], settings["tokens"])
    assert not call["do_sample"] or "sampled at temperature 0.2" in KTV.published["generation"]


def budgets_of(inputs, frames):
    order, number, tokens = inputs["keyframe_order"], inputs["num_frames"], inputs["tokens_num"]
    return [tokens // number] * frames if order is None else token_budgets(order, number, tokens)[:frames]


def check_token_choice(inputs, outputs):
    patches = torch.from_numpy(single(inputs["features_with_cls"]))[:, 1:]
    scores = torch.from_numpy(single(inputs["cls_scores"]))
    budgets = budgets_of(inputs, len(patches))
    assert (budgets, sum(budgets)) == (outputs["tokens_per_frame"], outputs["total"])
    found = [choose_tokens(*frame, inputs["rate"]) for frame in zip(patches, scores, budgets)]
    assert torch.cat(found).tolist() == outputs["token_ids"].tolist()
    if inputs["keyframe_order"] and len(budgets) == inputs["num_frames"] and inputs["tokens_num"] == sum(budgets):
        settings = {"keyframes": inputs["num_frames"], "tokens": inputs["tokens_num"]}
        assert KTV.of(enumerate(inputs["keyframe_order"]), **settings).budgets() == budgets


def check_errors(inputs, outputs):
    generator = torch.Generator().manual_seed(0)
    frames = torch.randn(inputs["frames"], 576, 8, generator=generator)

    def kept() -> int:
        flat = torch.ones(576)
        return sum(len(choose_tokens(one, flat, budget, inputs["rate"]))
                   for one, budget in zip(frames, budgets_of(inputs, len(frames))))  # fmt: skip

    if "error" not in outputs:
        assert kept() == outputs["total"]
        return
    with pytest.raises((SpecError, TypeError)):
        kept()
    with pytest.raises((SpecError, TypeError)):
        ranks = {"frames": range(inputs["num_frames"]), "ranks": range(inputs["num_frames"])}
        settings = ranks if inputs["keyframe_order"] else {}
        KTV(inputs["num_frames"], inputs["tokens_num"], inputs["rate"], **settings).token_count()


def check_cls_scores(inputs, outputs):
    query, keys = (torch.from_numpy(single(inputs[name])) for name in ("q_proj_cls", "k_proj"))
    torch.testing.assert_close(
        cls_scores(query, keys[1:]), torch.from_numpy(single(outputs["cls_scores"])), rtol=0, atol=1e-6
    )


def check_prompt(inputs, outputs):
    style = "chatml" if "34b" in inputs["conv_mode"] else "vicuna"
    if "options" in inputs:
        asked = KTV().multiple_choice(inputs["question"], inputs["options"], style)
        assert multiple_choice_prompt(inputs["question"], inputs["options"], style) == outputs["prompt"]
    else:
        asked = KTV().open_ended(inputs["question"], style)
    assert "".join(asked) == outputs["prompt"]


def check_parse(inputs, outputs):
    option = outputs.get("option", "none")  # an empty text crashes there
    assert (parse_choice(inputs["pred"], letters="abcdef") or "none") == option
    place = KTV().read_choice(inputs["pred"], list("uvwxyz"))
    assert outputs.get("counted_right_for", []) == ([] if place is None else ["abcdef"[place]])


CHECKS = {
    "dense_frames": check_dense,
    "dense_to_video_frame": check_video_frame,
    "keyframes": check_keyframes,
    "question_ranking": check_ranking,
    "inference_inputs": check_inputs,
    "token_choice": check_token_choice,
    "token_choice_errors": check_errors,
    "cls_scores": check_cls_scores,
    "prompt": check_prompt,
    "parse": check_parse,
}


@field.each("ktv", CHECKS)
def test_as_released(check, inputs, outputs):
    check(inputs, outputs)


RANKED = KTV.of([(40, 0), (2, 1), (30, 2), (12, 3), (58, 4), (20, 5)], tokens=504)


def test_what_it_wants_is_transformers_own(llm, golden_frames):
    """Patches: hidden layer -2 without CLS. Scores: the last layer's query of CLS with its keys, caught by hooks."""
    seen = llm.look(golden_frames[:2], KTV())
    tower, caught = llm.model.model.vision_tower, {}
    attention = tower.encoder.layers[-1].self_attn
    hooks = [
        getattr(attention, name).register_forward_hook(lambda _, __, out, name=name: caught.update({name: out}))
        for name in ("q_proj", "k_proj")
    ]
    with torch.inference_mode():
        hidden = tower(preprocess(golden_frames[:2], llm.image_size), output_hidden_states=True).hidden_states[-2]
    for hook in hooks:
        hook.remove()
    expected = (caught["q_proj"][:, :1] * caught["k_proj"][:, 1:]).sum(dim=-1) / caught["q_proj"].shape[-1] ** 0.5
    torch.testing.assert_close(rearrange(seen.more["cls_scores"], "t h w -> t (h w)"), expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(
        rearrange(seen.more["patches"], "t h w d -> t (h w) d"), hidden[:, 1:], rtol=0, atol=1e-5
    )
    assert set(seen.more) == {"patches", "cls_scores"}


@pytest.mark.parametrize(
    "method",
    [KTV(), RANKED, KTV(rate=1.0, loaded=20), KTV(12, 1872, frames=range(12), ranks=range(12)), KTV(7, 700, 0.5)],
    ids=str,
)
def test_a_video_through_it(llm, method):
    video = llm.watch(GRAND_PRIX, method)
    assert (
        len(video.tokens) == method.token_count(grid=llm.grid) == len(method.token_frames(method.num_frames, llm.grid))
    )
    seen = llm.look(video.frames.pixels, method)
    projected = rearrange(seen.features, "t h w d -> (t h w) d")
    assert all((projected == token).all(dim=1).any() for token in video.tokens[::50]), "the projector's, as they are"
    assert isinstance(video.ask("What is there?", max_new_tokens=2), str)
    assert video.choose("Which?", ["a cat", "a dog"], by="generation", max_new_tokens=2).letter in ("A", "B", None)
    assert parse_spec(str(method)) == method == decode_method(method.to_json())


def test_ranks_say_how_many_tokens_each_frame_keeps(llm):
    assert RANKED.frames == (2, 12, 20, 30, 40, 58) and RANKED.ranks == (1, 3, 5, 2, 0, 4)
    assert RANKED.budgets() == [72, 72, 72, 72, 144, 72]
    assert RANKED.token_frames(6, (24, 24)).bincount().tolist() == RANKED.budgets()
    assert KTV.of([(5, 0), (9, 1), (5, 2)], keyframes=6).ranks == (2, 1), (
        "of a frame that is there twice, the last rank"
    )
    assert KTV.of(enumerate(range(12)), tokens=936).budgets()[6:] == [72] * 6, "more than six: the last budget"


def test_keyframes_by_the_embeddings_handed_in(llm):
    """Three groups of frames, far from each other: one frame of each is kept."""
    groups = torch.tensor([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0]])
    embeddings = groups.repeat_interleave(4, dim=0) + 0.01 * torch.randn(
        12, 2, generator=torch.Generator().manual_seed(0)
    )
    method = KTV(3, 30, loaded=12)
    features = torch.arange(12.0)[:, None, None, None].expand(12, *llm.grid, llm.dim) + 1
    more = {"patches": torch.randn(12, 24, 24, 8), "cls_scores": torch.randn(12, 24, 24), "embeddings": embeddings}
    tokens = llm.watch_features(features, method, more).tokens
    assert sorted({(int(value) - 1) // 4 for value in tokens[:, 0]}) == [0, 1, 2] and len(tokens) == 30
    assert torch.equal(method.tokens_of(Seen(features, more=more)), tokens)
    del more["cls_scores"]
    with pytest.raises(SpecError, match=r"needs cls_scores of each of 12 frames"):
        llm.watch_features(features, method, more)


def test_a_video_of_fewer_frames_than_keyframes_is_refused():
    with pytest.raises(ValueError, match="6 keyframes of a video of 5 frames"):
        KTV(loaded=20).sample(5)
    assert KTV().sample(5) == [0, 0, 1, 2, 3, 4], "evenly spaced ones repeat, as released"


def test_another_grid_keeps_the_same_share():
    small = KTV().scaled((12, 12))
    assert small.token_count(grid=(12, 12)) == 234 == KTV().token_count() // 4
    assert RANKED.scaled((12, 12)).budgets((12, 12)) == [18, 18, 18, 18, 36, 18]
    assert parse_spec(str(small)) == small
    with pytest.raises(SpecError, match=r"is for 576 patches a frame, not 12 x 12: scaled\(grid\) fits"):
        KTV().token_count(grid=(12, 12))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: KTV(keyframes=0), "KTV keyframes=0"),
        (lambda: KTV(rate=1.5), "rate=1.5: give a number from 0 to 1"),
        (lambda: KTV(loaded=3), "loaded=3: give at least the 6 keyframes"),
        (lambda: KTV(frames=(3, 2)), "give rising numbers"),
        (lambda: KTV(frames=(1, 2), ranks=(0,)), "give one for each of its 2 frames"),
        (lambda: KTV.of(enumerate(range(6)), tokens=1000), "tokens=1000: 6 ranked frames get 504, 936, 1872"),
        (lambda: KTV.of(enumerate(range(8)), keyframes=8), "ranks of 8 frames: KTV has budgets for 6 or 12"),
        (lambda: KTV(1, 936).token_count(), "936 tokens of a frame of 576"),
        (lambda: parse_spec("ktv_6k_nmany_r0.2"), "is not understood"),
        (lambda: parse_spec("ktv_6k_n936_rhalf"), "are to be numbers"),
        (lambda: KTV().visual_tokens(torch.zeros(6, 24, 24, 4)), "needs patches, cls_scores of each of 6 frames"),
    ],
)
def test_what_cannot_be_is_refused(make, message):
    with pytest.raises(SpecError, match=message):
        make()


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A tiny random CLIP with a text tower, and a processor that knows letters."""
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    vocab = {
        word: n
        for n, word in enumerate([*letters, *(f"{one}</w>" for one in letters), "<|startoftext|>", "<|endoftext|>"])
    }
    tower = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {**tower, "vocab_size": len(vocab), "max_position_embeddings": 20, "eos_token_id": vocab["<|endoftext|>"]}
    torch.manual_seed(0)
    config = CLIPConfig(text_config=text, vision_config={**tower, "image_size": 32, "patch_size": 8}, projection_dim=8)
    size = {"crop_size": 32, "size": {"shortest_edge": 32}}
    processor = CLIPProcessor(CLIPImageProcessor(**size), CLIPTokenizer(vocab, []))
    return CLIPModel(config).eval(), processor


def test_ranks_by_a_clip_with_a_text_tower(clip, rng):
    model, processor = clip
    pixels = rng.integers(0, 256, (3, 40, 50, 3), dtype=np.uint8)
    found = clip_similarities(model, processor, pixels, "a dog")
    with torch.inference_mode():
        logits = model(**processor(text=["a dog"], images=list(pixels), return_tensors="pt")).logits_per_image[:, 0]
    torch.testing.assert_close(found, 100 * logits / model.logit_scale.exp(), rtol=0, atol=1e-3)
    assert [rank for _, rank in rank_frames([7, 3, 5], found)] == [0, 1, 2]
    with pytest.raises(ValueError, match="makes 32 tokens, CLIP takes 20"):
        clip_similarities(model, processor, pixels, "b" * 30)
