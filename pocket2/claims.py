"""What PocketBench 2 is to show (claims.yaml): each claim sets two layouts apart on a family, or says that they are
equal there.

A claim is judged by a lead: the accuracy of one layout less that of the other, in points, over the marks of an oracle
or of a model.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from pocket.layouts import Stream
from pocket2.bench import CYCLE
from pocket2.questions import FAMILIES

FILE = Path(__file__).with_name("claims.yaml")
Cell = tuple[str, str, str]  # family, "open" or "choice", kind of film
Marks = dict[str, dict[Cell, list[float]]]  # layout -> cell -> 1 where an answer is right, or the chance of it
STREAM = re.compile(r"(?:(\d+) of )?(\d+) (none|page|max \d+x\d+|mean \d+x\d+|to \d+x\d+)")
EGOSCHEMA = 500  # questions of its subset


@dataclass(frozen=True)
class Claim:
    """`first` leads `second` by at least `points`, or, if they are said to be `equal`, neither leads by more.

    films: a kind of film; None: all.  by: "sampling", "grid" or "both".  change: which of the paper's eleven it is.
    same: "yes", or how the manipulation differs.  where, egoschema, anet: the paper's numbers of both layouts, 7B.
    """

    name: str
    families: tuple[str, ...]
    films: str | None
    first: str
    second: str
    equal: bool
    points: float
    by: str
    change: str | None
    same: str
    where: str | None
    egoschema: tuple[float, float] | None
    anet: tuple[float, float] | None

    def lead(self, marks: Marks) -> float:
        """How many points `first` leads `second` by."""
        return accuracy(marks[self.first], self.families, self.films) - accuracy(
            marks[self.second], self.families, self.films
        )

    def holds(self, marks: Marks) -> bool:
        return abs(self.lead(marks)) <= self.points if self.equal else self.lead(marks) >= self.points

    def resolved(self) -> bool | None:
        """Whether the paper's difference on EgoSchema is more than 1.96 of its standard errors, unpaired."""
        if self.egoschema is None:
            return None
        one, two = (value / 100 for value in self.egoschema)
        return abs(one - two) > 1.96 * ((one * (1 - one) + two * (1 - two)) / EGOSCHEMA) ** 0.5


@dataclass(frozen=True)
class Claims:
    """All of the file. unmapped: the paper's changes that no claim stands for, and why."""

    layouts: dict[str, tuple[Stream, ...]]
    claims: tuple[Claim, ...]
    unmapped: dict[str, str]


def accuracy(cells: dict[Cell, list[float]], families: Sequence[str], films: str | None = None) -> float:
    """Per cent right: the mean over families, each the mean of its two forms. Raises KeyError where none was asked."""
    found = []
    for family in families:
        for form in ("open", "choice"):
            marks = [
                mark
                for (of, how, kind), some in cells.items()
                if (of, how) == (family, form) and films in (None, kind)
                for mark in some
            ]
            if not marks:
                raise KeyError(f"no {form} question of {family} was asked{f' about {films}' if films else ''}")
            found.append(100 * float(np.mean(marks)))
    return float(np.mean(found))


def stream(text: str) -> Stream:
    """ "8 of 50 max 1x2" as a stream. Raises ValueError for what is none."""
    match = STREAM.fullmatch(text)
    if match is None:
        raise ValueError(f"stream {text!r}: write it as '8 of 50 max 1x2' or '50 to 2x2'")
    taken, sampled, how = match.groups()
    return Stream(int(sampled), how, int(taken) if taken else None)


def load_claims(file: Path = FILE) -> Claims:
    """Read and check a file of claims.

    Raises:
        ValueError: with every fault, by the claim's name.
    """
    data = yaml.safe_load(file.read_text(encoding="utf-8"))
    if not isinstance(data, dict) or set(data) != {"layouts", "claims", "unmapped"}:
        raise ValueError(f"{file}: it must hold layouts, claims and unmapped")
    layouts = {name: tuple(stream(text) for text in streams) for name, streams in data["layouts"].items()}
    faults = [fault for entry in data["claims"] for fault in _faults(entry, layouts)]
    names = [entry.get("name") for entry in data["claims"]]
    faults += [
        f"{name}: there are two claims of this name" for name in sorted({str(n) for n in names if names.count(n) > 1})
    ]
    faults += [
        f"{entry}: change, paper and reason are needed"
        for entry in data["unmapped"]
        if set(entry) != {"change", "paper", "reason"}
    ]
    changes = [entry["change"] for entry in (*data["claims"], *data["unmapped"]) if entry.get("change")]
    faults += [f"{change}: it is changed twice" for change in sorted({c for c in changes if changes.count(c) > 1})]
    if faults:
        raise ValueError(f"{file}:\n" + "\n".join(faults))
    unmapped = {entry["change"]: entry["reason"] for entry in data["unmapped"]}
    return Claims(layouts, tuple(map(_claim, data["claims"])), unmapped)


NEEDED, OPTIONAL = {"name", "family", "points", "by"}, {"films", "above", "below", "equal", "change", "paper", "same"}


def _faults(entry: dict, layouts: dict) -> list[str]:
    name, found = entry.get("name", entry), []
    if missing := NEEDED - set(entry):
        return [f"{name}: {', '.join(sorted(missing))} missing"]
    if unknown := set(entry) - NEEDED - OPTIONAL:
        found.append(f"{name}: {', '.join(sorted(unknown))} unknown")
    sides = {"above", "below", "equal"} & set(entry)
    if sides not in ({"above", "below"}, {"equal"}) or ("equal" in entry and len(entry["equal"]) != 2):
        found.append(f"{name}: give above and below, or two that are equal")
    elif absent := [layout for layout in _pair(entry) if layout not in layouts]:
        found.append(f"{name}: no layout is named {', '.join(absent)}")
    if absent := [family for family in _families(entry) if family not in FAMILIES]:
        found.append(f"{name}: no family {', '.join(absent)}; there are mean, {', '.join(FAMILIES)}")
    if entry.get("films") not in (None, *CYCLE):
        found.append(f"{name}: no films of kind {entry['films']!r}")
    if entry["by"] not in ("sampling", "grid", "both"):
        found.append(f"{name}: by {entry['by']!r} is none of sampling, grid, both")
    if not isinstance(entry["points"], (int, float)) or not 0 < entry["points"] < 100:
        found.append(f"{name}: points {entry['points']!r} must be above 0 and below 100")
    paper = entry.get("paper", {"where": ""})
    if not {"where"} <= set(paper) <= {"where", "egoschema", "anet"} or any(
        len(paper.get(of, (0, 0))) != 2 for of in ("egoschema", "anet")
    ):
        found.append(f"{name}: paper needs where, and two numbers of egoschema or anet")
    if "change" in entry and "paper" not in entry:
        found.append(f"{name}: a change of the paper's needs the paper's numbers")
    return found


def _pair(entry: dict) -> tuple[str, str]:
    return tuple(entry["equal"]) if "equal" in entry else (entry["above"], entry["below"])


def _families(entry: dict) -> tuple[str, ...]:
    given = entry["family"]
    return FAMILIES if given == "mean" else (given,) if isinstance(given, str) else tuple(given)


def _claim(entry: dict) -> Claim:
    paper = entry.get("paper", {})

    def numbers(of: str) -> tuple[float, float] | None:
        if of not in paper:
            return None
        one, two = map(float, paper[of])
        return one, two

    return Claim(
        name=entry["name"],
        families=_families(entry),
        films=entry.get("films"),
        first=_pair(entry)[0],
        second=_pair(entry)[1],
        equal="equal" in entry,
        points=float(entry["points"]),
        by=entry["by"],
        change=entry.get("change"),
        same=entry.get("same", "yes"),
        where=paper.get("where"),
        egoschema=numbers("egoschema"),
        anet=numbers("anet"),
    )
