"""HTML that cannot be broken into: every text is escaped, only what these functions made is markup."""

import base64
import io
from html import escape

import numpy as np
from jaxtyping import UInt8

from sfllava_bench.terminal import visible

VOID = {"img", "meta", "br"}
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


class Markup(str):
    """Text that is markup already. Only `tag`, `join` and `page` make it."""


def tag(name: str, *inside: object, **attributes: object) -> Markup:
    """An element. What is inside is escaped unless it is markup; `class_` is the attribute class."""
    named = "".join(f' {key.rstrip("_")}="{escape(str(value))}"' for key, value in attributes.items())
    return Markup(f"<{name}{named}>" if name in VOID else f"<{name}{named}>{join(*inside)}</{name}>")


def join(*inside: object) -> Markup:
    """Pieces after one another; those that are no markup are escaped, with control characters made visible."""
    return Markup("".join(one if isinstance(one, Markup) else escape(visible(str(one))) for one in inside))


def table(rows: list[dict[str, object]], caption: str = "") -> Markup:
    """Rows of the same columns."""
    if not rows:
        return tag("p", "none")
    head = tag("tr", *(tag("th", name) for name in rows[0]))
    body = [tag("tr", *(tag("td", row.get(name, "")) for name in rows[0])) for row in rows]
    above = [tag("caption", caption)] if caption else []
    return tag("table", *above, head, *body)


def picture(pixels: UInt8[np.ndarray, "height width 3"], width: int = 112, alt: str = "") -> Markup:
    """A picture within the page, made small."""
    from PIL import Image

    image = Image.fromarray(pixels)
    image = image.resize((width, max(1, round(width * image.height / image.width))))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=80)
    data = base64.b64encode(file.getvalue()).decode()
    return tag("img", src=f"data:image/jpeg;base64,{data}", alt=alt, title=alt)


def page(title: str, style: str, *inside: object) -> str:
    """A whole page that needs no network and runs no script."""
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'),
        tag("title", title),
        Markup(f"<style>{style}</style>"),
    )
    return f"<!DOCTYPE html>\n{tag('html', head, tag('body', *inside), lang='en')}\n"
