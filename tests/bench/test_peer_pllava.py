"""PLLaVA: every case of its released code, its merged weights, and transformers' own generate."""

import json
import shutil

import numpy as np
import peer_cases
import pytest
import torch
from conftest import GRAND_PRIX
from safetensors.torch import load_file, save_file
from torch.nn.functional import gelu, linear
from transformers import AutoTokenizer, LlamaTokenizer, LlavaNextForConditionalGeneration

from sfllava_bench.peers.pllava import Pllava, first_resize, gif_frames, load_pllava, pool_videos, segment_frames
from sfllava_bench.peers.pllava_prompts import CONVERSATIONS, choice_question, conversation
from sfllava_bench.peers.pllava_scores import (
    RESPECTS,
    choice_accuracies,
    choice_is_right,
    judge_request,
    judged_averages,
    open_ended_verdict,
    released_truth,
    stops,
    vcg_verdict,
    vcg_verdicts,
)
from sfllava_bench.peers.pllava_weights import RANK, Shards
from sfllava_bench.questions.records import Question
from sfllava_core.backbones.base import ModelError
from sfllava_core.features import preprocess
from sfllava_core.methods.base import SpecError
from sfllava_core.methods.pooling import Pool
from sfllava_core.methods.specs import parse_spec
from sfllava_core.prompts import PromptError, tokenize_prompt

PEER = "pllava"
CONVERSATION = {  # the release's names; "plain" is its demo's, which asks nothing of the tables
    "eval_videoqabench": ("videoqa", "vicuna"),
    "eval_videoqa_llavanext": ("videoqa", "chatml"),
    "eval_mvbench": ("mvbench", "vicuna"),
    "eval_mvbench_llavanext": ("mvbench", "chatml"),
    "eval_vcgbench": ("vcg", "vicuna"),
    "eval_vcg_llavanext": ("vcg", "chatml"),
    "eval_recaption": ("recaption", "vicuna"),
    "eval_recaption_llavanext": ("recaption", "chatml"),
}
LOADED: dict[tuple[str, float], object] = {}


def loaded(weights: str, alpha: float = 4.0):
    """A tiny checkpoint, merged with one alpha; each is loaded once."""
    if (weights, alpha) not in LOADED:
        base = peer_cases.checkpoint(PEER, "base") if weights == "delta_only" else None
        LOADED[weights, alpha] = load_pllava(peer_cases.checkpoint(PEER, weights), device="cpu", base=base, alpha=alpha)
    return LOADED[weights, alpha]


def check_frames(case):
    for name in ("indices", "demo_indices"):
        assert Pllava(case["segments"]).sample(case["total"]) == case[name]


def check_bounded(case):
    found = segment_frames(
        case["total"], len(case["indices"]), bound=tuple(case["bound"]), fps=case["fps"], first=case["first_idx"]
    )
    assert found == case["indices"]


def check_gif(case):
    assert segment_frames(case["total"], case["segments"]) == case["sampled"]
    assert gif_frames(case["total"], case["segments"]) == case["read_clip_gif"] == case["read_gif"]


def check_pooling(case):
    """Projector and pool; where a case is "bare", the adaptive average alone."""
    name, (frames, rows, columns) = case["name"], case["pooling_shape"]
    pool = Pool.to(rows, columns, frames=frames)
    if "raises" in case:  # nothing is stored of it
        assert case["raises"] == "AssertionError"
        with pytest.raises(SpecError, match=f"a multiple of {case['num_frames']}"):
            pool_videos(torch.zeros(case["T"], 24, 24, 4), case["num_frames"], pool, case["num_videos"])
        return
    stored = torch.from_numpy(peer_cases.array(PEER, f"{name}_in")).float()
    assert len(stored) == case["T"]
    if case.get("bare"):
        peer_cases.close(pool(stored), peer_cases.array(PEER, f"{name}_out"), within=1e-5)
        return
    count, side = case["num_frames"], round(stored.shape[1] ** 0.5)
    if case["media_type"] == "image":  # a picture stands at each frame's place
        stored = stored.repeat(count, 1, 1)
    weights = {part: torch.from_numpy(peer_cases.array(PEER, f"{name}_w_{part}")) for part in
               ("linear_1.weight", "linear_1.bias", "linear_2.weight", "linear_2.bias")}  # fmt: skip
    hidden = gelu(linear(stored, weights["linear_1.weight"], weights["linear_1.bias"]))
    features = linear(hidden, weights["linear_2.weight"], weights["linear_2.bias"]).unflatten(1, (side, side))
    pooled = pool_videos(features, count, pool, case["num_videos"])
    assert list(pooled.shape) == case["out_shape"]
    peer_cases.close(pooled, peer_cases.array(PEER, f"{name}_out"), within=1e-5)


def check_pictures(case):
    assert "center_pad" in "".join(case), "the release's option that crashes is not offered here"
    for one in case["cases"]:
        drawn = np.stack([peer_cases.picture(one["height"], one["width"], t) for t in one["t"]])
        first = first_resize(drawn)
        assert list(first.shape[1:]) == one["first_stage_shape"]
        pixels = preprocess(Pllava().arrange(drawn, (336, 336)), (336, 336))
        assert list(pixels.shape) == one["out_shape"]
        peer_cases.close(pixels[:, :, ::12, ::12], peer_cases.array(PEER, one["name"]), within=1e-6)
        assert pixels.double().sum().item() == pytest.approx(one["sum"], abs=0.5)
        assert pixels.double().abs().sum().item() == pytest.approx(one["abs_sum"], abs=0.5)


def check_choice_question(case):
    data = case["data"]
    assert choice_question(data["question"], data["candidates"]) == case["question"]
    assert released_truth(data["candidates"], data["answer"]) == case["answer"]


def check_prompt(case):
    """The prompt, and how the answer is cut, the release's faults with it; ours decodes the new tokens alone."""
    bench, mode = case["name"].split()
    task, style = CONVERSATION[mode]
    talk, method = conversation(task, style), Pllava(task="videoqa" if task == "mvbench" else task)
    if task == "mvbench":
        shared, own = method.multiple_choice("it?", ["this one"], style)
        asked = case["prompt"].removeprefix(shared).removesuffix(own.partition("this one")[2])
        question, lines = asked.split("\nOptions:\n")
        prompt = method.multiple_choice(question, [line[4:] for line in lines.split("\n")], style)
    else:
        own = case["prompt"].removeprefix(method.open_ended("", style)[0])
        end = method.open_ended("", style)[1]
        assert own.endswith(end), own
        prompt = method.open_ended(own.removesuffix(end), style)
    assert "".join(prompt) == case["prompt"]
    assert method.max_new_tokens == case["generate"]["max_new_tokens"]
    assert (case["stop_keywords"] is not None) == (bench == "vcgbench")
    assert case["raises"] is None
    decoded = case["prompt"].replace("<image>", "") + case["reply"]
    if case["decode_style"] != "plain":
        decoded = decoded.replace("<|im_start|>", "<|im_start|> ")
    bracket = "(" if task == "mvbench" else ""
    assert bracket + talk.cut(decoded) == case["returned"]
    whole_prompt = style == "chatml" and case["decode_style"] == "plain" and not talk.answer
    assert (talk.answer_text(case["reply"]) == case["returned"]) != whole_prompt, "a fault of the release, not ours"
    if whole_prompt:
        assert case["returned"].endswith(talk.answer_text(case["reply"]))


def check_templates(case):
    """What the release's conversations are made of, is what ours are made of."""
    for name, told in case.items():
        if name == "plain":
            continue
        talk = CONVERSATIONS[CONVERSATION[name]]
        ours = {
            "system": talk.system,
            "roles": [talk.user, talk.assistant],
            "sep": [talk.end, talk.last],
            "mm_token": "<image>\n",
            "mm_style": "mm_inferleaf" if talk.one_turn else "mm_alone",
            "pre_query_prompt": talk.before or None,
            "post_query_prompt": talk.after if talk.one_turn else None,
            "answer_prompt": talk.answer if talk.one_turn else None,
        }
        assert ours == told, name
    assert CONVERSATION.keys() <= case.keys()


def check_stops(case):
    assert [stops(case["text"], step) for step in (0, 1)] == [case["first_call"], case["second_call"]]


def check_choice(case):
    assert choice_is_right(case["pred"], case["gt"]) == case["out"]


def check_choice_sums(case):
    said = case["in"]
    right = [choice_is_right(one["pred"], one["gt"]) for one in said]
    assert choice_accuracies([one["task_type"] for one in said], right) == pytest.approx(case["out"])


def check_open_verdict(case):
    assert open_ended_verdict(case["reply"]) == (case["correct"], case["score"])


def check_vcg_verdict(case):
    assert vcg_verdict(case["reply"]) == (case["flag"], case["score"])


def check_judge_request(case):
    """Questions, answers and predictions are read out of the request; the rest must be ours to the letter."""
    system, user = (message["content"] for message in case["messages"])
    kinds = {
        "correctness of": "open_ended",
        "temporal": "temporal",
        "contextual": "context",
        "detail": "detail",
        "factual": "correctness",
        "consistency of": "consistency",
    }
    kind = next(kind for words, kind in kinds.items() if f"evaluating the {words}" in system)

    def after(label: str) -> list[str]:
        return [line.partition(": ")[2] for line in user.splitlines() if line.startswith(label)]

    question = Question(
        "vcgbench", "1", "film", tuple(after("Question")), after("Correct Answer")[0], "text_generation"
    )
    assert judge_request(kind, question, after("Predicted Answer")) == case


def check_open_sums(case):
    found = judged_averages(case["tasks"], [open_ended_verdict(reply) for reply in case["replies"]])
    assert_sums(found, case["out"])


def check_vcg_sums(case):
    said = case["in"]
    assert {one["task_type"] for one in said} <= RESPECTS.keys()
    replies = iter(case["replies_in_order"])
    verdicts = list(vcg_verdicts([one["task_type"] for one in said], [one["pred"] for one in said], replies))
    assert next(replies, None) is None
    assert_sums(judged_averages(*zip(*verdicts), counted_twice=True), case["out"])
    right = [flag for _, (flag, _) in verdicts]
    assert judged_averages(*zip(*verdicts))["Avg_Acc"] == pytest.approx(100 * sum(right) / len(right))


def assert_sums(found: dict, stored: dict) -> None:
    assert found.keys() == stored.keys()
    for name, value in stored.items():
        assert found[name] == pytest.approx(value), name


def check_lora(case):
    """The whole way: frames, merged weights, pooling, prompt, logits, tokens, cut answer."""
    llm = loaded(case["weights"], case["lora_alpha"])
    assert case["lora_alpha"] / RANK == case["scaling"]
    task, style = CONVERSATION[case["conv_mode"]]
    assert llm.prompt_style == style
    video = llm.watch_frames(peer_cases.lora_frames(), Pllava())
    if task == "mvbench":
        prompt = "".join(conversation(task, style).pieces(case["question"]))
    else:
        prompt = "".join(Pllava(task=task).open_ended(case["question"], style))
    ids = case["input_ids"]
    peer_cases.check_answer(llm, video, prompt, ids, ids.index(2000), case, PEER)
    said = video.generate([prompt], max_new_tokens=len(case["generated_ids"]))[0]
    assert conversation(task, style).answer_text(said.text) == case["returned_text"]


def check_lora_pixels(case):
    pixels = preprocess(Pllava().arrange(peer_cases.lora_frames(), (336, 336)), (336, 336))
    assert list(pixels.shape) == case["shape"]
    assert pixels.double().sum().item() == pytest.approx(case["sum"], abs=0.5)
    assert pixels.double().abs().sum().item() == pytest.approx(case["abs_sum"], abs=0.5)
    peer_cases.close(pixels[0, :, ::4, ::4], peer_cases.array(PEER, "pixel_values_frame0"), within=1e-6)


def check_keys(weights: str):
    def check(case):
        assert sorted(Shards(peer_cases.checkpoint(PEER, weights)).file_of) == sorted(case)
        assert loaded(weights), "without one too many or too few: it would be refused"

    return check


CHECKS = {
    "frames": check_frames,
    "frames_bounded": check_bounded,
    "frames_gif": check_gif,
    "pooling": check_pooling,
    "pictures": check_pictures,
    "mvbench_question_text": check_choice_question,
    "prompts": check_prompt,
    "templates": check_templates,
    "stop_keywords_behaviour": check_stops,
    "mvbench_check": check_choice,
    "mvbench_save": check_choice_sums,
    "videoqa_judge_parse": check_open_verdict,
    "vcg_judge_parse": check_vcg_verdict,
    "judge_requests": check_judge_request,
    "videoqa_save": check_open_sums,
    "vcg_save": check_vcg_sums,
    "lora": check_lora,
    "lora_pixel_values": check_lora_pixels,
    "unmerged_keys": check_keys("unmerged_full"),
    "delta_keys": check_keys("delta_only"),
}


@peer_cases.each(PEER, CHECKS)
def test_pllava_does_as_its_released_code(check, case):
    check(case)


@pytest.mark.parametrize("weights", ["unmerged_full", "delta_only"])
def test_the_merged_weights_are_the_released_ones(weights):
    """Exact, through either way of loading."""
    layers = loaded(weights).language_model.layers
    stored = [name for name in peer_cases.arrays(PEER, peer_cases.OWN) if name.startswith("merged_")]
    assert stored
    for name in stored:
        _, number, part = name.removeprefix("merged_").split(".")
        ours = getattr(layers[int(number)].self_attn, part).weight.detach()
        peer_cases.close(ours, peer_cases.array(PEER, name, peer_cases.OWN), within=0)


@pytest.mark.parametrize("weights", ["unmerged_full", "delta_only"])
def test_all_tokens_are_those_of_plain_transformers(weights):
    """Stock LLaVA-NeXT with the merged weights, told the pooled tokens by its own `generate`."""
    llm = loaded(weights)
    assert type(llm.model) is LlavaNextForConditionalGeneration
    video = llm.watch_frames(peer_cases.lora_frames())
    prompts = [video.method.open_ended(question, "vicuna") for question in ("what is it", "who comes in first")]
    pixels = preprocess(Pllava().arrange(peer_cases.lora_frames(), (336, 336)), (336, 336))
    with torch.inference_mode():
        hidden = llm.model.model.vision_tower(pixels, output_hidden_states=True).hidden_states[-2][:, 1:]
        projected = llm.model.model.multi_modal_projector(hidden).unflatten(1, (24, 24))
        pooled = torch.nn.AdaptiveAvgPool3d((16, 12, 12))(projected.permute(3, 0, 1, 2)).flatten(1).T
    for prompt, ours in zip(prompts, video.generate(prompts, max_new_tokens=12)):
        before, after = "".join(prompt).split("<image>")
        ids = [llm.tokenizer(text).input_ids for text in (before, after)]
        embed = llm.model.get_input_embeddings()
        whole = torch.cat([embed(torch.tensor(ids[0])), pooled, embed(torch.tensor(ids[1][1:]))])[None]
        with torch.inference_mode():
            said = llm.model.generate(inputs_embeds=whole, attention_mask=torch.ones(whole.shape[:2]), do_sample=False,
                                      max_new_tokens=12, eos_token_id=2, pad_token_id=0)  # fmt: skip
        assert ours.token_ids == said[0].tolist()


def test_in_half_precision_the_merged_weights_are_rounded_once():
    """bfloat16, as released: not merged in it, which would round three times."""
    half = load_pllava(peer_cases.checkpoint(PEER, "unmerged_full"), device="cpu", dtype="bfloat16")
    exact = dict(loaded("unmerged_full").model.named_parameters())
    assert half.model.dtype == torch.bfloat16
    for name, weight in half.model.named_parameters():
        assert torch.equal(weight, exact[name].to(torch.bfloat16)), name


def test_a_file_is_watched_in_its_published_way():
    llm = loaded("unmerged_full")
    assert llm.method == Pllava() and llm.max_positions == 4096, "no RoPE scaling"
    video = llm.watch(GRAND_PRIX)
    assert video.frames.indices == segment_frames(video.frames.total)
    assert len(video.tokens) == 2304 == video.method.token_count(16, llm.grid)
    frames = video.method.token_frames(16, llm.grid).tolist()
    assert frames == [frame for frame in range(16) for _ in range(144)]
    assert Pllava().token_frames(8, (24, 24)).tolist()[-1] == 5, "too few frames are each repeated, and cut off"
    assert set(Pllava().token_frames(32, (24, 24)).tolist()) == {-1}
    options = ["a cat", "a dog", "a fox"]
    assert video.choose("Which?", options).letter in "ABC"
    text = video.choose("Which?", options, by="generation", max_new_tokens=3).text
    prompt = "".join(video.method.multiple_choice("Which?", options, "vicuna"))
    assert text == video.generate([prompt], max_new_tokens=3)[0].text


@pytest.mark.parametrize(
    ("said", "place"),
    [("B) a dog", 1), ("B", 1), ("(c) a fox", 2), ("A.", 0), ("The answer is (A)", None), ("", None), ("a dog", 0)],
)
def test_a_choice_is_read_as_mvbench_does(said, place):
    assert Pllava().read_choice(said, ["a cat", "a dog", "a fox"]) == place


@pytest.mark.parametrize("text", ["pllava16x12x12", "pllava16x12x12_vcg", "pllava8x6x6_recaption"])
def test_it_is_read_back_from_its_text(text):
    method = parse_spec(text)
    assert str(method) == text and parse_spec(method.to_json()) == method
    assert parse_spec("pllava") == Pllava()


def broken(tmp_path, weights: str, change):
    """A copy of a checkpoint whose tensors were changed."""
    copy = tmp_path / weights
    shutil.copytree(peer_cases.checkpoint(PEER, weights), copy)
    tensors = {}
    for file in sorted(copy.glob("*.safetensors")):
        tensors |= load_file(file)
        file.unlink()
    (copy / "model.safetensors.index.json").unlink(missing_ok=True)
    change(tensors)
    save_file(tensors, copy / "model.safetensors")
    return copy


LAYER = "language_model.base_model.model.model.layers.1.self_attn"


@pytest.mark.parametrize("weights", ["unmerged_full", "delta_only"])
def test_missing_and_additional_weights_are_named(tmp_path, weights):
    def change(tensors):
        del tensors[f"{LAYER}.q_proj.lora_B.default.weight"]
        tensors[f"{LAYER}.k_proj.lora_A.default.weight"] = torch.zeros(RANK, 64)

    with pytest.raises(ModelError, match="1 weights are missing") as error:
        load_pllava(broken(tmp_path, weights, change), device="cpu", base=peer_cases.checkpoint(PEER, "base"))
    assert f"missing: {LAYER}.q_proj.lora_B.default.weight;" in str(error.value)
    assert f"additional: {LAYER}.k_proj.lora_A.default.weight;" in str(error.value)


@pytest.mark.parametrize("weights", ["unmerged_full", "delta_only"])
def test_another_rank_and_another_size_are_named(tmp_path, weights):
    def smaller(tensors):
        for key in [key for key in tensors if ".lora_A." in key]:
            tensors[key] = tensors[key][:64].contiguous()
        for key in [key for key in tensors if ".lora_B." in key]:
            tensors[key] = tensors[key][:, :64].contiguous()

    with pytest.raises(ModelError, match="not of rank 128") as error:
        load_pllava(broken(tmp_path / "rank", weights, smaller), device="cpu", base=peer_cases.checkpoint(PEER, "base"))
    assert f"{LAYER}.v_proj.lora_B.default.weight (64)" in str(error.value)

    def narrower(tensors):
        key = f"{LAYER}.q_proj.lora_A.default.weight"
        tensors[key] = tensors[key][:, :32].contiguous()

    with pytest.raises(ModelError, match="another size") as error:
        load_pllava(
            broken(tmp_path / "size", weights, narrower), device="cpu", base=peer_cases.checkpoint(PEER, "base")
        )
    assert f"{LAYER}.q_proj.lora_A.default.weight (128, 32) and not (128, 64)" in str(error.value)


def test_lora_alone_needs_a_base_that_is_a_llava_next():
    with pytest.raises(ModelError, match="give base="):
        load_pllava(peer_cases.checkpoint(PEER, "delta_only"), device="cpu")
    with pytest.raises(ModelError, match="no such folder"):
        load_pllava(
            peer_cases.checkpoint(PEER, "delta_only"), device="cpu", base=peer_cases.checkpoint(PEER, "nothing")
        )


def test_another_pooling_and_a_folder_without_safetensors_are_refused(tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(peer_cases.checkpoint(PEER, "unmerged_full"), copy)
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "pooling_method": "max"}))
    with pytest.raises(ModelError, match="'max'"):
        load_pllava(copy, device="cpu")
    (copy / "model-00002-of-00002.safetensors").rename(copy / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"no model-00002-of-00002\.safetensors"):
        load_pllava(copy, device="cpu")


def test_what_cannot_be_is_refused():
    with pytest.raises(SpecError, match="'caption'"):
        Pllava(task="caption")
    with pytest.raises(SpecError, match="invent tokens"):
        Pllava().token_count(16, (6, 6))
    with pytest.raises(PromptError, match="'mistral'"):
        Pllava().open_ended("What?", "mistral")
    with pytest.raises(ValueError, match="at least 1 frame"):
        segment_frames(0)
    with pytest.raises(ValueError, match="frames a second"):
        segment_frames(10, bound=(0, 1))


@pytest.mark.parametrize("kind", [LlamaTokenizer, AutoTokenizer])
def test_the_lone_space_mark_stays_with_a_tokenizer_that_leaves_it_out(tmp_path, kind):
    """Published folders say legacy: false, and transformers' LlamaTokenizer then tokenises a prompt otherwise.

    Ours goes piece by piece around the video, so the ids are those of the released run either way.
    """
    copy = tmp_path / "copy"
    shutil.copytree(peer_cases.checkpoint(PEER, "base"), copy)
    settings = json.loads((copy / "tokenizer_config.json").read_text())
    (copy / "tokenizer_config.json").write_text(json.dumps({**settings, "legacy": False}))
    tokenizer, case = kind.from_pretrained(copy), peer_cases.content(PEER, peer_cases.OWN)["lora"][0]
    task, style = CONVERSATION[case["conv_mode"]]
    prompt = "".join(conversation(task, style).pieces(case["question"]))
    if kind is LlamaTokenizer:
        assert tokenizer(prompt).input_ids != case["input_ids"], "the trap is there"
    ours = tokenize_prompt(prompt, tokenizer)
    assert [2000 if token < 0 else token for token in ours] == case["input_ids"]
