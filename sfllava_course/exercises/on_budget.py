"""Exercises of chapter 4: what fits, bytes, what dynamic RoPE does, and which settings no cheaper one beats."""

from collections.abc import Callable

from sfllava_course.exercises.judging import Wrong, expect_number


def check_slow_that_fit(answer: Callable) -> str:
    """slow_that_fit(positions, text, fast_frames, fast_each, slow_each): the most slow frames that leave room."""
    for positions, text, frames, fast, slow in (
        (4096, 60, 50, 16, 288),
        (8192, 60, 50, 16, 576),
        (4096, 0, 64, 16, 384),
        (2048, 100, 50, 4, 72),
    ):
        room = positions - text - frames * fast
        mistakes = {
            "the question needs room too: take the text off": (positions - frames * fast) // slow,
            "the fast eye is there already: take its tokens off first": (positions - text) // slow,
            "the fast eye has its tokens in *each* of its frames": (positions - text - fast) // slow,
            "round down: a part of a frame does not fit": -(-room // slow),
            "whole frames, please": room / slow,
        }
        wanted = room // slow
        case = f"{positions} positions, text {text}, fast {frames} x {fast}, slow {slow} a frame"
        known = {hint: value for hint, value in mistakes.items() if value != wanted}
        expect_number(answer(positions, text, frames, fast, slow), wanted, case, known)
    return "11 slow frames beside the paper's fast eye; it takes 10."


def check_frontier(answer: Callable) -> str:
    """frontier(points): the (tokens, accuracy) that no other setting beats at as few tokens or fewer."""
    for points in (
        [(100, 40.0), (200, 45.0), (250, 41.0), (300, 42.0), (400, 47.0)],
        [(800, 36.0), (3104, 46.0), (3680, 47.2), (3456, 46.6), (1440, 39.0), (6560, 53.2), (2240, 38.0)],
        [(100, 50.0), (200, 50.0), (300, 49.0), (400, 51.0)],
        [(500, 40.0), (400, 41.0), (300, 42.0)],
        [(500, 40.0), (500, 42.0)],
    ):
        wanted = [(t, a) for t, a in points if not any(x <= t and y >= a and (x, y) != (t, a) for x, y in points)]
        got = answer(list(points))
        if not isinstance(got, list) or not all(isinstance(one, tuple) for one in got):
            raise Wrong(f"give a list of (tokens, accuracy) back; it was {got!r:.60}")
        if sorted(got) == sorted(wanted):
            continue
        if sorted(got) == sorted(points):
            raise Wrong("all are in it: leave out what a cheaper setting beats")
        if got and set(got) <= {max(points, key=lambda point: point[1])}:
            raise Wrong("the best one alone is no line: a cheaper setting may be the best at its price")
        if any(one in got for one in points if one not in wanted and one[1] in {a for _, a in wanted}):
            raise Wrong(f"as good at more tokens is beaten, too: of {points} you keep {got}")
        raise Wrong(f"of {points} it should be {wanted}, yours is {got}")
    return "A line of choices: everything off it costs more, or gives less, than something on it."


def check_kv_bytes(answer: Callable) -> str:
    """kv_bytes(tokens, layers, kv_heads, head_dim, bytes_per_value): keys and values in all layers."""
    for tokens, layers, heads, dim, size in ((3740, 32, 32, 128, 2), (100, 60, 8, 128, 2), (7, 2, 3, 16, 4)):
        full = 2 * tokens * layers * heads * dim * size
        mistakes = {
            "keys *and* values are kept: twice as much": full / 2,
            "every layer has a cache of its own": full / layers,
            "these are values; the question is for bytes": full / size,
            "each head keeps its own keys and values": full / heads,
            "these are bits; a byte has eight": full * 8,
        }
        case = f"{tokens} tokens, {layers} layers, {heads} heads of {dim}, {size} bytes"
        expect_number(answer(tokens, layers, heads, dim, size), full, case, mistakes)
    return "The 7B keeps 1.8 GiB for one video, the 34B with its few key heads half of that."


def check_rope_base(answer: Callable) -> str:
    """rope_base(length, base, head_dim, native, factor): the base that dynamic scaling takes at this length."""
    cases = ((3000, 10000.0, 128, 4096, 2.0), (4096, 10000.0, 128, 4096, 2.0), (8192, 10000.0, 128, 4096, 2.0),
             (5000, 5e6, 64, 4096, 4.0))  # fmt: skip
    for length, base, dim, native, factor in cases:
        stretch, power = factor * length / native - (factor - 1), dim / (dim - 2)
        wanted = base if length <= native else base * stretch**power
        mistakes = {
            "within the native positions nothing changes: return the base itself": base * stretch**power,
            "past the native positions the base must grow": base,
            "the exponent head_dim / (head_dim - 2) is missing": base * stretch,
            "this is the fixed kind of scaling: the dynamic one grows with the length": base * factor**power,
            "take factor - 1 off, so that the curve begins without a jump": base * (factor * length / native) ** power,
        }  # fmt: skip
        case = f"length {length}, native {native}, factor {factor:g}"
        expect_number(answer(length, base, dim, native, factor), wanted, case, mistakes)
    return "Nothing changes up to the native length; from there the base grows with every token."
