"""Stage 2 of training: the tower's read-outs become the projector.

A projected patch is to be the sum of the words for what it shows (dimension by dimension, `code.py`), of its place in
the picture and of a mark that it is visual. The projector begins as the read-outs of stage 1, cut off at both ends, and
is fitted to that sum on still pictures. Next in the data's way: `train` teaches projector and language model to
answer.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm
from transformers import LlavaNextForConditionalGeneration

from pocket2.code import DIMS, SHOWN, WIDTH, at
from pocket2.structure import MARK
from pocket2.tower import GRID, Heads, frame_features, still_batch

PLACE, SIDE = 0.7, 0.7  # sizes of a token's scene and of its side of the picture, where a thing's is 1
CUT = 3.0  # a read-out's evidence counts from 0 to here


def wanted(labels: Float[Tensor, "b 12 12 words"]) -> Float[Tensor, "b 144 width"]:
    """What projected patches should be."""
    target = torch.zeros(*labels.shape[:3], WIDTH)
    target[..., SHOWN] = labels
    target[..., DIMS["place"]] *= PLACE
    side = torch.where(torch.arange(GRID) < GRID // 2, -SIDE, SIDE)
    target[..., at("across")], target[..., at("down")], target[..., at("visual")] = side, side[:, None], MARK
    return target.flatten(1, 2)


@torch.no_grad()
def begin(model: LlavaNextForConditionalGeneration, heads: Heads) -> None:
    """The projector as the read-outs give it: evidence for each word, between nothing and CUT."""
    projector, words = model.model.multi_modal_projector, heads.words.weight.shape[0]
    first, second = projector.linear_1, projector.linear_2
    for part, shift in ((slice(0, words), 0.0), (slice(words, 2 * words), -CUT)):
        first.weight[part], first.bias[part] = heads.words.weight, heads.words.bias + 1.0 + shift
    second.weight.zero_()
    second.bias.zero_()
    for word in range(words):
        second.weight[word, word], second.weight[word, words + word] = 1 / CUT, -1 / CUT
    second.weight[DIMS["place"]] *= PLACE
    second.bias[at("visual")] = MARK
    model.model.image_newline.zero_()
    model.model.image_newline[at("visual")] = MARK


def align(
    model: LlavaNextForConditionalGeneration, heads: Heads, seed: int, steps: int, log: Callable[[dict], None]
) -> None:
    """Fit the projector in place for `steps` steps of 32 still pictures. `log` takes one dict a line."""
    begin(model, heads)
    projector = model.model.multi_modal_projector
    optimizer = torch.optim.AdamW(projector.parameters(), lr=1e-3, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step in (bar := tqdm(range(steps), desc="2 align", mininterval=5)):
        values, labels, _ = still_batch(seed, 4, step, 32)
        with torch.no_grad():
            seen = frame_features(model.model.vision_tower, values)
        target = wanted(labels)
        weight = torch.ones_like(target)
        weight[..., SHOWN] += 15.0 * (target[..., SHOWN] > 0)
        weight[..., DIMS["place"]] = 1.0
        loss = (weight * (projector(seen) - target) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 20 == 0:
            log({"stage": "align", "step": step, "loss": round(loss.item(), 5)})
            bar.set_postfix(loss=f"{loss.item():.4f}", refresh=False)
