"""KTV's keyframes and their ranks, of features handed in: dense frames -> k-means -> the frame nearest to each centre.

Ranks come from a question: CLIP's similarity of the keyframes to it. As released (hktk07/KTV), where the features are
DINOv2's, of up to 5,400 frames; the k-means is scikit-learn's with random_state 0, written out.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from torch.nn import functional as F

MOST_DENSE = 5400
STARTS, MOST_STEPS, TOLERANCE = 10, 300, 1e-4


def dense_frames(total: int, most: int = MOST_DENSE) -> list[int]:
    """All frames of a video, or `most` of them from first to last."""
    return list(range(total)) if total <= most else np.linspace(0, total - 1, most).astype(int).tolist()


def video_frame(index: int, total: int, most: int = MOST_DENSE, first: int = 0) -> int:
    """The video's frame that a dense frame is. `first`: where a clip begins that was cut out, if it was.

    Raises:
        ValueError: there is no such dense frame.
    """
    if not 0 <= index < min(total, most):
        raise ValueError(f"dense frame {index} of {min(total, most)}: there is none")
    return index + first if total <= most else dense_frames(total, most)[index]


def kmeans(
    features: Float[np.ndarray, "frames width"], clusters: int
) -> tuple[Int[np.ndarray, "frames"], Float[np.ndarray, "clusters width"], float]:
    """Labels, centres and inertia as scikit-learn's KMeans(clusters, random_state=0, n_init=10) finds them.

    Raises:
        ValueError: fewer frames than clusters.
    """
    if not 1 <= clusters <= len(features):
        raise ValueError(f"{clusters} clusters of {len(features)} frames: give 1 to {len(features)}")
    mean = features.mean(axis=0)
    points = (features - mean).astype(np.float64)
    tolerance, random = TOLERANCE * points.var(axis=0).mean(), np.random.RandomState(0)
    best: tuple[np.ndarray, np.ndarray, float] | None = None
    for _ in range(STARTS):
        labels, centres = lloyd(points, first_centres(points, clusters, random), tolerance)
        inertia = float(((points - centres[labels]) ** 2).sum())
        if best is None or (inertia < best[2] and not same_clusters(labels, best[0])):
            best = labels, centres, inertia
    assert best is not None, "STARTS is not 0"
    return best[0], best[1] + mean, best[2]


def first_centres(
    points: Float[np.ndarray, "frames width"], clusters: int, random: np.random.RandomState
) -> Float[np.ndarray, "clusters width"]:
    """k-means++: each further centre is the best of some points drawn with their squared distance as weight."""
    chosen = [random.choice(len(points), p=np.full(len(points), 1 / len(points)))]
    nearest = squared(points, points[chosen])[:, 0]
    for _ in range(1, clusters):
        drawn = np.searchsorted(np.cumsum(nearest), random.uniform(size=2 + int(np.log(clusters))) * nearest.sum())
        drawn = drawn.clip(max=len(points) - 1)
        left = np.minimum(nearest[:, None], squared(points, points[drawn]))
        best = int(left.sum(axis=0).argmin())
        chosen.append(int(drawn[best]))
        nearest = left[:, best]
    return points[chosen]


def lloyd(
    points: Float[np.ndarray, "frames width"], centres: Float[np.ndarray, "clusters width"], tolerance: float
) -> tuple[Int[np.ndarray, "frames"], Float[np.ndarray, "clusters width"]]:
    """Each point to its nearest centre, each centre to its points' mean, until nothing changes, or hardly anything."""
    labels = np.full(len(points), -1)
    for _ in range(MOST_STEPS):
        before, labels = labels, squared(points, centres).argmin(axis=1)
        counts = np.bincount(labels, minlength=len(centres))
        moved = np.stack([points[labels == n].mean(axis=0) if counts[n] else centres[n] for n in range(len(centres))])
        moved[counts == 0] = moved[counts.argmax()]  # an empty one goes where the largest is
        shift, centres = ((moved - centres) ** 2).sum(), moved
        if (labels == before).all():
            return labels, centres
        if shift <= tolerance:
            break
    return squared(points, centres).argmin(axis=1), centres


def squared(
    points: Float[np.ndarray, "frames width"], centres: Float[np.ndarray, "centres width"]
) -> Float[np.ndarray, "frames centres"]:
    """Squared distances."""
    return np.stack([((points - centre) ** 2).sum(axis=1) for centre in centres], axis=1)


def same_clusters(labels: Int[np.ndarray, "frames"], others: Int[np.ndarray, "frames"]) -> bool:
    """Whether points that are together in the first are so in the second: its order is kept then."""
    return len(set(zip(labels.tolist(), others.tolist()))) == len(set(labels.tolist()))


def nearest_to_centres(features: Float[np.ndarray, "frames width"], number: int) -> list[int]:
    """Of each of `number` clusters the frame nearest to its centre, in the clusters' order; some may be the same."""
    features = np.asarray(features, dtype=np.float32)
    return squared(features, kmeans(features, number)[1].astype(np.float32)).argmin(axis=0).tolist()


def keyframes(features: Float[np.ndarray, "frames width"], number: int, total: int) -> list[int]:
    """Keyframes in the clusters' order; `number` evenly spaced ones of `total` where the clusters give fewer."""
    found = nearest_to_centres(features, number)
    if len(set(found)) == number:
        return found
    return np.linspace(0, total, number, endpoint=False).astype(int).tolist()


def question_words(question: str) -> str:
    """What of a question is compared: of more than 40 words the 10th to the 49th, counting from 0."""
    words = question.split(" ")
    return question if len(words) <= 40 else " ".join(words[10:50])


def similarities(images: Float[Tensor, "frames width"], text: Float[Tensor, "width"]) -> Float[Tensor, "frames"]:
    """100 times the cosine of each frame to the question."""
    return 100 * F.normalize(images.float(), dim=-1) @ F.normalize(text.float(), dim=-1)


def rank_frames(
    frames: Sequence[int], similarity: Float[Tensor, "frames"], as_released: bool = False
) -> list[tuple[int, int]]:
    """(frame, rank), most similar first.

    Args:
        frames: keyframes in the clusters' order.
        similarity: of each, in *time's* order.
        as_released: look the frames up in the clusters' order, which gives each rank to some other frame. Of frames
            that are in time's order already (the evenly spaced ones) nothing changes.
    """
    order = similarity.argsort(descending=True, stable=True).tolist()
    names = list(frames) if as_released else sorted(frames)
    return [(names[place], rank) for rank, place in enumerate(order)]


def clip_similarities(
    clip: torch.nn.Module, processor, pixels: UInt8[np.ndarray, "frames h w 3"], question: str
) -> Float[Tensor, "frames"]:
    """Each frame's similarity to a question by a CLIP with a text tower, transformers' `CLIPModel` and processor.

    Raises:
        ValueError: the question's words make more tokens than this CLIP takes.
    """
    told = processor(text=[question_words(question)], images=list(pixels), return_tensors="pt").to(clip.device)
    most = clip.config.text_config.max_position_embeddings
    if told["input_ids"].shape[1] > most:
        raise ValueError(f"question {question!r:.120} makes {told['input_ids'].shape[1]} tokens, CLIP takes {most}")
    with torch.inference_mode():
        found = clip(**told)
    return similarities(found.image_embeds, found.text_embeds[0])
