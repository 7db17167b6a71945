"""VideoTree's clusters: frame features -> k-means -> a keyframe of each cluster; and relevant clusters cut again.

As released (Ziyang412/VideoTree): one feature a frame, not normalised; the first level by cosine distance, the levels
below by Ward's linkage. `READINGS` says what each reading does with the relevance scores.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.cluster.hierarchy import fcluster, linkage
from torch import Tensor
from torch.nn import functional as F

from sfllava_bench.captions.replies import UnreadableReplyError

READINGS = {
    "as_released": "scores go to clusters by number, though they come in the order of the keyframes; caption i - 1 for "
    "frame i; no answer is option A",
    "aligned": "as released, with each score at the cluster of its keyframe",
    "as_described": "our reading of the paper: aligned, keyframes of all levels, one-frame nodes kept, each frame "
    "once, caption i for frame i",
}
MOST_ROUNDS, TOLERANCE = 15, 1e-4
UNSCORED = 3  # of a cluster that the reply has no score for
Branch = list[int] | dict[int, list[int]] | dict[int, dict[int, list[int]]]  # frames, or sub-clusters by their number


@dataclass
class Chances:
    """The random streams that the clusterings of a run draw from, one after another."""

    seed: int = 0
    first: np.random.RandomState = field(init=False)
    refill: torch.Generator = field(init=False)

    def __post_init__(self) -> None:
        self.first = np.random.RandomState(self.seed)
        self.refill = torch.Generator().manual_seed(self.seed)


@dataclass(frozen=True)
class Clusters:
    """A clustering of frames.

    ids: a cluster's number for each frame.
    centres: one update newer than the ids.
    started: the frames that were the first centres.
    refilled: frames that became the centre of an empty cluster.
    rounds: how many times frames were assigned.
    """

    ids: Int[Tensor, "frames"]
    centres: Float[Tensor, "clusters width"]
    started: list[int]
    refilled: list[int]
    rounds: int


def kmeans(
    features: Float[Tensor, "frames width"], clusters: int, chances: Chances, most_rounds: int = MOST_ROUNDS
) -> Clusters:
    """K-means by 1 - cosine to a centre, which is the plain mean of its members.

    It starts at distinct frames, gives an empty cluster a random frame as centre, and stops when the centres' shifts,
    summed and squared, are below 1e-4, or after so many rounds.

    Raises:
        ValueError: fewer than two clusters, or more than frames.
    """
    if not 2 <= clusters <= len(features):
        raise ValueError(f"{clusters} clusters of {len(features)} frames: give 2 to {len(features)}")
    features = features.float()
    started = chances.first.choice(len(features), clusters, replace=False)
    centres, refilled, rounds = features[torch.from_numpy(started)], [], 0
    while True:
        ids = (1 - F.normalize(features, dim=-1) @ F.normalize(centres, dim=-1).T).argmin(dim=1)
        before, centres, rounds = centres, centres.clone(), rounds + 1
        for cluster in range(clusters):
            members = features[ids == cluster]
            if not len(members):
                frame = int(torch.randint(len(features), (1,), generator=chances.refill))
                refilled.append(frame)
                members = features[frame : frame + 1]
            centres[cluster] = members.mean(dim=0)
        shift = (centres - before).norm(dim=1).sum()
        if shift**2 < TOLERANCE or rounds >= most_rounds:
            return Clusters(ids, centres, started.tolist(), refilled, rounds)


def keyframes(features: Float[Tensor, "frames width"], clusters: Clusters) -> dict[int, int]:
    """Of each cluster that has frames the one nearest to its centre, the first of equals, by Euclidean distance."""
    found = {}
    for cluster in sorted(set(clusters.ids.tolist())):
        frames = (clusters.ids == cluster).nonzero()[:, 0]
        away = (features[frames].float() - clusters.centres[cluster]).norm(dim=1)
        found[cluster] = int(frames[away.argmin()])
    return found


def typical(features: Float[Tensor, "frames width"], frames: Sequence[int]) -> int:
    """The frame with the smallest 1 - cosine to the mean of these frames' features, the first of equals."""
    some = features[list(frames)].double()
    return frames[int((1 - torch.cosine_similarity(some, some.mean(dim=0, keepdim=True), dim=1)).argmin())]


def ward(features: Float[Tensor, "frames width"], frames: Sequence[int], most: int) -> dict[int, list[int]]:
    """At most so many sub-clusters of two frames or more, by Ward's linkage, with scipy's numbers less 1."""
    labels = fcluster(linkage(features[list(frames)].numpy(), method="ward"), most, criterion="maxclust")
    found: dict[int, list[int]] = {}
    for frame, label in zip(frames, labels.tolist()):
        found.setdefault(label - 1, []).append(frame)
    return dict(sorted(found.items()))


def branch(
    features: Float[Tensor, "frames width"], frames: Sequence[int], score: int, widths: tuple[int, int], alone: bool
) -> Branch:
    """A cluster as deep as its score says: 1 its frames, 2 its sub-clusters, otherwise theirs too.

    Args:
        widths: the most sub-clusters on the second and on the third level.
        alone: keep sub-clusters of one frame where those are cut again.
    """
    frames = list(frames)
    if len(frames) < 2 or score == 1:
        return frames
    below = ward(features, frames, widths[0])
    if score == 2:
        return below
    cut = {name: ward(features, some, widths[1]) for name, some in below.items() if len(some) > 1}
    return cut if not alone else {name: cut.get(name, {0: some}) for name, some in below.items()}


def leaves(node: Branch) -> list[int]:
    """All frames in a branch."""
    if isinstance(node, list):
        return node
    return sorted(frame for below in node.values() for frame in leaves(below))


def taken_as_released(features: Float[Tensor, "frames width"], node: Branch, score: int) -> list[int]:
    """A branch's own keyframe and those of its lowest level; nothing where a score is not 1 to 3."""
    frames = leaves(node)
    if not frames or (isinstance(node, dict) and score not in (2, 3)):
        return []
    return [typical(features, frames)] + [typical(features, one) for one in lowest(node)]


def lowest(node: Branch) -> list[list[int]]:
    """The lists of frames on a branch's lowest level, none where it has not been cut."""
    if isinstance(node, list):
        return []
    return [one for below in node.values() for one in ([below] if isinstance(below, list) else lowest(below))]


def taken_on_all_levels(features: Float[Tensor, "frames width"], node: Branch) -> list[int]:
    """A branch's keyframe, and those of all nodes under it."""
    frames = leaves(node)
    own = [typical(features, frames)] if frames else []
    below = (
        [] if isinstance(node, list) else [one for part in node.values() for one in taken_on_all_levels(features, part)]
    )
    return own + below


def by_cluster(scores: Sequence[int], nodes: Mapping[int, int]) -> dict[int, int]:
    """Scores in the order of the keyframes in time -> scores by cluster; of one without a score `UNSCORED`.

    Args:
        nodes: each cluster's keyframe.
    """
    order = sorted(nodes, key=lambda cluster: nodes[cluster])
    return {cluster: scores[place] if place < len(scores) else UNSCORED for place, cluster in enumerate(order)}


def by_number(scores: Sequence[int], clusters: int) -> dict[int, int]:
    """The released indexing: score n is for cluster n, whichever keyframe it was given to."""
    return {cluster: scores[cluster] if cluster < len(scores) else UNSCORED for cluster in range(clusters)}


def choose_frames(
    features: Float[Tensor, "frames width"],
    ids: Sequence[int],
    nodes: Sequence[int],
    scores: Sequence[int],
    reading: str = "as_described",
    widths: tuple[int, int] = (4, 4),
) -> tuple[list[int], dict[int, Branch]]:
    """The frames whose captions are read, in time's order, and each cluster's branch.

    Args:
        ids: a cluster's number for each frame.
        nodes: the keyframes of the clusters.
        scores: of each keyframe, in time's order.
        reading: a key of `READINGS`. Frames may repeat but in "as_described".

    Raises:
        ValueError: an unknown reading, or numbers that do not fit.
        UnreadableReplyError: in "as_described", a score that is not 1 to 3.
    """
    if reading not in READINGS:
        raise ValueError(f"reading {reading!r}: choose one of {', '.join(READINGS)}")
    if len(ids) != len(features):
        raise ValueError(f"cluster numbers of {len(ids)} frames, features of {len(features)}")
    features, described = features.float(), reading == "as_described"
    if described and set(scores) - {1, 2, 3}:
        raise UnreadableReplyError(f"relevance {list(scores)}: scores are 1, 2 or 3")
    if reading == "as_released":
        relevance = by_number(scores, max(ids) + 1)
    else:
        relevance = by_cluster(scores, {ids[frame]: frame for frame in nodes})
    members = {cluster: [frame for frame, one in enumerate(ids) if one == cluster] for cluster in relevance}
    tree = {cluster: branch(features, frames, relevance[cluster], widths, alone=described)
            for cluster, frames in members.items()}  # fmt: skip
    if described:
        chosen = list({frame for node in tree.values() for frame in taken_on_all_levels(features, node)})
    else:
        chosen = [frame for cluster, node in tree.items()
                  for frame in taken_as_released(features, node, relevance[cluster])]  # fmt: skip
    return sorted(chosen), dict(sorted(tree.items()))
