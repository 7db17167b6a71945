"""PocketBench's card: its tables are those of the summaries in results/, and these are the shipped weights'."""

import hashlib
import json

from conftest import ROOT

from pocket.evaluate import markdown

FOLDER = ROOT / "data" / "pocketbench"
SUMMARIES = {file.stem: json.loads(file.read_text()) for file in sorted((FOLDER / "results").glob("*.json"))}
CARD = (FOLDER / "README.md").read_text()


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
