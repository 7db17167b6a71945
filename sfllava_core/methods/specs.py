"""Methods as text: `parse_spec` asks each kind of method whether the text is one of its own.

All kinds in this folder are asked, and whatever else derives from `Method` when it is called: a notebook's, say.
"""

from importlib import import_module
from pkgutil import iter_modules

import sfllava_core.methods
from sfllava_core.methods.base import Method, SpecError, Whole, decode_method

LONGEST = 1_000  # characters of a method as text


def all_kinds() -> dict[str, type[Method]]:
    """Every kind of method by its name: those of this folder, and whatever else is defined by now."""
    for module in iter_modules(sfllava_core.methods.__path__, "sfllava_core.methods."):
        import_module(module.name)
    return Method.kinds()


def parse_spec(text: str, num_frames: Whole = 50) -> Method:
    """A method from `str(method)`, from `method.to_json()`, or from a name of the released code.

    Args:
        text: for instance "slowfast-slow_10frms_spatial_1d_max_pool-fast_4x4", "concat", "frames50_slow10-max1x2".
        num_frames: N, for the released code's names, which do not hold it (its default is 50).

    Raises:
        SpecError: a text that is none of these, or whose numbers cannot be, or a released name that does not fit the
            24 x 24 patches that those were made for.

    >>> print(parse_spec("slowfast-slow_10frms_spatial_1d_max_pool-fast_4x4"))
    frames50_slow10-max1x2_fastall-to4x4
    >>> parse_spec("frames50_slow10-max1x2_fastall-to4x4").token_counts(50, (24, 24))
    {'slow': 2880, 'fast': 800}
    """
    text, kinds = text.strip(), all_kinds()
    if len(text) > LONGEST:
        raise SpecError(f"a spec of {len(text)} characters: give at most {LONGEST}")
    if text.startswith("{"):
        return decode_method(text)
    for kind in kinds.values():
        if (found := kind.parse(text, num_frames)) is not None:
            return found
    raise SpecError(
        f"spec {text!r} is not understood; write for instance 'frames50_slow10-max1x2_fastall-to4x4', "
        "'grid3x2_tiles2x2', 'blind', 'slowfast-slow_10frms_spatial_1d_max_pool-fast_4x4' or 'concat'"
    )
