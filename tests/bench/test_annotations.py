"""Annotation files to questions: every format, every fault named, the published sizes."""

import csv
import json
import tracemalloc

import pytest

from sfllava_bench.questions.annotations import AnnotationError, load_annotations, question_counts
from sfllava_bench.questions.benchmarks.base import BENCHMARKS
from sfllava_bench.questions.records import questions_fingerprint

PUBLISHED = {  # questions, videos: section 4 of the facts
    "msvd": (6415, 245), "msrvtt": (12278, 497), "tgif": (13691, 7132), "activitynet": (8000, 800),
    "nextqa": (4996, 570), "egoschema": (500, 500), "intentqa": (2044, 524), "vcgbench": (1996 + 499 + 499, 499),
}  # fmt: skip
EXCERPTS = {
    "msvd": (6, 2), "msrvtt": (6, 2), "tgif": (6, 2), "activitynet": (6, 2), "nextqa": (6, 2), "egoschema": (2, 2),
    "intentqa": (3, 1), "vcgbench": (6, 2),
}  # fmt: skip


@pytest.mark.parametrize("benchmark", PUBLISHED)
def test_the_full_files_have_the_published_sizes(benchmark, real_annotations):
    questions = load_annotations(benchmark, real_annotations)
    assert question_counts(questions) == PUBLISHED[benchmark]
    assert sum(len(q.questions) for q in questions) == PUBLISHED[benchmark][0] + 499 * (benchmark == "vcgbench")
    assert len({q.key for q in questions}) == len(questions)
    assert (BENCHMARKS[benchmark].questions, BENCHMARKS[benchmark].videos) == PUBLISHED[benchmark]


def test_the_full_files_parts_and_quirks(real_annotations):
    sizes = {
        file: len(load_annotations("vcgbench", real_annotations / file))
        for file in ("Generic_QA.csv", "Temporal_QA.csv", "Consistency_QA2.csv")
    }
    assert list(sizes.values()) == [1996, 499, 499]
    as_released = load_annotations("activitynet", real_annotations, repair=False)
    repaired = load_annotations("activitynet", real_annotations)
    changed = [(a.questions[0], b.questions[0]) for a, b in zip(as_released, repaired) if a != b]
    assert len(changed) == 3
    assert all(before.startswith("\n52") and after.startswith("what are the benefits") for before, after in changed)
    assert sum(q.questions[0] != q.questions[0].strip() for q in repaired) == 181 - 3


@pytest.mark.parametrize("benchmark", EXCERPTS)
def test_excerpts_load_from_csv_and_from_the_released_json(benchmark, excerpts):
    from_csv = load_annotations(benchmark, excerpts / "annotations")
    from_json = load_annotations(benchmark, excerpts / "released" / benchmark)
    assert question_counts(from_csv) == EXCERPTS[benchmark] == question_counts(from_json)
    for a, b in zip(from_csv, from_json):
        assert (a.questions, a.answer, a.options, a.answer_index, a.task) == (
            b.questions, b.answer, b.options, b.answer_index, b.task,
        )  # fmt: skip
        assert a.video.removeprefix("v_") == b.video.removeprefix("v_")


def test_tgif_is_keyed_by_video_id_since_question_ids_repeat(excerpts):
    questions = load_annotations("tgif", excerpts / "annotations")
    assert [q.key for q in questions] == [f"FRAMEQA{900 + n}" for n in range(6)]
    from_json = load_annotations("tgif", excerpts / "released" / "tgif")
    assert [q.key for q in from_json] == ["001#1", "001#2", "001#3", "002#1", "002#2", "002#3"]


def test_consistency_pairs_are_one_question_with_two_texts(excerpts):
    questions = load_annotations("vcgbench", excerpts / "annotations")
    pairs = [q for q in questions if q.group == "consistency"]
    assert [len(q.questions) for q in pairs] == [2, 2]
    assert pairs[0].questions[0] != pairs[0].questions[1]
    assert {q.group: q.aspects for q in questions} == {
        "generic": ("correctness", "detail", "context"), "temporal": ("temporal",), "consistency": ("consistency",),
    }  # fmt: skip


def test_groups_and_letters(excerpts):
    by_name = {name: load_annotations(name, excerpts / "annotations") for name in ("activitynet", "nextqa", "msvd")}
    assert [q.group for q in by_name["activitynet"]][:3] == ["motion", "temporal", "yes/no"]
    assert [q.group for q in by_name["msvd"]][:3] == ["what", "what", "other"]
    for q in by_name["nextqa"]:
        assert q.options["ABCDE".index(q.answer_letter)] == q.answer


def test_a_stray_number_before_a_question_is_taken_off_unless_the_released_text_is_wanted(excerpts):
    questions = load_annotations("activitynet", excerpts / "annotations")
    as_released = load_annotations("activitynet", excerpts / "annotations", repair=False)
    changed = {a.questions[0]: b.questions[0] for a, b in zip(questions, as_released) if a != b}
    assert changed == {"what colour is the shape": "\n5220,what colour is the shape"}
    assert questions[2].questions == ("is the square yellow ",)  # spaces at the edges stay, prompts are to the letter


def test_a_single_file_will_do(excerpts):
    assert len(load_annotations("egoschema", excerpts / "annotations" / "EgoSchema.csv")) == 2
    assert len(load_annotations("msvd", excerpts / "released" / "msvd" / "val_q.json")) == 6
    parts = load_annotations("vcgbench", excerpts / "annotations" / "Consistency_QA2.csv")
    assert {q.group for q in parts} == {"consistency"}


def write_csv(file, header, *rows):
    with file.open("w", newline="") as lines:
        csv.writer(lines).writerows([header, *rows])
    return file


CHOICE = ["", "video_name", "question_id", "question", "answer", "a0", "a1", "a2", "a3", "a4"]


def test_all_malformed_rows_are_named_at_once(tmp_path):
    file = write_csv(
        tmp_path / "EgoSchema.csv", CHOICE,
        [1, "v", "q1", "what?", "a", "a", "b", "c", "d", "e"],
        [2, "v", "q2", "what?", "x", "a", "b", "c", "d", "e"],
        [3, "v", "q1", "what?", "a", "a", "b", "c", "d", "e"],
        [4, "", "q4", "what?", "a", "a", "b", "c", "d", "e"],
        [5, "v", "q5", "  ", "a", "a", "b", "c", "d", "e"],
        [6, "v", "q6", "what?", "a", "a", "", "c", "d", "e"],
        [7, "v", "q7", "what?", "a", "a", "b"],
        [8, "../../etc/passwd", "q8", "what?", "a", "a", "b", "c", "d", "e"],
        [9, "/etc/passwd", "q9", "what?", "a", "a", "b", "c", "d", "e"],
    )  # fmt: skip
    with pytest.raises(AnnotationError) as caught:
        load_annotations("egoschema", file)
    problems = caught.value.problems
    assert sorted(int(p.split("row ")[1].split(":")[0]) for p in problems) == [3, 4, 5, 6, 7, 8, 9, 10]
    said = str(caught.value)
    for reason in ("'x' is none of its 5 options", "row 2 too", "video_name", "question is", "an option is empty",
                   "7 cells", "leads out of the videos' folder"):  # fmt: skip
        assert reason in said, reason
    assert "EgoSchema.csv row 3" in said


def test_answer_number_must_agree_with_the_answer(tmp_path):
    header = [*CHOICE[:4], "answer_number", *CHOICE[4:]]
    rows = [[n, "v", f"q{n}", "what?", number, answer, "a", "b", "a", "d", "e"]
            for n, (number, answer) in enumerate([(2, "a"), (1, "a"), (5, "e"), ("two", "a"), (0, "a")])]  # fmt: skip
    with pytest.raises(AnnotationError) as caught:
        load_annotations("nextqa", write_csv(tmp_path / "NExT_QA.csv", header, *rows))
    assert [p.split(":")[0][-1] for p in caught.value.problems] == ["3", "4", "5"]
    sound = load_annotations("nextqa", write_csv(tmp_path / "NExT_QA.csv", header, rows[0], rows[4]))
    assert [q.answer_letter for q in sound] == ["C", "A"]  # of two equal options it is the one with that number


def test_unpaired_rows_are_named(tmp_path, excerpts):
    answers = json.loads((excerpts / "released/msvd/val_a.json").read_text())
    (tmp_path / "val_q.json").write_text((excerpts / "released/msvd/val_q.json").read_text())
    (tmp_path / "val_a.json").write_text(json.dumps([*answers[:-1], {**answers[-1], "question_id": "other"}]))
    with pytest.raises(AnnotationError) as caught:
        load_annotations("msvd", tmp_path)
    assert len(caught.value.problems) == 2
    (tmp_path / "val_a.json").write_text(json.dumps(answers[::-1]))  # another order is no fault: joined by key
    assert load_annotations("msvd", tmp_path) == load_annotations("msvd", excerpts / "released/msvd")
    header = ["video_name", "question", "question_id", "answer", "question_type"]
    write_csv(tmp_path / "Consistency_QA1.csv", header, ["v", "q?", "1", "a", 0], ["v", "q?", "2", "a", 0])
    write_csv(tmp_path / "Consistency_QA2.csv", header, ["v", "q2?", "1", "b", 0], ["v", "q2?", "3", "a", 0])
    with pytest.raises(AnnotationError) as caught:
        load_annotations("vcgbench", tmp_path / "Consistency_QA1.csv")
    assert len(caught.value.problems) == 3


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("MSVD_QA.csv", b"", "no rows"),
        ("MSVD_QA.csv", b"video_name,question,answer,question_id\n", "no rows"),
        ("MSVD_QA.csv", b"video_name,question,answer,question_id\nv,caf\xe9?,x,1\n", "UTF-8"),
        ("MSVD_QA.csv", b'video_name,question,answer,question_id\nv,"what?,x,1\n', "not CSV"),
        ("MSVD_QA.csv", b"video,question,answer,question_id\nv,what?,x,1\n", "video_name is missing"),
        ("val_qa.json", b"{", "not JSON"),
        ("val_qa.json", b"{}", "a list of objects"),
    ],
)
def test_files_that_are_something_else(name, content, reason, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(AnnotationError, match=reason):
        load_annotations("nextqa" if name.endswith("json") else "msvd", tmp_path / name)


def test_missing_files_and_unknown_names(tmp_path, excerpts):
    with pytest.raises(AnnotationError, match="no such file"):
        load_annotations("msvd", tmp_path / "nowhere.csv")
    with pytest.raises(AnnotationError, match=r"MSVD_QA\.csv"):
        load_annotations("msvd", tmp_path)
    with pytest.raises(ValueError, match="msvd, msrvtt"):
        load_annotations("MSVD", excerpts / "annotations")


def test_pocketbench_takes_both_shapes_and_any_number_of_options(tmp_path):
    plain = ["", "video_id", "answer", "question", "video_name", "question_id", "question_type", "family"]
    write_csv(tmp_path / "open.csv", plain, [1, "p1", "a cat", "what is there?", "p1", "p1_0", 0, "detail"])
    write_csv(
        tmp_path / "choice.csv", [*CHOICE[:9], "family"],
        [1, "p1", "p1_0", "which first?", "dog", "cat", "dog", "", "", "order"],
        [2, "p2", "p2_0", "which?", "d", "a", "b", "c", "d", "brief event"],
    )  # fmt: skip
    questions = {q.key: q for q in load_annotations("pocketbench", tmp_path)}
    assert {key: (q.task, q.group, len(q.options)) for key, q in questions.items()} == {
        "choice/p1_0": ("multiple_choice", "order", 2), "choice/p2_0": ("multiple_choice", "brief event", 4),
        "open/p1_0": ("open_ended", "detail", 0),
    }  # fmt: skip
    assert load_annotations("pocketbench", tmp_path / "open.csv")[0].key == "p1_0"


def test_the_fingerprint_of_questions_ignores_order_and_sees_every_letter(excerpts):
    questions = load_annotations("nextqa", excerpts / "annotations")
    assert questions_fingerprint(questions) == questions_fingerprint(questions[::-1])
    other = load_annotations("intentqa", excerpts / "annotations")
    assert questions_fingerprint(questions) != questions_fingerprint(other)
    assert questions_fingerprint(questions) != questions_fingerprint(questions[1:])


OPEN = ["video_name", "question", "question_id", "answer", "question_type"]


def problems_of(benchmark, file) -> list[str]:
    with pytest.raises(AnnotationError) as caught:
        load_annotations(benchmark, file)
    return caught.value.problems


def test_names_of_no_video_and_questions_that_are_a_stray_number_alone_are_named(tmp_path):
    rows = [[name, "what?", n, "a", 0] for n, name in enumerate((".", "./", "/", ".//."))]
    file = write_csv(
        tmp_path / "MSVD_QA.csv", OPEN, *rows, ["v", "\n5220,", 9, "a", 0], ["v", "\n5220, \t", 10, "a", 0]
    )
    problems = problems_of("msvd", file)
    assert [p.split(":")[0] for p in problems] == [f"MSVD_QA.csv row {n}" for n in range(2, 8)]
    assert all("names no video" in problems[n] for n in (0, 1, 3)) and "leads out" in problems[2]
    assert all("nothing is left without the stray number" in problem for problem in problems[4:])


@pytest.mark.parametrize("number", ["²", "9" * 5000, "-1", "5", "1.0", "٣", "0x1"])
def test_numbers_that_are_no_place_among_the_options_are_named(number, tmp_path):
    header, row = [*CHOICE[:4], "answer_number", *CHOICE[4:]], [1, "v", "q", "what?", number, *"aabcde"]
    (problem,) = problems_of("nextqa", write_csv(tmp_path / "NExT_QA.csv", header, row))
    assert problem.startswith("NExT_QA.csv row 2: answer_number") and "is not 0 to 4" in problem
    assert len(problem) < 600


@pytest.mark.parametrize("kind", ["²", "9" * 5000, "-1", "99"])
def test_a_question_type_that_is_no_number_of_a_group_stays_as_it_is(kind, tmp_path):
    file = write_csv(tmp_path / "TGIF_FrameQA.csv", [*OPEN, "video_id"], ["v", "what?", 1, "a", kind, "F1"])
    assert [question.group for question in load_annotations("tgif", file)] == [kind]


@pytest.mark.parametrize("row", [
    {"question": "wh\ud800at?"}, {"answer": "\udfff"}, {"candidates": ["a", "\ud83d", "c", "d", "e"]},
    {"question_id": "\ud800"}, {"family\ud800": "x"}, {"nested": [{"deep": "\udc00"}]},
])  # fmt: skip
def test_half_a_character_is_refused_by_its_row(row, tmp_path):
    sound = {"video_name": "v", "question": "what? 😀", "answer": "a", "candidates": list("abcde")}
    rows = [{**sound, "question_id": "1"}, {**sound, "question_id": "2", **row}]
    (tmp_path / "val_qa.json").write_text(json.dumps(rows))
    (problem,) = problems_of("egoschema", tmp_path / "val_qa.json")
    assert problem.startswith("val_qa.json row 2: \\ud") and "half a character" in problem
    problem.encode()


@pytest.mark.parametrize("content", ["[" * 100_000, f'[{{"question_id": {"9" * 5000}}}]'])
def test_json_that_python_does_not_read_is_a_problem_of_the_file(content, tmp_path):
    (tmp_path / "val_qa.json").write_text(content)
    (problem,) = problems_of("egoschema", tmp_path / "val_qa.json")
    assert problem.startswith("val_qa.json: not JSON")


def test_more_options_than_letters_are_refused(tmp_path):
    header = ["video_name", "question_id", "question", "answer", *(f"a{n}" for n in range(27))]
    rows = [["v", "q", "what?", "x0", *(f"x{n}" for n in range(number)), *[""] * (27 - number)] for number in (27, 26)]
    (problem,) = problems_of("pocketbench", write_csv(tmp_path / "many.csv", header, rows[0]))
    assert "27 options, 2 to 26 are needed" in problem
    assert load_annotations("pocketbench", write_csv(tmp_path / "most.csv", header, rows[1]))[0].answer_letter == "A"


@pytest.mark.parametrize("name", ["EgoSchema.csv", "val_qa.json"])
def test_a_file_far_too_large_is_refused_without_being_read(name, tmp_path):
    """300 MB that take no room on the disk; at most a tenth of it may be in memory."""
    with (tmp_path / name).open("wb") as file:
        file.truncate(300_000_000)
    tracemalloc.start()
    (problem,) = problems_of("egoschema", tmp_path / name)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert problem == f"{name}: 300000000 bytes: an annotation file has at most 67108864"
    assert peak < 30_000_000


def test_a_large_file_among_others_costs_its_beginning_alone(tmp_path):
    with (tmp_path / "large.csv").open("wb") as file:
        file.truncate(300_000_000)
    tracemalloc.start()
    assert "no CSV file with a 'question' column" in problems_of("pocketbench", tmp_path)[0]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 30_000_000


def test_problems_hold_no_command_to_the_terminal(tmp_path):
    (tmp_path / "MSVD_QA.csv").write_text("video_name,question,\x1b[31m,\x1b[31m\nv,what?,1,2\n")
    with pytest.raises(AnnotationError, match="a column name is there twice") as caught:
        load_annotations("msvd", tmp_path / "MSVD_QA.csv")
    assert "\x1b" not in str(caught.value) and "\\u001b[31m" in str(caught.value)
