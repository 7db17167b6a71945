"""Figures of chapter 4: what pathways cost, where dynamic RoPE begins, and what the paper's accuracies are bought with.

The published accuracies are read from data/paper/paper_results.yaml; nothing of them is measured here.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from sfllava_core.budget.arithmetic import MODEL_SHAPES, token_budget
from sfllava_core.defaults import DATA
from sfllava_core.methods.pooling import Pool
from sfllava_core.methods.slowfast import Pathway, SlowFast
from sfllava_course.figures.described import courses, described, listed
from sfllava_course.figures.pooling import POOLS
from sfllava_course.figures.style import COLOURS, HATCHES

GREYS = {"vision tower": "#D9D9D9", "projector": "#969696", "prefill": "#525252", "questions": "#FFFFFF"}
KINDS = {"slow pooling (table 5)": ("s", COLOURS["slow"]), "fast pooling (table 6)": ("^", COLOURS["fast"]),
         "fast only (table 4)": ("v", "#8C6D1F"), "slow only (section 4.4)": ("o", "#56B4E9"),
         "default (table 1, 2)": ("*", "black")}  # fmt: skip
Point = tuple[str, str, int, float]


def plot_budget(
    slow_frames: int = 10, slow_pool: str = "max 1 x 2", frames: int = 50, fast_side: int = 4, model: str = "7b",
    questions: int = 1,
) -> Figure:  # fmt: skip
    """Tokens, memory of the shared prefix, and operations of a pair of pathways on a real model, by arithmetic."""
    spec = SlowFast(frames, Pathway(slow_frames, POOLS[slow_pool]), Pathway(None, Pool.to(fast_side, fast_side)))
    shape = MODEL_SHAPES[model]
    budget = token_budget(spec, shape)
    figure, (tokens, memory, work) = plt.subplots(3, 1, figsize=(9, 4.2))
    parts = {**budget.pathway_tokens, "text": budget.text_tokens + budget.new_tokens}
    limits = (shape.native_positions, budget.context_limit)
    draw_parts(tokens, parts, COLOURS, HATCHES, "tokens in the context")
    tokens.set_xlim(0, max(budget.context_tokens, *limits) * 1.03)
    for limit in limits:
        tokens.axvline(limit, color="black", linestyle="--", linewidth=1)
    fit = "fits" if budget.context_tokens <= limits[0] else "past the native positions: dynamic RoPE"
    fit = fit if budget.context_tokens <= limits[1] else "DOES NOT FIT"
    tokens.legend(fontsize=8, ncols=3, frameon=False, loc="lower right", bbox_to_anchor=(1, 0.95))
    tokens.set_title(f"{budget.context_tokens:,} tokens: {fit}", fontsize=10, loc="left")
    gib = budget.prefix_kv_bytes / 2**30
    draw_parts(
        memory, {"text": gib}, {"text": "#56B4E9"}, {"text": "\\\\"}, "keys and values of the prefix (GiB, 16 bit)"
    )
    memory.set_xlim(0, max(4.2, gib * 1.05))
    flops = {"vision tower": budget.vision_flops, "projector": budget.projector_flops, "prefill": budget.prefill_flops,
             "questions": budget.total_flops(questions) - budget.video_flops}  # fmt: skip
    stages = {name: number / 1e12 for name, number in flops.items()}
    draw_parts(work, stages, GREYS, dict.fromkeys(stages, ""), f"operations (TFLOP), {questions} question(s) included")
    work.legend(fontsize=8, ncols=4, frameon=False, loc="lower right", bbox_to_anchor=(1, 0.95))
    figure.tight_layout()
    return described(
        figure,
        f"Three bars for a {model.upper()} model. {budget.context_tokens:,} tokens in the context "
        f"({listed(parts, ',')}): {fit}. "
        f"Keys and values of the prefix: {gib:.2f} GiB. Operations in TFLOP: {listed(stages)}.",
    )


def draw_parts(axis, parts: dict, colours: dict[str, str], hatches: dict[str, str], label: str) -> None:
    """Named lengths as one stacked bar."""
    start = 0.0
    for name, length in parts.items():
        edge = "black" if colours[name] == "#FFFFFF" else "white"
        axis.barh(0, length, left=start, color=colours[name], hatch=hatches[name], edgecolor=edge, label=name)
        start += length
    axis.set(yticks=[], xlabel=label)
    axis.spines[["top", "right", "left"]].set_visible(False)


def plot_rope_base(factors: tuple[float, ...] = (2.0, 4.0), native: int = 4096, head_dim: int = 128) -> Figure:
    """How many times its own base dynamic RoPE uses, by the length of the sequence."""
    figure, axis = plt.subplots(figsize=(9, 2.5))
    lengths = np.arange(1, 2 * native + 1, 32)
    for factor, line in zip(factors, ["-", "--", ":"]):
        stretch = np.maximum(factor * lengths / native - (factor - 1), 1.0)
        axis.plot(lengths, stretch ** (head_dim / (head_dim - 2)), line, color="black", label=f"factor {factor:g}")
    axis.axvline(native, color=COLOURS["text"], linestyle="--", linewidth=1)
    axis.text(native, axis.get_ylim()[1] * 0.9, " native positions", fontsize=8, color="#555555")
    axis.set(xlabel="length of the whole sequence (tokens)", ylabel="base, times\nits own value", ylim=(0, None))
    axis.legend(fontsize=8, frameon=False, loc="center left")
    axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    return described(
        figure,
        f"How many times its own value the base of dynamic RoPE is, over lengths to {2 * native} tokens; it is 1 up "
        f"to the "
        f"{native} native positions. {courses(axis)}",
    )


def published_points(size: str = "7b", benchmark: str = "egoschema") -> list[Point]:
    """(kind, name, visual tokens, accuracy in %) of the settings whose accuracies the paper gives, "-" left out.

    Source: tables 1, 2, 4, 5, 6 and section 4.4 of arXiv:2407.15841v2.
    """
    import yaml

    paper = yaml.safe_load((DATA / "paper" / "paper_results.yaml").read_text())
    column = {"anet": 0, "egoschema": 2}[benchmark]
    points: list[Point] = []
    for table, kind, base in (("table5_slow_pooling", "slow pooling (table 5)", 50 * 16),
                              ("table6_fast_pooling", "fast pooling (table 6)", 10 * 288)):  # fmt: skip
        for name, row in paper[table][size].items():
            if row is not None:
                points.append((kind, name, base + int(np.prod([int(side) for side in name.split("x")])), row[column]))
    for count, cell in paper["table4_fast_only"][size][benchmark].items():
        accuracy = cell[0] if isinstance(cell, list) else cell
        if accuracy is not None:
            points.append(("fast only (table 4)", f"{count} frames", count * 16, accuracy))
    text = paper["slow_and_fast_text"]["no_fast_vs_slowfast"][size]
    points.append(("slow only (section 4.4)", "12 frames", 12 * 288, text["slow_only_12"][benchmark]))
    points.append(("default (table 1, 2)", "default", 3680, text["default"][benchmark]))
    return [(kind, name, int(tokens), float(accuracy)) for kind, name, tokens, accuracy in points]


def frontier(points: list[Point]) -> list[Point]:
    """Those points that no other beats with as few tokens, fewest tokens first."""
    best: list[Point] = []
    for point in sorted(points, key=lambda p: (p[2], -p[3])):
        if not best or point[3] > best[-1][3]:
            best.append(point)
    return best


def plot_pareto(size: str = "7b", benchmark: str = "egoschema") -> Figure:
    """Published accuracy over visual tokens; the line joins the settings that no cheaper one beats."""
    points = published_points(size, benchmark)
    figure, axis = plt.subplots(figsize=(9, 3.6))
    for kind, (marker, colour) in KINDS.items():
        some = [point for point in points if point[0] == kind]
        axis.scatter([p[2] for p in some], [p[3] for p in some], s=110 if marker == "*" else 45, marker=marker,
                     color=colour, edgecolor="black", linewidth=0.5, label=kind, zorder=3)  # fmt: skip
    best = frontier(points)
    axis.step([p[2] for p in best], [p[3] for p in best], where="post", color="black", linewidth=1, linestyle="--")
    for kind, name, tokens, accuracy in best:
        if kind != "default (table 1, 2)":
            axis.annotate(name, (tokens, accuracy), (-4, 5), textcoords="offset points", fontsize=7, ha="right")
    title = {"egoschema": "EgoSchema", "anet": "ActivityNet-QA"}[benchmark]
    axis.set(xlabel="visual tokens", ylabel="accuracy (%)", xlim=(0, None))
    axis.set_title(f"{title}, {size.upper()}, as published", fontsize=10, loc="left")
    axis.legend(fontsize=8, frameon=False, loc="lower right")
    axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    return described(
        figure,
        f"{title}, {size.upper()}, as published: accuracy over visual tokens of {len(points)} settings. No cheaper "
        f"setting beats "
        + ", ".join(f"{name} ({tokens} tokens, {accuracy:.1f} %)" for _, name, tokens, accuracy in best),
    )
