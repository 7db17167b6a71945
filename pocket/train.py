"""`python -m pocket.train --seed S --out DIR [--resume]`: from nothing to a checkpoint that has seen still pictures
and comics only.

Stages: 1 the tower on dense labels (tower.py); 2 the projector and the word embeddings are aligned on still pictures
(align.py); 3 projector and language model learn to answer, lesson by lesson (lessons.py). A visual sequence is one
pooling of a comic's panels in reading order, or a comic of four panels as one AnyRes page: never the slow-then-fast
layout that PocketBench tests. Next in the data's way: `evaluate`.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Collection
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm
from transformers import LlavaNextForConditionalGeneration

from pocket import model as pocket_model
from pocket.align import align
from pocket.lessons import ABLATIONS, draw_step, scene_at
from pocket.library import POOLED, Library, page, pool
from pocket.packing import collate, sample
from pocket.questions import ask
from pocket.tower import train_tower

STEPS = {"tower": 1300, "align": 300, "answers": 5000}
PLACES_A_STEP = 3_400  # sequence places in a batch: short sequences make big batches
HINTS = 0.5  # weight of the hints in stage 3; it falls to nothing with the learning rate
WARM_UP, COOL_DOWN = 0.03, 0.3  # shares of the steps
SHELF = 600  # comics kept for each number of panels (three times as many single pictures)


def answer_loss(
    model: LlavaNextForConditionalGeneration, comics: list, sequences: list, how: str
) -> tuple[Tensor, Tensor, dict[str, list[int]]]:
    """Mean cross-entropy of the answers' tokens and of the hints, and for each family and form how many telling
    words were the likeliest token: [right, asked]."""
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
    hints = nn.functional.cross_entropy(model.lm_head(hidden[hinted]), batch["hint"][hinted])
    right: dict[str, list[int]] = {}
    guesses = torch.full_like(batch["target"], -1).masked_scatter(learned, logits.argmax(-1))
    for row, s in enumerate(sequences):
        for family, place in s.telling:
            count = right.setdefault(family, [0, 0])
            count[0] += int(guesses[row, place] == batch["target"][row, place])
            count[1] += 1
    return nn.functional.cross_entropy(logits, target), hints, right


def learning_rate(step: int, steps: int) -> float:
    """The share of the peak rate at a step of stage 3: up in the first WARM_UP, level, and down in the last COOL_DOWN.

    Level for long, since families are learned suddenly and late, each at its own time.
    """
    return min(1.0, (step + 1) / (WARM_UP * steps), max(0.01, (steps - step) / (COOL_DOWN * steps)))


def draw_batch(
    library: Library,
    tokenizer: Callable[[str], list[int]],
    rng: np.random.Generator,
    progress: float,
    places: int,
    without: Collection[str],
) -> tuple[list, list, dict]:
    """(comics, their sequences, what kind they are of) of the step at `progress`, from 0 to 1 over stage 3."""
    scene = scene_at(rng, progress, without)
    panels, how, choice = draw_step(rng, scene, without)
    tokens, pages = POOLED[how], how == "page"
    visual = tokens if pages else panels * tokens
    size = int(np.clip(places // (visual + (400 if choice else 190)), 4, 24))
    comics = library.get(panels, [int(i) for i in rng.integers(SHELF * (3 if panels == 1 else 1), size=size)], pages)
    sequences = [
        sample(rng, tokenizer, s, t, ask(rng, s, t), scene.families, choice, tokens, pages, "offsets" not in without)
        for s, t, _ in comics
    ]
    return comics, sequences, {"panels": panels, "pool": how, "choice": bool(choice)}


def train_answers(
    model: LlavaNextForConditionalGeneration,
    tokenizer,
    out: Path,
    seed: int,
    steps: int,
    log,
    resume: bool,
    rate: float = 1.3e-3,
    places: int = PLACES_A_STEP,
    without: Collection[str] = (),
) -> None:
    """Stage 3: projector, newline and language model learn to answer; state in `out`/answers.pt every 100 steps.

    `without` some of `lessons.ABLATIONS`, to see what each is worth.
    """
    for parameter in model.model.vision_tower.parameters():
        parameter.requires_grad_(False)
    parameters = [p for p in model.parameters() if p.requires_grad]
    projector = list(model.model.multi_modal_projector.parameters())
    others = [p for p in parameters if all(p is not q for q in projector)]
    # The tower's features are long vectors: at the full rate a few steps would wreck the projector.
    groups = [{"params": others, "lr": rate}, {"params": projector, "lr": rate / 40}]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.02, betas=(0.9, 0.98))
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
        comics, sequences, kind = draw_batch(library, ids, rng, step / steps, places, without)
        loss, hints, right = answer_loss(model, comics, sequences, kind["pool"])
        optimizer.zero_grad()
        (loss + HINTS * learning_rate(step, steps) * hints).backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        found = {"loss": round(loss.item(), 4), "hints": round(hints.item(), 4), "right": right}
        log({"stage": "answers", "step": step, **kind, **found})
        bar.set_postfix(loss=f"{loss.item():.3f}", refresh=False)
        if (step + 1) % 100 == 0 or step + 1 == steps:
            parts = {"model": model, "optimizer": optimizer, "schedule": schedule}
            torch.save(
                {"step": step + 1, **{name: part.state_dict() for name, part in parts.items()}}, out / "answers.tmp"
            )
            (out / "answers.tmp").replace(file)


class OtherSettings(ValueError):
    """A run was to be gone on with by other settings than it was started with."""


def keep_settings(out: Path, settings: dict, resume: bool) -> None:
    """Write what a run was started with to `out`/settings.json; a run is gone on with by the same alone.

    Raises:
        OtherSettings: the run to resume was started with others, or a new run would begin upon an old one's state.
    """
    file = out / "settings.json"
    if not resume and (old := [name for name in ("settings.json", "tower.pt", "answers.pt") if (out / name).exists()]):
        raise OtherSettings(f"{out} holds a run already ({', '.join(old)}): --resume goes on with it, or another --out")
    if resume and file.exists():
        before = json.loads(file.read_text())
        if changed := [
            f"{name} {before.get(name)}, now {now}" for name, now in settings.items() if before.get(name) != now
        ]:
            raise OtherSettings(
                f"{out} holds a run of other settings ({'; '.join(changed)}): give these, or another --out"
            )
    file.write_text(json.dumps(settings, indent=1) + "\n")


def run(
    seed: int,
    out: Path,
    steps: dict[str, int],
    resume: bool,
    places: int = PLACES_A_STEP,
    without: Collection[str] = (),
) -> None:
    """All stages; the finished checkpoint is `out`/checkpoint."""
    out.mkdir(parents=True, exist_ok=True)
    keep_settings(out, {"seed": seed, "steps": steps, "without": sorted(without)}, resume)
    begin = time.monotonic()
    with (out / "log.jsonl").open("a" if resume else "w") as file:

        def log(entry: dict) -> None:
            file.write(json.dumps({**entry, "seconds": round(time.monotonic() - begin, 1)}) + "\n")
            file.flush()

        model, tokenizer = pocket_model.build(seed)
        train_tower(model.model.vision_tower, out, seed, steps["tower"], log=log, resume=resume)
        if not (resume and (out / "answers.pt").exists()):
            align(model, tokenizer, seed, steps["align"], log)
        train_answers(model, tokenizer, out, seed, steps["answers"], log, resume, places=places, without=without)
        pocket_model.save(model.eval(), tokenizer, out / "checkpoint")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m pocket.train", description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="folder for state, log and checkpoint")
    parser.add_argument("--resume", action="store_true", help="go on from the state in --out")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--without", nargs="+", choices=ABLATIONS, default=(), help="leave these out of stage 3 (ablations)"
    )
    for stage, number in STEPS.items():
        parser.add_argument(f"--{stage}-steps", type=int, default=number)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    steps = {stage: getattr(args, f"{stage}_steps") for stage in STEPS}
    try:
        run(args.seed, args.out, steps, args.resume, without=args.without)
    except OtherSettings as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
