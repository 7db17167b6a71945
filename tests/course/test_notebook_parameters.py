"""Parameters from the command line: their types, and what is refused."""

import pytest
from notebook_files import with_parameters

from sfllava_course.notebook_parameters import ParameterError, parameters_for

PARAMETERS = (
    "a = 0  # a number = a count\nb = ''\nc = []\nd = False\ne = 0\nf = 0.5\ng = None\nh: bool = True\n"
    "i = 2 * 3\ndry_run = False\nallow_missing = True"
)


def test_parameters_from_the_command_line_keep_their_types(tmp_path):
    notebook = with_parameters(tmp_path / "n.ipynb", PARAMETERS)
    texts = {"a": "3", "b": "text", "c": '["x"]', "d": "true", "e": 5}
    assert parameters_for(notebook, texts) == {"a": 3, "b": "text", "c": ["x"], "d": True, "e": 5}
    assert parameters_for(notebook, {"b": "3", "f": "2", "g": "None", "i": "false"}) == {
        "b": "3", "f": 2, "g": None, "i": False,
    }  # fmt: skip
    assert parameters_for(notebook, {"b": ""}) == {"b": ""}, "no text is no folder"


@pytest.mark.parametrize(
    ("text", "value"),
    [("False", False), ("false", False), ("no", False), ("No", False), ("off", False), ("0", False),
     ("True", True), ("true", True), ("yes", True), ("ON", True), ("1", True)],
)  # fmt: skip
def test_false_is_false_however_it_is_typed(text, value, tmp_path):
    notebook = with_parameters(tmp_path / "n.ipynb", PARAMETERS)
    found = parameters_for(notebook, {"d": text, "h": text})
    assert found["d"] is value and found["h"] is value


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("d", "maybe", "d='maybe': give True or False"), ("d", "None", "d='None': give True or False"),
        ("d", "", "d='': give True or False"), ("d", "2", "d='2': give True or False"),
        ("a", "True", "a='True': give a whole number"), ("a", "three", "a='three': give a whole number"),
        ("a", "-3", "a='-3': give a whole number of at least 0"), ("a", "2.5", "a='2.5': give a whole number"),
        ("a", "9" * 5000, "give a whole number"), ("b", "None", "b='None': give a text; '' stands for none"),
        ("b", "False", "b='False': give a text"), ("c", "x", "c='x': give a list as JSON"),
        ("c", "[" * 100_000, "give a list as JSON"), ("f", "yes", "f='yes': give a number"),
        ("dryrun", "True", "n.ipynb has no parameter 'dryrun'; it has a, b, c, d, e, f, g, h, i, dry_run"),
    ],
)  # fmt: skip
def test_parameters_of_another_type_or_name_are_refused(name, text, message, tmp_path):
    notebook = with_parameters(tmp_path / "n.ipynb", PARAMETERS)
    with pytest.raises(ParameterError) as caught:
        parameters_for(notebook, {name: text})
    assert message in str(caught.value)
