"""The command `sfllava`; `python -m sfllava_course` is the same. Its commands are in commands.py."""

import sys
from collections.abc import Sequence
from typing import NoReturn

from sfllava_bench.stopping import run_command, stopped


def command(words: Sequence[str] | None = None) -> int:
    """Run one command of these words (those of the process); its exit code.

    Typer is imported in here, so that a Ctrl-C in the first moments is one line too, and where the core alone is
    installed, what is missing.
    """
    try:
        from sfllava_bench.command_line import call
        from sfllava_course.commands import app

        return call(app, sys.argv[1:] if words is None else words)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("sfllava"):
            raise
        print(f"error: {error.name} is not installed: pip install 'sfllava-core[course]'", file=sys.stderr)
        return 1
    except KeyboardInterrupt as error:
        return stopped(error, str(error) or "nothing is kept: the same command starts again")


def main() -> NoReturn:
    """The command as all that its process does."""
    run_command(command)


if __name__ == "__main__":
    main()
