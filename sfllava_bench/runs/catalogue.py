"""The list of runs that make the paper's tables: data/paper/runs.yaml, expanded; and the same runs in miniature."""

from dataclasses import dataclass, replace
from pathlib import Path

from sfllava_bench.reports.published import PAPER, published_values, table_rows
from sfllava_core.methods.base import Grid, Method
from sfllava_core.prompts import PromptParts
from sfllava_core.methods.specs import parse_spec

PROFILES = ("toy", "demo", "full")


class RunError(LookupError):
    """A run that is not in the list; says which are."""


@dataclass(frozen=True)
class PaperRun:
    """One run: a cell of the paper's tables, and what makes it.

    name: such as "table2_7b" or "table4_34b_fast100".  table, size, row: where paper_results.yaml has its value.
    checkpoint: the model.  published: the paper's values; see `published_values`.  note: a doubt that goes with it.
    """

    name: str
    benchmark: str
    table: str
    size: str
    row: str
    checkpoint: str
    method: Method
    parts: PromptParts
    published: dict[str, float]
    note: str = ""

    @property
    def id(self) -> str:
        """The name with the benchmark: a folder's name."""
        return f"{self.name}_{self.benchmark}"

    def scaled(self, grid: Grid) -> "PaperRun":
        """The same run for a model of another grid: each pool keeps its proportion to the picture."""
        return replace(self, method=self.method.scaled(grid))


def load_runs(paper: dict, path: str | Path = PAPER / "runs.yaml") -> list[PaperRun]:
    """All runs of the list, with the values that the paper gives them; cells that it leaves out are not in it.

    Raises:
        PublishedError: a run points to a cell that is not there.  SpecError: a spec that is none.
    """
    import yaml

    content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    runs = []
    for group in content["groups"]:
        for size in group["sizes"]:
            for row, entry in group["rows"].items():
                for benchmark in group["benchmarks"]:
                    if row not in table_rows(paper, group["table"], size, benchmark):
                        continue
                    published = published_values(paper, group["table"], size, row, benchmark)
                    if not published:
                        continue
                    runs.append(
                        PaperRun(
                            name=group["run"].format(size=size, name=entry.get("name", "")),
                            benchmark=benchmark,
                            table=group["table"],
                            size=size,
                            row=str(row),
                            checkpoint=content["models"][size]["checkpoint"],
                            method=parse_spec(entry["method"]),
                            parts=PromptParts(**entry.get("parts", {})),
                            published=published,
                            note="; ".join(filter(None, (entry.get("note", ""), group.get("note", "")))),
                        )
                    )
    return runs


def find_run(runs: list[PaperRun], name: str, benchmark: str | None = None) -> PaperRun:
    """The run called `name`, alone or with its benchmark ("table2_7b" and "egoschema", or "table2_7b_egoschema").

    Raises:
        RunError: there is none, or several and no benchmark is named.
    """
    found = [run for run in runs if name in (run.id, run.name) and benchmark in (None, run.benchmark)]
    if len(found) == 1:
        return found[0]
    if found:
        raise RunError(
            f"run {name!r} is of several benchmarks: name one of {', '.join(run.benchmark for run in found)}"
        )
    names = sorted({run.name for run in runs})
    raise RunError(f"no run {name!r}{f' on {benchmark}' if benchmark else ''}; there are {', '.join(names)}")
