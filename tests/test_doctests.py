"""The examples in docstrings: what they show is what comes out."""

import doctest
from importlib import import_module

import pytest
from conftest import ROOT

PACKAGES = ("sfllava_core", "sfllava_bench", "sfllava_course", "pocket")
FILES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py")) if ">>> " in path.read_text()]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_an_example_in_a_docstring_gives_what_it_shows(path):
    module = import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
    failed, tried = doctest.testmod(module)
    assert not failed and tried == path.read_text().count(">>> ")


def test_the_words_for_the_method_have_examples():
    names = {path.stem for path in FILES}
    assert {"frames", "slowfast", "specs", "pooling", "choices"} <= names
