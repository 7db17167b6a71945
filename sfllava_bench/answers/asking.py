"""Whose prompts and reading of choices a question is asked by, for an experiment and for a run that is read again."""

from sfllava_bench.answers.journal import Record
from sfllava_core.methods.base import Method, SpecError
from sfllava_core.methods.slowfast import SlowFast
from sfllava_core.methods.specs import parse_spec


def asked_as(method: Method, prompts: str) -> Method:
    """The method whose prompts and reading of choices are used, where this one shows the video."""
    return method if prompts == "own" else SlowFast()


def method_that_asked(settings: Record) -> Method:
    """Whose prompts and reading of choices a run's answers came by, from its settings alone.

    Predictions of others, which name no method, are read as those of the paper's.

    Raises:
        SpecError: the method's code is not defined here.
    """
    if "method" not in settings:
        return SlowFast()
    return asked_as(defined_method(settings["method"]), settings.get("prompts", "own"))


def defined_method(text: str) -> Method:
    """The method that a run's settings name. Raises SpecError where its code is not defined here."""
    try:
        return parse_spec(text)
    except SpecError as error:
        raise SpecError(
            f"the run's method is {text!r}, and no code for it is defined here, which reads its answers: "
            f"define it first (run its notebook's cell, or import its file), then score again ({error})"
        ) from None
