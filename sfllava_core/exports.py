"""What a package offers: its public names, imported when they are first used, and the kinds that are defined so far."""

import sys
from collections.abc import Callable
from importlib import import_module
from inspect import isabstract


def lazy(package: str, homes: dict[str, tuple[str, ...]]) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """A package's `__getattr__` and `__dir__`.

    Args:
        homes: names by the module, below the package, that defines them.
    """
    home_of = {name: module for module, names in homes.items() for name in names}

    def get(name: str) -> object:
        if name not in home_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"{package}.{home_of[name]}"), name)

    def names() -> list[str]:
        return [*vars(sys.modules[package]), *home_of]

    return get, names


def kinds_of(base: type) -> list[type]:
    """All classes that derive from `base` and can be made, in the order of their definition."""
    found = []
    for kind in base.__subclasses__():
        found += [*([] if isabstract(kind) else [kind]), *kinds_of(kind)]
    return found
