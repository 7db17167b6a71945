"""The whole way: equal to the released code, shared equal to plain, nothing depends on the order of questions."""

import json
import shutil

import numpy as np
import pytest
import torch
from conftest import GOLDENS, SMALL, TINY
from transformers import NoRepeatNGramLogitsProcessor

from sfllava_core import (
    ContextError,
    Pathway,
    Pool,
    SlowFast,
    VideoLLM,
    multiple_choice_prompt,
    open_ended_prompt,
    parse_spec,
)
from sfllava_core.answering.decoding import repeating

E2E = json.loads((GOLDENS / "e2e" / "e2e.json").read_text())["cases"]
ARRAYS = np.load(GOLDENS / "e2e" / "e2e_arrays.npz")
LONG = SlowFast(50, Pathway(10), Pathway(None, Pool.to(4, 4)))  # 6560 tokens: past the model's own 4096 positions
QUESTIONS = [f"what is {'the very ' * (n % 5)}number {n} doing{' in the picture' * (n % 3)}?" for n in range(30)]


@pytest.mark.parametrize("share_prefix", [True, False])
@pytest.mark.parametrize("case", E2E, ids=lambda case: case["name"])
def test_end_to_end_equals_the_released_code(llm, golden_frames, case, share_prefix):
    video = llm.watch_frames(golden_frames[: case["n_frames"]], parse_spec(case["temporal_aggregation"]))
    assert video.tokens.shape == (case["n_video_tokens"], 64)
    logits = video.next_token_logits([case["prompt"]], share_prefix=share_prefix)[0, :2000]
    np.testing.assert_allclose(logits, ARRAYS[f"{case['name']}__prefill_logits"], atol=1e-4)
    (answer,) = video.generate([case["prompt"]], max_new_tokens=16, share_prefix=share_prefix)
    assert answer.token_ids == case["generated_ids"]
    assert answer.text == case["decoded"]
    assert answer.prompt_tokens == case["sequence_length"]


def test_every_steps_logits_equal_the_released_code(llm, golden_frames):
    """All 16 steps of the first golden run: each step's logits, from the answer so far put into the prompt's end."""
    case = E2E[0]
    video = llm.watch_frames(golden_frames, parse_spec(case["temporal_aggregation"]))
    decoders = video.sharing.decoders([encode(video, case["prompt"])], 16, True)
    _, decoder = next(decoders)
    hidden = decoder.start()
    for step, token in enumerate(case["generated_ids"]):
        np.testing.assert_allclose(llm.logits(hidden)[0, :2000], ARRAYS["A_standard__step_logits"][step], atol=1e-4)
        hidden = decoder.step(torch.tensor([[token]]))
    decoders.close()


def encode(video, prompt):
    from sfllava_core.answering.sharing import encode_prompt

    return encode_prompt(prompt, video.llm.tokenizer)


@pytest.mark.parametrize("count", [1, 2, 30])
def test_shared_and_plain_answers_are_equal(small_video, count):
    asked = QUESTIONS[:count]
    shared = small_video.ask(asked, max_new_tokens=12)
    assert shared == small_video.ask(asked, max_new_tokens=12, share_prefix=False)
    assert len(set(shared)) > 1 or count == 1, "the questions must matter"


def test_shared_and_plain_logits_are_equal(small_video):
    prompts = [open_ended_prompt(question) for question in QUESTIONS[:9]]
    shared, plain = (small_video.next_token_logits(prompts, share_prefix=share) for share in (True, False))
    torch.testing.assert_close(shared, plain, atol=1e-4, rtol=0)


def test_batches_equal_single_questions(small_video):
    assert small_video.ask(QUESTIONS[:7], max_new_tokens=8) == [
        small_video.ask(question, max_new_tokens=8) for question in QUESTIONS[:7]
    ]


def test_open_and_choice_prompts_may_be_mixed(small_video):
    """Prompts of two kinds in one call: each kind has its own prefix, answers stay in order."""
    prompts = [
        open_ended_prompt(QUESTIONS[0]),
        multiple_choice_prompt("Which?", ["a", "b"]),
        open_ended_prompt(QUESTIONS[1]),
    ]
    together = small_video.generate(prompts, max_new_tokens=6)
    assert together == [small_video.generate([prompt], max_new_tokens=6, share_prefix=False)[0] for prompt in prompts]


def test_answers_equal_transformers_generate(llm, small_video):
    """Against transformers' own decoding loop on the same embeddings."""
    encoded = encode(small_video, open_ended_prompt(QUESTIONS[3]))
    embeddings = small_video.sharing.embeddings(encoded.before, encoded.after)[None]
    mask = torch.ones(embeddings.shape[:2], dtype=torch.long)
    out = llm.model.generate(inputs_embeds=embeddings, attention_mask=mask, max_new_tokens=20, do_sample=False)
    (answer,) = small_video.generate([open_ended_prompt(QUESTIONS[3])], max_new_tokens=20)
    assert answer.token_ids == [token for token in out[0].tolist() if token not in llm.stop_ids]


@pytest.mark.filterwarnings("ignore:Passing `no_repeat_ngram_size`")  # only of new tokens: so it is meant
def test_runs_that_may_not_repeat_equal_transformers_generate(llm, small_video):
    """A batch over the shared prefix and the plain way, against transformers' loop with the same option."""
    prompts, few = [open_ended_prompt(question) for question in QUESTIONS[:3]], torch.arange(2000, 2004)
    rare = torch.full((llm.model.lm_head.out_features,), -100.0).index_fill(
        0, few, 0.0
    )  # so that there is much to repeat
    hook = llm.model.lm_head.register_forward_hook(lambda module, inputs, logits: logits + rare)
    try:
        for size in (1, 2, 3, None):
            theirs = []
            for prompt in prompts:
                encoded = encode(small_video, prompt)
                embeddings = small_video.sharing.embeddings(encoded.before, encoded.after)[None]
                out = llm.model.generate(
                    inputs_embeds=embeddings, attention_mask=torch.ones(embeddings.shape[:2], dtype=torch.long),
                    max_new_tokens=12, do_sample=False, no_repeat_ngram_size=size,
                )  # fmt: skip
                theirs.append([token for token in out[0].tolist() if token not in llm.stop_ids])
            for share in (True, False):
                told = {"max_new_tokens": 12, "share_prefix": share, "no_repeat_ngram_size": size}
                assert [answer.token_ids for answer in small_video.generate(prompts, **told)] == theirs
            length = size or 3
            runs = [[tuple(ids[n : n + length]) for n in range(13 - length)] for ids in theirs]
            assert all(len(set(row)) == len(row) for row in runs) == (size is not None), "else something does repeat"
    finally:
        hook.remove()


@pytest.mark.parametrize("size", [1, 3, 5])
def test_what_would_repeat_is_what_transformers_forbids(rng, size):
    forbids, banned = NoRepeatNGramLogitsProcessor(size), 0
    for length in range(40):
        ids = rng.integers(0, 3, length).tolist()
        scores = forbids(torch.tensor([ids], dtype=torch.long), torch.zeros(1, 3))[0]
        assert set(repeating(ids, size)) == set(torch.where(scores == -torch.inf)[0].tolist())
        banned += len(repeating(ids, size)) > 0
    assert banned > 5


def test_decoding_stops_at_the_end_token(llm, small_video):
    free = small_video.generate([open_ended_prompt(QUESTIONS[0])], max_new_tokens=12)[0].token_ids
    stopping, place = llm.stop_ids, 5
    try:
        llm.stop_ids = frozenset([free[place]])
        stopped = small_video.generate([open_ended_prompt(q) for q in QUESTIONS[:3]], max_new_tokens=12)
    finally:
        llm.stop_ids = stopping
    assert stopped[0].token_ids == free[: free.index(free[place])]


def test_order_and_over_long_videos_change_nothing(llm, golden_frames, small_video):
    """transformers keeps the raised RoPE base after a long input; answers here must not depend on what came before."""
    before = small_video.ask(QUESTIONS[:4], max_new_tokens=8)
    long_video = llm.watch_frames(golden_frames, LONG)
    long_before = long_video.ask(QUESTIONS[:2], max_new_tokens=4)
    assert small_video.ask(QUESTIONS[:4], max_new_tokens=8) == before
    assert small_video.ask(QUESTIONS[3::-1], max_new_tokens=8) == before[::-1]
    assert long_video.ask(QUESTIONS[1::-1], max_new_tokens=4) == long_before[::-1]
    fresh = VideoLLM.from_pretrained(TINY, device="cpu")
    assert fresh.watch_frames(golden_frames, LONG).ask(QUESTIONS[1], max_new_tokens=4) == long_before[1]


def test_past_its_own_positions_the_answer_equals_transformers(llm, golden_frames):
    """The plain way is taken by itself, and dynamic RoPE acts as in transformers on a fresh model."""
    long_video = llm.watch_frames(golden_frames, LONG)
    prompt = open_ended_prompt(QUESTIONS[0])
    ours = long_video.generate([prompt], max_new_tokens=6)[0].token_ids
    assert long_video.prefix_bytes == 0, "nothing may be shared there"
    fresh = VideoLLM.from_pretrained(TINY, device="cpu")
    encoded = encode(long_video, prompt)
    embeddings = long_video.sharing.embeddings(encoded.before, encoded.after)[None]
    mask = torch.ones(embeddings.shape[:2], dtype=torch.long)
    out = fresh.model.generate(inputs_embeds=embeddings, attention_mask=mask, max_new_tokens=6, do_sample=False)
    assert ours == out[0].tolist()
    without = VideoLLM.from_pretrained(TINY, device="cpu", rope_scaling=1.0)
    with pytest.raises(ContextError, match="leave no room in the 4096 positions"):
        without.watch_frames(golden_frames, LONG)


def test_rope_scaling_changes_nothing_within_the_models_positions(golden_frames, small_video):
    without = VideoLLM.from_pretrained(TINY, device="cpu", rope_scaling=1.0)
    logits = [
        v.next_token_logits([open_ended_prompt("why?")])
        for v in (small_video, without.watch_frames(golden_frames[:8], SMALL))
    ]
    torch.testing.assert_close(*logits, atol=0, rtol=0)


def test_prefix_memory_does_not_grow_with_the_questions(llm, small_video, monkeypatch):
    """The attention function is given the very same keys, batch 1, however many questions there are."""
    from sfllava_core.answering import shared_prefix

    seen = []
    real = shared_prefix.attend

    def spy(query, key, value, mask, prefix_key, prefix_value, scaling):
        seen.append((query.shape[0], prefix_key.shape, prefix_key.untyped_storage().data_ptr()))
        return real(query, key, value, mask, prefix_key, prefix_value, scaling)

    monkeypatch.setattr(shared_prefix, "attend", spy)
    sizes = []
    for count in (1, 30):
        seen.clear()
        small_video.ask(QUESTIONS[:count], max_new_tokens=4)
        own = {storage.untyped_storage().data_ptr() for layer in small_video.sharing.prefix.layers for storage in layer}
        assert {batch for batch, _, _ in seen} == {count}
        assert all(pointer in own for _, _, pointer in seen), "the prefix was copied"
        assert all(len(shape) == 3 for _, shape, _ in seen), "the prefix has no batch"
        sizes.append(small_video.prefix_bytes)
    text = llm.model.config.text_config
    tokens = small_video.sharing.prefix.length
    assert sizes[0] == sizes[1] == 2 * text.num_hidden_layers * text.num_key_value_heads * text.head_dim * tokens * 4


def test_the_prefix_is_prefilled_once(llm, golden_frames):
    calls = []
    video = llm.watch_frames(golden_frames[:8], SMALL)
    hook = llm.language_model.register_forward_pre_hook(
        lambda module, args, kwargs: calls.append(kwargs["inputs_embeds"].shape[1]), with_kwargs=True
    )
    for question in QUESTIONS[:5]:
        video.ask(question, max_new_tokens=1)
    hook.remove()
    assert sum(length >= len(video.tokens) for length in calls) == 1
    assert len(calls) == 6


def test_streaming_gives_the_answer_piece_by_piece(small_video):
    pieces = []
    answer = small_video.ask(QUESTIONS[0], max_new_tokens=20, on_text=pieces.append)
    assert "".join(pieces) == answer and len(pieces) > 3


def test_more_questions_than_a_batch(small_video):
    many = [f"{question} {n}" for n in range(3) for question in QUESTIONS[:15]]
    told = []
    answers = small_video.ask(many, max_new_tokens=3, progress=lambda *step: told.append(step))
    assert told == [("answer", 32, 45), ("answer", 45, 45)]
    assert answers[40] == small_video.ask(many[40], max_new_tokens=3)


def test_a_prompt_that_is_no_longer_than_what_is_shared_is_answered_too(llm, golden_frames):
    """A pair (x, "y") prefills x. Of (x, "") nothing is left behind it, and yet a token must be run for its logits."""
    shared = "USER: <image>\nWhat is it?"
    video = llm.watch_frames(golden_frames[:8], SMALL)
    for pair in ((shared, " A dog?"), (shared, "")):
        (one,), (plain,) = (video.next_token_logits([pair], share_prefix=share) for share in (True, False))
        torch.testing.assert_close(one, plain, atol=1e-4, rtol=0)


def test_a_special_token_in_the_midst_of_an_answer_is_not_shown(llm, small_video, monkeypatch):
    """An end token that the generation settings do not name ends nothing, and is no text either."""
    begin, word = llm.tokenizer.bos_token_id, llm.tokenizer.convert_tokens_to_ids("\N{LOWER ONE EIGHTH BLOCK}is")
    steps = iter([word, begin, word, llm.tokenizer.eos_token_id])

    def written(hidden):
        return torch.nn.functional.one_hot(torch.tensor([next(steps)]), 2064).float()

    monkeypatch.setattr(llm, "stop_ids", frozenset())
    monkeypatch.setattr(llm, "logits", written)
    (answer,) = small_video.generate(["<image> what?"], max_new_tokens=4)
    assert answer.token_ids == [word, begin, word, llm.tokenizer.eos_token_id]
    assert answer.text == "is is"


def test_after_an_answer_past_its_positions_the_model_itself_is_as_before(golden_frames, tmp_path):
    """Also for who uses transformers' own model directly afterwards: nothing of the raised RoPE base is left in it."""
    shutil.copytree(TINY, tmp_path / "short")
    config = json.loads((tmp_path / "short" / "config.json").read_text())
    config["text_config"]["max_position_embeddings"] = 256
    (tmp_path / "short" / "config.json").write_text(json.dumps(config))
    llm = VideoLLM.from_pretrained(tmp_path / "short", device="cpu")
    ids = torch.arange(5, 305)[None]  # past the 256 positions, but shorter than the prompt below
    before = llm.model(input_ids=ids).logits
    video = llm.watch_frames(golden_frames[:8], SMALL)
    assert len(video.tokens) > ids.numel()
    video.ask(QUESTIONS[0], max_new_tokens=2)
    torch.testing.assert_close(llm.model(input_ids=ids).logits, before, atol=0, rtol=0)
