"""Dials for a figure: the same plot function that a notebook calls once by itself, behind sliders and lists."""

from collections.abc import Callable
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure


def explore(plot: Callable[..., Figure], **dials: Any) -> Any:
    """Sliders and lists for the keyword arguments of `plot`; its figure below them is drawn anew when one moves.

    Args:
        plot: a pure function that returns a figure.
        dials: one for each argument: (lowest, highest, start) of whole numbers, or a list of choices, the first of
            them being the start.

    Returns:
        An ipywidgets box, to be the last expression of a cell.
    """
    from IPython.display import display
    from ipywidgets import interactive

    def show(**values: Any) -> None:
        figure = plot(**values)
        display(figure)
        plt.close(figure)

    return interactive(show, **{name: control(name, dial) for name, dial in dials.items()})


def control(name: str, dial: Any) -> Any:
    """The widget of one dial: a slider that waits until it is let go, or a list."""
    from ipywidgets import Dropdown, IntSlider, Layout

    looks = {"description": name.replace("_", " "), "style": {"description_width": "110px"}}
    if isinstance(dial, tuple):
        lowest, highest, start = dial
        return IntSlider(
            start, lowest, highest, **looks, continuous_update=False, layout=Layout(width="min(480px, 95%)")
        )
    return Dropdown(options=dial, value=dial[0], **looks)
