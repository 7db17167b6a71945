"""Figures of an exercise gone wrong: the same small tensor as given, as answered, and as wanted."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from sfllava_course.figures.described import described

NUMBERED_CELLS = 60  # more cells than this are drawn without their numbers


def plot_grids(grids: dict[str, object]) -> Figure:
    """Each 2-D array as a grid of coloured cells on one colour scale; cells of "yours" that differ get a black frame.

    Long single rows (marks on a film) are stacked above each other, everything else stands side by side.
    """
    arrays = {name: np.atleast_2d(np.asarray(grid, dtype=float)) for name, grid in grids.items()}
    rows, columns = next(iter(arrays.values())).shape
    stacked = rows == 1 and columns > 12
    layout = (len(arrays), 1) if stacked else (1, len(arrays))
    size = (9, 0.75 * len(arrays)) if stacked else (3 * len(arrays), 2.6)
    figure, axes = plt.subplots(*layout, figsize=size, squeeze=False)
    largest = max(np.nanmax(np.abs(array)) for array in arrays.values()) or 1.0
    for axis, (name, array) in zip(axes.flat, arrays.items()):
        axis.imshow(array, cmap="RdBu", vmin=-largest, vmax=largest, aspect="auto" if stacked else "equal")
        axis.set(title=f"{name}: {array.shape[0]} x {array.shape[1]}", xticks=[], yticks=[])
        if array.size <= NUMBERED_CELLS:
            write_numbers(axis, array, largest)
    if "yours" in arrays and "wanted" in arrays and arrays["yours"].shape == arrays["wanted"].shape:
        frame_differences(list(axes.flat)[list(arrays).index("yours")], arrays["yours"], arrays["wanted"])
    figure.tight_layout()
    return described(
        figure,
        "Grids of numbers side by side. "
        + "; ".join(
            f"{name}, {array.shape[0]} x {array.shape[1]}: {numbers_of(array)}" for name, array in arrays.items()
        ),
    )


def numbers_of(array: np.ndarray) -> str:
    """A grid's numbers in reading order; of a large one, how many there are and between what they lie."""
    if array.size > NUMBERED_CELLS:
        return f"{array.size} numbers from {np.nanmin(array):.3g} to {np.nanmax(array):.3g}"
    return " | ".join(" ".join(f"{number:.3g}" for number in row) for row in array)


def write_numbers(axis, array: np.ndarray, largest: float) -> None:
    """Each cell's value in it, readable on light and dark."""
    for (row, column), value in np.ndenumerate(array):
        colour = "white" if abs(value) > 0.6 * largest else "black"
        text = f"{value:.0f}" if float(value).is_integer() else f"{value:.1f}"
        axis.text(column, row, text, ha="center", va="center", fontsize=8, color=colour)


def frame_differences(axis, yours: np.ndarray, wanted: np.ndarray) -> None:
    """A black frame around each cell that is not as wanted."""
    for row, column in np.argwhere(~np.isclose(yours, wanted, atol=1e-5)):
        axis.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor="black", linewidth=1.5))
