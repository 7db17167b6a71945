"""Figures of chapter 6, and the numbers behind them: how well each layout answers, how sure that is, who leads whom.

Marks are right (1.0) or wrong (0.0) by question key; `about` says which film and which family a key belongs to.
Intervals are 95 %, clustered by film (sfllava_bench/scores/stats.py); in per cent where a figure shows them.
"""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from sfllava_bench.questions.records import Question
from sfllava_bench.reports.pocketbench import OPEN_CHANCE as CHANCE
from sfllava_bench.reports.published import load_paper
from sfllava_bench.scores.stats import Interval, Paired, clustered_interval, paired_comparison
from sfllava_course.figures.described import courses, described, extremes, listed
from sfllava_course.figures.style import COLOURS

Marks = dict[str, float]  # question key -> 1.0 where the answer is right
About = dict[str, Question]
BOTH = "#333333"
LOOKS = {"both": (BOTH, "o"), "SlowFast": (BOTH, "o"), "slow": (COLOURS["slow"], "s"), "fast": (COLOURS["fast"], "^")}
OTHER = ("#7A7A7A", "D")


def look(name: str) -> tuple[str, str]:
    """Colour and marker of a layout, by the eye that it begins with."""
    return LOOKS.get(name.split()[0].strip(","), OTHER)


def weights(keys: Sequence[str], about: About) -> list[float]:
    """Weights with which a mean over questions is the mean over *families*, each of them counting the same."""
    families = [about[key].group for key in keys]
    return [1 / families.count(family) for family in families]


def accuracy(marks: Marks, about: About, families: Sequence[str]) -> Interval:
    """Right answers in per cent: the mean over these families, each counting the same, clustered by film."""
    keys = sorted(key for key in marks if about[key].group in families)
    values, films = [marks[key] for key in keys], [about[key].video for key in keys]
    return clustered_interval(values, films, weights(keys, about), bounds=(0.0, 1.0)).scaled(100)


def lead(a: Marks, b: Marks, about: About, families: Sequence[str]) -> Paired:
    """How many points `a` is ahead of `b` on the same questions; families count the same."""
    keys = sorted(key for key in a if about[key].group in families)
    scale = dict(zip(keys, np.array(weights(keys, about)) * len(keys) / len(families)))
    first, second = ({key: 100 * scale[key] * marks[key] for key in keys} for marks in (a, b))
    return paired_comparison(first, second, {key: about[key].video for key in keys})


def plot_layouts(marks: dict[str, Marks], about: About, families: Sequence[str]) -> Figure:
    """Accuracy of every layout, a panel for each family; the dotted line is what guessing gives."""
    figure, axes = plt.subplots(1, len(families), figsize=(10, 0.34 * len(marks) + 0.9), sharey=True, squeeze=False)
    for axis, family in zip(axes.flat, families):
        for row, (name, own) in enumerate(marks.items()):
            draw_interval(axis, accuracy(own, about, [family]), row, *look(name))
        axis.axvline(CHANCE[family], color="black", linestyle=":", linewidth=1)
        axis.set(xlim=(-4, 104), title=family, yticks=range(len(marks)), yticklabels=list(marks))
        axis.spines[["top", "right"]].set_visible(False)
    axes[0, 0].set_ylim(len(marks) - 0.5, -0.6)
    figure.supxlabel("right answers (%), 95 % interval by film; dotted: guessing", fontsize=9)
    figure.tight_layout()
    return described(
        figure,
        f"Right answers of {len(marks)} layouts with 95 % intervals, a panel for each family, in per cent. "
        + "; ".join(
            f"{family}: {extremes({name: accuracy(own, about, [family]).value for name, own in marks.items()})}, "
            f"guessing {CHANCE[family]:.0f}"
            for family in families
        ),
    )


def draw_interval(axis, interval: Interval, row: float, colour: str, marker: str) -> None:
    """A point with its interval, lying."""
    axis.plot([interval.low, interval.high], [row, row], color=colour, linewidth=2.5, solid_capstyle="butt", alpha=0.7)
    axis.plot(interval.value, row, marker, color=colour, markersize=6, clip_on=False)


def plot_leads(leads: dict[str, Interval]) -> Figure:
    """Differences in points with their intervals; those that do not cross zero are drawn black."""
    figure, axis = plt.subplots(figsize=(9, 0.36 * len(leads) + 0.9))
    for row, interval in enumerate(leads.values()):
        clear = interval.low > 0 or interval.high < 0
        draw_interval(axis, interval, row, "black" if clear else "#9A9A9A", "o" if clear else "d")
    axis.axvline(0, color="black", linestyle=":", linewidth=1)
    axis.set(yticks=range(len(leads)), yticklabels=list(leads), xlabel="lead (points), paired, 95 % interval by film")
    axis.set_ylim(len(leads) - 0.5, -0.6)
    axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    return described(
        figure,
        "Leads in points with 95 % intervals. "
        + "; ".join(f"{name}: {one.value:+.1f} [{one.low:+.1f}, {one.high:+.1f}]" for name, one in leads.items()),
    )


def plot_widths(intervals: dict[str, Interval]) -> Figure:
    """Several intervals of one and the same mean, above each other."""
    figure, axis = plt.subplots(figsize=(9, 0.36 * len(intervals) + 0.9))
    for row, interval in enumerate(intervals.values()):
        draw_interval(axis, interval, row, BOTH, "o")
        axis.text(interval.high + 0.5, row, f"{interval.high - interval.low:.0f} wide", va="center", fontsize=8)
    axis.set(yticks=range(len(intervals)), yticklabels=list(intervals), xlabel="right answers (%)")
    axis.set_ylim(len(intervals) - 0.5, -0.6)
    axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    return described(
        figure,
        "Intervals of one and the same mean, in per cent. "
        + "; ".join(f"{name}: {one.value:.1f} [{one.low:.1f}, {one.high:.1f}]" for name, one in intervals.items()),
    )


def plot_curves(curves: dict[str, dict[str, dict[int, Interval]]], xlabel: str) -> Figure:
    """Accuracy over a number of frames, a panel for each family: family -> layout -> {frames: interval}."""
    figure, axes = plt.subplots(1, len(curves), figsize=(10, 2.7), sharey=True, squeeze=False)
    for axis, (family, lines) in zip(axes.flat, curves.items()):
        for (name, points), line in zip(lines.items(), ["-", "--"]):
            colour, marker = look(name)
            numbers = np.array(list(points))
            middle, low, high = (np.array([getattr(p, f) for p in points.values()]) for f in ("value", "low", "high"))
            axis.fill_between(numbers, low, high, color=colour, alpha=0.18, linewidth=0)
            axis.plot(numbers, middle, line, color=colour, marker=marker, label=name, markersize=5, clip_on=False)
        axis.axhline(CHANCE[family], color="black", linestyle=":", linewidth=1)
        axis.set(title=family, xlabel=xlabel, ylim=(-3, 103), xscale="log", xticks=numbers, xticklabels=numbers)
        axis.minorticks_off()
        axis.spines[["top", "right"]].set_visible(False)
    axes[0, 0].set_ylabel("right answers (%)")
    axes[0, -1].legend(fontsize=8, frameon=False, loc="lower right")
    figure.tight_layout()
    return described(
        figure,
        f"Right answers in per cent over {xlabel}, with 95 % intervals, a panel for each family. "
        + " ".join(
            f"{family} (guessing {CHANCE[family]:.0f}): {courses(axis)}" for axis, family in zip(axes.flat, curves)
        ),
    )


def plot_beside(ours: dict[str, Interval], paper: dict[str, dict[str, float]], title: str) -> Figure:
    """Our points with intervals on the left, the paper's published ones on the right, setting by setting.

    paper: setting, as it is called there -> accuracy by benchmark; in the same order as ours. Axes differ on purpose.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 0.42 * len(ours) + 1.4))
    for row, interval in enumerate(ours.values()):
        draw_interval(left, interval, row, BOTH, "o")
    left.set(yticks=range(len(ours)), yticklabels=list(ours), xlabel="right answers (%), 95 % interval by film")
    left.set_title("pocket model, PocketBench", fontsize=9)
    for (name, colour), marker in zip({"EgoSchema": "#CC79A7", "ActivityNet-QA": "#009E73"}.items(), "Pv"):
        found = [(row[name], place) for place, row in enumerate(paper.values()) if row.get(name) is not None]
        right.plot(*zip(*found), marker, color=colour, label=name, markersize=7)
    right.set(yticks=range(len(paper)), yticklabels=[name.replace("_", " ") for name in paper],
              xlabel="accuracy (%), no interval published")  # fmt: skip
    right.set_title(title, fontsize=9)
    right.legend(fontsize=8, frameon=False, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1.12))
    for axis in (left, right):
        axis.set_ylim(len(ours) - 0.5, -0.5)
        axis.grid(axis="x", linewidth=0.4, alpha=0.5)
        axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    return described(
        figure,
        "Left, the pocket model on PocketBench, right answers in per cent: "
        + "; ".join(f"{name}: {one.value:.1f} [{one.low:.1f}, {one.high:.1f}]" for name, one in ours.items())
        + f". Right, {title}, as published: "
        + "; ".join(f"{name.replace('_', ' ')}: {listed(row, '.1f')}" for name, row in paper.items()),
    )


def published(table: str, rows: Sequence[object], size: str = "7b") -> dict[str, dict[str, float]]:
    """Rows of the paper's tables 5, 6 or 7 (data/paper/paper_results.yaml), named as there, as accuracies in %.

    table: "table5_slow_pooling", "table6_fast_pooling" or "table7_prompts"; "table4_fast_only" by number of frames.
    """
    paper = load_paper()[table][size]
    if table == "table4_fast_only":
        return {
            f"{n} frames": {"ActivityNet-QA": paper["anet"][n][0], "EgoSchema": paper["egoschema"][n]} for n in rows
        }
    return {str(row): {"ActivityNet-QA": paper[row][0], "EgoSchema": paper[row][2]} for row in rows}


def carries_over(paper: float, paper_error: float, ours: Interval) -> str:
    """What our difference says about the paper's, both in points.

    "paper near zero": the published difference is within one standard error of its own; "cannot tell": our interval
    holds zero; else "same way" or "other way".
    """
    if abs(paper) < paper_error:
        return "paper near zero"
    if ours.low <= 0 <= ours.high:
        return "cannot tell"
    return "same way" if (ours.value > 0) == (paper > 0) else "other way"
