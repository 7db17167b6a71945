"""Half precision: is the shared way no further from float32 than the plain way, and do their answers agree?"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from sfllava_core.answering.decoding import greedy
from sfllava_core.answering.sharing import encode_prompt
from sfllava_core.answering.watched import Prompts, WatchedVideo
from sfllava_core.model import VideoLLM

ALLOWED = 1.5  # times plain's error


@dataclass(frozen=True)
class HalfPrecision:
    """Greatest errors of the first logits against float32, and whether answers part only where the choice was close."""

    shared: float
    plain: float
    parted: int  # answers whose tokens part at some step
    clearly: int  # of these, where the plain way's best two were further apart than both errors explain

    @property
    def holds(self) -> bool:
        return self.shared <= ALLOWED * self.plain and not self.clearly

    def __str__(self) -> str:
        times = f"{self.shared / self.plain:.2f} times plain's" if self.plain else "plain has none"
        return (
            f"error shared {self.shared:.2e}, plain {self.plain:.2e} ({times}, at most {ALLOWED}); "
            f"{self.parted} answers part, {self.clearly} of them where the choice was clear"
        )


def logits_by_step(
    video: WatchedVideo, prompts: Prompts, share_prefix: bool, steps: int = 12
) -> tuple[Int64[Tensor, "prompts steps"], Float[Tensor, "prompts steps vocabulary"]]:
    """New ids and the logits that each came from, prompt by prompt."""
    seen: dict[int, list] = {row: [] for row in range(len(prompts))}
    encoded = [encode_prompt(prompt, video.llm.tokenizer) for prompt in prompts]
    with video.llm.lock:
        for rows, decoder in video.sharing.decoders(encoded, steps, share_prefix):

            def head(hidden, rows=rows):
                logits = video.llm.logits(hidden)
                for row, one in zip(rows, logits.float().cpu()):
                    seen[row].append(one)
                return logits

            greedy(decoder, decoder.start(), head, steps, frozenset())
    logits = torch.stack([torch.stack(seen[row]) for row in range(len(prompts))])
    return logits.argmax(dim=-1), logits


def half_precision(
    llm: VideoLLM, features: Float[Tensor, "frames rows columns dim"], prompts: Prompts, steps: int = 12
) -> HalfPrecision:
    """Compare the ways of a half-precision model, on its own features. The model is float32 afterwards.

    Its weights are made float32 where they lie, one after another: it never lies there twice.
    """
    video = llm.watch_features(features)
    (shared_ids, shared), (plain_ids, plain) = (logits_by_step(video, prompts, share, steps) for share in (True, False))
    del video
    llm.model.float()
    right = llm.watch_features(features.float()).next_token_logits(prompts)
    errors = [float((one[:, 0] - right).abs().max()) for one in (shared, plain)]
    parted = clearly = 0
    for mine, its, logits in zip(shared_ids, plain_ids, plain):
        if (other := (mine != its).nonzero()).numel():
            best, second = logits[int(other[0])].topk(2).values
            parted += 1
            clearly += bool(best - second > 2 * sum(errors))
    return HalfPrecision(errors[0], errors[1], parted, clearly)
