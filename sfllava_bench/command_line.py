"""How the commands of `sfllava` are read, and how they end: an exit code, and one line for whatever goes wrong.

Each floor brings its own commands (commands.py); the top floor puts them together and calls them through `call`.
"""

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from inspect import Parameter, Signature, signature
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from sfllava_bench.terminal import ends_with_its_reader, one_line, show

PAIR = "NAME VALUE"  # the metavar of an option that takes two words
UsageError: Any = typer.BadParameter.__base__  # click's own, or that of the click which newer Typers carry inside


class Command(TyperCommand):
    """A command. Its options may be followed by several words: `--run a b`."""

    context_class = typer.Context

    def parse_args(self, ctx, args: list[str]) -> list[str]:
        """Typer's, of words that it understands."""
        return super().parse_args(ctx, one_by_one(args, self.params))


class Group(TyperGroup):
    """Commands below one name, and the options before them, which are as a command's."""

    context_class = typer.Context

    def parse_args(self, ctx, args: list[str]) -> list[str]:
        """Typer's, of words that it understands."""
        return super().parse_args(ctx, one_by_one(args, self.params))


def one_by_one(words: Sequence[str], params: Iterable) -> list[str]:
    """`--run a b` as `--run a --run b`: an option that may be given several times takes all words up to the next one.

    One whose metavar is `PAIR` takes two words, whatever they look like.
    """
    several = {name: param.metavar for param in params if getattr(param, "multiple", False) for name in param.opts}
    found, left = [], list(words)
    while left and left[0] != "--":
        word = left.pop(0)
        taken = 0
        if word in several and several[word] == PAIR:
            taken = min(2, len(left))
        elif word in several:
            taken = next((place for place, one in enumerate(left) if one.startswith("-")), len(left))
        found += [part for value in left[:taken] for part in (word, value)] if taken else [word]
        del left[:taken]
    return found + left


def commands(**more: Any) -> typer.Typer:
    """An empty list of commands, to be filled."""
    more = {"no_args_is_help": True, **more}
    names = {"help_option_names": ["--help", "-h"]}
    return typer.Typer(cls=Group, add_completion=False, pretty_exceptions_enable=False, context_settings=names, **more)


def command(app: typer.Typer, example: str, name: str | None = None) -> Callable[[Callable], Callable]:
    """Adds a function as a command of `app`; its `--help` ends with the example. It returns an exit code, or None."""
    return app.command(name, cls=Command, epilog=f"Example: sfllava {example}")


def takes(**makers: Callable) -> Callable[[Callable], Callable]:
    """Options that several commands share stand once, as the parameters of what is made of them.

    `@takes(judge=make_judge)`: in place of the command's parameter `judge` the command line has those of `make_judge`;
    the command gets a call without arguments that makes it.
    """

    def decorated(function: Callable) -> Callable:
        parameters: list[Parameter] = []
        for name, parameter in signature(function).parameters.items():
            parameters += signature(makers[name]).parameters.values() if name in makers else [parameter]

        def filled(**words: Any) -> int | None:
            for name, maker in makers.items():
                words[name] = partial(maker, **{own: words.pop(own) for own in signature(maker).parameters})
            return function(**words)

        filled.__name__, filled.__doc__ = function.__name__, function.__doc__
        filled.__signature__ = Signature(parameters)  # type: ignore[attr-defined]  # what `signature` looks for
        filled.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return filled

    return decorated


@ends_with_its_reader
def call(app: typer.Typer, words: Sequence[str]) -> int:
    """Run one command: its exit code; 1 after what goes wrong in a known way, 2 where the words are no command.

    Raises:
        KeyboardInterrupt: it was stopped; what there is to say of that is its text.
        Exception: a fault of our own; any, where SFLLAVA_DEBUG is set.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    top = get_command(app)
    try:
        with top.make_context("sfllava", list(words)) as context:
            return top.invoke(context) or 0
    except typer.Exit as end:  # after --help
        return end.exit_code
    except UsageError as error:
        from typer.rich_utils import rich_format_error

        error.message = one_line(error.message)
        rich_format_error(error)
        return error.exit_code
    except (BrokenPipeError, KeyError, IndexError):
        raise
    except (RuntimeError, ValueError, OSError, LookupError) as error:
        if os.environ.get("SFLLAVA_DEBUG"):
            raise
        show(f"error: {error}", file=sys.stderr)
        return 1
