"""From records to numbers: over expected and over answered, both rules, the judge's scales, the paper beside them."""

import json
import math
from dataclasses import asdict

import pytest

from sfllava_bench.answers.counts import Counts, CountsError, collect
from sfllava_bench.questions.records import ASPECTS, Question, questions_fingerprint
from sfllava_bench.reports.results import (
    QuestionSet,
    ResultsError,
    clean,
    make_results,
    read_results,
    text_rows,
    write_results,
)
from sfllava_bench.reports.timing import same_answers, timing
from sfllava_bench.scores.judge import Judgements
from sfllava_bench.scores.scores import all_metrics, choice_reading
from sfllava_core import SpecError

OPTIONS = ("a cat", "a dog", "a cow", "a hen", "a pig")
SETTINGS = {"method": "frames4_slow2-to2x2_fastall-to1x1", "by": "generation"}


def outcome_of(questions, answers, watched=(), **settings):
    """A run's records; an answer of None is a failure, one that is not named is pending."""
    records = [
        {"key": key, "error": "cut short"} if text is None else {"key": key, "answers": [text]}
        for key, text in answers.items()
    ]
    settings = {**SETTINGS, "questions": questions_fingerprint(questions), **settings}
    return collect(settings, "f" * 16, [*records, *watched])


def choices(number):
    return [
        Question("nextqa", f"q{n}", f"v{n // 2}", ("what?",), OPTIONS[n % 5], "multiple_choice", OPTIONS, n % 5,
                 "CH" if n % 3 else "TN")
        for n in range(number)
    ]  # fmt: skip


def test_accuracy_over_expected_and_over_answered():
    questions = choices(10)
    answers = {"q0": "A", "q1": "(B) a dog", "q2": "C)", "q3": "A", "q4": "A man", "q5": "A man", "q6": None, "q7": ""}
    outcome = outcome_of(questions, answers)
    assert str(outcome.counts(questions)) == "10 expected = 7 answered + 1 failed + 2 pending"
    found = {metric.name: metric for metric in all_metrics(questions, outcome)}
    assert found["accuracy"].over_expected.value == 40  # q0, q1, q2, q5: "A man" counts as option a there
    assert found["accuracy"].over_answered.value == pytest.approx(100 * 4 / 7)
    assert found["accuracy_strict"].over_expected.value == 30
    assert found["accuracy"].groups.keys() == {"CH", "TN"}
    weighted = sum(one.value * one.questions for one in found["accuracy"].groups.values()) / 10
    assert weighted == pytest.approx(40)
    reading = choice_reading(questions, outcome)
    assert (reading.rows, reading.differ, reading.unread) == (7, 2, {"reference": 1, "strict": 3})


def test_letters_of_likelihood_are_taken_as_they_are():
    questions = choices(2)
    records = [{"key": "q0", "letter": "A", "scores": []}, {"key": "q1", "letter": "C", "scores": []}]
    outcome = collect({**SETTINGS, "by": "likelihood", "questions": questions_fingerprint(questions)}, "f", records)
    assert [(m.name, m.over_expected.value) for m in all_metrics(questions, outcome)] == [("accuracy", 50)]
    assert choice_reading(questions, outcome) is None


def test_choices_are_read_by_the_rule_of_the_method_that_asked():
    """IG-VLM reads capitals alone, TS-LLaVA knows an F; asked as the paper does, all are read as the paper does."""
    questions = choices(4)
    answers = {"q0": "a cat", "q1": "B", "q2": "see", "q3": "Fine. D)"}

    def found(**settings):
        outcome = outcome_of(questions, answers, **settings)
        values = {one.name: one.over_expected.value for one in all_metrics(questions, outcome)}
        return values, choice_reading(questions, outcome)

    own, reading = found(method="igvlm6", prompts="own")
    assert own == {"accuracy": 50, "accuracy_reference": 75, "accuracy_strict": 25}
    assert reading.unread == {"own": 2, "reference": 1, "strict": 3} and reading.differ == 2
    assert [one.published_as for one in all_metrics(questions, outcome_of(questions, answers, method="igvlm6"))] == [
        "accuracy", "", ""
    ]  # fmt: skip
    papers = found()
    assert list(papers[0].items()) == [("accuracy", 75), ("accuracy_strict", 25)]
    assert found(method="igvlm6", prompts="paper") == papers == found(method="freeva4-D1")
    answers["q3"] = "F) D)"  # the first of A to F, or of A to E
    assert found(method="tsllava")[0]["accuracy"] == 75 == found()[0]["accuracy"]
    answers["q3"] = "F"
    assert found(method="tsllava")[1].unread["own"] == found()[1].unread["reference"] == 2


def test_a_method_that_is_not_defined_here_is_asked_for_before_its_choices_are_scored(tmp_path):
    questions = choices(2)
    outcome = outcome_of(questions, {"q0": "A", "q1": "B"}, method="of_a_notebook3")
    with pytest.raises(SpecError, match=r"the run's method is 'of_a_notebook3'.*define it first .*then score again"):
        all_metrics(questions, outcome)
    asked = open_questions(2)
    assert all_metrics(asked, outcome_of(asked, {}, method="of_a_notebook3"))[0].name == "exact_match"


def open_questions(number, group="what", task="open_ended"):
    return [Question("msvd", f"{group}{n}", f"v{n // 3}", ("what?",), "a red ball", task, group=group)
            for n in range(number)]  # fmt: skip


def test_open_ended_without_a_judge_has_no_metric_of_the_papers():
    questions = open_questions(4)
    outcome = outcome_of(
        questions, {"what0": "A red ball.", "what1": "It is a red ball", "what2": "red", "what3": None}
    )
    found = {metric.name: metric for metric in all_metrics(questions, outcome)}
    assert found.keys() == {"exact_match", "contains_answer", "token_f1"}
    assert not any(metric.published_as for metric in found.values())
    assert found["exact_match"].over_expected.value == 25
    assert found["contains_answer"].over_expected.value == 50
    assert found["contains_answer"].over_answered.value == pytest.approx(200 / 3)
    results = make_results(questions, outcome, published={"accuracy": 79.1, "score": 4.1})
    assert all(row["paper"] is None for row in results.rows())


def test_the_judges_accuracy_and_score():
    questions = open_questions(5)
    outcome = outcome_of(questions, {"what0": "x", "what1": "x", "what2": "x", "what3": "x", "what4": None})
    verdicts = {"what0": (True, 4.8), "what1": (True, 5.0), "what2": (False, 1.0)}  # what3 could not be judged
    judged = {(key, "open_ended"): {"yes": yes, "score": score, "served_model": "m"}
              for key, (yes, score) in verdicts.items()}  # fmt: skip
    judgements = Judgements(judged, {("what3", "open_ended"): "unusable"}, 5, 1, {"model": "m"})
    found = {metric.name: metric for metric in all_metrics(questions, outcome, judgements)}
    assert found["judge_accuracy"].over_expected.value == 40
    assert found["judge_accuracy"].over_answered.value == pytest.approx(200 / 3)
    assert found["judge_score"].over_answered.value == pytest.approx(10.8 / 3)
    assert found["judge_score_cut"].over_answered.value == pytest.approx(10 / 3)  # int(4.8) of the released code
    results = make_results(questions, outcome, judgements, published={"accuracy": 79.1, "score": 4.1})
    by_name = {row["metric"]: row for row in results.rows()}
    assert (by_name["judge_accuracy"]["paper"], by_name["judge_score"]["paper"]) == (79.1, 4.1)
    assert by_name["judge_score_cut"]["paper"] == by_name["token_f1"]["paper"] is None
    assert str(results.judge.counts) == "5 expected = 3 answered + 2 failed"


def test_vcgbench_has_five_scores_and_their_plain_mean():
    """12, 3 and 3 questions: weighed by their number the mean would be 2.93."""
    questions = [
        question
        for group, number in (("generic", 12), ("temporal", 3), ("consistency", 3))
        for question in open_questions(number, group, "text_generation")
    ]
    outcome = outcome_of(questions, {question.key: "x" for question in questions})
    scores = {"correctness": 3.0, "detail": 2.5, "context": 3.5, "temporal": 1.0, "consistency": 4.0}
    judged = {
        (question.key, aspect): {"score": scores[aspect], "served_model": "m"}
        for question in questions
        for aspect in question.aspects
    }
    judgements = Judgements(judged, {}, len(judged), 0, {})
    metrics = all_metrics(questions, outcome, judgements)
    found = {metric.published_as: metric.over_expected.value for metric in metrics}
    assert found == pytest.approx({**scores, "mean": 2.8})
    del judged["consistency0", "consistency"], judged["generic0", "detail"]  # what failed is 0, or left out
    metrics = {metric.name: metric for metric in all_metrics(questions, outcome, judgements)}
    assert metrics["judge_mean"].over_answered.value == pytest.approx(2.8)
    assert metrics["judge_mean"].over_expected.value == pytest.approx((3 + 2.5 * 11 / 12 + 3.5 + 1 + 4 * 2 / 3) / 5)
    published = dict(zip([*ASPECTS, "mean"], (3.09, 2.70, 3.57, 2.52, 3.35, 3.04)))
    results = make_results(questions, outcome, judgements, published=published)
    assert [row["paper"] for row in results.rows()] == [3.09, 2.7, 3.57, 2.52, 3.35, 3.04]


def test_published_values_get_their_verdict():
    questions = choices(60)
    outcome = outcome_of(questions, {q.key: q.answer_letter if n % 2 else "none" for n, q in enumerate(questions)})
    for published, lies in ((50.0, "inside"), (99.0, "above"), (1.0, "below")):
        row = make_results(questions, outcome, published={"accuracy": published}).rows()[0]
        assert (row["value"], row["paper"], row["paper_is"]) == (50.0, published, lies)


def test_results_survive_the_file_and_other_versions_are_refused(tmp_path):
    questions = choices(3)
    results = make_results(questions, outcome_of(questions, {"q0": "A"}), published={"accuracy": 64.2})
    assert results.set == QuestionSet(questions=3, videos=2, published_questions=4996, published_videos=570)
    assert not results.set.whole
    write_results(results, tmp_path / "results.json")
    found = read_results(tmp_path / "results.json")
    assert clean(asdict(found)) == clean(asdict(results))  # NaN equals nothing, not even itself
    assert [file.name for file in tmp_path.iterdir()] == ["results.json"]
    for content, reason in (
        ({**json.loads((tmp_path / "results.json").read_text()), "schema_version": 99}, "99"),
        ({"schema_version": 3}, "it lacks run"),
        ({"schema_version": 2}, "schema version 2, this kit reads 3: the same command makes it again from its answers"),
        ([], "None"),
    ):
        (tmp_path / "other.json").write_text(json.dumps(content))
        with pytest.raises(ResultsError, match=reason):
            read_results(tmp_path / "other.json")
    with pytest.raises(ResultsError, match="cannot be read"):
        read_results(tmp_path / "nowhere.json")


def test_an_unknown_interval_is_null_and_not_a_number_that_json_has_not(tmp_path):
    questions = choices(2)  # one video
    results = make_results(questions, outcome_of(questions, {"q0": "A", "q1": "E"}))
    assert math.isnan(results.metrics[0].over_expected.low) and results.rows()[0]["low"] is None
    assert text_rows(results.rows())[0]["value (95 %)"] == "50.0"
    text = write_results(results, tmp_path / "r.json").read_text()
    assert "NaN" not in text and json.loads(text)["metrics"][0]["over_expected"]["low"] is None
    assert math.isnan(read_results(tmp_path / "r.json").metrics[0].over_expected.low)


def test_counts_always_balance():
    with pytest.raises(CountsError, match="do not balance"):
        Counts(10, 5, 4, 2)
    with pytest.raises(CountsError, match="do not balance"):
        Counts(3, 5, 0, -2)
    questions = choices(3)
    with pytest.raises(CountsError, match="unknown keys"):
        outcome_of(questions, {"strange": "A"}).counts(questions)
    with pytest.raises(CountsError, match="answered twice"):
        collect(SETTINGS, "f", [{"key": "q0", "answers": ["A"]}, {"key": "q0", "answers": ["B"]}])


def watched(video, questions, **seconds):
    return {"watched": video, "questions": questions, "seconds": {**seconds, "total": sum(seconds.values())}}


def test_timing_tells_what_sharing_saves():
    questions = choices(6)
    seen = [watched("v0", 4, decode=1.0, encode=2.0, pool=0.0, prefill=3.0, answer=0.4),
            watched("v1", 2, decode=1.0, encode=2.0, pool=0.0, prefill=3.0, answer=0.2)]  # fmt: skip
    found = timing(outcome_of(questions, {q.key: "A" for q in questions}, seen))
    assert found.shared_way == pytest.approx(2 * 6 + 0.6)
    assert found.released_way == pytest.approx(6 * 6 + 0.6)
    assert found.saved == pytest.approx(4 * 6)
    assert (found.questions, found.videos) == (6, 2)
    assert not math.isnan(found.rate)


def test_answers_are_compared_to_the_letter():
    questions = choices(3)
    a = outcome_of(questions, {"q0": "A", "q1": "B", "q2": None})
    b = outcome_of(questions, {"q0": "A", "q1": "B ", "q2": "C"})
    assert same_answers(a, b) == (2, 1)
