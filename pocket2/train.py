"""`python -m pocket2.train --seed S --out DIR [--resume]`: from nothing to a checkpoint that has seen still pictures
and comics only.

Stages: 1 the tower on dense labels (tower.py); 2 its read-outs become the projector (align.py), and the language
model's first wires are laid (structure.py); 3 projector and language model learn to answer (lessons.py). A visual
sequence is one pooling of a comic's panels in reading order, or a comic of four panels as one AnyRes page: never the
slow-then-fast layout that PocketBench tests. Next in the data's way: `evaluate`.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from tqdm import tqdm
from transformers import LlavaNextForConditionalGeneration, PreTrainedTokenizerBase

from pocket.library import POOLED, page, pool
from pocket.model import save
from pocket.packing import Packed, collate
from pocket.train import OtherSettings, keep_settings, learning_rate
from pocket2 import structure
from pocket2.align import align
from pocket2.lessons import SHELF, draw_step, often
from pocket2.library import Comic, Library
from pocket2.model import build
from pocket2.packing import choose, pack
from pocket2.questions import ask
from pocket2.tower import train_tower

STEPS = {"tower": 2600, "align": 150, "answers": 2500}
KEPT = 100  # steps from one kept state of stage 3 to the next
PLACES_A_STEP = 3_400  # sequence places in a batch: short sequences make big batches


def answer_loss(
    model: LlavaNextForConditionalGeneration, comics: list[Comic], sequences: list[Packed], how: str
) -> tuple[Float[Tensor, ""], dict[str, list[int]]]:
    """Mean cross-entropy of the answers' tokens, and for each family and form how many telling words were the likeliest
    token: [right, asked]."""
    core, batch = model.model, collate(sequences)
    features = torch.stack([feature for *_, feature in comics]).float()
    projected = core.multi_modal_projector(features.flatten(0, 1)).unflatten(0, features.shape[:2])
    if how == "page":
        visual = torch.stack([page(p, core.image_newline) for p in projected])
    else:
        visual = pool(projected.flatten(0, 1), how).unflatten(0, features.shape[:2]).flatten(1, 2)
    embedded = core.language_model.embed_tokens(batch["ids"])
    rows = [
        torch.cat([embedded[row, : s.before], visual[row], embedded[row, s.before + s.visual :]])
        for row, s in enumerate(sequences)
    ]
    hidden = core.language_model(
        inputs_embeds=torch.stack(rows), attention_mask=batch["mask"], position_ids=batch["positions"], use_cache=False
    ).last_hidden_state
    learned = batch["target"] >= 0
    logits, target = model.lm_head(hidden[learned]), batch["target"][learned]
    right: dict[str, list[int]] = {}
    guesses = torch.full_like(batch["target"], -1).masked_scatter(learned, logits.argmax(-1))
    for row, s in enumerate(sequences):
        for family, place in s.telling:
            count = right.setdefault(family, [0, 0])
            count[0] += int(guesses[row, place] == batch["target"][row, place])
            count[1] += 1
    return nn.functional.cross_entropy(logits, target), right


def draw_batch(
    library: Library, tokenizer: Callable[[str], list[int]], rng: np.random.Generator, places: int
) -> tuple[list[Comic], list[Packed], dict]:
    """(comics, their sequences, what kind they are of) of a step."""
    kind, how, choice = draw_step(rng)
    panels, _, as_page = kind
    tokens, panels = POOLED[how], 1 if as_page else panels
    size = int(np.clip(places // (panels * tokens + (400 if choice else 190)), 3, 24))
    comics, sequences = [], []
    for story, times, features in library.get(kind, [int(i) for i in rng.integers(SHELF, size=size)]):
        if questions := choose(rng, ask(rng, story, times), often(how), 6, choice):
            comics.append((story, times, features))
            sequences.append(pack(rng, tokenizer, questions, choice, panels, tokens))
    return comics, sequences, {"panels": kind[0], "scenes": kind[1], "pool": how, "choice": choice}


def rates(model: LlavaNextForConditionalGeneration, rate: float) -> list[dict]:
    """Parameters and their learning rates: `rate` for what writes, far less for what finds.

    A wired head multiplies what it reads by ten and more, twice; a small step of all its weights at once is a large
    step of its scores. The tower's features are long vectors: there it is the same.
    """
    shares = {"projector": 0.02, "self_attn": 0.03, "norm": 0.1, "embed_tokens": 0.03}
    shares |= {"layers.0.": 0.03, "layers.1.": 0.03, "layers.2.": 0.03, "": 0.6}
    groups: dict[str, list] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups.setdefault(next(part for part in shares if part in name), []).append(parameter)
    return [{"params": found, "lr": rate * shares[part]} for part, found in groups.items()]


def train_answers(
    model: LlavaNextForConditionalGeneration,
    tokenizer: PreTrainedTokenizerBase,
    out: Path,
    seed: int,
    steps: int,
    log: Callable[[dict], None],
    resume: bool,
    rate: float = 1e-4,
    places: int = PLACES_A_STEP,
) -> None:
    """Stage 3: projector, newline and language model learn to answer; state in `out`/answers.pt every KEPT steps."""
    for parameter in model.model.vision_tower.parameters():
        parameter.requires_grad_(False)
    groups = rates(model, rate)
    learned = [p for group in groups for p in group["params"]]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.0, betas=(0.9, 0.99), eps=1e-4)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: learning_rate(step, steps))
    library, first, file = Library(model.model.vision_tower, seed), 0, out / "answers.pt"
    if resume and file.exists():
        saved = torch.load(file, weights_only=False)
        first = saved["step"]
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        schedule.load_state_dict(saved["schedule"])
    ids = lru_cache(maxsize=20_000)(lambda text: tokenizer(text, add_special_tokens=False).input_ids)
    for step in (bar := tqdm(range(first, steps), initial=first, total=steps, desc="3 answers", mininterval=5)):
        rng = np.random.default_rng([seed, 3, step])
        comics, sequences, kind = draw_batch(library, ids, rng, places)
        loss, right = answer_loss(model, comics, sequences, kind["pool"])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(learned, 1.0)
        optimizer.step()
        schedule.step()
        log({"stage": "answers", "step": step, **kind, "loss": round(loss.item(), 4), "right": right})
        bar.set_postfix(loss=f"{loss.item():.3f}", refresh=False)
        if (step + 1) % KEPT == 0 or step + 1 == steps:
            parts = {"model": model, "optimizer": optimizer, "schedule": schedule}
            torch.save(
                {"step": step + 1, **{name: part.state_dict() for name, part in parts.items()}}, out / "answers.tmp"
            )
            (out / "answers.tmp").replace(file)


def run(seed: int, out: Path, steps: dict[str, int], resume: bool, places: int = PLACES_A_STEP) -> None:
    """All stages; the finished checkpoint is `out`/checkpoint."""
    out.mkdir(parents=True, exist_ok=True)
    keep_settings(out, {"seed": seed, "steps": steps}, resume)
    start = time.monotonic()
    with (out / "log.jsonl").open("a" if resume else "w") as file:

        def log(entry: dict) -> None:
            file.write(json.dumps({**entry, "seconds": round(time.monotonic() - start, 1)}) + "\n")
            file.flush()

        model, tokenizer = build(seed)
        heads = train_tower(model.model.vision_tower, out, seed, steps["tower"], log=log, resume=resume)
        if not (resume and (out / "answers.pt").exists()):
            structure.lay(model, tokenizer)
            align(model, heads, seed, steps["align"], log)
        train_answers(model, tokenizer, out, seed, steps["answers"], log, resume, places=places)
        save(model.eval(), tokenizer, out / "checkpoint")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m pocket2.train", description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="folder for state, log and checkpoint")
    parser.add_argument("--resume", action="store_true", help="go on from the state in --out")
    parser.add_argument("--threads", type=int, default=1)
    for stage, number in STEPS.items():
        parser.add_argument(f"--{stage}-steps", type=int, default=number)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    try:
        run(args.seed, args.out, {stage: getattr(args, f"{stage}_steps") for stage in STEPS}, args.resume)
    except OtherSettings as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
