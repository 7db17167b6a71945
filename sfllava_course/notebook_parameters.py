"""Texts of a command line -> the parameters of a notebook, read as the types that its own defaults have.

A notebook's defaults are in its cell tagged `parameters`: plain assignments of texts, numbers, lists and True or False.
"""

import ast
import json
from pathlib import Path

WORDS = {"True": True, "False": False, "None": None, "true": True, "false": False, "null": None}
TRUE, FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")
UNKNOWN = object()  # a default that is no plain value


class ParameterError(ValueError):
    """A parameter that the notebook has not, or that is not of its default's type."""


def parameters_for(notebook: Path, given: dict[str, object]) -> dict[str, object]:
    """What is given, each text as a value of its default's type; the path of something that is there is made absolute.

    Raises:
        ParameterError: the notebook has no such parameter, or the value is not of its type.
    """
    if not given:
        return {}
    defaults, found = defaults_of(notebook), {}
    for name, value in given.items():
        if name not in defaults:
            named = ", ".join(defaults) or "none"
            raise ParameterError(f"{notebook.name} has no parameter {name!r}; it has {named}")
        found[name] = fitted(name, value, defaults[name]) if isinstance(value, str) else value
    return found


def defaults_of(notebook: Path) -> dict[str, object]:
    """The defaults of a notebook's parameters by name; `UNKNOWN` for what is no plain value."""
    import nbformat

    found = {}
    for cell in nbformat.read(notebook, as_version=4).cells:
        if cell.cell_type == "code" and "parameters" in cell.metadata.get("tags", []):
            for line in ast.parse(cell.source).body:
                target = line.targets[0] if isinstance(line, ast.Assign) else getattr(line, "target", None)
                if isinstance(target, ast.Name):
                    found[target.id] = plain(line.value)
    return found


def plain(node: ast.expr | None) -> object:
    """A literal's value; `UNKNOWN` for any other expression."""
    try:
        return UNKNOWN if node is None else ast.literal_eval(node)
    except ValueError:
        return UNKNOWN


def fitted(name: str, text: str, default: object) -> object:
    """A text as a value of its default's type.

    Raises:
        ParameterError: it is none.
    """
    if isinstance(default, bool):
        if text.lower() not in (*TRUE, *FALSE):
            raise ParameterError(f"{name}={text!r}: give True or False")
        return text.lower() in TRUE
    if isinstance(default, str):
        if text in WORDS:
            raise ParameterError(f"{name}={text!r}: give a text; '' stands for none")
        return from_here(text)
    value = read(text)
    if isinstance(default, int) and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
        raise ParameterError(f"{name}={text!r}: give a whole number of at least 0")
    if isinstance(default, float) and (not isinstance(value, int | float) or isinstance(value, bool)):
        raise ParameterError(f"{name}={text!r}: give a number")
    if isinstance(default, list | dict) and not isinstance(value, type(default)):
        raise ParameterError(f"{name}={text!r}: give a {type(default).__name__} as JSON")
    return value


def from_here(text: str) -> str:
    """The absolute path where the text names something that is there: the notebook runs in the project's folder."""
    try:
        return str(Path(text).absolute()) if text and Path(text).exists() else text
    except (OSError, ValueError):  # too long for a path, or with a zero byte
        return text


def read(text: str) -> object:
    """A text as what it looks like: True, False, None, a number, a list; else itself."""
    if text in WORDS:
        return WORDS[text]
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
