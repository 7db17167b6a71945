"""The list of acceptance: its page, its verdicts, and the command itself, gone through on a CPU."""

import pytest
import torch
from conftest import GRAND_PRIX

from sfllava_bench.gpu.acceptance import FAILED, NOT_HERE, PASSED, Place, judged, page, run_items
from sfllava_bench.gpu.exactness import HalfPrecision
from sfllava_bench.gpu.items import ITEMS, test_verdicts
from sfllava_bench.gpu.rehearsal import RehearsalError
from sfllava_course.__main__ import command


@pytest.fixture()
def place(tmp_path):
    return Place(torch.device("cpu"), 32, tmp_path, GRAND_PRIX, say=lambda line: None)


def fine(place):
    """A fine item"""
    return judged(True, "7 | 8", "a\n```\nb")


def broken(place):
    """A broken item"""
    raise RuntimeError("out of order")


def roomless(place):
    """One without room"""
    raise RehearsalError("7b: it needs 14 GiB")


def test_an_item_that_breaks_has_failed_and_holds_up_no_other(place):
    results = run_items([broken, roomless, fine], place)
    assert [result.verdict for _, result in results] == [FAILED, NOT_HERE, PASSED]
    assert results[0][1].said == "RuntimeError: out of order" and "Traceback" in results[0][1].more


def test_the_page_is_whole_markdown(place):
    """Cells hold no bars, what is shown no fences of its own."""
    text = page(run_items([fine, broken], place), place)
    assert "| 1 | A fine item | **passed** | 7 / 8 |" in text and "- torch " in text
    assert "on a CPU: nothing here is a GPU's" in text and text.count("```") == 4


def test_pytests_report_is_read(tmp_path):
    report = tmp_path / "report.xml"
    cases = '<testcase name="a"/><testcase name="b"><failure/></testcase><testcase name="c"><skipped/></testcase>'
    report.write_text(f"<testsuites><testsuite>{cases}<testcase name='d'><error/></testcase></testsuite></testsuites>")
    assert test_verdicts(report) == {"a": "passed", "b": "failed", "c": "skipped", "d": "failed"}


@pytest.mark.parametrize(
    ("found", "holds"),
    [((1.5, 1.0, 3, 0), True), ((1.6, 1.0, 0, 0), False), ((1.0, 1.0, 1, 1), False), ((0.0, 0.0, 0, 0), True)],
)
def test_half_precision_holds_by_both_of_its_rules(found, holds):
    assert HalfPrecision(*found).holds == holds and str(found[2]) in str(HalfPrecision(*found))


def test_without_a_gpu_the_command_says_so(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert command(["gpu-acceptance", "--out", str(tmp_path / "page.md")]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: no CUDA GPU here; --device cpu") and len(said.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_a_cpu_goes_through_all_ten(tmp_path, capsys):
    """In small: what a CPU can do passes, what it cannot says why, and the page holds all."""
    out = tmp_path / "new" / "page.md"
    assert command(["gpu-acceptance", "--device", "cpu", "--out", str(out), "--checkpoint", "data/tiny"]) == 0
    said = capsys.readouterr().out
    assert f"4 of 10 passed, 0 failed; page: {out}" in said
    text = out.read_text()
    verdicts = [line.split("**")[1] for line in text.splitlines() if line.startswith("| ") and "**" in line]
    assert len(verdicts) == len(ITEMS) == 10 and [n for n, one in enumerate(verdicts, 1) if one == PASSED] == [
        1,
        3,
        4,
        5,
    ]
    assert set(verdicts) == {PASSED, NOT_HERE} and "no GPU here" in text and "3680 tokens, finite" in text
    assert "data/tiny: differences: none" in text


def test_a_checkpoint_that_is_not_there_fails_its_item_alone(place):
    place.checkpoints = ("no/such/folder",)
    ((_, result),) = run_items(ITEMS[:1], place)
    assert result.verdict == FAILED and "no/such/folder" in result.said
