"""`python -m pocket2.evaluate --model DIR --films N`: accuracy of every token layout on PocketBench's films, drawn from
their stories (no video file between), with paired intervals clustered by film.

Plain transformers code, nothing of sfllava_core. How answers count is told in `pocket.evaluate`.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from tqdm import tqdm
from transformers import LlavaNextForConditionalGeneration, PreTrainedTokenizerBase

from pocket.evaluate import answer, load
from pocket.layouts import LAYOUTS, Film, Stream, tokens_of
from pocket2.bench import Film as BenchFilm
from pocket2.bench import bench_film, bench_questions
from pocket2.questions import FAMILIES
from pocket2.world import draw, frame_times, shrink

Rows = dict[str, dict[str, list[tuple[int, bool]]]]  # layout -> "family/form" -> [(film, right)]


class Drawn:
    """The frames of a film, drawn when asked for."""

    def __init__(self, film: BenchFilm) -> None:
        self.film, self.times = film, frame_times(film.frames)

    def __len__(self) -> int:
        return self.film.frames

    def __getitem__(self, numbers: list[int]) -> UInt8[np.ndarray, "n 96 96 3"]:
        return np.stack([shrink(draw(self.film.story, self.times[n])) for n in numbers])


def run_films(
    model: LlavaNextForConditionalGeneration,
    tokenizer: PreTrainedTokenizerBase,
    seed: int,
    films: int,
    layouts: dict[str, tuple[Stream, ...]],
) -> Rows:
    """Every layout and control on every film."""
    results: Rows = defaultdict(lambda: defaultdict(list))
    other = None
    for index in tqdm(range(films), desc="films", mininterval=5):
        film, asked = bench_film(seed, index), bench_questions(seed, index)
        watched = Film(model, Drawn(film))
        tokens = {name: watched.visual_tokens(streams) for name, streams in layouts.items()}
        main = next(iter(tokens.values()))
        tokens["no visual tokens"] = main[:0]
        if other is not None:
            tokens["another film"] = other
        other = main
        for layout, visual in tokens.items():
            for form, questions in zip(("open", "choice"), asked, strict=True):
                if questions:
                    right = answer(model, tokenizer, visual, questions, form == "choice")
                    for question, ok in zip(questions, right, strict=True):
                        results[layout][f"{question.family}/{form}"].append((index, ok))
    return results


def table(results: Rows, draws: int = 2000) -> dict:
    """Accuracy in % by layout and cell, the mean over families, and the first layout's lead with its 95 % interval."""
    first = next(iter(results))
    films = sorted({film for rows in results[first].values() for film, _ in rows})
    weights = np.random.default_rng(0).multinomial(len(films), np.full(len(films), 1 / len(films)), draws)
    weights = np.concatenate([np.ones((1, len(films)), int), weights])
    place = {film: i for i, film in enumerate(films)}

    def mean(cells: dict) -> np.ndarray:
        families = []
        for family in FAMILIES:
            forms = []
            for form in ("open", "choice"):
                right, asked = np.zeros(len(films)), np.zeros(len(films))
                for film, ok in cells.get(f"{family}/{form}", ()):
                    right[place[film]] += ok
                    asked[place[film]] += 1
                if asked.any():
                    forms.append(weights @ right / np.maximum(weights @ asked, 1e-9))
            families.append(np.mean(forms, axis=0))
        return 100 * np.mean(families, axis=0)

    means, found = {layout: mean(cells) for layout, cells in results.items()}, {}
    for layout, cells in results.items():
        lead = means[first] - means[layout]
        found[layout] = {
            "tokens": tokens_of(LAYOUTS[layout]) if layout in LAYOUTS else None,
            "mean": round(float(means[layout][0]), 1),
            "lead": [round(float(v), 1) for v in (lead[0], *np.percentile(lead[1:], [2.5, 97.5]))],
            "cells": {
                cell: [round(100 * float(np.mean([ok for _, ok in rows])), 1), len(rows)]
                for cell, rows in cells.items()
            },
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m pocket2.evaluate", description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=2024)
    parser.add_argument("--films", type=int, default=80)
    parser.add_argument("--layouts", nargs="+", default=list(LAYOUTS))
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    model, tokenizer = load(args.model)
    found = table(run_films(model, tokenizer, args.seed, args.films, {n: LAYOUTS[n] for n in args.layouts}))
    for form in ("open", "choice"):
        print(f"{form:36}", *(f"{family:>7}" for family in FAMILIES))
        for layout, row in found.items():
            cells = [row["cells"].get(f"{family}/{form}") for family in FAMILIES]
            print(f"{layout:36}", *(f"{cell[0]:7.1f}" if cell else " " * 7 for cell in cells), row["mean"], row["lead"])
    if args.out:
        args.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
