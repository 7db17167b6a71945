"""`python -m pocket.train --seed S --out DIR [--resume]`: from nothing to a checkpoint that has seen still pictures
and comics only.

Stages: 1 the tower on dense labels (tower.py); 2 the projector and the word embeddings are aligned on still
pictures; 3 projector and language model
learn to answer, first single pictures, then short comics, then comics of up to 9 panels. A visual sequence is always
one pooling of a comic's panels in
reading order: never the slow-then-fast layout that PocketBench tests. Last in the data's way of training; `evaluate`
comes after it.
"""

from __future__ import annotations

import argparse
import json
import time
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm
from transformers import LlavaNextForConditionalGeneration

from pocket import model as pocket_model
from pocket.library import POOLED, POOLS, Library, mean_window, page, pool
from pocket.packing import collate, sample
from pocket.questions import ask
from pocket.stories import still
from pocket.tower import CARDS, KINDS, frame_features, patch_labels, photograph, pixels, train_tower

STEPS = {"tower": 2600, "align": 150, "answers": 2500}
PLACES_A_STEP = 2_600  # sequence places in a batch: short sequences make big batches
TOKEN_LENGTH = 2.0  # Euclidean length of word embeddings and, on average, of visual tokens at the beginning of stage 3
HINTS = 1.0  # weight of the hints at the beginning of stage 3; it falls to 0 at the end
SHELF = 900  # comics kept for each number of panels (three times as many single pictures)


def words_of_labels(tokenizer) -> Tensor:
    """(labels, vocabulary) 0/1: the words that a patch label stands for."""
    table = torch.zeros(len(KINDS) + len(CARDS), len(tokenizer))
    for row, kind in enumerate(KINDS):
        for word in kind.split():
            table[row, tokenizer(f" {word}", add_special_tokens=False).input_ids] = 1
    for row, (colour, digit) in enumerate(CARDS, start=len(KINDS)):
        for word in (colour, str(digit)):
            table[row, tokenizer(f" {word}", add_special_tokens=False).input_ids] = 1
    return table


def align(model: LlavaNextForConditionalGeneration, tokenizer, seed: int, steps: int, log) -> None:
    """Stage 2: a projected patch (or a window's mean) should point where the embeddings of the words for what it
    shows point.

    Directions are compared after taking off the mean over patches; at the end that mean is folded into the
    projector's bias, and visual tokens and
    words are given about the same length: else all visual tokens look alike, and are far too long, to the language
    model.
    """
    core, table = model.model, words_of_labels(tokenizer)
    used, projector, embedding = table.any(0), core.multi_modal_projector, core.language_model.embed_tokens
    bias = nn.Parameter(torch.full((int(used.sum()),), -4.0))
    groups = [{"params": list(projector.parameters()), "lr": 3e-4}, {"params": [embedding.weight, bias], "lr": 3e-3}]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    mean, size = torch.zeros(embedding.embedding_dim), torch.tensor(1.0)
    for step in (bar := tqdm(range(steps), desc="2 align", mininterval=5)):
        rng = np.random.default_rng([seed, 4, step])
        stories = [still(rng) for _ in range(32)]
        labels = torch.from_numpy(np.stack([patch_labels(s) for s in stories])).flatten(1, 2)
        with torch.no_grad():
            seen = frame_features(core.vision_tower, pixels(np.stack([photograph(rng, s, 0.0) for s in stories])))
        projected = projector(seen)
        batch_mean = projected.mean((0, 1))
        mean = torch.lerp(mean, batch_mean.detach(), 0.1)
        size = torch.lerp(size, (projected - batch_mean).norm(dim=-1).mean().detach(), 0.1)
        words = nn.functional.normalize(embedding.weight[used], dim=-1)
        window = int(rng.choice([2, 3, 6]))
        coarse = mean_window(projected - batch_mean, window)
        things = labels.clone()
        things[..., len(KINDS) :] = 0
        there = (mean_window(things, window) @ table[:, used] > 0).float()
        fine = 12 * nn.functional.normalize(projected - batch_mean, dim=-1) @ words.T + bias
        loss = _bce(fine, (labels @ table[:, used]).clamp(max=1))
        loss = loss + 0.5 * _bce(12 * nn.functional.normalize(coarse, dim=-1) @ words.T + bias, there)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 20 == 0:
            log({"stage": "align", "step": step, "loss": round(loss.item(), 4)})
            bar.set_postfix(loss=f"{loss.item():.3f}", refresh=False)
    with torch.no_grad():
        projector.linear_2.bias.sub_(mean)
        for parameter in projector.linear_2.parameters():
            parameter.mul_(TOKEN_LENGTH / size)
        embedding.weight.copy_(nn.functional.normalize(embedding.weight, dim=-1) * TOKEN_LENGTH)
        core.image_newline.mul_(TOKEN_LENGTH / core.image_newline.norm())
        model.lm_head.weight.copy_(embedding.weight / 4)
        pocket_model.mark_kinds(model)


def _bce(logits: Tensor, target: Tensor) -> Tensor:
    return nn.functional.binary_cross_entropy_with_logits(logits, target, reduction="sum") / target.sum().clamp(min=1)


def curriculum(rng: np.random.Generator, progress: float) -> tuple[int, str, bool]:
    """(panels, pooling, multiple choice) of a step's comics; `progress` runs from 0 to 1 over the stage."""
    choice = rng.random() < (0.15 if progress < 0.25 else 0.4)
    if progress < 0.25:
        panels = int(rng.choice([1, 2, 3], p=[0.7, 0.15, 0.15]))
    elif progress < 0.4:
        panels = int(rng.integers(2, 6))
    else:
        panels = int(rng.choice(np.arange(1, 10), p=np.array([6, 6, 8, 9, 10, 12, 14, 16, 19]) / 100))
        if rng.random() < 0.04:
            return 4, "page", choice
    allowed = [how for how in POOLS if panels * POOLED[how] <= 700]
    weights = np.array(
        [{"none": 0.14, "max 1x2": 0.26, "mean 2x2": 0.15, "to 4x4": 0.15, "to 2x2": 0.3}[how] for how in allowed]
    )
    return panels, str(rng.choice(allowed, p=weights / weights.sum())), choice


def answer_loss(
    model: LlavaNextForConditionalGeneration, comics: list, sequences: list, how: str
) -> tuple[Tensor, Tensor, Tensor]:
    """Mean cross-entropy of the answers' tokens and of the hints, and the share of answer tokens that is the
    likeliest token."""
    core, batch = model.model, collate(sequences)
    features = torch.stack([feature for *_, feature in comics]).float()
    projected = core.multi_modal_projector(features.flatten(0, 1)).unflatten(0, features.shape[:2])
    if how == "page":
        visual = torch.stack([page(p, core.image_newline) for p in projected])
    else:
        visual = pool(projected.flatten(0, 1), how).unflatten(0, features.shape[:2]).flatten(1, 2)
    embedded = core.language_model.embed_tokens(batch["ids"])
    rows = []
    for row, s in enumerate(sequences):
        rows.append(torch.cat([embedded[row, : s.before], visual[row], embedded[row, s.before + s.visual :]]))
    hidden = core.language_model(
        inputs_embeds=torch.stack(rows), attention_mask=batch["mask"], position_ids=batch["positions"], use_cache=False
    ).last_hidden_state
    learned = batch["target"] >= 0
    logits, target = model.lm_head(hidden[learned]), batch["target"][learned]
    hinted = batch["hint"] >= 0
    hints = (
        nn.functional.cross_entropy(model.lm_head(hidden[hinted]), batch["hint"][hinted])
        if hinted.any()
        else logits.sum() * 0
    )
    return nn.functional.cross_entropy(logits, target), hints, (logits.argmax(-1) == target).float().mean()


def train_answers(
    model: LlavaNextForConditionalGeneration,
    tokenizer,
    out: Path,
    seed: int,
    steps: int,
    log,
    resume: bool,
    rate: float = 1.6e-3,
    places: int = PLACES_A_STEP,
) -> None:
    """Stage 3: projector, newline and language model learn to answer; state in `out`/answers.pt every 100 steps."""
    for parameter in model.model.vision_tower.parameters():
        parameter.requires_grad_(False)
    parameters = [p for p in model.parameters() if p.requires_grad]
    projector = list(model.model.multi_modal_projector.parameters())
    others = [p for p in parameters if all(p is not q for q in projector)]
    optimizer = torch.optim.AdamW(
        [{"params": others}, {"params": projector}], lr=rate, weight_decay=0.02, betas=(0.9, 0.98)
    )
    peaks = [
        rate,
        rate / 40,
    ]  # the tower's features are long vectors: at the full rate a few steps would wreck the projector
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, peaks, total_steps=steps + 1, pct_start=0.06)
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
        panels, how, choice = curriculum(rng, step / steps)
        tokens, pages = POOLED[how], how == "page"
        visual = tokens if pages else panels * tokens
        size = int(np.clip(places // (visual + (420 if choice else 220)), 4, 40))
        comics = library.get(
            panels, [int(i) for i in rng.integers(SHELF * (3 if panels == 1 else 1), size=size)], pages
        )
        sequences = [
            sample(rng, ids, s, t, ask(rng, s, t), choice, tokens, pages, late=step > 0.28 * steps)
            for s, t, _ in comics
        ]
        loss, hints, right = answer_loss(model, comics, sequences, how)
        optimizer.zero_grad()
        (loss + HINTS * (1 - step / steps) * hints).backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        log(
            {
                "stage": "answers",
                "step": step,
                "panels": panels,
                "pool": how,
                "choice": bool(choice),
                "loss": round(loss.item(), 4),
                "hints": round(hints.item(), 4),
                "right": round(right.item(), 4),
            }
        )
        bar.set_postfix(loss=f"{loss.item():.3f}", refresh=False)
        if (step + 1) % 100 == 0 or step + 1 == steps:
            parts = {"model": model, "optimizer": optimizer, "schedule": schedule}
            torch.save(
                {"step": step + 1, **{name: part.state_dict() for name, part in parts.items()}}, out / "answers.tmp"
            )
            (out / "answers.tmp").replace(file)


def run(seed: int, out: Path, steps: dict[str, int], resume: bool, places: int = PLACES_A_STEP) -> None:
    """All stages; the finished checkpoint is `out`/checkpoint."""
    out.mkdir(parents=True, exist_ok=True)
    begin = time.monotonic()
    with (out / "log.jsonl").open("a" if resume else "w") as file:

        def log(entry: dict) -> None:
            file.write(json.dumps({**entry, "seconds": round(time.monotonic() - begin, 1)}) + "\n")
            file.flush()

        model, tokenizer = pocket_model.build(seed)
        train_tower(model.model.vision_tower, out, seed, steps["tower"], log=log, resume=resume)
        if not (resume and (out / "answers.pt").exists()):
            align(model, tokenizer, seed, steps["align"], log)
        train_answers(model, tokenizer, out, seed, steps["answers"], log, resume, places=places)
        pocket_model.save(model.eval(), tokenizer, out / "checkpoint")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m pocket.train", description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="folder for state, log and checkpoint")
    parser.add_argument("--resume", action="store_true", help="go on from the state in --out")
    parser.add_argument("--threads", type=int, default=1)
    for stage, number in STEPS.items():
        parser.add_argument(f"--{stage}-steps", type=int, default=number)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    run(args.seed, args.out, {stage: getattr(args, f"{stage}_steps") for stage in STEPS}, args.resume)


if __name__ == "__main__":
    main()
