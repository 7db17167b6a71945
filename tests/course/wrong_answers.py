"""Plausible wrong answers to every exercise, each with words of the hint that it must get."""

import numpy as np
import torch
from einops import rearrange, reduce

import sfllava_core as sf
from sfllava_bench.scores.stats import clustered_interval
from sfllava_core.prompts import IMAGE, IMAGE_TOKEN
from sfllava_course import exercises
from sfllava_course.exercises import on_field


def fast_with_side(side, frames):
    return sf.SlowFast(frames, None, sf.Pathway(None, sf.Pool.to(side, side)))


def interval_of_questions(right, draws, rng):
    """Clusters forgotten: single questions drawn."""
    marks = np.array([mark for film in right for mark in film])
    return np.quantile([rng.choice(marks, len(marks)).mean() for _ in range(draws)], [0.025, 0.975])


def mean_and_ends(marks, films):
    found = clustered_interval(list(marks), films)
    return found.value, found.low, found.high


def unpaired_lead(a, b, films):
    (one, low, high), (two, low2, high2) = mean_and_ends(a, films), mean_and_ends(b, films)
    return one - two, low - high2, high - low2


def next_by(scores, picked):
    return min(set(range(len(scores))) - set(picked), key=lambda frame: float(scores[frame]))


def every_index(total, n):
    return list(range(n))


def flat(pathway):
    return rearrange(pathway, "t h w d -> (t h w) d")


def fine(features, num_slow):
    picked = features[sf.slow_frame_indices(len(features), num_slow)]
    return reduce(picked, "t h (w b) d -> t h w d", "max", b=2)


def coarse(features):
    return reduce(features, "t (h a) (w b) d -> t h w d", "mean", h=4, w=4)


def others_of(total, event):
    return torch.tensor([frame for frame in range(total) if frame not in event])


def changes(features):
    return features.diff(dim=0).flatten(1).norm(dim=1)


def with_both_ends(total, n):
    return [round(i * (total - 1) / max(n - 1, 1)) for i in range(n)]


WRONG = {
    "score": {
        "a count": (lambda said, wanted: sum(a.strip().lower() == w for a, w in zip(said, wanted)), "divide"),
        "to the letter": (lambda said, wanted: sum(map(str.__eq__, said, wanted)) / len(said), "capital letters"),
        "per cent": (lambda said, wanted: 100 * sum(a == w for a, w in zip(said, wanted)) / len(said), "per cent"),
        "contains": (lambda said, wanted: sum(w in a.lower() for a, w in zip(said, wanted)) / len(said), "should be"),
        "wrong ones": (lambda said, wanted: sum(a != w for a, w in zip(said, wanted)) / len(said), "should be"),
    },
    "count_tokens": {
        "slow alone": (lambda slow, many, fast, few: slow * many, "slow eye alone"),
        "all by all": (lambda slow, many, fast, few: (slow + fast) * (many + few), "sum of the two"),
        "added": (lambda slow, many, fast, few: slow + many + fast + few, "multiply"),
    },
    "lost": {
        "changed": (lambda qs, two, one: [q for q, a, b in zip(qs, two, one) if a != b], "changed"),
        "all wrong ones": (lambda qs, two, one: [q for q, b in zip(qs, one) if not b], "right with both"),
        "won": (lambda qs, two, one: [q for q, a, b in zip(qs, two, one) if b and not a], "not lost"),
        "a number": (lambda qs, two, one: 1, "list of questions"),
    },
    "to_rows": {
        "columns": (lambda x: rearrange(x, "t h w d -> (t w h) d"), "down the columns"),
        "places first": (lambda x: rearrange(x, "t h w d -> (h w t) d"), "finish a frame"),
        "frames apart": (lambda x: rearrange(x, "t h w d -> t (h w) d"), "into the bracket"),
    },
    "attend": {
        "no softmax": (lambda q, k, v: q @ k.T @ v, "softmax over the keys"),
        "wrong axis": (lambda q, k, v: (q @ k.T).softmax(dim=0) @ v, "wrong axis"),
        "weights": (lambda q, k, v: (q @ k.T).softmax(dim=1), "mix the values"),
    },
    "frames_decoded": {
        "strict": (lambda keys, i: i - max((k for k in keys if k < i), default=0) + 1, "only itself"),
        "one less": (lambda keys, i: i - max(k for k in keys if k <= i), "both ends"),
        "from the start": (lambda keys, i: i + 1, "not at the beginning"),
    },
    "draw_others": {
        "any": (lambda total, event, g: torch.randperm(total, generator=g)[: len(event)], "a frame of the event"),
        "twice": (
            lambda total, event, g: others_of(total, event)[
                torch.randint(total - len(event), (len(event),), generator=g)],
            "twice",
        ),
        "fixed": (lambda total, event, g: others_of(total, event)[: len(event)], "same frames each time"),
        "all": (lambda total, event, g: others_of(total, event), "as many as"),
    },
    "same_way": {
        "middle": (
            lambda paper, error, low, high: "same way" if (low + high > 0) == (paper > 0) else "other way", "zero"),
        "no error": (
            lambda paper, error, low, high: "cannot tell" if low <= 0 <= high
            else "same way" if (low > 0) == (paper > 0) else "other way",
            "below its own error",
        ),
        "open ends": (
            lambda paper, error, low, high: "paper near zero" if abs(paper) < error
            else "cannot tell" if low < 0 < high
            else "same way" if (high > 0) == (paper > 0) else "other way",
            "ends included",
        ),
        "a number": (lambda paper, error, low, high: paper - low, "give one of"),
    },
    "accuracies": {
        "swapped": (lambda right, answered, expected: (100 * right / expected, 100 * right / answered), "swapped"),
        "shares": (lambda right, answered, expected: (right / answered, right / expected), "per cent"),
        "missing right": (
            lambda right, answered, expected: (100 * right / answered, 100 * (right + expected - answered) / expected),
            "no right answer",
        ),
        "one": (lambda right, answered, expected: 100 * right / expected, "two numbers"),
    },
    "marks_by_key": {
        "by place": (
            lambda wanted, said: {k: float(r == w) for (k, w), (_, r) in zip(wanted.items(), said)}, "each question"),
        "by place, filled": (
            lambda wanted, said: dict.fromkeys(wanted, 0.0)
            | {k: float(r == w) for (k, w), (_, r) in zip(wanted.items(), said)},
            "joined by their place",
        ),
        "answered alone": (lambda wanted, said: {k: float(wanted[k] == r) for k, r in said}, "each question"),
        "a list": (lambda wanted, said: [1.0], "dictionary"),
    },
    "sample": {
        "fixed step": (lambda total, n: list(range(0, total, total // n))[:n], "unseen"),
        "both ends": (with_both_ends, "first and last frame"),
        "starts": (lambda total, n: [round(i * (total - 1) / n) for i in range(n)], "begin"),
        "first ones": (every_index, "frame"),
        "outside": (lambda total, n: [total + i for i in range(n)], "outside"),
        "an array": (lambda total, n: np.arange(n), "list of whole numbers"),
    },
    "catch_chance": {
        "rule of thumb": (lambda total, n, length: min(1, length * n / total), "count it"),
        "miss": (lambda total, n, length: 0.0, "should be"),
        "above one": (lambda total, n, length: length * n / total, "count it"),
        "text": (lambda total, n, length: "often", "number"),
    },
    "sample_by_time": {
        "by number": (lambda times, n: exercises.on_frames.sample_frame_indices(len(times), n), "clock"),
        "first after": (
            lambda times, n: np.searchsorted(
                times, times[0] + (np.arange(n) + 0.5) * (times[-1] - times[0]) / n
            ).tolist(),
            "nearer",
        ),
        "ends": (
            lambda times, n: [int(np.abs(times - t).argmin()) for t in np.linspace(times[0], times[-1], n)],
            "middles",
        ),
    },
    "patches": {
        "combs": (lambda x, s: rearrange(x, "(p h) (q w) c -> (h w) (p q c)", p=s, q=s), "comb"),
        "down": (lambda x, s: rearrange(x, "(h p) (w q) c -> (w h) (p q c)", p=s, q=s), "reading order"),
        "colours first": (lambda x, s: rearrange(x, "(h p) (w q) c -> (h w) (c p q)", p=s, q=s), "out of order"),
        "means": (lambda x, s: reduce(x, "(h p) (w q) c -> (h w) c", "mean", p=s, q=s), "mean"),
        "cut in strips": (lambda x, s: x.reshape(-1, s * s * 3), "neighbouring pixels"),
    },
    "on_grid": {
        "last row": (lambda x, rows: rearrange(x[:, :-1], "t (h w) d -> t h w d", h=rows), "CLS stands in front"),
        "mirrored": (lambda x, rows: rearrange(x[:, 1:], "t (w h) d -> t h w d", h=rows), "mirrored"),
        "channels first": (lambda x, rows: rearrange(x[:, 1:], "t (h w) d -> t d h w", h=rows), "axes"),
        "flat": (lambda x, rows: x[:, 1:], "row and column"),
    },
    "similarity": {
        "products": (lambda x: x.flatten(1) @ x.flatten(1).T, "divide"),
        "distances": (lambda x: torch.cdist(x.flatten(1), x.flatten(1)), "distances"),
        "gist": (
            lambda x: torch.nn.functional.cosine_similarity(x.mean((1, 2))[:, None], x.mean((1, 2))[None], dim=-1),
            "averaged",
        ),
        "cell by cell": (
            lambda x: torch.nn.functional.cosine_similarity(x[:, None], x[None], dim=-1).mean((2, 3)),
            "one long vector",
        ),
    },
    "came_and_went": {
        "largest step": (lambda alike: int(alike.diagonal(1).argmin()) + 1, "cut"),
        "odd one out": (lambda alike: int(alike.mean(dim=1).argmin()), "both sides"),
        "all scores": (lambda alike: alike[0], "one frame number"),
        "always the same": (lambda alike: 14, "you say 14"),
    },
    "slow_frames": {
        "both ends": (lambda total, n: [int(i * (total - 1) / (n - 1)) for i in range(n)], "last frame"),
        "middles": (lambda total, n: [int((i + 0.5) * total / n) for i in range(n)], "starts"),
        "first ones": (every_index, "frames"),
        "floats": (lambda total, n: [i * total / n for i in range(n)], "whole numbers"),
    },
    "slow_pool": {
        "down": (lambda x: reduce(x, "t (h a) w d -> t h w d", "max", a=2), "side by side"),
        "average": (lambda x: reduce(x, "t h (w b) d -> t h w d", "mean", b=2), "average"),
        "halves": (lambda x: reduce(x, "t h (b w) d -> t h w d", "max", b=2), "(w b)"),
        "every second": (lambda x: x[:, :, ::2], "nothing of it is left"),
        "absolute": (lambda x: reduce(x.abs(), "t h (w b) d -> t h w d", "max", b=2), "differ"),
    },
    "fast_pool": {
        "max": (lambda x, r, c: reduce(x, "t (h a) (w b) d -> t h w d", "max", h=r, w=c), "maximum"),
        "combs": (lambda x, r, c: reduce(x, "t (a h) (b w) d -> t h w d", "mean", h=r, w=c), "combs"),
        "one of each": (lambda x, r, c: x[:, :: x.shape[1] // r, :: x.shape[2] // c], "drops the others"),
        "swapped": (lambda x, r, c: reduce(x, "t (h a) (w b) d -> t h w d", "mean", h=c, w=r), "swapped"),
        "over time": (lambda x, r, c: reduce(x, "t (h a) (w b) d -> h w d", "mean", h=r, w=c), "frames"),
    },
    "two_eyes": {
        "fast first": (lambda x, n: torch.cat([flat(coarse(x)), flat(fine(x, n))]), "slow, then fast"),
        "slow sees all": (lambda x, n: torch.cat([flat(fine(x, len(x))), flat(coarse(x))]), "takes all frames"),
        "fast sees few": (
            lambda x, n: torch.cat([flat(fine(x, n)), flat(coarse(x[sf.slow_frame_indices(len(x), n)]))]), "*all*"),
        "columns": (
            lambda x, n: torch.cat([rearrange(p, "t h w d -> (t w h) d") for p in (fine(x, n), coarse(x))]), "rows"),
        "a list": (lambda x, n: [fine(x, n), coarse(x)], "tensor"),
    },
    "slow_that_fit": {
        "no text": (lambda p, text, n, f, s: (p - n * f) // s, "question needs room"),
        "no fast eye": (lambda p, text, n, f, s: (p - text) // s, "take its tokens off"),
        "rounded up": (lambda p, text, n, f, s: -(-(p - text - n * f) // s), "round down"),
        "not whole": (lambda p, text, n, f, s: (p - text - n * f) / s, "whole frames"),
    },
    "frontier": {
        "neighbours": (
            lambda points: [sorted(points)[0]]
            + [b for a, b in zip(sorted(points), sorted(points)[1:]) if b[1] > a[1]],
            "should be",
        ),
        "all": (lambda points: points, "leave out"),
        "best alone": (lambda points: [max(points, key=lambda point: point[1])], "no line"),
        "ties kept": (
            lambda points: [p for p in points if not any(q[0] < p[0] and q[1] > p[1] for q in points)], "as good at"),
        "accuracies": (lambda points: [accuracy for _, accuracy in points], "list of (tokens"),
    },
    "kv_bytes": {
        "keys alone": (lambda t, layers, h, d, b: t * layers * h * d * b, "keys *and* values"),
        "one layer": (lambda t, layers, h, d, b: 2 * t * h * d * b, "every layer"),
        "values": (lambda t, layers, h, d, b: 2 * t * layers * h * d, "bytes"),
    },
    "rope_base": {
        "always": (lambda n, base, d, m, f: base * (f * n / m - (f - 1)) ** (d / (d - 2)), "within"),
        "never": (lambda n, base, d, m, f: base, "must grow"),
        "no exponent": (lambda n, base, d, m, f: base * max(1, f * n / m - (f - 1)), "exponent"),
        "fixed": (lambda n, base, d, m, f: base * f ** (d / (d - 2)) if n > m else base, "dynamic one"),
    },
    "tokenize": {
        "at once": (lambda prompt, tools: tools(prompt).input_ids, "one text"),
        "two bos": (
            lambda prompt, tools: [
                *tools(prompt.split(IMAGE)[0]).input_ids, IMAGE_TOKEN, *tools(prompt.split(IMAGE)[1]).input_ids],
            "second beginning",
        ),
        "stripped": (
            lambda prompt, tools: [
                *tools(prompt.split(IMAGE)[0].strip()).input_ids, IMAGE_TOKEN,
                *tools(prompt.split(IMAGE)[1].strip()).input_ids[1:]],
            "strip",
        ),
    },
    "assemble": {
        "kept": (lambda ids, e, v: torch.cat([e(ids)[: ids.index(-200)], v, e(ids)[ids.index(-200) :]]), "no word"),
        "in front": (
            lambda ids, e, v: torch.cat([v, e(ids[: ids.index(-200)]), e(ids[ids.index(-200) + 1 :])]), "the front"),
        "cut": (lambda ids, e, v: torch.cat([e(ids[: ids.index(-200)]), v]), "question is there"),
    },
    "equal_tokens": {
        "slow open": (lambda tokens, frames: sf.SlowFast(frames), "still open"),
        "rounded down": (lambda tokens, frames: fast_with_side(int((tokens / frames) ** 0.5), frames), "rounded"),
        "fewer frames": (lambda tokens, frames: fast_with_side(4, frames // 2), "must take all"),
        "a window": (
            lambda tokens, frames: sf.SlowFast(frames, None, sf.Pathway(None, sf.Pool.window("avg", 3, 3))),
            "pooled `to`",
        ),
    },
    "film_interval": {
        "questions": (interval_of_questions, "whole *films*"),
        "spread of films": (
            lambda right, draws, rng: np.quantile([np.mean(film) for film in right], [0.025, 0.975]), "how much films"),
        "no replacement": (lambda right, draws, rng: [np.mean([m for film in right for m in film])] * 2, "all alike"),
        "one number": (lambda right, draws, rng: 0.5, "(low, high)"),
    },
    "lead_of": {
        "unpaired": (unpaired_lead, "the interval of the *differences*"),
        "no films": (
            lambda a, b, films: mean_and_ends(np.subtract(a, b), list(map(str, range(len(a))))), "hand the films on"),
        "b minus a": (lambda a, b, films: mean_and_ends(np.subtract(b, a), films), "a minus b"),
    },
    "shared_length": {
        "anywhere": (lambda ps: sum(len(set(c)) == 1 for c in zip(*ps)), "first difference"),
        "shortest": (lambda ps: min(map(len, ps)), "compare the ids"),
        "first two": (
            lambda ps: next((i for i, (a, b) in enumerate(zip(ps[0], ps[min(1, len(ps) - 1)])) if a != b),
                            min(map(len, ps[:2]))),
            "first two",
        ),
    },
    "shares": {
        "means": (lambda row, lengths: [float(piece.mean()) for piece in row.split(list(lengths))], "mean"),
        "counts": (lambda row, lengths: [length / sum(lengths) for length in lengths], "counts tokens"),
        "from the start": (lambda row, lengths: [float(row[:length].sum()) for length in lengths], "begins where"),
        "cumulated": (lambda row, lengths: [float(row[: sum(lengths[: i + 1])].sum()) for i in range(len(lengths))],
                      "earlier pieces"),
        "one number": (lambda row, lengths: float(row.sum()), "list of"),
    },
    "times_fair": {
        "per token": (lambda share, tokens, total: share / tokens, "1 / total"),
        "upside down": (lambda share, tokens, total: tokens / total / share, "upside down"),
        "difference": (lambda share, tokens, total: share - tokens / total, "how many"),
        "product": (lambda share, tokens, total: share * tokens / total, "larger fair share"),
    },
    "every_step": {
        "to the end": (lambda total, n: [int(i * (total - 1) / max(n - 1, 1)) for i in range(n)], "LLaVA-NeXT-Image"),
        "gaps": (lambda total, n: [i * ((total - 1) // max(n - 1, 1)) for i in range(n)], "n - 1 gaps"),
        "middles": (on_field.sample_frame_indices, "middles"),
        "rounded late": (lambda total, n: [int(i * total / n) for i in range(n)], "whole number"),
        "one later": (lambda total, n: [(i + 1) * (total // n) for i in range(n)], "outside"),
        "too many": (lambda total, n: list(range(0, total, total // n)), "there should be 6"),
        "floats": (lambda total, n: [i * total / n for i in range(n)], "whole numbers"),
    },
    "one_picture": {
        "down": (lambda x, r: rearrange(x, "(c r) h w k -> (r h) (c w) k", r=r), "down the columns"),
        "woven": (lambda x, r: rearrange(x, "(r c) h w k -> (h r) (w c) k", r=r), "woven"),
        "swapped": (lambda x, r: rearrange(x, "(c r) h w k -> (c h) (r w) k", r=r), "swapped"),
        "a tower": (lambda x, r: rearrange(x, "n h w k -> (n h) w k"), "one column"),
        "reshaped": (lambda x, r: x.reshape(r * x.shape[1], -1, 3), "old order"),
        "as they are": (lambda x, r: x, "shape"),
    },
    "least_alike": {
        "most": (
            lambda e, p: next_by(-on_field.alike(e)[:, p].mean(dim=1), p), "most"),
        "products": (lambda e, p: next_by((e @ e.T)[:, p].mean(dim=1), p), "lengths"),
        "last": (lambda e, p: next_by(on_field.alike(e)[:, p[-1]], p), "all of them"),
        "smallest": (lambda e, p: next_by(on_field.alike(e)[:, p].amin(dim=1), p), "mean over"),
        "all frames": (lambda e, p: next_by(on_field.alike(e).mean(dim=1), p), "alone"),
        "picked": (lambda e, p: p[0], "picked already"),
        "scores": (lambda e, p: on_field.alike(e)[:, p], "one frame"),
    },
    "most_changed": {
        "before": (lambda x, k: sorted(changes(x).topk(k).indices.tolist()), "before* the changes"),
        "by size": (lambda x, k: (changes(x).topk(k).indices + 1).tolist(), "order of time"),
        "the colleague's": (lambda x, k: changes(x).topk(k).indices.tolist(), "both faults"),
        "odd ones": (
            lambda x, k: (x - x.mean(dim=0)).flatten(1).norm(dim=1).topk(k).indices.sort().values.tolist(), "mean of"),
        "a tensor": (lambda x, k: changes(x).topk(k).indices, "list of whole numbers"),
    },
    "strip": {
        "means": (
            lambda w, owners, frames: torch.stack(
                [w[owners == f].mean() if (owners == f).any() else w.new_zeros(()) for f in range(frames)]
            ),
            "means",
        ),
        "overwritten": (lambda w, owners, frames: torch.zeros(frames).index_put((owners,), w), "overwrites"),
        "counts": (lambda w, owners, frames: torch.bincount(owners, minlength=frames).float(), "counts"),
        "present ones": (
            lambda w, owners, frames: torch.stack([w[owners == f].sum() for f in owners.unique()]), "not left out",
        ),
    },
}  # fmt: skip
