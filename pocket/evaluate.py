"""`python -m pocket.evaluate --model DIR --bench DIR`: accuracy of every token layout on PocketBench, with paired
intervals clustered by video.

Plain transformers code. An open answer counts when greedy decoding gives it to the letter and stops: that is, when
every token of the right answer and the end token is the likeliest after those before it, so one pass scores all
questions of a video. A choice counts when the right letter is the likeliest of the options' letters.
`--comics` scores held-out pictures and comics instead.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm
from transformers import AutoTokenizer, LlavaNextForConditionalGeneration, PreTrainedTokenizerBase

from pocket import prompts
from pocket.layouts import CONTROLS, LAYOUTS, Film, read_video, tokens_of
from pocket.library import POOLED, POOLS, Library, pool
from pocket.packing import Packed, collate
from pocket.questions import FAMILIES, Question, ask

BY_LIKELIHOOD = "slowfast, options by likelihood"  # a row of choices only: its mean is of one form
RUN = dict[str, dict[str, list]]  # layout -> "family/form" -> [(video, right)]


def load(folder: Path) -> tuple[LlavaNextForConditionalGeneration, PreTrainedTokenizerBase]:
    """The checkpoint in float32, and its tokenizer."""
    model = LlavaNextForConditionalGeneration.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    return model.eval(), AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


def packed_prompts(
    tokenizer, questions: list[Question], choice: bool, visual: int
) -> tuple[Packed, list[tuple[int, list[int]]]]:
    """All questions behind one visual prefix, and for each (the place of its first predicted token, the answer's
    ids)."""
    ids = lambda text: tokenizer(text, add_special_tokens=False).input_ids  # noqa: E731
    pieces = [
        prompts.multiple_choice(q.choice_text, q.options) if choice else prompts.open_ended(q.text) for q in questions
    ]
    before, shared = [1, *ids(pieces[0][0])], ids(pieces[0][1])
    packed = Packed(len(before), visual)
    packed.add(before + [0] * visual + shared, 0, 0)
    start, places = len(packed.ids), []
    for number, (question, piece) in enumerate(zip(questions, pieces, strict=True), start=1):
        answer = (
            ids(prompts.LETTERS[question.options.index(question.choice_answer)])
            if choice
            else [*ids(f" {question.answer}"), 2]
        )
        places.append((len(packed.ids) + len(ids(piece[2])) - 1, answer))
        packed.add([*ids(piece[2]), *answer], start, number)
    return packed, places


def packed_hidden(
    model: LlavaNextForConditionalGeneration, packed, visual: Float[Tensor, "tokens dim"]
) -> Float[Tensor, "length dim"]:
    """The language model's hidden states over one packed sequence, with the visual tokens in their place."""
    batch, language = collate([packed]), model.model.language_model
    embedded = language.embed_tokens(batch["ids"])
    embedded[0, packed.before : packed.before + len(visual)] = visual
    return language(
        inputs_embeds=embedded, attention_mask=batch["mask"], position_ids=batch["positions"], use_cache=False
    ).last_hidden_state[0]


@torch.inference_mode()
def answer(
    model: LlavaNextForConditionalGeneration,
    tokenizer,
    visual: Float[Tensor, "tokens dim"],
    questions: list[Question],
    choice: bool,
) -> list[bool]:
    """Whether each question is answered rightly after these visual tokens."""
    packed, places = packed_prompts(tokenizer, questions, choice, len(visual))
    hidden = packed_hidden(model, packed, visual)
    letters = torch.tensor([tokenizer.convert_tokens_to_ids(letter) for letter in prompts.LETTERS])
    right = []
    for question, (place, wanted) in zip(questions, places, strict=True):
        logits = model.lm_head(hidden[place : place + len(wanted)])
        if choice:
            right.append(int(letters[logits[0, letters[: len(question.options)]].argmax()]) == wanted[0])
        else:
            right.append(logits.argmax(-1).tolist() == wanted)
    return right


@torch.inference_mode()
def likeliest_option(
    model: LlavaNextForConditionalGeneration, tokenizer, visual: Float[Tensor, "tokens dim"], questions: list[Question]
) -> list[bool]:
    """The fallback for choices: whether the right option is the likeliest answer to the question asked in the open
    form."""
    candidates = [Question(q.family, q.choice_text, option) for q in questions for option in q.options]
    packed, places = packed_prompts(tokenizer, candidates, False, len(visual))
    hidden = packed_hidden(model, packed, visual)
    scores = []
    for place, wanted in places:
        chances = model.lm_head(hidden[place : place + len(wanted)]).log_softmax(-1)
        scores.append(chances.gather(1, torch.tensor(wanted)[:, None]).sum().item())
    grouped = np.split(np.array(scores), np.cumsum([len(q.options) for q in questions])[:-1])
    return [q.options[int(s.argmax())] == q.choice_answer for q, s in zip(questions, grouped, strict=True)]


def read_bench(folder: Path) -> dict[str, tuple[list[Question], list[Question]]]:
    """Video name -> its open questions and its choices."""
    films: dict[str, tuple[list[Question], list[Question]]] = defaultdict(lambda: ([], []))
    with (folder / "PocketBench_QA.csv").open(encoding="utf-8") as handle:
        for row in csv.DictReader(handle):
            films[row["video_name"]][0].append(Question(row["family"], row["question"], row["answer"]))
    with (folder / "PocketBench_MC.csv").open(encoding="utf-8") as handle:
        for row in csv.DictReader(handle):
            options = tuple(row[f"a{i}"] for i in range(5))
            films[row["video_name"]][1].append(
                Question(row["family"], row["question"], "", row["question"], options, row["answer"])
            )
    return dict(films)


def run_bench(model: LlavaNextForConditionalGeneration, tokenizer, folder: Path, layouts: dict = LAYOUTS) -> RUN:
    """Every layout and control on every video."""
    results: RUN = defaultdict(lambda: defaultdict(list))
    films, first = read_bench(folder), next(iter(layouts))
    watch = lambda name: Film(model, read_video(next((folder / "videos").glob(f"{name}.*"))))  # noqa: E731
    other = watch(list(films)[-1]).visual_tokens(layouts[first])  # the film before; before the first, the last
    for name, (open_ended, choices) in tqdm(films.items(), desc="films", mininterval=5):
        film = watch(name)
        tokens = {layout: film.visual_tokens(streams) for layout, streams in layouts.items()}
        main = tokens[first]
        tokens |= {CONTROLS[0]: main[:0], CONTROLS[1]: other}
        other = main
        for layout, visual in tokens.items():
            for form, questions in (("open", open_ended), ("choice", choices)):
                for question, right in zip(
                    questions, answer(model, tokenizer, visual, questions, form == "choice"), strict=True
                ):
                    results[layout][f"{question.family}/{form}"].append((name, right))
        for question, right in zip(choices, likeliest_option(model, tokenizer, main, choices), strict=True):
            results[BY_LIKELIHOOD][f"{question.family}/choice"].append((name, right))
    return results


def pooled(runs: list[RUN]) -> RUN:
    """The rows of several models over the same films as one run: a film stays one cluster, whoever answers."""
    return {
        layout: {cell: [row for run in runs for row in run[layout][cell]] for cell in cells}
        for layout, cells in runs[0].items()
    }


def cell_means(cells: dict[str, list], films: list[str], weights: np.ndarray) -> np.ndarray:
    """(draws, families) accuracy with films weighted by `weights` (draws, films); a family is the mean of its two
    forms."""
    place, families = {name: i for i, name in enumerate(films)}, []
    for family in FAMILIES:
        forms = []
        for form in ("open", "choice"):
            if rows := cells.get(f"{family}/{form}"):
                right, asked = np.zeros(len(films)), np.zeros(len(films))
                for name, ok in rows:
                    right[place[name]] += ok
                    asked[place[name]] += 1
                forms.append((weights @ right) / np.maximum(weights @ asked, 1e-9))
        families.append(np.mean(forms, axis=0))
    return np.stack(families, axis=1)


def summarise(results: RUN, draws: int = 2000) -> dict:
    """Accuracy in % per layout and family, and the paired 95 % interval of the first layout's lead in the mean over
    families; no lead over a layout that was asked something else (the likeliest option: choices alone)."""
    first = next(iter(results))
    films = sorted({name for rows in results[first].values() for name, _ in rows})
    rng = np.random.default_rng(0)
    weights = np.concatenate(
        [np.ones((1, len(films))), rng.multinomial(len(films), np.full(len(films), 1 / len(films)), draws)]
    )
    means = {layout: 100 * cell_means(cells, films, weights) for layout, cells in results.items()}
    table = {}
    for layout, cells in results.items():
        lead = (means[first] - means[layout]).mean(1)
        table[layout] = {
            "tokens": tokens_of(LAYOUTS[layout]) if layout in LAYOUTS else None,
            "families": dict(zip(FAMILIES, means[layout][0].round(1).tolist(), strict=True)),
            "mean": round(float(means[layout][0].mean()), 1),
            "cells": {
                cell: round(100 * float(np.mean([ok for _, ok in rows])), 1) for cell, rows in sorted(cells.items())
            },
            "lead_of_first": [round(float(v), 1) for v in (lead[0], *np.percentile(lead[1:], [2.5, 97.5]))]
            if cells.keys() == results[first].keys()
            else None,
        }
    return {"films": len(films), "table": table}


def run_comics(model: LlavaNextForConditionalGeneration, tokenizer, comics: int, seed: int = 10**6) -> dict:
    """Accuracy in % per number of panels, pooling, family and form on comics that no training seed below 10**6
    draws."""
    library, scores = Library(model.model.vision_tower, seed), defaultdict(list)
    for panels in (1, 3, 6, 9):
        for number in tqdm(range(comics), desc=f"{panels} panels", mininterval=5):
            [(story, times, features)] = library.get(panels, [number])
            rng = np.random.default_rng([seed, 9, panels, number])
            asked = [questions[int(rng.integers(len(questions)))] for questions in ask(rng, story, times).values()]
            choices = [q for q in asked if q.options]
            with torch.inference_mode():
                projected = model.model.multi_modal_projector(features.float())
            for how in (h for h in POOLS if panels * POOLED[h] <= 700):
                visual = pool(projected, how).flatten(0, 1)
                for form, questions in (("open", asked), ("choice", choices)):
                    for q, right in zip(
                        questions, answer(model, tokenizer, visual, questions, form == "choice"), strict=True
                    ):
                        scores[f"{panels} panels, {how}, {form}, {q.family}"].append(right)
    return {cell: [round(100 * float(np.mean(rows)), 1), len(rows)] for cell, rows in scores.items()}


def markdown(table: dict, form: str | None = None) -> str:
    """`summarise`'s table as Markdown; with a form ("open" or "choice"), that form alone."""
    head = ["layout", *FAMILIES] if form else ["layout", "tokens", *FAMILIES, "mean", "lead of SlowFast, 95 % interval"]
    lines = [head, ["---"] * len(head)]
    for number, (layout, row) in enumerate(table.items()):
        if form or row["lead_of_first"] is None:
            values = [row["cells"].get(f"{family}/{form or 'choice'}") for family in FAMILIES]
        else:
            values = [row["families"][family] for family in FAMILIES]
        cells = ["" if value is None else f"{value:.1f}" for value in values]
        if not form:
            lead = row["lead_of_first"] if number else None
            words = "{:+.1f} [{:+.1f}, {:+.1f}]".format(*lead) if lead else ""
            cells = [str(row["tokens"] or ""), *cells, f"{row['mean']:.1f}", words]
        if any(cells):
            lines.append([layout, *cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m pocket.evaluate", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--model", type=Path, nargs="+", default=[Path("data/pocket")], help="checkpoints; several are also pooled"
    )
    parser.add_argument("--bench", type=Path, default=Path("data/pocketbench"))
    parser.add_argument(
        "--comics", type=int, default=0, help="score this many held-out comics for each number of panels instead"
    )
    parser.add_argument("--out", type=Path, help="write the summary as JSON")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    runs, summary = [], {}
    for folder in args.model:
        model, tokenizer = load(folder)
        if args.comics:
            summary[str(folder)] = cells = run_comics(model, tokenizer, args.comics)
            print(folder, *(f"{cell:45}{right:6.1f}  n={n}" for cell, (right, n) in cells.items()), sep="\n")
            continue
        runs.append(run_bench(model, tokenizer, args.bench))
        weights = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
        summary[str(folder)] = {"weights": weights, **summarise(runs[-1])}
    if len(runs) > 1:
        summary["all"] = summarise(pooled(runs))
    for name, scored in summary.items() if runs else ():
        print(f"{name}: {scored['films']} films", markdown(scored["table"]), sep="\n\n", end="\n\n")
    if args.out:
        args.out.write_text(json.dumps(summary, indent=1) + "\n")


if __name__ == "__main__":
    main()
