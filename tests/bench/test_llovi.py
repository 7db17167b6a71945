"""LLoVi as its released code gives it: narrations, requests, replies, evaluations; and what is ours."""

import field
import pytest

from sfllava_bench.captions import llovi
from sfllava_bench.captions.llovi import LLoVi, narration, summarise_and_answer, with_backup
from sfllava_bench.captions.prompts import examples_block, prompts
from sfllava_bench.captions.replies import READERS, UNREAD, UnreadableReplyError
from sfllava_bench.captions.scoring import (
    CATEGORIES,
    by_category,
    category_shares,
    evaluate,
    evaluate_grounding,
    evaluate_next,
    summary_lengths,
)

FLAGS = {"--disable_eval", "--start_from_scratch", "--save_info"}
SETTINGS = {
    "--prompt_type": ("prompt", str),
    "--model": ("model", str),
    "--temperature": ("temperature", float),
    "--fps": ("fps", float),
    "--caption_every": ("every", int),
    "--num_words_in_sum": ("words", int),
    "--max_new_tokens": ("new_tokens", int),
}
ELSE = {"--data_path", "--anno_path", "--duration_path", "--dataset", "--task", "--num_examples_to_run", "--save_every",
        "--fewshot_example_path", "--backup_pred_path", "--videomme_type", "--api_key"}  # fmt: skip
RANDOM_LETTER = "Randomly return one letter from A, B, C, D."  # what the released code asks after a refused request


class RefusedError(RuntimeError):
    """The stand-in of a refused request."""


def inputs() -> dict:
    return field.whole("llovi")["inputs"]


def arguments(args: list[str]) -> dict[str, str]:
    """A released command's options; one that is not known here fails the test."""
    found, left = {}, list(args)
    while left:
        name = left.pop(0)
        assert name in FLAGS | set(SETTINGS) | ELSE, f"{name} is not known to this test"
        found[name] = "" if name in FLAGS else left.pop(0)
    return found


def questions(given: dict[str, str], records: dict) -> list[dict]:
    """The questions of a run in its order: uid, captions, question, options, seconds, truth."""
    dataset, known = given.get("--dataset", "egoschema"), inputs()
    if dataset == "videomme":
        captions, rows = known["videomme_captions"], known["videomme_anno"]
        asked = [(uid, one["videoID"], one, [one[f"option {n}"] for n in range(4)], one) for uid, one in rows.items()]
    elif dataset == "egoschema":
        captions, rows = known["captions"], known["anno"]
        asked = [(uid, uid, one, [one[f"option {n}"] for n in range(5)], one) for uid, one in rows.items()]
    else:
        captions, rows = known["next_captions"], known["next_rows"]
        asked = [(f"{one['video']}_{one['qid']}", str(one["video"]), one, [one[f"a{n}"] for n in range(5)],
                  {"truth": one["answer"]}) for one in rows]  # fmt: skip
    if given.get("--data_path", "<cap>") not in ("<cap>", "<ncap>", "<vcap>"):  # summaries: told by the records alone
        captions = {video: records[uid]["narration"] for uid, video, *_ in asked if uid in records}
    found = [{"uid": uid, "captions": captions[video], "question": one["question"], "options": options,
              "seconds": known["durations"].get(video, 0), "truth": truth.get("truth", -1)}
             for uid, video, one, options, truth in asked if video in captions]  # fmt: skip
    most = int(given.get("--num_examples_to_run", -1))
    return found if most < 0 else found[:most]


def examples() -> str:
    told = [{"video": video, "question": one["question"], "options": [one[str(n)] for n in range(5)],
             "answer": one["truth"]} for video, one in inputs()["fewshot"].items()]  # fmt: skip
    return examples_block(told, inputs()["captions"])


def check_narration(case):
    assert narration(case["captions"], case["caption_every"]) == case["narration"]


def check_templates(case):
    ours = prompts("llovi")
    assert set(ours) == set(case)
    for name, one in case.items():
        assert (ours[name].system, list(ours[name].stages)) == (one["head"], one["stages"])


def check_defaults(case):
    ours = LLoVi()
    theirs = [case[name] for name in ("prompt_type", "model", "temperature", "fps", "caption_every",
                                      "num_words_in_sum", "max_new_tokens")]  # fmt: skip
    assert [ours.prompt, ours.model, ours.temperature, ours.fps, ours.every, ours.words, ours.new_tokens] == theirs


def check_run(case):
    given = arguments(case["args"])
    setting = LLoVi(**{SETTINGS[name][0]: SETTINGS[name][1](one) for name, one in given.items() if name in SETTINGS})
    block = examples() if "--fewshot_example_path" in given else None
    requests = list(case["requests"] or []) or [
        {"pipeline": call["input"], **call["kwargs"]} for call in case["pipeline_calls"]
    ]
    if case.get("raises"):  # a run that dies there: what it asked until then
        for one, expected in zip(questions(given, {}), requests):
            slots = setting.slots(one["captions"], one["question"], one["options"], one["seconds"], block)
            told = expected.get("pipeline") or expected["messages"]
            assert told == (setting.text(slots) if isinstance(told, str) else setting.template.messages(slots))
        return
    found, records = {}, case["records"]
    for one in questions(given, records):
        slots = setting.slots(one["captions"], one["question"], one["options"], one["seconds"], block)
        record = records[one["uid"]]
        assert (slots["narration"], one["truth"]) == (record["narration"], record["truth"])
        assert record.get("duration", slots["duration"]) == slots["duration"]

        def ask(messages, record=record, slots=slots):
            expected = requests.pop(0)
            if "pipeline" in expected:
                told = expected["pipeline"]
                assert told == (messages if isinstance(told, list) else setting.text(slots))
                assert (expected["do_sample"], expected["max_new_tokens"]) == (False, setting.new_tokens)
                return record["response"]
            assert setting.request(messages) == expected
            following = requests[0]["messages"] if requests else []
            if following and following[-1]["content"] == RANDOM_LETTER:
                del requests[0]
                raise RefusedError
            return following[len(messages)]["content"] if len(following) > len(messages) else record["response"]

        try:
            found[one["uid"]] = setting.answer(ask, slots)[0]
        except RefusedError:
            found[one["uid"]] = None
    assert not requests and set(found) == set(records)
    if "--backup_pred_path" in given:
        found = with_backup(found, {uid: record["pred"] for uid, record in records.items()})
    for uid, place in found.items():
        assert place is None or place == records[uid]["pred"]
    if case["stats"] and None not in found.values():
        check_stats(case["stats"], {uid: (place, records[uid]["truth"]) for uid, place in found.items()},
                    4 if given.get("--dataset") == "videomme" else 5)  # fmt: skip


def check_stats(stats: dict, pairs: dict, options: int) -> None:
    if "Acc" in stats:
        assert evaluate_next(pairs, types(), "llovi") == pytest.approx(stats)
        return
    counted = evaluate(pairs.values(), "llovi", options)
    assert (counted.total, counted.readable) == (stats["num_total"], stats["num_valids"])
    assert (counted.correct, counted.accuracy) == pytest.approx((stats["num_corrects"], stats["acc"]))


def types() -> dict[str, str]:
    return {f"{one['video']}_{one['qid']}": one["type"] for one in inputs()["next_rows"]}


def reader_check(name: str):
    def check(case):
        read = READERS[name]
        if case.get("raises") is None:
            assert read(case["in"]) == case["out"]
        elif name in ("first_letter", "letter_after_anchor"):  # a crash there, nothing that can be read here
            assert read(case["in"]) == UNREAD
        else:
            with pytest.raises(UnreadableReplyError):
                read(case["in"])

    return check


def check_flat(case):
    options = {"eval_qa_egoschema": 5, "eval_qa_videomme": 4}[case["function"]]
    check_stats(case["stats"], dict(enumerate(map(tuple, case["pairs"]))), options)


def pairs_of(predictions: dict) -> dict[str, tuple]:
    return {uid: (one["pred"], one["truth"]) for uid, one in predictions.items()}


def check_next(case):
    assert evaluate_next(pairs_of(case["preds"]), types(), "llovi") == pytest.approx(case["stats"])


def check_summaries(case):
    assert summary_lengths(list(case["in"].values())) == pytest.approx(case["stats"])


def check_grounding(case):
    truths = {f"{video}_{question}": spans for video, one in case["gt"].items()
              for question, spans in one["location"].items()}  # fmt: skip
    spans = {uid: one["pred"] for uid, one in case["pred"].items()}
    assert evaluate_grounding(spans, truths, pairs_of(case["qa"])) == pytest.approx(case["stats"])


def check_categories(case):
    categories = {uid: several for _, uid, several in case["cats"]}
    shares, (accuracies, overall) = (
        category_shares(categories),
        by_category(pairs_of(case["preds"]), categories, "llovi"),
    )
    lines = ["Category Statistics:", *(f"{CATEGORIES[name]}: {share:.1f}" for name, share in shares.items())]
    lines += ["", "Evaluation:", *(f"{CATEGORIES[name]}: {one:.1f}" for name, one in accuracies.items())]
    assert "\n".join([*lines, "", f"all: {overall:.1f}", ""]) == case["printed"]


def check_block(case):
    assert examples() == case


CHECKS = {
    "narration": check_narration,
    "templates": check_templates,
    "argument_defaults": check_defaults,
    "runs": check_run,
    "parse-first_char_as_answer": reader_check("first_letter"),
    "parse-first_char_after_anchor": reader_check("letter_after_anchor"),
    "parse-get_intervals_as_list": reader_check("intervals"),
    "eval_flat": check_flat,
    "eval_next": check_next,
    "eval_sum": check_summaries,
    "eval_gqa": check_grounding,
    "eval_categories": check_categories,
    "fewshot_block": check_block,
}


@field.each_of_groups("llovi", CHECKS)
def test_as_released(check, case):
    check(case)


def test_the_settings_of_the_published_numbers():
    """EgoSchema's subset by GPT-3.5, 51.2 plain and 57.4 by way of a summary; the NExT rows by GPT-4."""
    assert (llovi.STANDARD.prompt, llovi.STANDARD.model, llovi.STANDARD.every) == (
        "qa_standard", "gpt-3.5-turbo-0613", 1)  # fmt: skip
    assert (llovi.SUMMARY.words, llovi.SUMMARY.temperature, llovi.FROM_SUMMARY.temperature) == (500, 1.0, 0.0)
    assert (llovi.NEXT.model, llovi.NEXT.every) == ("gpt-4-1106-preview", 2)
    assert "every 2 frames" in llovi.NEXT.text(llovi.NEXT.slots(["a"] * 5, "why", list("abcde")))


def test_a_summary_for_the_question_is_made_first_and_read_as_captions():
    asked = []

    def ask(messages):
        asked.append(messages[-1]["content"])
        return "They cook." if len(asked) == 1 else "B"

    place, reply, summary = summarise_and_answer(ask, ["a", "b"], "What is done?", list("vwxyz"), 60)
    assert (place, reply, summary) == (1, "B", "They cook.")
    assert "500 words" in asked[0] and "0: a.\n1: b" in asked[0] and asked[0].endswith("What is done?")
    assert "descriptions: They cook..\n" in asked[1] and "0: a" not in asked[1]


def test_an_unread_answer_earns_nothing_unless_the_credit_is_asked_for():
    pairs = [(UNREAD, 0), (0, 0), (None, 1)]
    assert evaluate(pairs).correct == 1 and evaluate(pairs, "llovi").correct == pytest.approx(1.2)
    assert evaluate(pairs, "llovi", options=4).correct == pytest.approx(1.25)
    with pytest.raises(ValueError, match=r"credit 'lovi': choose one of none, llovi"):
        evaluate(pairs, "lovi")


def test_a_seed_is_sent_where_it_is_given():
    assert "seed" not in llovi.SUMMARY.request([])
    assert LLoVi("sum_q", temperature=1.0, seed=7).request([]) == {
        "model": "gpt-3.5-turbo-0613", "messages": [], "temperature": 1.0, "seed": 7}  # fmt: skip


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LLoVi("qa_nxt"), "llovi has no prompt 'qa_nxt': choose one of qa_standard"),
        (lambda: LLoVi(fps=0), "fps=0, every=1, words=500: each must be above 0"),
        (lambda: narration(["a"], 0), "every=0: give 1 or more"),
        (lambda: LLoVi().slots(["a"], "q", list("abcdef")), "6 options: the prompts have room for 5"),
        (lambda: LLoVi().text(LLoVi().slots(["a"], "q", list("abcd"))), "has a slot .optionE: give it a value"),
        (lambda: evaluate([]), "no answers"),
    ],
)
def test_what_cannot_be_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
