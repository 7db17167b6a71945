"""The list of experiments that make the paper's tables: data/paper/runs.yaml, expanded."""

from dataclasses import replace
from pathlib import Path

import sfllava_bench.peers.loading  # noqa: F401  whose methods some rows name
from sfllava_bench.answers.experiment import Experiment
from sfllava_bench.questions.benchmarks.base import find_benchmark
from sfllava_bench.reports.published import PAPER, published_in, published_values, table_rows
from sfllava_core.methods.specs import parse_spec
from sfllava_core.prompts import PromptParts

PROFILES = ("toy", "demo", "full")
SCHEMA = 2  # in 1, a row's `method` was called `pathways`


class RunError(LookupError):
    """A run that is not in the list; says which are."""


def paper_experiments(paper: dict, path: str | Path = PAPER / "runs.yaml") -> list[Experiment]:
    """An experiment for each published cell that it fills; annotations and videos are still to be given.

    Its id is the run's name with the benchmark, such as "table4_34b_fast100_egoschema".

    Raises:
        PublishedError: a run points to a cell that is not there.  SpecError: a method that is none.
        ValueError: a list of another version.
    """
    import yaml

    content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    if content["schema"] != SCHEMA:
        raise ValueError(f"{path}: schema {content['schema']}, this kit reads {SCHEMA}: each row names its `method`")
    experiments = []
    for group in content["groups"]:
        for size in group["sizes"]:
            for row, entry in group["rows"].items():
                for benchmark in group["benchmarks"]:
                    theirs = (group["table"], size, entry.get("row", row), benchmark)
                    if isinstance(entry["method"], dict) and benchmark not in entry["method"]:
                        continue
                    if theirs[2] not in table_rows(paper, group["table"], size, benchmark):
                        continue
                    published = published_values(paper, *theirs)
                    if not published:
                        continue
                    method, notes = (
                        entry["method"],
                        (entry.get("note"), group.get("note"), published_in(paper, *theirs)),
                    )
                    name = group["run"].format(size=size, name=entry.get("name", ""))
                    one = Experiment(
                        id=f"{name}_{benchmark}",
                        benchmark=benchmark,
                        model=content["models"][entry.get("model", size)]["checkpoint"],
                        method=parse_spec(method if isinstance(method, str) else method[benchmark]),
                        parts=PromptParts(**entry.get("parts", {})),
                        published=published,
                        note="; ".join(filter(None, notes)),
                        cell=(group["table"], size, str(row), benchmark),
                        **{name: entry[name] for name in ("llm", "subquestions") if name in entry},
                    )
                    limit = one.new_tokens(find_benchmark(benchmark).task)  # which a toy profile's task may not have
                    experiments.append(replace(one, max_new_tokens=limit))
    return experiments


def name_of(experiment: Experiment) -> str:
    """The name that an experiment of the list has on every benchmark: "table2_7b"."""
    return experiment.id.removesuffix(f"_{experiment.benchmark}")


def find_experiment(listed: list[Experiment], name: str, benchmark: str | None = None) -> Experiment:
    """The one called `name`, alone or with its benchmark ("table2_7b" and "egoschema", or "table2_7b_egoschema").

    Raises:
        RunError: there is none, or several and no benchmark is named.
    """
    found = [one for one in listed if name in (one.id, name_of(one)) and benchmark in (None, one.benchmark)]
    if len(found) == 1:
        return found[0]
    if found:
        raise RunError(
            f"run {name!r} is of several benchmarks: name one of {', '.join(one.benchmark for one in found)}"
        )
    names = sorted({name_of(one) for one in listed})
    raise RunError(f"no run {name!r}{f' on {benchmark}' if benchmark else ''}; there are {', '.join(names)}")
