"""Exercises of chapter 9: IG-VLM's frames, one picture, the frame least like the others, those that changed most."""

from collections.abc import Callable

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

from sfllava_core.methods.igvlm import IgVlm
from sfllava_core.methods.llava_next_image import first_to_last
from sfllava_core.video.frames import sample_frame_indices
from sfllava_course.exercises.judging import Wrong, expect_indices, expect_tensor, random_features


def check_every_step(answer: Callable) -> str:
    """every_step(total, n): 0, then every (total // n)-th frame, n in all."""
    for total, n in ((150, 6), (100, 6), (47, 5), (6, 6)):
        mistakes = {
            "that is a step for n - 1 gaps, from the first frame to the last: IG-VLM never comes to the last": [
                i * ((total - 1) // max(n - 1, 1)) for i in range(n)
            ],
            "that is from the first frame to the last, LLaVA-NeXT-Image's rule": first_to_last(total, n),
            "those are the middles of n pieces, the paper's rule": sample_frame_indices(total, n),
            "the step must be a whole number *before* it is multiplied": [int(i * total / n) for i in range(n)],
            "begin at frame 0": [(i + 1) * (total // n) for i in range(n)],
        }
        wanted = IgVlm(n).sample(total)
        different = {hint: mistake for hint, mistake in mistakes.items() if mistake != wanted}
        expect_indices(answer(total, n), wanted, total, f"{n} of {total} frames", different)
    return "What lies behind the last of them, up to a step's length and the remainder, is never seen."


def check_one_picture(answer: Callable) -> str:
    """one_picture(frames, rows): (n, h, w, 3) in reading order to one picture of (rows * h, n / rows * w, 3)."""
    for shape, rows in (((6, 4, 4, 3), 3), ((8, 2, 5, 3), 2)):
        frames = random_features(*shape)
        expect_tensor(
            answer(frames, rows),
            rearrange(frames, "(r c) h w x -> (r h) (c w) x", r=rows),
            frames,
            {
                "your frames go down the columns: film runs along the rows, like text": rearrange(
                    frames, "(c r) h w x -> (r h) (c w) x", r=rows
                ),
                "the frames are woven into each other: in a bracket the last letter varies fastest": rearrange(
                    frames, "(r c) h w x -> (h r) (w c) x", r=rows
                ),
                "rows and columns of frames are swapped": rearrange(frames, "(c r) h w x -> (c h) (r w) x", r=rows),
                "the frames stand below each other in one column": rearrange(frames, "n h w x -> (n h) w x"),
                "the numbers are in their old order: reshape cuts rows up, rearrange moves pixels": frames.reshape(
                    rows * shape[1], -1, 3
                ),
            },
            "each frame must stay whole, in reading order",
        )
    return "To the tower it is one photograph; nobody tells it where a frame ends."


def check_most_changed(answer: Callable) -> str:
    """most_changed(features, closely): the frames that differ most from the one before, in the order of time."""
    for frames, closely, seed in ((8, 3, 0), (20, 4, 1), (30, 8, 2)):
        features = random_features(frames, 2, 3, 4, seed=seed)
        change = features.diff(dim=0).flatten(1).norm(dim=1)
        largest = change.topk(closely).indices.tolist()
        odd = (features - features.mean(dim=0)).flatten(1).norm(dim=1).topk(closely).indices
        mistakes = {
            "both faults are there still: the frames before the changes, the largest change first": largest,
            "these are the frames *before* the changes: entry 0 of `diff` leads from frame 0 to frame 1": sorted(
                largest
            ),
            "the largest change comes first: put the frames in the order of time": [one + 1 for one in largest],
            "these differ most from the mean of the film: compare with the frame before": odd.sort().values.tolist(),
        }
        wanted = sorted(one + 1 for one in largest)
        expect_indices(answer(features, closely), wanted, frames, f"{closely} of {frames} frames", mistakes)
    return "A method that looks at the wrong frames gets answers all the same; only a strip shows it."


def check_least_alike(answer: Callable) -> str:
    """least_alike(embeddings, picked): the frame, not picked yet, whose mean cosine to the picked ones is smallest."""
    cases = ((12, [0, 6, 11], 238), (30, [0, 10, 20, 29], 24), (20, [3, 4], 1), (9, [0, 2, 4, 6], 3))
    for frames, picked, seed in cases:
        embeddings = random_features(frames, 4, seed=seed) * torch.linspace(1, 6, frames)[:, None]
        embeddings[:, 0] += 4  # as real ones are: all somewhat alike
        cosines, products = alike(embeddings), embeddings @ embeddings.T
        scores = cosines[:, picked].mean(dim=1)
        wanted = best(scores, picked)
        got = answer(embeddings, list(picked))
        try:
            frame = int(got)
        except (TypeError, ValueError):
            raise Wrong(f"give the number of one frame back, not {type(got).__name__}") from None
        mistakes = {
            "that one is picked already": frame in picked,
            "that is the frame *most* like those picked": frame == best(-scores, picked),
            "these are plain products: long vectors win. Divide by the lengths": frame
            == best(products[:, picked].mean(dim=1), picked),
            "that is the least alike to the *last* frame picked: take all of them": frame
            == best(cosines[:, picked[-1]], picked),
            "that is the smallest single cosine; take the mean over those picked": frame
            == best(cosines[:, picked].amin(dim=1), picked),
            "that compares with all frames: compare with those picked alone": frame == best(cosines.mean(1), picked),
        }
        for hint, made in mistakes.items():
            if made and frame != wanted:
                raise Wrong(f"{hint} (of {frames} frames, picked {picked}, you take {frame}, it should be {wanted})")
        if frame != wanted:
            raise Wrong(f"of {frames} frames, picked {picked}, it should be {wanted}, you take {frame}")
    return "D-CoDe's code calls it the minimum and takes the mean; so does this kit."


def alike(embeddings: Tensor) -> Tensor:
    """Cosines of each frame to each."""
    unit = F.normalize(embeddings, dim=-1)
    return unit @ unit.T


def best(scores: Tensor, picked: list[int]) -> int:
    """The frame with the smallest score that is not picked."""
    scores = scores.clone()
    scores[picked] = float("inf")
    return int(scores.argmin())
