"""A list of plans, run one after another: what is done is skipped, what fails is named, and one table is made of it."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

from sfllava_core.bench.compare import Made, compare, first_alike, read_made
from sfllava_core.bench.html import page, table, tag
from sfllava_core.bench.plans import Plan
from sfllava_core.bench.report import STYLE
from sfllava_core.bench.reproduce import FAILS, load_model, reproduce
from sfllava_core.bench.results import read_results


def sweep(plans: list[Plan], out: str | Path = "runs", **more: object) -> list[dict]:
    """Run a list of plans; what is done is skipped, what fails is named and the others go on. Builds one table.

    A run on the same questions as an earlier one of the list is compared with that, question by question.

    Writes out/table.json and out/table.html. Each model is loaded once, where plans of one model follow each other.

    Args:
        more: as in `reproduce`.

    Returns:
        The table's rows: each run's metrics, or its error.
    """
    load, rows = keep_last(more.pop("load", None) or load_model), []
    made: list[Made] = []
    for plan in plans:
        try:
            table_rows = reproduce(plan, out, load=load, **more)["table"]
        except FAILS as error:
            rows.append({"run": plan.id, "benchmark": plan.benchmark, "metric": f"{type(error).__name__}: {error}"})
            continue
        made.append(read_made(plan, out))
        against = first_alike(made)
        text = "-" if against is None else compare(made[-1], against)
        rows += [{**row, "against": "" if place else text} for place, row in enumerate(table_rows)]
    write_table(rows, Path(out))
    return rows


def keep_last(load: Callable[[str], object]) -> Callable[[str], object]:
    """A loader that gives the same model again while its name does not change."""
    kept: list[tuple[str, object]] = []

    def loaded(name: str) -> object:
        if not kept or kept[0][0] != name:
            kept.clear()  # make room first
            kept.append((name, load(name)))
        return kept[0][1]

    return loaded


def write_table(rows: list[dict], out: Path) -> None:
    """table.json and table.html of a sweep."""
    out.mkdir(parents=True, exist_ok=True)
    names = list(dict.fromkeys(name for row in rows for name in row))
    whole = [{name: row.get(name, "") for name in names} for row in rows]
    (out / "table.json").write_text(json.dumps({"table": whole}, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    text = page("Runs", STYLE, tag("h1", "Runs"), table(whole))
    (out / "table.html").write_text(text, encoding="utf-8")


def iter_done(out: str | Path = "runs") -> Iterator[dict]:
    """The results of all runs below a folder, to build a table of."""
    for path in sorted(Path(out).glob("*/results.json")):
        yield read_results(path)
