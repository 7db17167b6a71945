"""Stage 1 of training: the vision tower learns, patch by patch, what is drawn where in a still picture.

Dense labels instead of captions, which would need far more pictures. The tower's hidden layer -2 is
trained, the layer that LLaVA-NeXT takes; its last layer is never used and stays as initialised. Next in the data's
way: `train` freezes the tower and caches its features.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor, nn
from tqdm import tqdm
from transformers import CLIPVisionModel

from pocket.icons import NAMES
from pocket.stories import still
from pocket.world import COLOURS, PICTURE, Story, draw, shrink

PATCH = 8
GRID = PICTURE // PATCH
KINDS = [*NAMES, *(f"bubble {n}" for n in NAMES)]
CARDS = [(c, d) for c in COLOURS for d in range(10)]
LABELS = len(KINDS) + len(CARDS)
MEAN = (0.48145466, 0.4578275, 0.40821073)  # OpenAI CLIP
STD = (0.26862954, 0.26130258, 0.27577711)


def pixels(pictures: UInt8[np.ndarray, "pictures 96 96 3"]) -> Float[Tensor, "pictures 3 96 96"]:
    """CLIP-normalised pixel values of pictures."""
    scaled = torch.from_numpy(np.ascontiguousarray(pictures)).float() / 255
    return rearrange((scaled - torch.tensor(MEAN)) / torch.tensor(STD), "b h w c -> b c h w").contiguous()


def photograph(rng: np.random.Generator, story: Story, time: float) -> UInt8[np.ndarray, "96 96 3"]:
    """A training picture: drawn, half of the time saved as JPEG of some quality, shrunk, a little noise on top."""
    picture = draw(story, time)
    if rng.random() < 0.5:
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=int(rng.integers(45, 96)))
        picture = Image.open(file).convert("RGB")
    small = shrink(picture).astype(np.float32)
    noise = rng.standard_normal(small.shape, dtype=np.float32) * rng.uniform(0, 4)
    return np.clip(small + noise + rng.uniform(-8, 8), 0, 255).astype(np.uint8)


def boxes(story: Story, time: float) -> list[tuple[int, float, float, float, float]]:
    """(label, left, top, right, bottom) of everything visible at `time`, in pixels of the shrunk picture."""
    found = []
    for actor in story.actors:
        if actor.visible(time):
            x, y = (v / 2 for v in actor.at(time))
            half = 10 if actor.bubble else 9.5
            found.append(
                (
                    KINDS.index(f"bubble {actor.name}" if actor.bubble else actor.name),
                    x - half,
                    y - half,
                    x + half,
                    y + half,
                )
            )
    for board in story.boards:
        for i, card in enumerate(board.cards):
            x, y = board.left / 2 + 1 + 10 * (i % 2), board.top / 2 + 1 + 12 * (i // 2)
            found.append((len(KINDS) + CARDS.index((card.colour, card.digit)), x, y, x + 10, y + 12))
    return found


def patch_labels(story: Story, time: float = 0.0) -> Float[np.ndarray, "12 12 labels"]:
    """1 where a thing covers at least 30 % of a patch."""
    edges = np.arange(GRID) * PATCH
    labels = np.zeros((GRID, GRID, LABELS), dtype=np.float32)
    for label, left, top, right, bottom in boxes(story, time):
        wide = np.clip(np.minimum(right, edges + PATCH) - np.maximum(left, edges), 0, None)
        high = np.clip(np.minimum(bottom, edges + PATCH) - np.maximum(top, edges), 0, None)
        labels[..., label] = np.maximum(labels[..., label], high[:, None] * wide[None, :] >= 0.3 * PATCH**2)
    return labels


def frame_features(
    tower: CLIPVisionModel, values: Float[Tensor, "pictures 3 96 96"]
) -> Float[Tensor, "pictures 144 dim"]:
    """Hidden layer -2 of the tower without CLS: every layer but the last."""
    vision = getattr(tower, "vision_model", tower)
    hidden = vision.pre_layrnorm(vision.embeddings(values))
    for layer in vision.encoder.layers[:-1]:
        out = layer(hidden, None)
        hidden = out[0] if isinstance(out, tuple) else out
    return hidden[:, 1:]


class Heads(nn.Module):
    """Linear read-outs used in stage 1 only: things per patch, a card's colour and digit apart, things per window of
    patches, and where the patch is."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.patch = nn.Linear(dim, LABELS)
        self.card = nn.Linear(dim, len(COLOURS) + 10)
        self.window = nn.Linear(dim, len(KINDS))
        self.place = nn.Linear(dim, 2 * GRID)

    def loss(
        self, features: Float[Tensor, "b 144 d"], labels: Float[Tensor, "b 12 12 labels"], window: int
    ) -> tuple[Tensor, Tensor]:
        """The stage's loss, and the share of card patches whose colour and digit are read rightly."""
        flat = rearrange(labels, "b h w l -> b (h w) l")
        logits = self.patch(features)
        patch = nn.functional.binary_cross_entropy_with_logits(logits, flat, reduction="sum") / flat.sum().clamp(min=1)
        pairs = rearrange(flat[..., len(KINDS) :], "b p (c d) -> b p c d", d=10)
        factors = torch.cat([pairs.amax(-1), pairs.amax(-2)], dim=-1)
        card = nn.functional.binary_cross_entropy_with_logits(
            self.card(features), factors, reduction="sum"
        ) / factors.sum().clamp(min=1)
        pooled = nn.functional.avg_pool2d(rearrange(features, "b (h w) d -> b d h w", h=GRID), window)
        there = nn.functional.max_pool2d(rearrange(labels[..., : len(KINDS)], "b h w l -> b l h w"), window)
        seen = self.window(rearrange(pooled, "b d h w -> b h w d"))
        coarse = nn.functional.binary_cross_entropy_with_logits(
            seen, rearrange(there, "b l h w -> b h w l"), reduction="sum"
        ) / there.sum().clamp(min=1)
        row, column = self.place(features).split(GRID, dim=-1)
        at = torch.arange(GRID * GRID).expand(len(features), -1)
        place = nn.functional.cross_entropy(row.flatten(0, 1), (at // GRID).flatten()) + nn.functional.cross_entropy(
            column.flatten(0, 1), (at % GRID).flatten()
        )
        cards = flat[..., len(KINDS) :]
        single = cards.sum(-1) == 1
        right = logits[..., len(KINDS) :].argmax(-1)[single] == cards.argmax(-1)[single]
        return patch + card + 0.5 * coarse + 0.1 * place, right.float().mean()


def train_tower(
    tower: CLIPVisionModel, out: Path, seed: int, steps: int, batch: int = 48, log=None, resume: bool = True
) -> None:
    """Train `tower` in place for `steps` steps; its state is kept in `out`/tower.pt every 200 steps. `log` takes one
    dict a line."""
    heads = Heads(tower.config.hidden_size)
    parameters = [*tower.parameters(), *heads.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=1.5e-3, weight_decay=0.02, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1.5e-3, total_steps=steps + 1, pct_start=0.08)
    parts = {"tower": tower, "heads": heads, "optimizer": optimizer, "schedule": schedule}
    file, first = out / "tower.pt", 0
    if resume and file.exists():
        saved = torch.load(file, weights_only=False)
        first = saved["step"]
        for name, part in parts.items():
            part.load_state_dict(saved[name])
    for step in (bar := tqdm(range(first, steps), initial=first, total=steps, desc="1 tower", mininterval=5)):
        rng = np.random.default_rng([seed, 1, step])
        stories = [still(rng) for _ in range(batch)]
        values = pixels(np.stack([photograph(rng, s, 0.0) for s in stories]))
        labels = torch.from_numpy(np.stack([patch_labels(s) for s in stories]))
        loss, right = heads.loss(frame_features(tower, values), labels, int(rng.choice([2, 3, 6])))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        if log and step % 20 == 0:
            log({"stage": "tower", "step": step, "loss": round(loss.item(), 4), "cards_right": round(right.item(), 4)})
        bar.set_postfix(loss=f"{loss.item():.3f}", cards=f"{right.item():.2f}", refresh=False)
        if (step + 1) % 200 == 0 or step + 1 == steps:
            torch.save(
                {"step": step + 1, **{name: part.state_dict() for name, part in parts.items()}}, out / "tower.tmp"
            )
            (out / "tower.tmp").replace(file)
