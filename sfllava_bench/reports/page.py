"""Pages that cannot be broken into, by Jinja2: templates/ holds all markup, every value in it is escaped.

A page needs no network and runs no script, and its content security policy holds a browser to that.
"""

import base64
import io
import re
from functools import cache
from typing import Any

import numpy as np
from jaxtyping import UInt8
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from sfllava_bench.terminal import visible

# "776", "1,540", "+8.3 [+1.0, +15.6]", "72/72", "< 0.01", "-": what stands to the right in its column.
NUMBER = re.compile(r"(< )?[+-]?[\d.,]+(/\d+)?( \[[^\]]*\])?|[-?]?")


@cache
def environment() -> Environment:
    """The templates, with every value escaped; a name that a template misspells is an error, not an empty place."""
    made = Environment(
        loader=PackageLoader("sfllava_bench.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=seen,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["is_number"] = lambda rows, name: all(NUMBER.fullmatch(str(row.get(name, ""))) for row in rows)
    return made


def seen(value: object) -> object:
    """A value as a template shows it: control characters as their codes, markup of other templates as it is."""
    return value if isinstance(value, Markup) else visible(str(value))


def render(template: str, **values: Any) -> Markup:
    """A template of templates/ with these values in it."""
    return Markup(environment().get_template(template).render(**values))


def table(rows: list[dict[str, object]], caption: str = "") -> Markup:
    """Rows of the same columns as a table, for a page or a notebook; columns of numbers stand to the right."""
    return render("table.html", rows=rows, caption=caption)


def data_uri(pixels: UInt8[np.ndarray, "height width 3"], width: int = 112) -> str:
    """A picture as an address that holds it whole, made small."""
    from PIL import Image

    image = Image.fromarray(pixels)
    image = image.resize((width, max(1, round(width * image.height / image.width))))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
