"""What a package offers: its public names, imported when they are first used, and the kinds that are defined so far."""

import ast
import sys
from collections.abc import Callable
from importlib import import_module
from inspect import isabstract
from pathlib import Path
from typing import Any, TypeVar

Kind = TypeVar("Kind")


def lazy(package: str, file: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """A package's `__getattr__` and `__dir__`: a name is imported from its module when it is first used.

    Args:
        file: the package's `__init__.py`. Its `if TYPE_CHECKING:`, by which editors and type checkers know the names
            and the modules that define them, is read here too: they are written down once.
    """
    (block,) = (node for node in ast.parse(Path(file).read_text("utf-8")).body if isinstance(node, ast.If))
    imports = (node for node in block.body if isinstance(node, ast.ImportFrom))
    home_of = {alias.name: str(node.module) for node in imports for alias in node.names}

    def get(name: str) -> Any:
        if name not in home_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(home_of[name]), name)

    def names() -> list[str]:
        return [*vars(sys.modules[package]), *home_of]

    return get, names


def kinds_of(base: type[Kind]) -> list[type[Kind]]:
    """All classes that derive from `base` and can be made, in the order of their definition."""
    found: list[type[Kind]] = []
    for kind in base.__subclasses__():
        found += [*([] if isabstract(kind) else [kind]), *kinds_of(kind)]
    return found
