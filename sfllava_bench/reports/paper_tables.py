"""The paper's tables, built from finished runs: its rows, its columns, our value with its interval, its own value."""

from pathlib import Path

from sfllava_bench.answers.experiment import Experiment
from sfllava_bench.reports.results import DECIMALS, MetricResult, ResultsError
from sfllava_bench.reports.run import Run


def paper_tables(experiments: list[Experiment], out: str | Path) -> dict[str, list[dict[str, str]]]:
    """Table -> its rows, as texts. A run that has no results yet is a "-".

    A column is a benchmark and a metric of the paper's; where a run has none of them, its first own one, by its name.
    """
    tables: dict[str, dict[str, dict[str, str]]] = {}
    for experiment in experiments:
        table, _, row, benchmark = experiment.cell
        cells = tables.setdefault(table, {}).setdefault(row, {"row": row, "sees": str(experiment.method)})
        cells |= cells_of(benchmark, Run(Path(out) / experiment.id))
    return {table: aligned(list(rows.values())) for table, rows in tables.items()}


def cells_of(benchmark: str, run: Run) -> dict[str, str]:
    """Column -> text, of one run."""
    try:
        metrics = run.results.metrics
    except ResultsError:
        return {benchmark: "-"}
    shown = [metric for metric in metrics if metric.papers_metric] or metrics[:1]
    if not shown:
        return {benchmark: "not judged"}
    return {f"{benchmark} {metric.name}": cell_text(metric) for metric in shown}


def cell_text(metric: MetricResult) -> str:
    """ "46.6 [43.1, 50.0] (paper 47.2)"."""
    paper = "" if metric.published is None else f" (paper {metric.published:g})"
    return f"{metric.over_expected.text(DECIMALS[metric.unit])}{paper}"


def aligned(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """The same columns in every row; a cell that is not there is a "-"."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    filled = [name for name in names if any(row.get(name, "-") != "-" for row in rows)]
    return [{name: row.get(name, "-") for name in filled} for row in rows]
