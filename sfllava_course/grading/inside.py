"""Called in a student's kernel: an answer to inputs of the check. A copy may have bent all of this; see values.py."""

import json
import pickle
from base64 import b64decode
from collections.abc import Callable

from sfllava_course.grading.values import encode


def call(answer: Callable, packed: str) -> str:
    """What `answer` gives for these inputs, as JSON: {"value": ...} or {"raised": [type, text]}."""
    inputs = pickle.loads(b64decode(packed))
    try:
        return json.dumps({"value": encode(answer(*inputs))})
    except (Exception, SystemExit) as error:
        return json.dumps({"raised": [type(error).__name__, str(error)[:500]]})
