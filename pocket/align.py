"""Stage 2 of training: what the tower sees is made to point where the words for it point.

A projected patch (or the mean of a window of patches) is taught to point in the direction of the embeddings of the
words for what it shows and for where it is. That is how LLaVA's projector begins too, with captions instead of
labels. Next in the data's way: `train` teaches projector and language model to answer.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from tqdm import tqdm
from transformers import LlavaNextForConditionalGeneration

from pocket import model as pocket_model
from pocket.library import mean_window
from pocket.stories import still
from pocket.tower import CARDS, GRID, KINDS, frame_features, patch_labels, photograph, pixels

TOKEN_LENGTH = 2.0  # Euclidean length of word embeddings and, on average, of visual tokens when stage 3 begins
PLACES = (" left", " right", " top", " bottom")


def words_of_labels(tokenizer) -> Float[Tensor, "labels words"]:
    """1 where a patch label stands for a word of the vocabulary."""
    table = torch.zeros(len(KINDS) + len(CARDS), len(tokenizer))
    names = [*KINDS, *(f"{colour} {digit}" for colour, digit in CARDS)]
    for row, name in enumerate(names):
        for word in name.split():
            table[row, tokenizer(f" {word}", add_special_tokens=False).input_ids] = 1
    return table


def place_targets() -> Float[Tensor, "patches 4"]:
    """How much each patch is to the left, to the right, at the top and at the bottom, from 0 to 1."""
    along = (torch.arange(GRID) + 0.5) / GRID
    across, down = along.expand(GRID, GRID), along[:, None].expand(GRID, GRID)
    return torch.stack([1 - across, across, 1 - down, down], dim=-1).flatten(0, 1)


def align(model: LlavaNextForConditionalGeneration, tokenizer, seed: int, steps: int, log) -> None:
    """Train projector and word embeddings in place for `steps` steps of 32 still pictures. `log` takes one dict a line.

    Directions are compared after taking off the mean over patches. At the end that mean is folded into the projector's
    bias, and visual tokens and words are given about the same length: else all visual tokens look alike, and are far
    too long, to the language model.
    """
    core, table = model.model, words_of_labels(tokenizer)
    used, projector, embedding = table.any(0), core.multi_modal_projector, core.language_model.embed_tokens
    place_words = [tokenizer(word, add_special_tokens=False).input_ids[0] for word in PLACES]
    bias, places = nn.Parameter(torch.full((int(used.sum()),), -4.0)), place_targets()
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
        words = nn.functional.normalize(embedding.weight, dim=-1)
        window = int(rng.choice([2, 3, 6]))
        coarse = nn.functional.normalize(mean_window(projected - batch_mean, window), dim=-1)
        fine = nn.functional.normalize(projected - batch_mean, dim=-1)
        things = labels.clone()
        things[..., len(KINDS) :] = 0
        there = (mean_window(things, window) @ table[:, used] > 0).float()
        loss = _bce(12 * fine @ words[used].T + bias, (labels @ table[:, used]).clamp(max=1))
        loss = loss + 0.5 * _bce(12 * coarse @ words[used].T + bias, there)
        where = nn.functional.binary_cross_entropy_with_logits(
            24 * fine @ words[place_words].T, places.expand(len(fine), -1, -1)
        )
        optimizer.zero_grad()
        (loss + 2 * where).backward()
        optimizer.step()
        schedule.step()
        if step % 20 == 0:
            log({"stage": "align", "step": step, "loss": round(loss.item(), 4), "where": round(where.item(), 4)})
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
