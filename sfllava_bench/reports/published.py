"""The paper's tables, and the field's, as numbers to compare with: paper_results.yaml, published_field.yaml."""

from pathlib import Path

from sfllava_bench.questions.benchmarks.base import Benchmark, find_benchmark
from sfllava_core.defaults import DATA, required

PAPER = DATA / "paper"


class PublishedError(LookupError):
    """A cell that the paper's tables have not."""


def load_paper(path: str | Path = PAPER / "paper_results.yaml") -> dict:
    """The published tables, as the file and the field's beside it have them, by name.

    Raises:
        FileNotFoundError: outside of a clone of the repository.
    """
    import yaml

    files = required(path), Path(path).with_name("published_field.yaml")
    read = (yaml.safe_load(file.read_text(encoding="utf-8")) for file in files if file.exists())
    return {name: table for tables in read for name, table in tables.items()}


def published_values(paper: dict, table: str, size: str, row: str | int, benchmark: str) -> dict[str, float]:
    """A cell of the paper's tables: "accuracy" in per cent and "score" 0-5, or VCGBench's aspects and their "mean".

    Empty where the paper leaves the cell out ("-").

    Raises:
        PublishedError: there is no such table, size, row or column.
    """
    chosen = find_benchmark(benchmark)
    try:
        rows = table_rows(paper, table, size, benchmark)
        if table.startswith("table4"):
            cell = rows[row]
        elif table.startswith(("table5", "table6", "table7")):
            cell = ablation_cell(rows[row], chosen)
        else:
            cell = rows[row][chosen.column]
    except (KeyError, TypeError) as error:
        raise PublishedError(f"the paper has no {table} / {size} / {row} / {benchmark}: {error}") from None
    if cell is None:
        return {}
    return dict(zip(chosen.published_as, map(float, cell if isinstance(cell, list) else [cell])))


def published_in(paper: dict, table: str, size: str, row: str | int, benchmark: str) -> str:
    """Where a cell's numbers come from and what is to be known of them; empty for the paper's own tables."""
    found = table_rows(paper, table, size, benchmark)[row]
    if not isinstance(found, dict) or "source" not in found:
        return ""
    return "; ".join(filter(None, (f"published numbers: {found['source']}", found.get("note", ""))))


def table_rows(paper: dict, table: str, size: str, benchmark: str) -> dict:
    """The rows of a table for a model size; table 4 lists them by benchmark, section 4.4 in two lists."""
    if table == "slow_and_fast_text":
        return {**paper[table].get(f"no_slow_vs_slowfast_{size}", {}), **paper[table]["no_fast_vs_slowfast"][size]}
    rows = paper[table][size]
    return rows[find_benchmark(benchmark).column] if table.startswith("table4") else rows


def ablation_cell(row: list | None, benchmark: Benchmark) -> list | None:
    """Tables 5 to 7 give [ActivityNet accuracy, its score, EgoSchema accuracy] in one row."""
    if benchmark.ablated is None:
        raise KeyError(benchmark.name)
    return None if row is None else row[benchmark.ablated]
