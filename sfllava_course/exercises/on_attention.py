"""Exercises of chapter 7: what attention adds up to, what is a fair share, and a strip over the film."""

from collections.abc import Callable

import torch

from sfllava_course.exercises.judging import Wrong, expect_number, expect_tensor, random_features


def check_shares(answer: Callable) -> str:
    """shares(row, lengths): how much of an attention row goes to each of its consecutive pieces."""
    for lengths in ((4, 20, 10, 6), (1, 3, 8)):
        row = random_features(sum(lengths), seed=len(lengths)).softmax(dim=0)
        got = answer(row, lengths)
        if not isinstance(got, (list, tuple)) or len(got) != len(lengths):
            raise Wrong(f"give a list of {len(lengths)} numbers back, one for each piece; it was {got!r:.60}")
        pieces = row.split(list(lengths))
        for place, piece in enumerate(pieces):
            before = torch.cat(pieces[:place]).sum() if place else torch.tensor(0.0)
            mistakes = {
                "this is the mean of the piece: a share is the sum": float(piece.mean()),
                "this is the largest weight in the piece: a share is the sum of all": float(piece.max()),
                "this counts tokens, it does not look at the weights": lengths[place] / sum(lengths),
                "each piece begins where the one before it ends": float(row[: lengths[place]].sum()),
                "this adds up from the beginning: take what the earlier pieces got off": float(before + piece.sum()),
            }
            wanted = float(piece.sum())
            known = {hint: value for hint, value in mistakes.items() if abs(value - wanted) > 1e-6}
            expect_number(got[place], wanted, f"piece {place} of {lengths}", known, relative=1e-4)
    return "Together they are 1: attention is a budget."


def check_times_fair(answer: Callable) -> str:
    """times_fair(share, tokens, total): how often its fair share a token of this kind gets."""
    for share, tokens, total in ((0.4, 576, 840), (0.2, 200, 840), (0.05, 4, 840)):
        mistakes = {
            "this is the share of one token; how does it compare with 1 / total?": share / tokens,
            "upside down: more attention must give more": (tokens / total) / share,
            "this is a difference; how many *times* the fair share?": share - tokens / total,
            "a kind with more tokens has a larger fair share, not a smaller one": share * tokens / total,
            "that is as if all had one token: divide by the tokens too": share * total,
        }
        case = f"share {share}, {tokens} of {total} tokens"
        expect_number(answer(share, tokens, total), share * total / tokens, case, mistakes)
    return "1 means: as if the attention were spread evenly."


def check_strip(answer: Callable) -> str:
    """strip(weights, owners, frames): what each frame's tokens get together."""
    for frames, tokens, seed in ((6, 4, 0), (10, 1, 1), (5, 8, 2)):
        order = torch.arange(frames).repeat_interleave(tokens)
        owners = order[random_features(len(order), seed=seed).argsort()] if seed == 2 else order[order != 3]
        weights = random_features(len(owners), seed=seed + 5).softmax(dim=0)
        sums = torch.zeros(frames).index_add(0, owners, weights)
        counts = torch.bincount(owners, minlength=frames).clamp(min=1)
        overwritten = torch.zeros(frames)
        for weight, owner in zip(weights, owners):
            overwritten[owner] = weight
        mistakes = {
            "these are means: a frame gets what its tokens get together": sums / counts,
            "each token overwrites the one before it: add them up (index_add)": overwritten,
            "this counts a frame's tokens and forgets their weights": torch.bincount(owners, minlength=frames).float(),
            "frames without tokens get 0, they are not left out": sums[counts.bool() & (sums > 0)],
        }
        known = {h: m for h, m in mistakes.items() if m.shape != sums.shape or not torch.allclose(m, sums)}
        otherwise = "the numbers differ: look up each token's frame in `owners`, they need not be in order"
        expect_tensor(answer(weights, owners, frames), sums, weights[None], known, otherwise)
    return "Now the film can be seen through one word's eyes."


def check_draw_others(answer: Callable) -> str:
    """draw_others(total, event, generator): as many frames as the event has, none of them its own, none twice."""
    for total, event in ((8, [2, 3, 4]), (50, [27, 28]), (6, [0, 5])):
        drawn = []
        for seed in range(40):
            got = answer(total, list(event), torch.Generator().manual_seed(seed))
            frames = [int(frame) for frame in torch.as_tensor(got).flatten()]
            if any(not 0 <= frame < total for frame in frames):
                raise Wrong(f"there is a frame outside 0 .. {total - 1}: {frames}")
            if len(frames) != len(event):
                raise Wrong(f"hide as many as in the test: {len(event)} frames, you draw {len(frames)}")
            if set(frames) & set(event):
                raise Wrong(f"{frames} holds a frame of the event {event}: then the control hides what is tested")
            if len(set(frames)) < len(frames):
                raise Wrong(f"{frames} holds a frame twice: that hides fewer frames than the test does")
            drawn.append(tuple(frames))
        if len(set(drawn)) == 1:
            raise Wrong("the same frames each time: draw with the generator, so that they are nobody's choice")
    return "A control: the same harm, done where it should not matter."
