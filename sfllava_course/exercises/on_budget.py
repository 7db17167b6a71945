"""Exercises of chapter 4: tokens, bytes, and what dynamic RoPE does."""

from collections.abc import Callable

from sfllava_course.exercises.judging import expect_number

Grid = tuple[int, int]


def check_visual_tokens(answer: Callable) -> str:
    """visual_tokens(num_frames, slow_frames, slow_grid, fast_grid): both pathways, for any video length."""
    for frames, slow, (a, b), (c, d) in (
        (50, 10, (24, 12), (4, 4)),
        (41, 8, (12, 12), (2, 4)),
        (200, 5, (24, 24), (3, 6)),
    ):
        mistakes = {
            "this is the slow pathway alone": slow * a * b,
            "this is the fast pathway alone": frames * c * d,
            "the slow pathway takes its own few frames, not all": frames * (a * b + c * d),
            "the fast pathway takes *all* frames": slow * (a * b + c * d),
            "a short video has fewer than 50 frames: use num_frames": slow * a * b + 50 * c * d,
            "a frame of rows x columns has their product of tokens": slow * (a + b) + frames * (c + d),
        }  # fmt: skip
        wanted = slow * a * b + frames * c * d
        if frames == 50:
            mistakes.pop("a short video has fewer than 50 frames: use num_frames")
        case = f"{frames} frames, {slow} slow ones of {a} x {b}, fast {c} x {d}"
        expect_number(answer(frames, slow, (a, b), (c, d)), wanted, case, mistakes)
    return "3,680 for the paper's default."


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
