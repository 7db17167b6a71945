"""The paper's tables and the runs that make them, as data."""

from dataclasses import replace
from pathlib import Path

import pytest

from sfllava_bench.answers.experiment import ExperimentError
from sfllava_bench.peers.loading import METHODS as OF_PEERS
from sfllava_bench.questions.records import Question
from sfllava_bench.questions.toy import toy_questions
from sfllava_bench.reports.pocketbench import pocketbench_experiments
from sfllava_bench.reports.published import PAPER, PublishedError, load_paper, published_values
from sfllava_bench.runs.catalogue import RunError, find_experiment, paper_experiments
from sfllava_bench.runs.entry import experiments_for
from sfllava_bench.runs.experiments import make_experiment, make_experiments
from sfllava_bench.runs.reproduce import reproduce
from sfllava_core import ImageGrid, SlowFast, parse_spec
from sfllava_core.methods.ktv import KTV

ASKED = Question("egoschema", "1", "film", ("What is it?",), "a dog", "multiple_choice", ("a cat", "a dog"), 1)
TINY = str(Path(__file__).parents[2] / "data" / "tiny")


@pytest.fixture(scope="module")
def paper():
    return load_paper()


@pytest.fixture(scope="module")
def listed(paper):
    return paper_experiments(paper)


@pytest.mark.parametrize(
    ("where", "values"),
    [
        (("table1_open_ended", "7b", "SF-LLaVA", "msvd"), {"accuracy": 79.1, "score": 4.1}),
        (("table1_open_ended", "34b", "SF-LLaVA", "activitynet"), {"accuracy": 59.2, "score": 3.5}),
        (("table1_open_ended", "7b", "DeepStack-L", "tgif"), {}),
        (("table2_multiple_choice", "7b", "SF-LLaVA", "egoschema"), {"accuracy": 47.2}),
        (("table4_fast_only", "7b", 225, "egoschema"), {"accuracy": 38.2}),
        (("table5_slow_pooling", "7b", "10x24x24", "egoschema"), {"accuracy": 53.2}),
        (("table5_slow_pooling", "34b", "10x24x24", "activitynet"), {}),
        (("table6_fast_pooling", "34b", "50x1x1", "activitynet"), {"accuracy": 58.9, "score": 3.5}),
        (("table7_prompts", "7b", "no_task_instruction", "egoschema"), {"accuracy": 43.0}),
        (("slow_and_fast_text", "34b", "slow_only_12", "egoschema"), {"accuracy": 54.6}),
        (("slow_and_fast_text", "7b", "slow8_fast50", "activitynet"), {"accuracy": 54.6}),
    ],
)  # fmt: skip
def test_cells_of_the_papers_tables(paper, where, values):
    assert published_values(paper, *where) == values


def test_table_3_is_in_the_papers_order(paper):
    assert published_values(paper, "table3_text_generation", "34b", "SF-LLaVA", "vcgbench") == {
        "correctness": 3.48, "detail": 2.96, "context": 3.84, "temporal": 2.77, "consistency": 3.57, "mean": 3.32,
    }  # fmt: skip


@pytest.mark.parametrize("where", [("table9", "7b", "x", "msvd"), ("table1_open_ended", "13b", "SF-LLaVA", "msvd"),
                                   ("table5_slow_pooling", "7b", "10x24x24", "msvd")])  # fmt: skip
def test_cells_that_are_not_there_are_said(paper, where):
    with pytest.raises(PublishedError, match=where[0]):
        published_values(paper, *where)


def test_every_table_has_its_experiments(listed):
    tables = {(table[:6], size) for table, size, *_ in (one.cell for one in listed) if table.startswith("table")}
    assert tables == {(f"table{n}", size) for n in range(1, 8) for size in ("7b", "34b")}
    assert len({one.id for one in listed}) == len(listed)
    assert all(one.published for one in listed)
    assert {one.model for one in listed} == {  # where the published weights lie, in transformers' own form or PLLaVA's
        "llava-hf/llava-v1.6-vicuna-7b-hf", "llava-hf/llava-v1.6-34b-hf", "llava-hf/llava-1.5-7b-hf",
        "ermu2001/pllava-7b", "LanguageBind/Video-LLaVA-7B-hf",
        "llava-hf/LLaVA-NeXT-Video-7B-hf", "llava-hf/LLaVA-NeXT-Video-7B-DPO-hf",
    }  # fmt: skip
    own = [one for one in listed if one.cell[2] == "SF-LLaVA"]
    assert len(own) == 2 * (4 + 3 + 1)
    assert {str(one.method) for one in own} == {str(SlowFast())}


def test_experiments_are_what_the_paper_calls_them(listed):
    for one in listed:
        table, _, row, benchmark = one.cell
        assert one.benchmark == benchmark
        if table == "table4_fast_only":
            assert (one.method.num_frames, one.method.slow) == (int(row), None)
            assert one.method.token_count() == int(row) * 16
        if table in ("table5_slow_pooling", "table6_fast_pooling"):
            frames, *sides = map(int, row.split("x"))
            pathway = "slow" if table.startswith("table5") else "fast"
            assert one.method.token_counts()[pathway] == frames * sides[0] * sides[1]
        if table == "table7_prompts":
            assert list(vars(one.parts).values()).count(False) == (row != "all")
            assert row == "all" or not getattr(one.parts, row.removeprefix("no_"))


def test_experiments_are_found_by_name(listed):
    one = find_experiment(listed, "table2_7b", "egoschema")
    assert one is find_experiment(listed, "table2_7b_egoschema")
    assert (one.published, str(one.method)) == ({"accuracy": 47.2}, str(SlowFast()))
    with pytest.raises(RunError, match="nextqa, egoschema, intentqa"):
        find_experiment(listed, "table2_7b")
    with pytest.raises(RunError, match=r"no run 'table8'.*table1_34b"):
        find_experiment(listed, "table8")


def test_rivals_are_run_as_published_and_our_own_readings_beside_them(listed):
    """Method x benchmark, with the published numbers and where they come from."""
    found = {one.id: one for one in listed}
    runs = {"igvlm": "igvlm6", "grid": "grid3x2_tiles2x2", "llavanextimage": "llavanextimage32",
            "uniform": "frames32_fastall-to12x12"}  # fmt: skip
    for size in ("7b", "34b"):
        for table, benchmark in (("table1", "activitynet"), ("table3", "vcgbench")):
            some = {name: found[f"{table}_{size}_{name}_{benchmark}"] for name in runs}
            assert {name: str(one.method) for name, one in some.items()} == runs
            assert some["igvlm"].published == some["grid"].published and some["igvlm"].cell != some["grid"].cell
            assert "our own reading" in some["grid"].note and not some["igvlm"].note
            assert (some["igvlm"].max_new_tokens, some["llavanextimage"].max_new_tokens) == (512, 1024)
    freeva = found["table1_7b_freeva_activitynet"]
    assert (freeva.model, freeva.published["accuracy"]) == ("llava-hf/llava-1.5-7b-hf", 51.2)
    dcode = {name: found[f"field_7b_dcode_{name}"] for name in ("nextqa", "egoschema", "intentqa", "tgif")}
    assert {name: one.published["accuracy"] for name, one in dcode.items()} == {
        "nextqa": 67.0, "egoschema": 51.8, "intentqa": 62.9, "tgif": 79.1
    }  # fmt: skip
    assert {name: str(one.method) for name, one in dcode.items()} == {
        name: str(parse_spec(f"dcode_{name if name != 'tgif' else 'open'}")) for name in dcode
    }
    assert (dcode["nextqa"].max_new_tokens, dcode["tgif"].max_new_tokens) == (16, 128)
    assert found["field_7b_tsllava_msvd"].note == "published numbers: D-CoDe's table"
    assert "GPT-3.5 on the full set" in found["table2_34b_egoschema"].note


def test_models_trained_on_videos_are_run_by_their_own_methods(listed):
    """Each with its own weights and method, the paper's numbers, and what those do not say."""
    found = {one.id: one for one in listed if isinstance(one.method, OF_PEERS)}
    told = {
        name: (str(one.method), one.model.rpartition("/")[2], *one.published.values()) for name, one in found.items()
    }
    assert told["table1_7b_pllava_msvd"] == ("pllava16x12x12", "pllava-7b", 76.6, 4.1)
    assert told["table1_7b_videollava_activitynet"] == ("videollava8", "Video-LLaVA-7B-hf", 45.3, 3.3)
    assert told["field_7b_videollava_egoschema"] == ("videollava8", "Video-LLaVA-7B-hf", 37.0)
    assert told["table1_7b_llavanextvideo_activitynet"] == ("llavanextvideo32", "LLaVA-NeXT-Video-7B-hf", 53.5, 3.2)
    assert told["table3_7b_llavanextvideo_dpo_vcgbench"][1::6] == ("LLaVA-NeXT-Video-7B-DPO-hf", 3.66)
    assert len(found) == 4 + 4 + 2 + 1 + 1 + 2
    assert {one.max_new_tokens for one in found.values()} == {100, 1024}
    assert "published numbers: D-CoDe's table" in found["field_7b_videollava_nextqa"].note
    assert "converted weights are not" in found["table1_7b_videollava_tgif"].note
    assert "200 samples" in found["table1_7b_pllava_tgif"].note
    assert {one.loading.get("rope_scaling") for one in found.values()} == {1.0, 2.0}


def test_rows_of_ktv_are_its_papers(listed):
    found = {one.id: one for one in listed if isinstance(one.method, KTV)}
    numbers = {name.removeprefix("field_"): one.published["accuracy"] for name, one in found.items()}
    assert numbers == {
        "7b_ktv_dense_nextqa": 65.8, "7b_ktv_dense_egoschema": 51.0, "7b_ktv_dense_intentqa": 62.0,
        "7b_ktv_sparse_nextqa": 64.5, "7b_ktv_sparse_egoschema": 49.6, "7b_ktv_sparse_intentqa": 61.2,
        "34b_ktv_dense_nextqa": 72.7, "34b_ktv_dense_egoschema": 57.0, "34b_ktv_dense_intentqa": 68.0,
    }  # fmt: skip
    assert {one.method.token_count() for name, one in found.items() if "dense" in name} == {1872}
    assert {one.method.token_count() for name, one in found.items() if "sparse" in name} == {504}
    assert all("KTV's paper (AAAI 2026)" in one.note and "no ranks" in one.caveat for one in found.values())


def test_models_trained_on_videos_do_not_fit_the_toy_and_are_told_so():
    """Not skipped in silence; a run that is named alone is refused, for the same reason."""
    said = []
    fitting = make_experiments(["tables_7b"], "activitynet", profile="toy", say=said.append)
    fitting += make_experiments(["table1_7b_igvlm", "table1_7b_pllava"], "msvd", profile="toy", say=said.append)
    assert not any(isinstance(one.method, OF_PEERS) for one in fitting) and fitting[-1].id == "table1_7b_igvlm_msvd_toy"
    rest = [one.id for one in paper_experiments(load_paper()) if one.id.startswith("table1_7b") if one.benchmark ==
            "activitynet" and isinstance(one.method, OF_PEERS)]  # fmt: skip
    assert [text.split()[0] for text in said] == [*rest, "table1_7b_pllava_msvd"] and len(rest) == 4
    assert "does not fit the toy: pllava16x12x12 is for ermu2001/pllava-7b" in said[-1]
    for make in (make_experiment, lambda name, *rest, **more: make_experiments([name], *rest, **more)):
        with pytest.raises(ExperimentError, match=r"table1_7b_pllava_msvd does not fit the toy"):
            make("table1_7b_pllava", "msvd", profile="toy")
    paths = {"annotations": TINY, "videos": TINY}
    assert make_experiment("table1_7b_pllava", "msvd", profile="demo", **paths).model == "ermu2001/pllava-7b"


def test_what_the_field_published_is_what_the_papers_tables_print_of_it(paper):
    """Numbers that stand in both files are the same."""
    pairs = {"field_open_ended": "table1_open_ended", "field_text_generation": "table3_text_generation"}
    both = 0
    for ours, theirs in pairs.items():
        for size, rows in paper[ours].items():
            for name, row in rows.items():
                if (other := paper[theirs][size].get(name)) is not None:
                    both += 1
                    assert {column: row[column] for column in other} == other, (size, name)
    assert both == 11
    assert all("source" in row for table in paper if table.startswith("field_")
               for rows in paper[table].values() for row in rows.values())  # fmt: skip


def test_a_list_of_an_earlier_version_is_refused(paper, tmp_path):
    old = (PAPER / "runs.yaml").read_text().replace("schema: 2", "schema: 1").replace("method: ", "pathways: ")
    (tmp_path / "runs.yaml").write_text(old)
    with pytest.raises(ValueError, match=r"runs\.yaml: schema 1, this kit reads 2: each row names its `method`"):
        paper_experiments(paper, tmp_path / "runs.yaml")


@pytest.mark.parametrize(
    ("spec", "scaled"),
    [
        ("frames50_slow10-max1x2_fastall-to4x4", "frames50_slow10-max1x2_fastall-to2x2"),
        ("frames50_slow10-none_fastall-to8x8", "frames50_slow10-none_fastall-to4x4"),
        ("frames50_slow10-max1x2_fastall-to3x6", "frames50_slow10-max1x2_fastall-to2x3"),
        ("frames50_slow10-max1x2_fastall-to1x1", "frames50_slow10-max1x2_fastall-to1x1"),
        ("frames32_fastall-to12x12", "frames32_fastall-to6x6"),
    ],
)
def test_a_smaller_grid_keeps_the_papers_proportions(spec, scaled):
    assert str(parse_spec(spec).scaled((12, 12))) == scaled
    assert parse_spec(spec).scaled((24, 24)) == parse_spec(spec)
    assert ImageGrid().scaled((12, 12)) == ImageGrid()


def test_an_experiment_says_that_it_was_given_no_files(listed, tmp_path):
    bare = find_experiment(listed, "table2_7b", "egoschema")
    with pytest.raises(ExperimentError, match=f"{bare.id}: no questions are given; set `annotations` or `asked`"):
        bare.questions()
    with pytest.raises(ExperimentError, match=f"{bare.id}: no folder of videos is given; set `videos`"):
        reproduce(replace(bare, asked=(ASKED,)), tmp_path)


def test_plans_say_what_they_lack(tmp_path):
    with pytest.raises(ExperimentError, match="annotations and videos"):
        make_experiment("table2_7b", "egoschema")
    with pytest.raises(ExperimentError, match="toy, demo, full"):
        make_experiment("table2_7b", "egoschema", profile="huge")
    (tmp_path / "egoschema").mkdir()
    plan = make_experiment("table2_7b", "egoschema", annotations=tmp_path, videos=tmp_path, profile="demo")
    assert (plan.videos, plan.max_videos, plan.id) == (tmp_path / "egoschema", 20, "table2_7b_egoschema_demo")
    assert plan.model == "llava-hf/llava-v1.6-vicuna-7b-hf"
    assert plan.published == {"accuracy": 47.2}
    toy = make_experiment("table2_7b", "egoschema", profile="toy", model=TINY)
    assert (toy.benchmark, toy.published, toy.task) == ("pocketbench", {}, "multiple_choice")


def test_pocketbench_takes_the_shape_of_each_table():
    plain = Question("pocketbench", "p", "v", ("what?",), "a cat", "open_ended", group="detail")
    choice = Question("pocketbench", "c", "v", ("which?",), "a", "multiple_choice", ("a", "b"), 0, "order")
    assert toy_questions([plain, choice], "multiple_choice") == [choice]
    assert toy_questions([plain, choice], "open_ended") == [plain]
    assert [q.task for q in toy_questions([choice], "open_ended")] == ["open_ended"]
    generated = toy_questions([plain, choice], "text_generation")
    assert [(q.group, len(q.questions)) for q in generated] == [("generic", 1), ("temporal", 1), ("consistency", 2)]
    assert len({q.key for q in generated}) == 3


@pytest.mark.parametrize("number", [0, -3])
def test_numbers_of_videos_below_one_are_refused(number):
    paths = {"annotations": TINY, "videos": TINY}
    with pytest.raises(ExperimentError, match=f"max_videos={number}: take at least 1"):
        make_experiment("table2_7b", "egoschema", max_videos=number, **paths)
    with pytest.raises(ExperimentError, match=f"max_videos={number}"):
        make_experiment("table2_7b", "egoschema", max_videos=number, profile="demo", **paths)
    with pytest.raises(ExperimentError, match=f"max_videos={number}"):
        pocketbench_experiments(max_videos=number)
    assert make_experiment("table2_7b", "egoschema", profile="demo", **paths).max_videos == 20


def test_a_notebooks_numbers_below_zero_are_refused():
    with pytest.raises(ExperimentError, match="toy_videos=-3"):
        experiments_for("pocketbench", toy_videos=-3)
    with pytest.raises(ExperimentError, match="max_new_tokens=-1"):
        experiments_for("pocketbench", max_new_tokens=-1)
    assert len(experiments_for("pocketbench", toy_videos=0)[0].questions()) > len(
        experiments_for("pocketbench", toy_videos=1)[0].questions()
    )
