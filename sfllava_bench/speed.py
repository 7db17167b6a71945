"""`sfllava speed`: seconds a question by stage, everything again for each question against watching once.

"released" is the released code's way: decode, encode and prefill again for every question. "shared" is this kit's.
Both run the same functions on the same model and video in one run, so their ratio means something on a noisy machine;
few questions are measured several times, and the median counts.
Beside them stands the lower bound of hardware.py for this machine's own measured rates. Then what most questions'
answers are made of (answer_speed.py), and how exact the attention is that makes them so (attention_errors.py).
"""

import platform
from collections.abc import Iterator
from pathlib import Path

import torch

from sfllava_bench.answer_speed import BATCHES, batch_seconds, seconds_of, suffixes_and_steps
from sfllava_bench.attention_errors import WAYS, attention_errors
from sfllava_core.budget.arithmetic import Budget, ModelShape, token_budget
from sfllava_core.budget.hardware import GPU, stage_seconds
from sfllava_core.methods.slowfast import SlowFast
from sfllava_core.model import VideoLLM
from sfllava_core.video.reading import read_frames

STAGES = ("decode", "encode", "prefill", "answer")
Seconds = dict[str, float]


def questions(count: int) -> list[str]:
    """Questions of mixed lengths."""
    return [f"What happens {'in the background ' * (n % 3)}at moment {n} of the video?" for n in range(count)]


def released_way(llm: VideoLLM, path: Path, asked: list[str], new_tokens: int, chunk_frames: int) -> Seconds:
    """Every question decodes, encodes and prefills the video again. Seconds by stage for all of them."""
    seconds = dict.fromkeys(STAGES, 0.0)
    for question in asked:
        video = watch(llm, path, chunk_frames)
        video.ask(question, max_new_tokens=new_tokens, share_prefix=False)
        for stage in STAGES:
            seconds[stage] += video.stopwatch.seconds[stage]
    return seconds


def shared_way(llm: VideoLLM, path: Path, asked: list[str], new_tokens: int, chunk_frames: int) -> Seconds:
    """The video is watched once and asked everything. Seconds by stage for all questions."""
    video = watch(llm, path, chunk_frames)
    video.ask(asked, max_new_tokens=new_tokens)
    return {stage: video.stopwatch.seconds[stage] for stage in STAGES}


def watch(llm: VideoLLM, path: Path, chunk_frames: int):
    """Both ways decode in this process, as the released code does."""
    return llm.watch(path, SlowFast(), chunk_frames=chunk_frames)


def measured_hardware(device: torch.device, dtype: torch.dtype) -> GPU:
    """This machine's matrix rate (operations a second) and memory bandwidth (bytes a second), best of many tries."""
    on_gpu = device.type == "cuda"
    side, length = (8192, 2**28) if on_gpu else (2048, 2**24)
    matrix = torch.randn(side, side, device=device, dtype=dtype)
    source = torch.randn(length, device=device, dtype=torch.float32)
    target = torch.empty_like(source)
    flops = 2 * side**3 / best_seconds(lambda: matrix @ matrix, device)
    bandwidth = 2 * source.nbytes / best_seconds(lambda: target.copy_(source), device)
    memory = torch.cuda.get_device_properties(device).total_memory if on_gpu else 0
    return GPU(device_name(device), memory, flops, bandwidth)


def best_seconds(work, device: torch.device) -> float:
    """The shortest of twenty runs."""
    return min(seconds_of(work, device) for _ in range(20))


def device_name(device: torch.device) -> str:
    """The GPU's name, or the processor's with the threads in use."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.processor() or platform.machine()} CPU, {torch.get_num_threads()} threads"


def run(
    llm: VideoLLM, path: Path, counts: tuple[int, ...] = (1, 5, 25), new_tokens: int = 16, chunk_frames: int = 16
) -> list[str]:
    """Measure both ways for each number of questions, printing as it goes; returns the lines.

    Every answer gets its full length: while this runs, the model does not stop at its end token.
    """
    stopping, llm.stop_ids = llm.stop_ids, frozenset()
    try:
        return measure(llm, path, counts, new_tokens, chunk_frames)
    finally:
        llm.stop_ids = stopping


def measure(llm: VideoLLM, path: Path, counts: tuple[int, ...], new_tokens: int, chunk_frames: int) -> list[str]:
    """What `run` does."""
    lines: list[str] = []

    def say(line: str) -> None:
        lines.append(line)
        print(line, flush=True)

    hardware = measured_hardware(llm.device, llm.model.dtype)
    frames = read_frames(path, SlowFast().num_frames)
    shape = ModelShape.from_config(llm.model.config)
    budget = token_budget(SlowFast(), shape, num_frames=len(frames), new_tokens=new_tokens)
    say(f"model {llm.name}, {llm.model.dtype}; {len(frames)} frames of {path.name}")
    say(f"spec {SlowFast()}: {budget.visual_tokens} visual tokens")
    say(f"{hardware.name}: {hardware.flops / 1e12:.2f} TFLOP/s, {hardware.bandwidth / 1e9:.0f} GB/s measured here")
    say(f"answers of {new_tokens} tokens; seconds a question; bound = operations or bytes at those rates\n")
    say("| questions | way | " + " | ".join(STAGES) + " | total | speed-up |\n|" + "---|" * (len(STAGES) + 4))
    shared_way(llm, path, questions(2), 2, chunk_frames)  # warm up
    for count in counts:
        asked = questions(count)
        work = (llm, path, asked, new_tokens, chunk_frames)
        runs = [(released_way(*work), shared_way(*work)) for _ in range(max(1, 5 // count))]
        released, shared = (sorted(way, key=total)[len(runs) // 2] for way in zip(*runs))
        say(row(count, "released", released, 1.0))
        say(shares(released))
        say(row(count, "shared", shared, total(released) / total(shared)))
        say(shares(shared))
        for way in ("released", "shared"):
            say(
                row(
                    count,
                    f"{way}, bound",
                    bounds(budget, shape, hardware, count, way == "shared", llm.model.dtype),
                    None,
                )
            )
    for line in answers(llm, path, questions(max(counts)), new_tokens, chunk_frames, hardware):
        say(line)
    for line in errors(shape, budget.visual_tokens, llm.device):
        say(line)
    return lines


def answers(
    llm: VideoLLM, path: Path, asked: list[str], new_tokens: int, chunk_frames: int, hardware: GPU
) -> Iterator[str]:
    """Two tables: what runs at once against its bound, and batches."""
    video = watch(llm, path, chunk_frames)
    yield "\n| run at once | ms | bound, ms | times the bound |\n|---|---|---|---|"
    for what, (seconds, bound) in suffixes_and_steps(video, asked, new_tokens, hardware).items():
        times = f"{seconds * 1000:.2f} | {bound * 1000:.2f} | {seconds / bound:.1f} x"
        yield f"| {what} of {len(asked)} questions | {times} |"
    yield "\n| answered together | seconds a question, over the prefix |\n|---|---|"
    for batch, seconds in batch_seconds(video, questions(max(BATCHES)), new_tokens).items():
        yield f"| batch {batch} | {seconds:.4f} |"


def errors(shape: ModelShape, prefix: int, device: torch.device) -> Iterator[str]:
    """A table: errors of attention, with this model's heads and so many tokens in front."""
    yield "\nErrors of attention against float64, scores of deviation 3:\n"
    yield f"| in | {' | '.join(WAYS)} |\n|{'---|' * (len(WAYS) + 1)}"
    for dtype, found in attention_errors(shape.heads, shape.kv_heads, shape.head_dim, prefix, device).items():
        yield f"| {str(dtype).removeprefix('torch.')} | {' | '.join(f'{error:.1e}' for error in found.values())} |"


def bounds(budget: Budget, shape: ModelShape, hardware: GPU, count: int, shared: bool, dtype: torch.dtype) -> Seconds:
    """Lower bound of each stage; decoding the video has none here."""
    size = torch.finfo(dtype).bits // 8
    return stage_seconds(budget, shape, hardware, questions=count, share_prefix=shared, bytes_per_value=size)


def total(seconds: Seconds) -> float:
    """All stages together."""
    return sum(seconds.values())


def row(count: int, way: str, seconds: Seconds, speed_up: float | None) -> str:
    """One line of the table: seconds a question."""
    cells = [f"{seconds[stage] / count:.4f}" if stage in seconds else "" for stage in STAGES]
    faster = "" if speed_up is None else f"{speed_up:.1f} x"
    return f"| {count} | {way} | " + " | ".join([*cells, f"{total(seconds) / count:.4f}", faster]) + " |"


def shares(seconds: Seconds) -> str:
    """One line of the table: each stage's share of the time."""
    return "| | share | " + " | ".join(f"{seconds[stage] / total(seconds):.0%}" for stage in STAGES) + " | | |"
