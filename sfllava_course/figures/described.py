"""What a figure shows, in words, for who cannot see it: written where it is drawn, carried along with its picture.

`described` puts the text on the figure as its label. A notebook that shows the figure writes it into the output's
metadata (`image/png`, `alt`), whether the figure is shown by matplotlib, by `display` or by a widget; the pages made of
notebooks take it from there (`sfllava_course.web`).
"""

from collections.abc import Iterable, Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure


def described(figure: Figure, text: str) -> Figure:
    """The figure, with the text that stands for it: one line, ended by a full stop."""
    figure.set_label(" ".join(text.split()).rstrip(".") + ".")
    tell_notebook()
    return figure


def tell_notebook() -> None:
    """Have this notebook, if it is one, write a figure's text beside its picture."""
    from IPython import get_ipython

    shell = get_ipython()
    if shell is not None:  # no data, only metadata: the picture is made by whoever makes it anyway
        formatter = shell.display_formatter.mimebundle_formatter
        formatter.for_type(Figure, lambda figure: ({}, {"image/png": {"alt": figure.get_label()}}))


def listed(values: Mapping[str, float], form: str = ".3g") -> str:
    """Names with their numbers.

    >>> listed({"slow": 2880, "fast": 800}, ",")
    'slow 2,880, fast 800'
    """
    return ", ".join(f"{name} {value:{form}}" for name, value in values.items())


def extremes(values: Mapping[str, float], form: str = ".0f") -> str:
    """The smallest and the largest with their names; the number alone where all are the same.

    >>> extremes({"slow": 60, "both eyes": 84.2, "blind": 20})
    'from 20 (blind) to 84 (both eyes)'
    """
    low, high = min(values, key=values.__getitem__), max(values, key=values.__getitem__)
    if values[low] == values[high]:
        return f"{values[low]:{form}} for all {len(values)}"
    return f"from {values[low]:{form}} ({low}) to {values[high]:{form}} ({high})"


def titles_of(axes: Iterable[Axes]) -> str:
    """The titles of drawings side by side, wherever on them they stand."""
    titles = [next(filter(None, (axis.get_title(where) for where in ("center", "left"))), "") for axis in axes]
    return "; ".join(titles)


def courses(axis: Axes) -> str:
    """How each named line of a drawing runs: from where to where, and between what, if that is more."""
    told = []
    for line in axis.get_lines():
        if not str(line.get_label()).startswith("_"):  # matplotlib's name for what has none
            heights = np.asarray(line.get_ydata(), dtype=float)
            low, high = np.nanmin(heights), np.nanmax(heights)
            text = f"{line.get_label()}: from {short(heights[0])} to {short(heights[-1])}"
            wider = not {low, high} <= {heights[0], heights[-1]}
            told.append(text + (f", between {short(low)} and {short(high)}" if wider else ""))
    return "; ".join(told)


def short(value: float) -> str:
    """A number with three digits, or with all those before the point.

    >>> short(5990.4), short(0.02778)
    ('5,990', '0.0278')
    """
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
