"""D-CoDe as its released code gives it: frames, tokens, prompts, sub-questions, whole passes with a stand-in model."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import field
import numpy as np
import pytest
import torch

from sfllava_bench.answers import subquestions
from sfllava_bench.answers.experiment import Experiment
from sfllava_bench.answers.subquestions import (
    answer_in_parts,
    complete_sentences,
    messages,
    read_subquestions,
    released_choice_prompt,
    subquestion_prompt,
    without_percent,
)
from sfllava_bench.questions.benchmarks.base import find_benchmark
from sfllava_bench.runs.others import score_predictions
from sfllava_bench.scores.predictions import differing, join, questions_of, read_predictions, readings
from sfllava_core import PromptError, parse_choice, sample_frame_indices
from sfllava_core.methods.dcode import DCoDe, choose_frames, merge_tokens


def check_frame_indices(inputs, outputs):
    assert sample_frame_indices(inputs["total_frames"], inputs["num_frames"]) == outputs["indices"]


def check_frame_selection(inputs, outputs):
    embeddings = torch.from_numpy(np.asarray(inputs["features"], dtype=np.float32))
    chosen = choose_frames(embeddings, inputs["N"], inputs["uniform_ratio"])
    if len(embeddings) > 1 and (embeddings == embeddings[0]).all():  # which one of the same comes is rounding's choice
        assert len(chosen) == inputs["N"] and chosen == sorted(chosen)
        return
    assert chosen == outputs["indices"]
    assert outputs.get("num_uniform") in (None, int(inputs["N"] * inputs["uniform_ratio"]))


def check_token_merge(inputs, outputs):
    features = torch.from_numpy(np.asarray(inputs["features"], dtype=np.float32))
    settings = inputs["top_k"], inputs["similarity_threshold"], inputs["merge_strategy"]
    merged = [merge_tokens(frame, *settings) for frame in features]
    assert [len(tokens) for tokens, _ in merged] == outputs["tokens_per_frame"]
    assert torch.cat([places for _, places in merged]).tolist() == list(outputs["kept_token_ids"])
    expected = torch.from_numpy(np.asarray(outputs["tokens"], dtype=np.float32)).reshape(-1, features.shape[-1])
    torch.testing.assert_close(torch.cat([tokens for tokens, _ in merged]), expected, rtol=0, atol=1e-5)


def check_parse(inputs, outputs):
    option = outputs.get("option", "none")  # an empty text crashes there
    assert (parse_choice(inputs["pred"]) or "none") == option
    place = DCoDe().read_choice(inputs["pred"], ["v", "w", "x", "y", "z"])
    assert ("none" if place is None else "abcde"[place]) == option


def check_prompt(inputs, outputs):
    style = "chatml" if "34b" in inputs["conv_mode"] else "vicuna"
    if "options" not in inputs:
        assert "".join(DCoDe().open_ended(inputs["question"], style)) == outputs["prompt"]
        return
    if inputs.get("sub_question"):
        assert "".join(subquestion_prompt(inputs["question"])) == outputs["prompt"]
        return
    asked, captions = (inputs["question"], inputs["options"]), inputs.get("captions_text") or ""
    if style == "chatml":
        assert "error" in outputs
        with pytest.raises(PromptError, match="7B"):
            DCoDe().multiple_choice(*asked, style, captions=captions)
        return
    ours = "".join(DCoDe().multiple_choice(*asked, style, captions=captions))
    assert captions in ours, "ours keeps every %"
    if "error" in outputs:
        with pytest.raises((TypeError, ValueError)) as raised:
            released_choice_prompt(*asked, captions)
        assert raised.type.__name__ == outputs["error"]
        return
    assert released_choice_prompt(*asked, captions) == outputs["prompt"]
    if "%" not in captions:
        assert ours == outputs["prompt"]
    if not captions:
        assert "".join(DCoDe().multiple_choice(*asked, style)) == outputs["prompt"]


def check_request(inputs, outputs):
    assert messages(inputs["question"], inputs["variant"]) == outputs["messages"]
    assert (subquestions.MODEL, subquestions.TEMPERATURE) == (outputs["model"], outputs["temperature"])
    assert without_percent(inputs["model_reply"]) == outputs["returned"]


def check_list(inputs, outputs):
    if "error" in outputs:
        with pytest.raises(ValueError, match="ask again"):
            read_subquestions(inputs["text"])
    else:
        assert read_subquestions(inputs["text"]) == outputs["list"]


def check_sentences(inputs, outputs):
    assert complete_sentences(inputs["text"]) == outputs["text"]


def check_flow(inputs, outputs):
    settings, replies, calls = inputs["settings"], iter(inputs["model_outputs"]), []

    def generate(prompt, max_new_tokens):
        calls.append(("".join(prompt), max_new_tokens))
        return next(replies)

    loaded, kept, uniform = settings["num_frames"], settings["select_frames"], settings["uniform_ratio"]
    tokens = settings["dcode_top_k"], settings["dcode_similarity_threshold"], settings["dcode_merge_strategy"]
    method = DCoDe(loaded, kept, uniform, *tokens)
    parts = inputs.get("options", ()), inputs.get("sub_questions", ())
    answer, _ = answer_in_parts(generate, method, inputs["question"], *parts)
    if "error" in outputs:  # every open question of the released scripts: two arguments too many
        assert "options" not in inputs and outputs["error"] == "TypeError" and "".join(answer)
        return
    assert answer == outputs["pred"]
    expected = [(call["prompt"], call["generation"]["max_new_tokens"]) for call in outputs["calls"]]
    assert calls == expected
    assert not any(call["generation"]["do_sample"] for call in outputs["calls"]), "greedy, as everything here is"
    assert outputs["frame_selection"] == {"N": method.kept, "uniform_ratio": method.uniform, "frames": 50}
    found = {"top_k": method.top_k, "merge_strategy": method.merge, "similarity_threshold": method.threshold}
    assert outputs["dcode_config"] == {"image_aspect_ratio": "resize", **{f"dcode_{k}": v for k, v in found.items()}}
    sizes = {call["generation"].get("no_repeat_ngram_size") for call in outputs["calls"]}
    task = "multiple_choice" if "options" in inputs else "open_ended"
    assert sizes == {Experiment("flow", method).no_repeat(task)}


def check_shipped(inputs, outputs):
    """The shipped texts are not here, so what is checked is the way from a file to the counts: a file of that form is
    made with as many rows, right ones, and rows that the two rules read as the case says, and scored as others' are.
    """
    differ, options = outputs["rows_where_rules_differ"], ["one", "two", "three", "four", "five"]
    right = outputs["right_released_rule"] - sum(row["released"] == row["truth"] for row in differ)
    rows = [(row["id"], row["truth"], f"{row['first_letter'].upper()} or {row['released'].upper()})") for row in differ]
    for number in range(outputs["rows"] - len(differ)):
        said, truth = number % 5, (number if number < right else number + 1) % 5
        rows.append((f"made{number}", "abcde"[truth], f"{'ABCDE'[said]}) {options[said]}"))
    with TemporaryDirectory() as folder:
        file = Path(folder) / "merge.jsonl"
        lines = [
            {"task_name": inputs["benchmark"], "question": "what?", "id": key, "answer_number": "abcde".index(truth),
             "candidates": options, "answer": options["abcde".index(truth)], "pred": text}
            for key, truth, text in rows
        ]  # fmt: skip
        file.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
        benchmark = find_benchmark(inputs["benchmark"].lower())
        predictions = read_predictions(file)
        questions = questions_of(benchmark, predictions, file)
        found = readings(questions, join(questions, predictions, file)[0])
        counts = {rule: sum(row[rule] == row["right"] for row in found) for rule in ("reference", "first_letter")}
        assert counts == {"reference": outputs["right_released_rule"], "first_letter": outputs["right_first_letter"]}
        two = differing(found, ("reference", "first_letter"))
        assert [(row["id"], row["reference"], row["first_letter"], row["right"]) for row in two] == [
            (row["id"], *(row[name].upper() for name in ("released", "first_letter", "truth"))) for row in differ
        ]
        if differ:  # the whole way once: its intervals take seconds
            results, _ = score_predictions(benchmark.name, file, out=folder, say=lambda _: None)
            values = {one.name: one.over_expected.value for one in results.metrics}
            assert values["accuracy"] == pytest.approx(outputs["accuracy_released_rule"])
            assert values["accuracy_first_letter"] == pytest.approx(outputs["accuracy_first_letter"])
            assert round(values["accuracy"], 1) == outputs["published"]


CHECKS = {
    "frame_indices": check_frame_indices,
    "frame_selection": check_frame_selection,
    "frame_selection_short": check_frame_selection,
    "token_merge": check_token_merge,
    "token_merge_tiny": check_token_merge,
    "parse": check_parse,
    "prompt": check_prompt,
    "subquestion_request": check_request,
    "subquestion_list": check_list,
    "complete_sentences": check_sentences,
    "flow": check_flow,
    "shipped_predictions": check_shipped,
}


@field.each("dcode", CHECKS)
def test_as_released(check, inputs, outputs):
    check(inputs, outputs)
