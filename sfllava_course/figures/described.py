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
    """The figure, with the text that stands for it. Line breaks become spaces."""
    figure.set_label(" ".join(text.split()))
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
    """ "slow 2,880, fast 800": names with their numbers."""
    return ", ".join(f"{name} {value:{form}}" for name, value in values.items())


def extremes(values: Mapping[str, float], form: str = ".0f") -> str:
    """ "from 20 (blind) to 84 (both eyes)"; the number alone where all are the same."""
    low, high = min(values, key=values.__getitem__), max(values, key=values.__getitem__)
    if values[low] == values[high]:
        return f"{values[low]:{form}} for all {len(values)}"
    return f"from {values[low]:{form}} ({low}) to {values[high]:{form}} ({high})"


def titles_of(axes: Iterable[Axes]) -> str:
    """The titles of drawings side by side, wherever on them they stand."""
    titles = [next(filter(None, (axis.get_title(where) for where in ("center", "left"))), "") for axis in axes]
    return "; ".join(titles)


def courses(axis: Axes) -> str:
    """How each named line of a drawing runs: where it starts, where it ends, and how far it goes up and down."""
    told = []
    for line in axis.get_lines():
        heights = np.asarray(line.get_ydata(), dtype=float)
        if not line.get_label().startswith("_"):  # matplotlib's name for what has none
            told.append(
                f"{line.get_label()}: starts at {heights[0]:.3g}, ends at {heights[-1]:.3g}, "
                f"lowest {np.nanmin(heights):.3g}, highest {np.nanmax(heights):.3g}"
            )
    return "; ".join(told) + "."
