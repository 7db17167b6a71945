"""Stage 1 of training: the vision tower learns, patch by patch, what is drawn where in a still picture.

Dense labels instead of captions, which would need far more pictures. The tower's hidden layer -2 is trained, the layer
that LLaVA-NeXT takes; its last layer is never used and stays as initialised. Next in the data's way: `align` turns what
the read-outs found into the projector.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor, nn
from tqdm import tqdm
from transformers import CLIPVisionModel

from pocket.tower import GRID, PATCH, frame_features, pixels
from pocket2.stories import still
from pocket2.world import COLOURS, NAMES, PLACES, Story, draw, shrink

DIGITS = [str(d) for d in range(10)]
# What a patch may show, word by word: a read-out each, and a dimension each of the language model's width.
WORDS = [
    *NAMES,
    *(f"bubbled {name}" for name in NAMES),
    *(f"{colour} bubble" for colour in COLOURS),
    *(f"{colour} card" for colour in COLOURS),
    *DIGITS,
    *PLACES,
]
# Groups of words and how much each counts, over its own positives: a place fills the picture, a digit a patch or two.
_ENDS = np.cumsum([len(NAMES), len(NAMES), len(COLOURS), len(COLOURS), len(DIGITS), len(PLACES)])
GROUPS = [
    (slice(int(end - size), int(end)), weight)
    for end, size, weight in zip(_ENDS, np.diff(_ENDS, prepend=0), (1.0, 1.0, 0.3, 0.3, 1.0, 0.3), strict=True)
]
CARDS = [(c, d) for c in COLOURS for d in range(10)]


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


def boxes(story: Story, time: float) -> list[tuple[tuple[str, ...], float, float, float, float]]:
    """(words, left, top, right, bottom) of everything visible at `time`, in pixels of the shrunk picture."""
    moment, found = story.at(time), list[tuple[tuple[str, ...], float, float, float, float]]()
    for bubble in moment.bubbles:
        x, y = bubble.x / 2, bubble.y / 2
        found.append(((f"{bubble.colour} bubble",), x - 15, y - 15, x + 15, y + 15))
        found.append(((f"bubbled {bubble.name}",), x - 13, y - 13, x + 13, y + 13))
    for thing in moment.things:
        x, y = thing.x / 2, thing.y / 2
        found.append(((thing.name,), x - 9.5, y - 9.5, x + 9.5, y + 9.5))
    for board in moment.scene.boards:
        for card, left, top, right, bottom in board.boxes():
            found.append(((f"{card.colour} card", str(card.digit)), left / 2, top / 2, right / 2, bottom / 2))
    return found


def patch_labels(
    story: Story, time: float = 0.0
) -> tuple[Float[np.ndarray, "12 12 words"], Float[np.ndarray, "12 12 60"]]:
    """1 where a thing covers at least 30 % of a patch (a card: 40 %): by word, and by card (colour and digit)."""
    edges = np.arange(GRID) * PATCH
    labels = np.zeros((GRID, GRID, len(WORDS)), dtype=np.float32)
    cards = np.zeros((GRID, GRID, len(CARDS)), dtype=np.float32)
    labels[..., WORDS.index(story.at(time).scene.place)] = 1
    for words, left, top, right, bottom in boxes(story, time):
        wide = np.clip(np.minimum(right, edges + PATCH) - np.maximum(left, edges), 0, None)
        high = np.clip(np.minimum(bottom, edges + PATCH) - np.maximum(top, edges), 0, None)
        there = high[:, None] * wide[None, :] >= (0.4 if len(words) == 2 else 0.3) * PATCH**2
        for word in words:
            labels[there, WORDS.index(word)] = 1
        if len(words) == 2:
            cards[there, CARDS.index((words[0].split()[0], int(words[1])))] = 1
    return labels, cards


class Heads(nn.Module):
    """Linear read-outs used in training only: words and cards per patch, words per window of patches, and where the
    patch is."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.words = nn.Linear(dim, len(WORDS))
        self.cards = nn.Linear(dim, len(CARDS))
        self.window = nn.Linear(dim, len(WORDS))
        self.place = nn.Linear(dim, 2 * GRID)

    def loss(
        self,
        features: Float[Tensor, "b 144 d"],
        labels: Float[Tensor, "b 12 12 words"],
        cards: Float[Tensor, "b 12 12 60"],
        window: int,
    ) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """The stage's loss, and the share of card patches whose colour and digit are read rightly."""
        flat, flat_cards = labels.flatten(1, 2), cards.flatten(1, 2)
        read = self.cards(features)
        words = self.words(features)
        loss = sum(weight * _bce(words[..., part], flat[..., part]) for part, weight in GROUPS)
        loss = 0.5 * _bce(read, flat_cards) + loss
        pooled = nn.functional.avg_pool2d(rearrange(features, "b (h w) d -> b d h w", h=GRID), window)
        there = nn.functional.max_pool2d(rearrange(labels, "b h w l -> b l h w"), window)
        coarse, there = self.window(rearrange(pooled, "b d h w -> b h w d")), rearrange(there, "b l h w -> b h w l")
        loss = loss + 0.3 * sum(weight * _bce(coarse[..., part], there[..., part]) for part, weight in GROUPS[:3])
        row, column = self.place(features).split(GRID, dim=-1)
        at = torch.arange(GRID * GRID).expand(len(features), -1)
        place = nn.functional.cross_entropy(row.flatten(0, 1), (at // GRID).flatten()) + nn.functional.cross_entropy(
            column.flatten(0, 1), (at % GRID).flatten()
        )
        single = flat_cards.sum(-1) == 1
        right = read.argmax(-1)[single] == flat_cards.argmax(-1)[single]
        return loss + 0.1 * place, right.float().mean()


def _bce(logits: Tensor, target: Tensor) -> Tensor:
    return nn.functional.binary_cross_entropy_with_logits(logits, target, reduction="sum") / target.sum().clamp(min=1)


def still_batch(
    seed: int, stage: int, step: int, batch: int
) -> tuple[Float[Tensor, "b 3 96 96"], Float[Tensor, "b 12 12 words"], Float[Tensor, "b 12 12 60"]]:
    """(pixel values, word labels, card labels) of a step's still pictures."""
    rng = np.random.default_rng([seed, stage, step])
    stories = [still(rng) for _ in range(batch)]
    values = pixels(np.stack([photograph(rng, s, 0.0) for s in stories]))
    labels, cards = zip(*(patch_labels(s) for s in stories), strict=True)
    return values, torch.from_numpy(np.stack(labels)), torch.from_numpy(np.stack(cards))


def train_tower(
    tower: CLIPVisionModel,
    out: Path,
    seed: int,
    steps: int,
    batch: int = 48,
    log: Callable[[dict], None] | None = None,
    resume: bool = True,
) -> Heads:
    """Train `tower` in place for `steps` steps, and give the read-outs; the state is kept in `out`/tower.pt every 200
    steps. `log` takes one dict a line."""
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
        values, labels, cards = still_batch(seed, 1, step, batch)
        window = int(np.random.default_rng([seed, 5, step]).choice([2, 3, 6]))
        loss, right = heads.loss(frame_features(tower, values), labels, cards, window)
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
    return heads
