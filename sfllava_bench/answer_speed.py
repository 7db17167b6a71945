"""Where the time of many answers goes: suffixes and steps against their arithmetic, and batches of some sizes."""

import time
from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Int64
from torch import Tensor

from sfllava_core.answering.shared_prefix import SharedPrefixDecoder
from sfllava_core.answering.sharing import encode_prompt
from sfllava_core.answering.watched import WatchedVideo
from sfllava_core.budget.arithmetic import ModelShape
from sfllava_core.budget.hardware import GPU
from sfllava_core.model import VideoLLM
from sfllava_core.prompts import ALL_PARTS

BATCHES = (1, 8, 32)
TRIES = 3


def seconds_of(work: Callable[[], object], device: torch.device) -> float:
    """How long it takes, what it leaves to a GPU included."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def suffixes_and_steps(
    video: WatchedVideo, asked: list[str], steps: int, hardware: GPU
) -> dict[str, tuple[float, float]]:
    """(seconds, lower bound) of running the suffixes of all questions at once, and of one step of all answers.

    The shortest of three tries, and of their steps, as the machine's own rates are the best of many tries. At most as
    many questions as run together (`BATCH`).
    """
    llm = video.llm
    prompts = [video.asking.open_ended(question, llm.prompt_style, ALL_PARTS) for question in asked]
    encoded = [encode_prompt(prompt, llm.tokenizer) for prompt in prompts]
    suffixes, each = [], []
    shape, bytes_per_value = ModelShape.from_config(llm.model.config), llm.model.dtype.itemsize
    for _ in range(TRIES):
        decoders = video.sharing.decoders(encoded, steps, True)
        _, decoder = next(decoders)
        assert isinstance(decoder, SharedPrefixDecoder), "a prefix that is shared was asked for"
        suffixes.append(seconds_of(partial(run_suffixes, llm, decoder), llm.device))
        ids = torch.ones(len(decoder.padding), 1, dtype=torch.long, device=llm.device)
        each += [seconds_of(partial(run_step, llm, decoder, ids), llm.device) for _ in range(steps)]
        decoders.close()
        work = lower_bounds(decoder, shape, hardware, bytes_per_value)  # the same in each try
    return {"suffixes": (min(suffixes), work[0]), "a step": (min(each), work[1])}


def run_suffixes(llm: VideoLLM, decoder: SharedPrefixDecoder) -> None:
    llm.logits(decoder.start()).argmax(dim=-1)


def run_step(llm: VideoLLM, decoder: SharedPrefixDecoder, ids: Int64[Tensor, "batch 1"]) -> None:
    llm.logits(decoder.step(ids)).argmax(dim=-1)


def lower_bounds(decoder: SharedPrefixDecoder, shape: ModelShape, hardware: GPU, size: int) -> tuple[float, float]:
    """Seconds below which neither the suffixes nor a step can be: operations, or weights and prefix read once."""
    lengths = (decoder.start_ids.shape[1] - decoder.padding).tolist()
    prefix = decoder.prefix.length
    read = (shape.step_parameters * size + decoder.prefix.nbytes) / hardware.bandwidth
    suffixes = sum(shape.language_flops(length, after=prefix) for length in lengths)
    step = sum(shape.language_flops(1, after=prefix + length) for length in lengths)
    return max(suffixes / hardware.flops, read), max(step / hardware.flops, read)


def batch_seconds(video: WatchedVideo, asked: list[str], new_tokens: int) -> dict[int, float]:
    """Seconds a question of answering these over the prefix that is there, by how many are answered together."""

    def answer(batch: int) -> None:
        for start in range(0, len(asked), batch):
            video.ask(asked[start : start + batch], max_new_tokens=new_tokens)

    return {batch: seconds_of(partial(answer, batch), video.llm.device) / len(asked) for batch in BATCHES}
