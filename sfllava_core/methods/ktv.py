"""KTV: a few keyframes, of each the tokens that the tower's CLS looks at and that are unlike the others (hktk07/KTV).

    keyframes (keyframes.py) -> of each frame's 576 tokens a budget by its rank -> projector

A frame's rank is how similar it is to the question, so with ranks every question has tokens of its own:
`KTV.of(rank_frames(...))` is the method for one question. Without ranks all frames get the same.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from einops import rearrange
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F

from sfllava_core.answering.choices import parse_choice
from sfllava_core.methods.base import Grid, Method, Seen, SpecError, positive_int
from sfllava_core.methods.keyframes import MOST_DENSE, dense_frames, keyframes
from sfllava_core.methods.pooling import MOST_PATCHES
from sfllava_core.prompts import ALL_PARTS, IMAGE, INPUT_DATA, PromptParts, checked_text

PATCHES = 576  # of a frame, which the published budgets are of
# 6 frames: tokens of the most similar one, of the next four, of the rest. The released code has no names for these.
SPARSE, NORMAL, DENSE = (144, 72, 72), (288, 144, 72), (576, 288, 144)
OF_SIX = {504: SPARSE, 936: NORMAL, 1872: DENSE}
TEXT = re.compile(r"ktv_(\d+)k_n(\d+)_r([^_]+)(?:_of(\d+))?(?:_p(\d+))?(?:_f([\d-]+))?(?:_o([\d-]+))?")


def token_budgets(ranks: Sequence[int], number: int, tokens: int) -> list[int]:
    """Tokens of each ranked frame, in the frames' order, as released: what is no published sum is taken for 936.

    Raises:
        SpecError: ranks are for 6 or 12 frames alone.
    """
    if number == 12:  # whatever the tokens
        return [288 if rank < 2 else 144 if rank < 10 else 72 for rank in ranks]
    if number != 6:
        raise SpecError(f"ranks of {number} frames: KTV has budgets for 6 or 12")
    first, next_four, others = OF_SIX.get(tokens, NORMAL)
    return [first if rank == 0 else next_four if rank < 5 else others for rank in ranks]


def choose_tokens(
    patches: Float[Tensor, "tokens width"], cls_scores: Float[Tensor, "tokens"], keep: int, rate: float
) -> Int64[Tensor, "keep"]:
    """Which of a frame's tokens are kept, in reading order: rate * importance + (1 - rate) * (1 - redundancy).

    importance: how much CLS looks at a token.  redundancy: its mean cosine to the others. Each from 0 to 1 in a frame;
    all 0 where all are the same (the released code divides 0 by 0 there).

    Args:
        patches: before the projector.

    Raises:
        SpecError: more to keep than there are.
    """
    if not 1 <= keep <= len(patches):
        raise SpecError(f"{keep} tokens of a frame that has {len(patches)}: take fewer tokens, or more frames")
    unit = F.normalize(patches.float(), dim=-1)
    redundancy = ((unit @ unit.T).sum(dim=1) - (unit * unit).sum(dim=1)) / max(1, len(unit) - 1)
    score = rate * spread(cls_scores.float()) + (1 - rate) * (1 - spread(redundancy))
    return score.topk(keep).indices.sort().values


def spread(values: Float[Tensor, "tokens"]) -> Float[Tensor, "tokens"]:
    """The least as 0, the greatest as 1; all 0 where they are the same."""
    low, high = values.min(), values.max()
    return (values - low) / (high - low) if high > low else torch.zeros_like(values)


@dataclass(frozen=True)
class KTV(Method):
    """`keyframes` frames with `tokens` in all. The defaults are 6 evenly spaced frames with 156 each.

    rate: weight of importance against redundancy, 0.2 as in the released example.
    loaded: keyframes are found by k-means among so many frames, by embeddings that are handed in, or the LLaVA tower's
        own CLS, which is ours (released: DINOv2); 0 does not look for any.
    frames, ranks: keyframes handed in, as numbers in the video, and their ranks, both in time's order.
    patches: of a frame, which the budgets are of.
    """

    keyframes: int = 6
    tokens: int = 936
    rate: float = 0.2
    loaded: int = 0
    patches: int = PATCHES
    frames: Sequence[int] = ()
    ranks: Sequence[int] = ()

    own_features = True
    published: ClassVar[dict[str, str]] = {
        "checkpoint": "llava-v1.6-vicuna-7b, llava-v1.6-34b",
        "max_new_tokens": "128",
        "generation": "sampled at temperature 0.2, the default that the released command does not change",
        "rope": "dynamic, factor 2",
        "keyframes": "DINOv2-large and k-means over up to 5,400 frames, ranked by CLIP ViT-L/14 for each question",
    }
    differs: ClassVar[str] = (
        "answers greedily; no DINOv2 and no second CLIP: keyframes and ranks are handed in, or frames are evenly "
        "spaced (loaded: k-means on the tower's own CLS); ranks in the order meant, not the released index's"
    )

    def __post_init__(self) -> None:
        limits = {"keyframes": MOST_DENSE, "tokens": MOST_DENSE * PATCHES, "patches": MOST_PATCHES**2}
        for name, most in limits.items():
            object.__setattr__(self, name, positive_int(f"KTV {name}", getattr(self, name), most))
        for name in ("frames", "ranks"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if isinstance(self.rate, bool) or not isinstance(self.rate, (int, float)) or not 0 <= self.rate <= 1:
            raise SpecError(f"KTV rate={self.rate!r}: give a number from 0 to 1")
        if self.loaded and positive_int("KTV loaded", self.loaded, MOST_DENSE) < self.keyframes:
            raise SpecError(f"KTV loaded={self.loaded}: give at least the {self.keyframes} keyframes, or 0")
        if self.frames and (self.loaded or sorted(set(self.frames)) != list(self.frames) or self.frames[0] < 0):
            raise SpecError(f"KTV frames={self.frames}: give rising numbers, and loaded=0")
        if self.ranks and len(self.ranks) != len(self.frames):
            raise SpecError(f"KTV ranks={self.ranks}: give one for each of its {len(self.frames)} frames")
        if self.ranks and self.tokens != sum(token_budgets(range(self.keyframes), self.keyframes, self.tokens)):
            sums = "1872" if self.keyframes == 12 else ", ".join(map(str, OF_SIX))
            raise SpecError(f"KTV tokens={self.tokens}: {self.keyframes} ranked frames get {sums}")

    @classmethod
    def of(cls, ranked: Iterable[tuple[int, int]], **settings: Any) -> "KTV":
        """The method for one question, of (frame, rank) as `rank_frames` gives them; of a frame twice, the last."""
        ranks = dict(sorted(dict(ranked).items()))
        return cls(frames=tuple(ranks), ranks=tuple(ranks.values()), **settings)

    @property  # of its fields, where other kinds have one for all
    def caveat(self) -> str:  # type: ignore[override]
        """Without ranks a number is not of the published method."""
        equal = "no ranks of keyframes by question, which the published method has: each gets the same number of tokens"
        return "" if self.ranks else equal

    @property  # of its fields, too
    def wants(self) -> tuple[str, ...]:  # type: ignore[override]
        """Patches and CLS scores; embeddings too where it looks for keyframes."""
        return ("patches", "cls_scores", *(["embeddings"] if self.loaded else []))

    @property  # read as a field is, and never written
    def num_frames(self) -> int:  # type: ignore[override]
        """Frames to sample."""
        return self.loaded or len(self.frames) or self.keyframes

    def sample(self, total: int) -> list[int]:
        """The frames handed in; or those to look for keyframes in; or evenly spaced ones, each segment's first.

        Raises:
            ValueError: a frame handed in is not in the video (the released code leaves it out, and shifts the ranks),
                or there are fewer frames than keyframes to look for.
        """
        if self.frames and self.frames[-1] >= total:
            raise ValueError(f"keyframes {self.frames} of a video of {total} frames: the last one is not there")
        if self.loaded and total < self.keyframes:
            raise ValueError(f"{self.keyframes} keyframes of a video of {total} frames")
        if self.loaded:
            return dense_frames(total, self.loaded)
        return list(self.frames) or [int(j * total / self.keyframes) for j in range(self.keyframes)]

    def budgets(self, grid: Grid = (24, 24)) -> list[int]:
        """Tokens of each keyframe, in time's order.

        Raises:
            SpecError: a grid that they were not made for.
        """
        if grid[0] * grid[1] != self.patches:
            raise SpecError(
                f"{self} is for {self.patches} patches a frame, not {grid[0]} x {grid[1]}: scaled(grid) fits"
            )
        if not self.ranks:
            number = len(self.frames) or self.keyframes
            return [self.checked(self.tokens // self.keyframes)] * number
        found = token_budgets(self.ranks, self.keyframes, self.tokens)
        return [self.checked(budget * self.patches // PATCHES) for budget in found]

    def checked(self, budget: int) -> int:
        """A frame's budget, if the frame has that many."""
        if not 1 <= budget <= self.patches:
            raise SpecError(f"{self}: {budget} tokens of a frame of {self.patches}: take fewer tokens, or more frames")
        return budget

    def token_counts(self, num_frames: int | None = None, grid: Grid = (24, 24)) -> dict[str, int]:
        """936 for the defaults."""
        return {"kept": sum(self.budgets(grid))}

    def visual_tokens(
        self, features: Float[Tensor, "frames rows columns dim"], newline: Float[Tensor, "dim"] | None = None
    ) -> Float[Tensor, "tokens dim"]:
        """Features alone do not do. Raises SpecError."""
        return self.tokens_of(Seen(features, newline))

    def tokens_of(self, seen: Seen) -> Float[Tensor, "tokens dim"]:
        """Tokens chosen before the projector, taken after it: it treats each by itself.

        Raises:
            SpecError: patches or CLS scores (or embeddings) are missing, or the frames are not as many as ranks.
        """
        lacking = [name for name in self.wants if len(seen.more.get(name, ())) != len(seen.features)]
        if lacking:
            told = f"watch the video or its frames, or give watch_features more={dict.fromkeys(lacking, '...')}"
            raise SpecError(f"{self} needs {', '.join(lacking)} of each of {len(seen.features)} frames: {told}")
        rows, columns = seen.features.shape[1:3]
        places, budgets = list(range(len(seen.features))), self.budgets((rows, columns))
        if self.loaded:
            embeddings = seen.more["embeddings"].float().cpu().numpy()
            places = sorted(keyframes(embeddings, self.keyframes, len(embeddings)))
        if len(places) != len(budgets):
            raise SpecError(f"{len(places)} frames for {self}: it takes {len(budgets)}")
        tokens = []
        for place, budget in zip(places, budgets):
            flat = rearrange(seen.features[place], "h w d -> (h w) d")
            patches = rearrange(seen.more["patches"][place], "h w d -> (h w) d")
            scores = rearrange(seen.more["cls_scores"][place], "h w -> (h w)")
            tokens.append(flat[choose_tokens(patches, scores, budget, self.rate)])
        return torch.cat(tokens)

    def token_frames(self, num_frames: int, grid: Grid) -> Int64[Tensor, "tokens"]:
        """The frame of each token; -1 where which frames are keyframes is known only when the video is seen."""
        budgets = torch.tensor(self.budgets(grid))
        frames = torch.full((len(budgets),), -1) if self.loaded else torch.arange(len(budgets))
        return frames.repeat_interleave(budgets)

    def scaled(self, grid: Grid) -> "KTV":
        """The same share of another grid's patches."""
        patches = grid[0] * grid[1]
        tokens = self.tokens if self.ranks else max(self.keyframes, self.tokens * patches // self.patches)
        return replace(self, patches=patches, tokens=tokens)

    def open_ended(self, question: str, style: str, parts: PromptParts = ALL_PARTS) -> tuple[str, str]:
        """For Vicuna a text of its own, which no released script calls; else the paper's."""
        if style != "vicuna" or parts != ALL_PARTS:
            return super().open_ended(question, style, parts)
        checked_text(question, "question")
        told = f"You are a helpful expert in video analysis. {INPUT_DATA} Answer the Question about the video directly."
        return f"USER: {IMAGE}\n{told}\n Question: ", f"{question} \nASSISTANT:\nAnswer: "

    def read_choice(self, text: str, options: Sequence[str]) -> int | None:
        """The released rule with F as a sixth letter."""
        place = "abcdef".find(parse_choice(text, letters="abcdef") or "?")
        return place if 0 <= place < len(options) else None

    def __str__(self) -> str:
        loaded = f"_of{self.loaded}" if self.loaded else ""
        patches = "" if self.patches == PATCHES else f"_p{self.patches}"
        given = "".join(
            f"_{name}{'-'.join(map(str, some))}" for name, some in zip("fo", (self.frames, self.ranks)) if some
        )
        return f"ktv_{self.keyframes}k_n{self.tokens}_r{self.rate}{loaded}{patches}{given}"

    @classmethod
    def parse(cls, text: str, num_frames: int = 50) -> "KTV | None":
        """Read "ktv_6k_n936_r0.2", with "_of50", "_p144", "_f10-60-..." (frames) and "_o1-0-..." (ranks) behind it."""
        match = TEXT.fullmatch(text)
        if match is None:
            return None
        number, tokens, rate, loaded, patches, *lists = match.groups()
        try:
            frames, ranks = (tuple(map(int, one.split("-"))) if one else () for one in lists)
            weight = float(rate)
        except ValueError:
            raise SpecError(f"{text!r}: the rate and the lists are to be numbers") from None
        return cls(int(number), int(tokens), weight, int(loaded or 0), int(patches or PATCHES), frames, ranks)
