"""What a command line may show: texts of others made harmless, and an end without a traceback."""

import os
import sys
from collections.abc import Callable
from functools import wraps

# They turn the reading direction round, or are a line's end to some programs.
INVISIBLE = set("\u061c\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def visible(text: str, keep: str = "\n\t") -> str:
    """The text with control characters, half characters and those that turn the reading direction as their codes.

    A terminal obeys some of them: it would hide, colour or overwrite what it shows. Those in `keep` stay.
    """
    return "".join(f"\\u{ord(c):04x}" if c not in keep and is_hidden(c) else c for c in text)


def is_hidden(character: str) -> bool:
    """Whether a character acts instead of being seen."""
    code = ord(character)
    return code < 32 or 0x7F <= code < 0xA0 or 0xD800 <= code < 0xE000 or character in INVISIBLE


def one_line(text: str) -> str:
    """For a table's cell: line ends and tabs are made visible too."""
    return visible(text, keep="")


def show(text: object, file=None) -> None:
    """Print a text that may hold what others wrote: a question, an answer, a file's name, an error's message."""
    print(visible(str(text)), file=file)


def table(results: dict) -> str:
    """The rows of results.json as a plain table: column names, then lines of equal width, one for each row."""
    rows = results.get("table", [])
    if not rows:
        return "(results.json holds no table)"
    names = list(rows[0])
    cells = [[one_line(str(cell)) for cell in line] for line in (names, *([r.get(n, "") for n in names] for r in rows))]
    widths = [max(len(line[column]) for line in cells) for column in range(len(names))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in cells)


def ends_with_its_reader(main: Callable[..., int]) -> Callable[..., int]:
    """A command's `main` that ends with one line and code 1 where `... | head` has read enough."""

    @wraps(main)
    def wrapped(*arguments: object) -> int:
        try:
            code = main(*arguments)
            sys.stdout.flush()
            return code
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what Python writes at its end
            show("ended: nobody reads the output any more", file=sys.stderr)
            return 1

    return wrapped
