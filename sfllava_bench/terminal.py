"""What a command line may show: texts of others made harmless, and an end without a traceback."""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from io import StringIO

WIDE = 100_000  # columns: no cell is broken, none cut
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


def show_table(rows: Sequence[Mapping[str, object]]) -> None:
    """Print rows that have the columns of the first: drawn on a terminal; elsewhere plain text, one line for a row."""
    if not rows:
        print("(there is no table)")
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    def cell(value: object) -> Text:
        """Nothing in it is a command to the terminal, or markup."""
        return Text(one_line(str(value)))

    drawn = sys.stdout.isatty()
    look = {"box": box.SIMPLE_HEAD} if drawn else {"box": None, "pad_edge": False, "padding": (0, 2, 0, 0)}
    table = Table(**look, header_style="bold" if drawn else "")
    names = list(rows[0])
    for name in names:
        table.add_column(cell(name), no_wrap=not drawn)
    for row in rows:
        table.add_row(*(cell(row.get(name, "")) for name in names))
    if drawn:
        Console().print(table)
        return
    text = StringIO()
    plain = Console(file=text, width=WIDE, color_system=None, force_terminal=False)
    plain.print(table, crop=False)
    print("\n".join(line.rstrip() for line in text.getvalue().splitlines()))


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
