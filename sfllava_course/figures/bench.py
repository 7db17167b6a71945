"""Figures of benchmark results: bars with intervals for each layout, in the course's colours."""

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from sfllava_bench.reports.pocketbench import CHANCE, LayoutScore
from sfllava_bench.scores.stats import Interval
from sfllava_course.figures.described import described, extremes
from sfllava_course.figures.style import COLOURS, HATCHES

# A layout's first word says how it is drawn: colour, hatching, the hatching's colour.
LOOKS = {
    "SlowFast": (COLOURS["slow"], HATCHES["fast"], COLOURS["fast"]),
    "slow": (COLOURS["slow"], HATCHES["slow"], "white"),
    "fast": (COLOURS["fast"], HATCHES["fast"], "white"),
    "no": ("white", "", COLOURS["text"]),
    "another": ("white", "", COLOURS["text"]),
}
OTHERS = (COLOURS["text"], HATCHES["text"], "white")


def look(layout: str) -> dict[str, object]:
    """How the bar of a layout is drawn."""
    face, hatch, edge = LOOKS.get(layout.split(" ")[0].rstrip(","), OTHERS)
    return {"facecolor": face, "hatch": hatch, "edgecolor": edge}


def plot_layouts(scores: list[LayoutScore], chance: dict[str, float] = CHANCE) -> Figure:
    """Accuracy of each layout: the mean over families, then each family; whiskers are 95 % intervals over films.

    chance: per cent by family that a guesser gets, drawn as a dashed line.
    """
    families = list(scores[0].families)
    panels = {"mean": [row.accuracy for row in scores]}
    panels |= {family: [row.families[family] for row in scores] for family in families}
    lines = {"mean": sum(chance.values()) / len(chance), **chance}
    figure, axes = plt.subplots(1, len(panels), figsize=(10, 0.36 * len(scores) + 1.1), sharey=True, squeeze=False)
    for axis, (name, found) in zip(axes.flat, panels.items()):
        draw_bars(axis, [row.layout for row in scores], found)
        if name in lines:
            axis.axvline(lines[name], color="black", linestyle="--", linewidth=0.8)
        axis.set_title(name, fontsize=9)
        axis.set(xlim=(0, 104), xticks=[0, 50, 100])
    axes[0, 0].set_yticks(range(len(scores)), [f"{row.layout} · {row.tokens}" for row in scores], fontsize=8)
    axes[0, 0].invert_yaxis()
    figure.supxlabel(
        "accuracy (%) with 95 % intervals over films; behind each name its visual tokens; dashed: a guesser", fontsize=8
    )
    figure.tight_layout(pad=0.4, w_pad=0.8)
    return described(
        figure,
        f"Accuracy of {len(scores)} layouts in per cent with 95 % intervals, a panel for each family. "
        + "; ".join(
            f"{name}: {extremes({row.layout: one.value for row, one in zip(scores, found)})}"
            + (f", a guesser {lines[name]:.0f}" if name in lines else "")
            for name, found in panels.items()
        ),
    )


def draw_bars(axis, layouts: list[str], found: list[Interval]) -> None:
    """A bar and a whisker for each layout; no whisker where there is no interval."""
    for place, (layout, one) in enumerate(zip(layouts, found)):
        axis.barh(place, one.value, height=0.7, linewidth=0.8, **look(layout))
        if one.low == one.low:
            axis.plot([one.low, one.high], [place, place], color="black", linewidth=1.2)
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=8)


def plot_leads(scores: list[LayoutScore]) -> Figure:
    """How far the first layout leads each other one, question by question, with 95 % intervals over films."""
    rows = [(row.layout, row.lead) for row in scores if row.lead is not None]
    figure, axis = plt.subplots(figsize=(8, 0.3 * len(rows) + 0.9))
    for place, (_, lead) in enumerate(rows):
        sure = lead.low > 0 or lead.high < 0
        axis.plot([lead.low, lead.high], [place, place], color="black", linewidth=1.4)
        axis.plot(lead.value, place, "o", color="black", markerfacecolor="black" if sure else "white", markersize=6)
    axis.axvline(0, color=COLOURS["text"], linewidth=1)
    axis.set_yticks(range(len(rows)), [layout for layout, _ in rows], fontsize=8)
    axis.invert_yaxis()
    axis.set_xlabel(
        f"lead of {scores[0].layout} over each (points of accuracy); open circle: the interval holds 0", fontsize=8
    )
    axis.tick_params(labelsize=8)
    axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    return described(
        figure,
        f"Lead of {scores[0].layout} in points over each other layout, with 95 % intervals. "
        + "; ".join(f"{layout}: {lead.value:+.1f} [{lead.low:+.1f}, {lead.high:+.1f}]" for layout, lead in rows),
    )
