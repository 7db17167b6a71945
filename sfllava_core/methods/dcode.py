"""D-CoDe: frames picked to differ, of each the tokens with the largest norms, similar ones merged (hukcc/D-CoDe).

    load 50 frames -> 15 of them: 12 evenly spaced, then one by one the frame least like all picked so far
    -> of each frame's 576 tokens the 288 largest -> tokens alike become one

How many tokens are left depends on the film. The method's other half, sub-questions asked one by one before the
question itself, needs a language model beside the video's: sfllava_bench/answers/subquestions.py.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F

from sfllava_core.methods.base import Grid, Method, Seen, SpecError, positive_int
from sfllava_core.methods.pooling import MOST_FRAMES, MOST_PATCHES
from sfllava_core.prompts import ALL_PARTS, INPUT_DATA, PromptError, PromptParts

MERGES = ("mean", "max", "weighted_mean")
RELEASED = {  # num_frames, kept, uniform, top_k, threshold
    "egoschema": (50, 15, 0.85, 288, 0.8),
    "nextqa": (36, 18, 0.85, 360, 0.9),
    "intentqa": (50, 20, 0.75, 288, 0.8),
    "open": (50, 25, 0.8, 288, 0.8),  # MSVD, MSRVTT, TGIF, ActivityNet
}
TEXT = re.compile(r"dcode_(\d+)to(\d+)_u([^_]+)_k(\d+)_t([^_]+)_([a-z]+(?:_mean)?)(_unchained)?")


def choose_frames(embeddings: Float[Tensor, "frames width"], keep: int, uniform: float) -> list[int]:
    """Which frames are kept, in time's order: int(keep * uniform) evenly spaced ones, then those that differ most.

    Each further frame has the least *mean* cosine to all picked so far (the released code calls it the minimum). Of
    no more frames than `keep` some repeat: when all are picked, it is the first one's turn again and again.

    Args:
        embeddings: one vector a frame; the comparison is in float32, as released.

    Raises:
        SpecError: no frame is evenly spaced, or the share is none.
    """
    share = checked_share(uniform, keep)
    vectors = embeddings.float().cpu().numpy()
    unit = vectors / (np.linalg.norm(vectors, axis=1, keepdims=True) + 1e-8)
    cosines = unit @ unit.T
    picked = np.linspace(0, len(unit) - 1, share).astype(int).tolist()
    while len(picked) < keep:
        taken = set(picked)
        means = [1.0 if frame in taken else cosines[frame, picked].mean() for frame in range(len(unit))]
        picked.append(int(np.argmin(means)))  # the first of several
    return sorted(picked)


def checked_share(uniform: float, keep: int) -> int:
    """How many of the kept frames are evenly spaced."""
    if isinstance(uniform, bool) or not isinstance(uniform, (int, float)) or not 0 <= uniform <= 1:
        raise SpecError(f"uniform={uniform!r}: give a share from 0 to 1")
    if int(keep * uniform) < 1:
        raise SpecError(f"uniform={uniform!r} of {keep} frames is none: at least 1 must be evenly spaced")
    return int(keep * uniform)


def merge_tokens(
    tokens: Float[Tensor, "tokens dim"], top_k: int, threshold: float, merge: str = "mean", chained: bool = True
) -> tuple[Float[Tensor, "kept dim"], Int64[Tensor, "kept"]]:
    """One frame's tokens with the largest norms, those alike made one; in falling order of norm. And their places.

    Token by token, largest first: it becomes the mean of all tokens whose cosine to it is at least the threshold, and
    these are dropped. Cosines are those before any merging.

    chained=True is the released code: it merges with dropped tokens too, as earlier steps left them, and of a group it
    keeps the *first*, so that a token which is like a dropped larger one is dropped itself, with the mean just made.
    Whole chains are lost: directions of 0, 30 and 60 degrees at 0.8 leave one token, and nothing near the last.
    chained=False merges only what is still there; every token chosen is in one mean.

    Args:
        merge: "mean", "max" of each channel, or "weighted_mean" by the norms before merging.
    """
    # 1. the largest
    norms = tokens.float().norm(dim=-1)
    places = norms.topk(min(top_k, len(tokens))).indices
    norms, merged = norms[places], tokens.float()[places]
    # 2. who is like whom; a token of zeros is like nobody, not even itself
    unit = F.normalize(merged, dim=-1)
    alike = ((unit @ unit.T) >= threshold).cpu()
    # 3. greedily, largest first
    alive = torch.ones(len(merged), dtype=torch.bool)
    for token in range(len(merged)):
        if not alive[token]:
            continue
        group = (alike[token] if chained else alike[token] & alive).nonzero()[:, 0]
        if len(group) > 1:
            merged[token] = combined(merged[group], norms[group], merge)
            alive[group[1:]] = False
    alive = alive.to(places.device)
    return merged[alive].to(tokens.dtype), places[alive]


def combined(tokens: Float[Tensor, "tokens dim"], norms: Float[Tensor, "tokens"], merge: str) -> Float[Tensor, "dim"]:
    """Several tokens as one."""
    if merge == "max":
        return tokens.amax(dim=0)
    return tokens.mean(dim=0) if merge == "mean" else (norms / norms.sum()) @ tokens


@dataclass(frozen=True)
class DCoDe(Method):
    """`num_frames` are loaded, `kept` of them chosen, then tokens within each frame. The defaults are EgoSchema's.

    uniform: share of the kept frames that is evenly spaced.  top_k: tokens of a frame before merging.
    threshold: cosine from which two tokens are alike.  merge, chained: as in `merge_tokens`.

    Frames are compared by `embeddings`: those handed in (`VideoLLM.watch_features`, `Seen.more`), else the LLaVA
    tower's own CLS, which is ours; the released code runs a second CLIP, on its own crop, and projects.
    """

    num_frames: int = 50
    kept: int = 15
    uniform: float = 0.85
    top_k: int = 288
    threshold: float = 0.8
    merge: str = "mean"
    chained: bool = True

    wants = ("embeddings",)
    own_features = True
    max_choice_tokens = 16
    no_repeat_ngram_size = 5
    published: ClassVar[dict[str, str]] = {
        "checkpoint": "llava-v1.6-vicuna-7b",
        "max_new_tokens": "16 (choice), 128 (open-ended), 64 (sub-question)",
        "generation": "greedy; open-ended with min_length 1 and no_repeat_ngram_size 5",
        "rope": "dynamic, factor 2",
        "sub-questions": "gpt-3.5-turbo, for choices alone",
    }
    differs: ClassVar[str] = (
        "frames are compared by the tower's own CLS unless embeddings are handed in; tokens are merged in float32; "
        "sub-questions are the bench's (sfllava_bench, --subquestions), and off by default; "
        "an open-ended answer may be empty (no min_length); its prompts are for Vicuna alone"
    )

    def __post_init__(self) -> None:
        limits = {"num_frames": MOST_FRAMES, "kept": MOST_FRAMES, "top_k": MOST_PATCHES**2}
        for name, most in limits.items():
            object.__setattr__(self, name, positive_int(f"DCoDe {name}", getattr(self, name), most))
        checked_share(self.uniform, self.kept)
        threshold = self.threshold
        if isinstance(threshold, bool) or not isinstance(threshold, (int, float)) or not math.isfinite(threshold):
            raise SpecError(f"DCoDe threshold={threshold!r}: give a cosine such as 0.8")
        if self.merge not in MERGES:
            raise SpecError(f"DCoDe merge={self.merge!r}: choose one of {', '.join(MERGES)}")

    @classmethod
    def released(cls, benchmark: str) -> "DCoDe":
        """The settings of a released script: egoschema, nextqa, intentqa, or open (the four open-ended sets)."""
        if benchmark not in RELEASED:
            raise SpecError(f"D-CoDe on {benchmark!r}: choose one of {', '.join(RELEASED)}")
        return cls(*RELEASED[benchmark])

    def token_counts(self, num_frames: int | None = None, grid: Grid = (24, 24)) -> dict[str, int]:
        """The most that can be left: how many are alike depends on the film. 15 * 288 for the defaults."""
        return {"at most": self.kept * min(self.top_k, grid[0] * grid[1])}

    def visual_tokens(
        self, features: Float[Tensor, "frames rows columns dim"], newline: Float[Tensor, "dim"] | None = None
    ) -> Float[Tensor, "tokens dim"]:
        """Features alone do not do. Raises SpecError."""
        return self.tokens_of(Seen(features, newline))

    def tokens_of(self, seen: Seen) -> Float[Tensor, "tokens dim"]:
        """Frames chosen by their embeddings, each one's tokens merged, in time's order.

        Raises:
            SpecError: no embeddings, or not one for each frame.
        """
        embeddings = seen.more.get("embeddings")
        if embeddings is None or embeddings.ndim != 2 or len(embeddings) != len(seen.features):
            given = "none" if embeddings is None else f"those of shape {tuple(embeddings.shape)}"
            raise SpecError(
                f"{self} needs an embedding for each of {len(seen.features)} frames, there are {given}: watch the "
                'video or its frames, or give watch_features(features, method, more={"embeddings": ...})'
            )
        frames = choose_frames(embeddings, self.kept, self.uniform)
        rows = {frame: rearrange(seen.features[frame], "h w d -> (h w) d") for frame in frames}
        left = {
            frame: merge_tokens(rows[frame], self.top_k, self.threshold, self.merge, self.chained) for frame in rows
        }
        return torch.cat([left[frame][0] for frame in frames])

    def token_frames(self, num_frames: int, grid: Grid) -> Int64[Tensor, "tokens"]:
        """-1 for as many tokens as can be: which frame each is of is known only when the film is seen."""
        return torch.full((self.token_count(num_frames, grid),), -1)

    def scaled(self, grid: Grid) -> "DCoDe":
        """The same share of the patches on another grid than 24 x 24."""
        return replace(self, top_k=max(1, round(self.top_k * grid[0] * grid[1] / 576)))

    def multiple_choice(
        self,
        question: str,
        options: Sequence[str],
        style: str,
        parts: PromptParts = ALL_PARTS,
        captions: str | None = None,
    ) -> tuple[str, str]:
        """The paper's prompt with a place for captions (answers to sub-questions); without any, two spaces stay there.

        Raises:
            PromptError: no prompt can be made of it, or another style than Vicuna's, for which none was released.
        """
        if style != "vicuna":
            raise PromptError(
                f"D-CoDe has no choice prompt in style {style!r}: it was released for 'vicuna' (7B) alone"
            )
        shared, own = super().multiple_choice(question, options, style, parts)
        before, data, after = shared.partition(INPUT_DATA)
        if captions is None:
            return f"{before}{data}{'  ' if data else ''}{after}", own
        return f"{before}{data} ", f"{captions} {after}{own}"

    def __str__(self) -> str:
        chain = "" if self.chained else "_unchained"
        numbers = f"{self.num_frames}to{self.kept}_u{self.uniform}_k{self.top_k}_t{self.threshold}"
        return f"dcode_{numbers}_{self.merge}{chain}"

    @classmethod
    def parse(cls, text: str, num_frames: int = 50) -> "DCoDe | None":
        """Read "dcode_50to15_u0.85_k288_t0.8_mean", or "dcode_nextqa" for a released script's settings."""
        if text.removeprefix("dcode_") in RELEASED and text.startswith("dcode_"):
            return cls.released(text.removeprefix("dcode_"))
        match = TEXT.fullmatch(text)
        if match is None:
            return None
        loaded, kept, uniform, top_k, threshold, merge, unchained = match.groups()
        try:
            shares = float(uniform), float(threshold)
        except ValueError:
            raise SpecError(f"{text!r}: {uniform!r} and {threshold!r} are to be numbers") from None
        return cls(int(loaded), int(kept), shares[0], int(top_k), shares[1], merge, not unchained)
