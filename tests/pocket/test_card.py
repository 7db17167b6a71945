"""PocketBench's card: its tables are those of the summaries in results/, and these are the shipped weights'."""

import hashlib
import json

import pytest
from conftest import ROOT

from pocket.evaluate import BY_LIKELIHOOD, markdown
from pocket.lessons import ABLATIONS
from pocket.questions import FAMILIES

FOLDER = ROOT / "data" / "pocketbench"
SUMMARIES = {file.stem: json.loads(file.read_text()) for file in sorted((FOLDER / "results").glob("*.json"))}
CARD, MODEL_CARD = (FOLDER / "README.md").read_text(), (ROOT / "data" / "pocket" / "README.md").read_text()
SLOWFAST, FAST_FIRST = "slowfast 8x72 + 50x4", "fast first: 50x4 + 8x72"


def lead(values: list[float]) -> str:
    return "{:+.1f} [{:+.1f}, {:+.1f}]".format(*values)


def test_every_row_of_the_card_is_a_summarys():
    tables = [summary["table"] for summary in SUMMARIES.values()]
    rendered = {
        line for table in tables for form in (None, "open", "choice") for line in markdown(table, form).split("\n")
    }
    layouts = tuple(f"| {layout} |" for layout in tables[0])
    rows = [line for line in CARD.split("\n") if line.startswith(layouts)]
    assert len(rows) > 60 and set(rows) <= rendered


def test_the_card_and_the_shipped_weights_belong_together():
    weights = hashlib.sha256((ROOT / "data" / "pocket" / "model.safetensors").read_bytes()).hexdigest()
    assert SUMMARIES["films80_shipped"]["weights"] == SUMMARIES["films500_shipped"]["weights"] == weights
    for films in (80, 500):
        assert SUMMARIES[f"films{films}_shipped"]["films"] == films


WEIGHTS = {"seed 0 (shipped)": "shipped", "seed 1": "seed1", "seed 2": "seed2", "an earlier seed 0": "earlier"}
FORMS = {"openly": (SLOWFAST, "open"), "by letter": (SLOWFAST, "choice"), "likeliest option": (BY_LIKELIHOOD, "choice")}


@pytest.mark.parametrize(("words", "name"), WEIGHTS.items())
def test_the_cards_short_tables_are_the_summaries_too(words, name):
    for films in (80, 500):
        table = SUMMARIES[f"films{films}_{name}"]["table"]
        closest, first = table["uniform 22x36, equal tokens"]["lead_of_first"], table[FAST_FIRST]["lead_of_first"]
        mean = f"{table[SLOWFAST]['mean']:.1f}"
        assert f"| {words} | {films} | {mean} | uniform 22x36 | {lead(closest)} | {lead(first)} |" in CARD
    for asked, (layout, form) in FORMS.items():
        cells = (f"{table[layout]['cells'][f'{family}/{form}']:.1f}" for family in FAMILIES)
        assert f"| {words} | {asked} | {' | '.join(cells)} |" in CARD


@pytest.mark.parametrize("left_out", ABLATIONS)
def test_the_models_card_has_the_ablations_as_measured(left_out):
    table = SUMMARIES[f"films80_seed1_without_{left_out}"]["table"]
    over = (lead(table[name]["lead_of_first"]) for name in ("slow 8x72", "fast 50x4", "uniform 22x36, equal tokens"))
    assert f"| {table[SLOWFAST]['mean']:.1f} | {' | '.join(over)} |" in MODEL_CARD
