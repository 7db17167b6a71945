"""Tables of docs/benchmarks.md: each stands between two marks, and the command that measures it puts it there."""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path

from sfllava_core.video.service import cores


def write_into(page: Path, lines: Sequence[str], name: str) -> None:
    """Put what was measured between a Markdown page's `<!-- speed NAME -->` and `<!-- end -->`.

    Raises:
        ValueError: the page has no such place.
    """
    text, mark = page.read_text(encoding="utf-8"), f"<!-- speed {name} -->"
    place = re.compile(rf"({re.escape(mark)}\n).*?(<!-- end -->)", re.DOTALL)
    measured = "\n".join([f"Measured on {date.today()}.", *lines])
    if not place.search(text):
        raise ValueError(f"{page}: it has no {mark} ... <!-- end -->, between which the tables go")
    page.write_text(place.sub(lambda found: f"{found[1]}{measured}\n{found[2]}", text), encoding="utf-8")


def write_tables(page: Path, name: str, *tables: Sequence[Mapping[str, object]]) -> None:
    """`write_into`, of tables whose rows have the columns of the first, with the machine's cores said before them."""
    lines = [f"{cores()} cores of this machine."]
    for rows in filter(None, tables):
        lines += ["", *markdown(rows)]
    write_into(page, lines, name)


def markdown(rows: Sequence[Mapping[str, object]]) -> Iterator[str]:
    """A table's lines."""
    names = list(rows[0])
    yield f"| {' | '.join(names)} |"
    yield "|" + "---|" * len(names)
    for row in rows:
        yield f"| {' | '.join(str(row.get(name, '')) for name in names)} |"
