"""`sfllava rehearse 7b`: the whole way of a large checkpoint without its weights, and what each stage should give.

write -> load -> tokenizer -> one film -> token counts -> answers -> memory
"""

import gc
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transformers import LlavaNextConfig

from sfllava_bench.gpu.checkpoint import byte_count, divided_config, hub_tensors, shards_of, write_checkpoint
from sfllava_bench.gpu.memory import free_bytes, held, measured_peak
from sfllava_bench.questions.records import BATCH
from sfllava_bench.speed import questions
from sfllava_core.budget.arithmetic import ModelShape, token_budget
from sfllava_core.budget.hardware import GIB, memory_bytes
from sfllava_core.checkpoints import load_tokenizer, pick_device, pick_dtype
from sfllava_core.methods.slowfast import SlowFast
from sfllava_core.model import VideoLLM
from sfllava_core.prompts import IMAGE_TOKEN, open_ended_prompt, tokenize_prompt
from sfllava_core.tokenizing import IM_END, differences

VISUAL_TOKENS = 3680  # the paper's default on 24 x 24 patches
POSITIONS = 8192  # RoPE scaled by 2
STYLES = {"7b": "vicuna", "34b": "chatml"}
STOPS = {"7b": {2}, "34b": {2, 7}}  # 34B: the settings' own, and the end of a turn
LINE_BREAK = 144  # in Yi's vocabulary
SLACK = 1.1  # `memory_bytes` is from below: allocators and libraries take about a tenth more
LIBRARIES = GIB // 4  # of the CPU's memory: what libraries take beside tensors
DIVISORS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)


class RehearsalError(RuntimeError):
    """There is no room here for the size that was asked for."""


@dataclass(frozen=True)
class Check:
    """One line of a rehearsal: what was looked at, what it should be, what it is."""

    what: str
    expected: str
    found: str
    right: bool


@dataclass
class Rehearsal:
    """What a rehearsal found: its checks, and for others the greatest memory and the answers' token ids."""

    size: str
    divide: int
    checks: list[Check] = field(default_factory=list)
    peak_bytes: int = 0
    token_ids: list[list[int]] = field(default_factory=list)

    @property
    def right(self) -> bool:
        return all(check.right for check in self.checks)

    def rows(self) -> list[dict[str, str]]:
        """For `show_table`."""
        return [
            {"": "ok" if one.right else "WRONG", "what": one.what, "expected": one.expected, "found": one.found}
            for one in self.checks
        ]


def needs(size: str, divide: int, loading: Mapping[str, Any], asked: int) -> tuple[int, int]:
    """Bytes of disk, and of the device's memory, that a rehearsal of these sizes takes."""
    config = divided_config(size, divide)
    shape = ModelShape.from_config(LlavaNextConfig.from_dict(config))
    memory = expected_bytes(shape, loading, asked)
    if pick_device(loading.get("device", "auto")).type != "cpu":  # its libraries' share is in the tenth left free
        return byte_count(hub_tensors(config)), memory
    return byte_count(hub_tensors(config)), int(SLACK * memory) + LIBRARIES


def expected_bytes(shape: ModelShape, loading: Mapping[str, Any], asked: int, frames: int | None = None) -> int:
    """`memory_bytes` of the model as it is loaded, so many questions together."""
    device = pick_device(loading.get("device", "auto"))
    size = pick_dtype(loading.get("dtype", "auto"), device).itemsize
    budget = token_budget(SlowFast(), shape, num_frames=frames, bytes_per_value=size)
    quantization = loading.get("quantization")
    return memory_bytes(budget, shape, questions=asked, bytes_per_value=size, quantization=quantization)


def choose_divisor(size: str, loading: Mapping[str, Any], asked: int, folder: Path) -> int:
    """The least factor with which disk and memory have room; sizes in full are 1.

    Raises:
        RehearsalError: none has.
    """
    for divide in DIVISORS:
        if not lacking(size, divide, loading, asked, folder):
            return divide
    raise RehearsalError(f"{size}: {lacking(size, DIVISORS[-1], loading, asked, folder)}")


def lacking(size: str, divide: int, loading: Mapping[str, Any], asked: int, folder: Path) -> str:
    """What there is too little of for these sizes; "" where there is enough."""
    disk, memory = needs(size, divide, loading, asked)
    room = 0.9 * shutil.disk_usage(folder).free
    free = free_bytes(pick_device(loading.get("device", "auto")), loading.get("device_map") is not None)
    short = []
    if disk > room:
        short.append(f"{disk / GIB:.1f} GiB of disk, {room / GIB:.1f} are free in {folder}")
    if free is not None and memory > 0.9 * free:
        short.append(f"{memory / GIB:.1f} GiB of memory, {0.9 * free / GIB:.1f} are free")
    return f"divided by {divide} it needs {' and '.join(short)}" if short else ""


@contextmanager
def place_for(keep: Path | None) -> Iterator[Path]:
    """The folder that was named; else one that is removed afterwards."""
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep
        return
    with tempfile.TemporaryDirectory(prefix="sfllava-rehearsal-") as temporary:
        yield Path(temporary)


def rehearse(
    size: str,
    video: Path,
    *,
    divide: int | None = None,
    keep: Path | None = None,
    loading: Mapping[str, Any] | None = None,
    asked: int = BATCH,
    new_tokens: int = 4,
    say: Callable[[str], object] = print,
) -> Rehearsal:
    """Write a random checkpoint of a size, and go the whole way with it.

    Args:
        size: "7b" or "34b".
        video: the film.
        divide: sizes are divided by this; None takes the largest that fit disk and memory.
        keep: a folder, new or empty, where the checkpoint stays; None removes it.
        loading: device, device_map, dtype, quantization, as of `VideoLLM.from_pretrained`.
        asked: questions answered together.

    Raises:
        RehearsalError: no room.  ValueError: sizes or folders that are none.  ModelError, VideoError: as in `watch`.
    """
    loading = dict(loading or {})
    with place_for(keep) as folder:
        divide = divide or choose_divisor(size, loading, asked, folder)
        if short := lacking(size, divide, loading, asked, folder):
            raise RehearsalError(f"{size}: {short}; give a larger --divide")
        disk, memory = needs(size, divide, loading, asked)
        sizes = "in full" if divide == 1 else f"divided by {divide}"
        say(f"{size} {sizes}: {disk / GIB:.2f} GiB of disk, about {memory / GIB:.2f} GiB of memory")
        began = time.perf_counter()
        write_checkpoint(size, folder, divide)
        say(f"written in {time.perf_counter() - began:.0f} s")
        result = Rehearsal(size, divide)
        for check in go(result, folder, video, loading, asked, new_tokens, say):
            result.checks.append(check)
        return result


def go(result: Rehearsal, folder: Path, video: Path, loading: Mapping, asked: int, new_tokens: int, say) -> Iterator:
    """All checks of a checkpoint that was written."""
    tensors, shards = shards_of(result.size, result.divide)
    files = sorted(folder.glob("*.safetensors"))
    yield equal("tensors in shards", f"{len(tensors)} in {len(shards)}", f"{tensors_in(files)} in {len(files)}")
    yield from tokenizer_checks(result.size, folder)
    gc.collect()
    device = pick_device(loading.get("device", "auto"))
    before, began = held(device), time.perf_counter()
    with measured_peak(device, before) as while_loading:
        llm = VideoLLM.from_pretrained(folder, **loading)
    gc.collect()
    say(f"loaded in {time.perf_counter() - began:.0f} s, {llm.model.dtype} on {llm.device}")
    yield equal("prompts of the style", STYLES[result.size], llm.prompt_style)
    yield equal("an answer stops at", str(sorted(STOPS[result.size])), str(sorted(llm.stop_ids)))
    yield equal("positions", str(POSITIONS), str(llm.max_positions))
    yield equal("default method", str(SlowFast()), str(llm.method))
    began = time.perf_counter()
    llm.stop_ids = frozenset()  # every answer its full length
    with measured_peak(device, before) as peak:
        watched = llm.watch(video)
        prompts = [watched.asking.open_ended(one, llm.prompt_style) for one in questions(asked)]
        answers = watched.generate(prompts, max_new_tokens=new_tokens)
    say(f"{asked} questions answered in {time.perf_counter() - began:.0f} s")
    shape = ModelShape.from_config(llm.model.config)
    frames = len(watched.frames or ())
    counts = token_budget(SlowFast(), shape, num_frames=frames)
    yield equal("visual tokens", str(counts.visual_tokens), str(len(watched.tokens)))
    if frames == SlowFast().num_frames:
        yield equal("the same, as published", str(VISUAL_TOKENS), str(len(watched.tokens)))
    text = len([one for one in tokenize_prompt("".join(prompts[0]), llm.tokenizer) if one != IMAGE_TOKEN])
    yield equal("tokens of a prompt", str(text + counts.visual_tokens), str(answers[0].prompt_tokens))
    result.token_ids = [answer.token_ids for answer in answers]
    lengths = {len(ids) for ids in result.token_ids}
    yield equal("new tokens of each answer", str({new_tokens}), str(lengths))
    on_gpu = device.type == "cuda"
    result.peak_bytes = max(peak.bytes, while_loading.bytes) if on_gpu else peak.bytes
    estimate = expected_bytes(shape, loading, asked, frames)
    most = SLACK * estimate + (0 if on_gpu else LIBRARIES)
    yield Check(
        f"memory, {asked} questions",
        f"{estimate / GIB:.2f} GiB, at most {most / GIB:.2f}",
        f"{result.peak_bytes / GIB:.2f} GiB",
        result.peak_bytes <= most,
    )
    if not on_gpu:  # the files' pages are counted too, and go when the memory is wanted
        say(f"while it loaded, with its files mapped: {while_loading.bytes / GIB:.2f} GiB")


def tokenizer_checks(size: str, folder: Path) -> Iterator[Check]:
    """How its tokenizer cuts a prompt, which `differences` knows, and the published ids."""
    tokenizer, style = load_tokenizer(folder), STYLES[size]
    found = differences(tokenizer, style)
    yield Check("tokenizer", "as the released code's", "; ".join(found) or "as the released code's", not found)
    ids = tokenize_prompt(open_ended_prompt("What is it?", style), tokenizer)
    if size == "7b":
        yield equal("begins with <s> once", "[0]", str([place for place, one in enumerate(ids) if one == 1]))
    else:
        end = tokenizer(f"{IM_END}\n", add_special_tokens=False).input_ids
        yield equal("end of a turn and line break", str([7, LINE_BREAK]), str(end))
        yield equal("first tokens of a text", "0", str(ids.count(tokenizer.bos_token_id)))


def tensors_in(files: list[Path]) -> int:
    """How many tensors the files hold."""
    from safetensors import safe_open

    total = 0
    for file in files:
        with safe_open(file, "pt") as opened:
            total += len(opened.keys())
    return total


def equal(what: str, expected: str, found: str) -> Check:
    """Right where both are the same."""
    return Check(what, expected, found, expected == found)
