"""Values on their way out of the box: as JSON, with arrays in formats that run no code when read.

A learner's check tells an int from NumPy's, a list from an array, and so does this. What an answer has no business to
be arrives as `Other`, with the name of its type.
"""

import io
from base64 import b64decode, b64encode
from typing import Any

PLAIN = (type(None), bool, int, float, str)


def encode(value: Any) -> Any:
    """A value as what JSON can hold."""
    if isinstance(value, PLAIN):
        return value if type(value) in PLAIN else next(kind(value) for kind in PLAIN[1:] if isinstance(value, kind))
    if value is Ellipsis:
        return {"ellipsis": True}
    if isinstance(value, list):
        return [encode(one) for one in value]
    if isinstance(value, tuple):
        return {"tuple": [encode(one) for one in value]}
    if type(value) is dict:
        return {"dict": [[encode(key), encode(one)] for key, one in value.items()]}
    return encode_array(value)


def encode_array(value: Any) -> dict[str, Any]:
    """Arrays, tensors and methods; what is none of them by its type's name."""
    import numpy as np
    import safetensors.torch
    from torch import Tensor

    from sfllava_core.methods.base import Method

    if isinstance(value, Tensor):
        whole = value.detach().cpu().contiguous().clone()
        return {"tensor": b64encode(safetensors.torch.save({"value": whole})).decode()}
    if isinstance(value, np.ndarray | np.generic) and value.dtype != object:
        file = io.BytesIO()
        np.save(file, value, allow_pickle=False)
        return {"array": b64encode(file.getvalue()).decode(), "scalar": isinstance(value, np.generic)}
    if isinstance(value, Method):
        return {"method": str(value)}
    return {"other": type(value).__name__}


def decode(found: Any) -> Any:
    """The value of what `encode` made, or of anything: nothing in it is run.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: it is nothing that `encode` makes.
    """
    import numpy as np
    import safetensors.torch

    from sfllava_core.methods.specs import parse_spec

    if isinstance(found, PLAIN):
        return found
    if isinstance(found, list):
        return [decode(one) for one in found]
    if "ellipsis" in found:
        return Ellipsis
    if "tuple" in found:
        return tuple(decode(one) for one in found["tuple"])
    if "dict" in found:
        return {decode(key): decode(one) for key, one in found["dict"]}
    if "tensor" in found:
        return safetensors.torch.load(b64decode(found["tensor"]))["value"]
    if "array" in found:
        array = np.load(io.BytesIO(b64decode(found["array"])), allow_pickle=False)
        return array[()] if found["scalar"] else array
    if "method" in found:
        return parse_spec(str(found["method"]))
    return of_type(found["other"])


def of_type(name: str) -> Any:
    """An object of an empty type with this name, for the hint that names it."""
    return type(str(name)[:60].replace("\0", ""), (), {})()
