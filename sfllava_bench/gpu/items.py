"""The ten items of `sfllava gpu-acceptance`, in order. Each says what it asks in its docstring's first line."""

import subprocess
import sys
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import torch
from transformers import GenerationConfig

from sfllava_bench.answer_speed import run_step, seconds_of
from sfllava_bench.answers.prefetch import prefetch
from sfllava_bench.gpu.acceptance import NOT_HERE, Place, Result, judged
from sfllava_bench.gpu.checkpoint import divided_config, write_small_files
from sfllava_bench.gpu.exactness import half_precision
from sfllava_bench.gpu.memory import free_bytes, measured_peak
from sfllava_bench.gpu.rehearsal import POSITIONS, STOPS, VISUAL_TOKENS, Rehearsal, equal, rehearse, tokenizer_checks
from sfllava_bench.speed import questions, run, shared_way
from sfllava_core.answering import rope
from sfllava_core.answering.sharing import encode_prompt
from sfllava_core.answering.watched import WatchedVideo
from sfllava_core.budget.arithmetic import ModelShape
from sfllava_core.budget.hardware import GIB, weight_bytes
from sfllava_core.checkpoints import load_config, load_tokenizer, prompt_style_of, stop_ids
from sfllava_core.defaults import CHECKOUT, CLIP, ROOT, required
from sfllava_core.model import VideoLLM
from sfllava_core.tokenizing import differences
from sfllava_core.video.folder import VideoFolder
from sfllava_core.video.service import service, set_workers

PEAKS = {"7b": 20, "34b": 72}  # GiB at most, in full and in half precision
ENCODE_MS, PREFILL_MS = 60, 130  # of an H100, 7B in full
BATCHES, STEPS, TOGETHER, NEW_TOKENS = (1, 16, 32), 50, 16, 16
VIDEOS, WAITED = 20, 0.1
NO_GPU = "no GPU here"


def tokenizers(place: Place) -> Result:
    """Tokenizers, stop tokens and positions are as the released code's"""
    checks = []
    for size in STOPS:
        folder = place.folder / f"{size}-settings"
        write_small_files(size, folder, divided_config(size, 1))
        checks += [(f"stand-in {size}", check) for check in tokenizer_checks(size, folder)]
        stops, positions = ends_and_positions(str(folder))
        checks.append((f"stand-in {size}", equal("stop tokens", str(STOPS[size]), str(stops))))
        checks.append((f"stand-in {size}", equal("positions", str(POSITIONS), str(positions))))
    for source in place.checkpoints:
        tokenizer = load_tokenizer(source)
        style = prompt_style_of(load_config(source), tokenizer)
        found, (stops, positions) = "; ".join(differences(tokenizer, style)) or "none", ends_and_positions(source)
        checks.append((source, equal("differences", "none", found)))
        checks.append((source, equal(f"stops at {sorted(stops)}; positions", str(POSITIONS), str(positions))))
    real = f"{len(place.checkpoints)} real ones" if place.checkpoints else "no real one: give --checkpoint"
    wrong = sum(not check.right for _, check in checks)
    lines = [
        f"{'ok   ' if one.right else 'WRONG'} {who}: {one.what}: {one.found} ({one.expected})" for who, one in checks
    ]
    return judged(not wrong, f"{len(checks)} looks at two stand-ins and {real}, {wrong} wrong", "\n".join(lines))


def ends_and_positions(source: str) -> tuple[set[int], int]:
    """What ends an answer of a checkpoint, and its positions at RoPE scaled by 2, as `VideoLLM` has them."""
    config, tokenizer = load_config(source), load_tokenizer(source)
    settings = SimpleNamespace(generation_config=GenerationConfig.from_pretrained(source))
    rope.scale_rope(config.text_config, 2.0)
    stops = stop_ids(settings, tokenizer, prompt_style_of(config, tokenizer))
    return set(stops), rope.max_positions(config.text_config)


def gpu_tests(place: Place) -> Result:
    """`pytest -m gpu` passes"""
    if not place.on_gpu:
        return Result(NOT_HERE, f"{NO_GPU}: they would all be skipped")
    file, report = ROOT / "tests" / "core" / "test_gpu.py", place.folder / "gpu-tests.xml"
    if not CHECKOUT or not file.exists() or find_spec("pytest") is None:
        return Result(NOT_HERE, "the tests come with a clone, and need pytest")
    words = [sys.executable, *"-m pytest -m gpu -q -p no:cacheprovider".split(), f"--junitxml={report}", str(file)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=1800)
    if not report.exists():
        return judged(False, f"pytest ended with code {done.returncode} and no report", done.stdout + done.stderr)
    place.found["tests"] = verdicts = test_verdicts(report)
    counts = ", ".join(f"{list(verdicts.values()).count(one)} {one}" for one in ("passed", "failed", "skipped"))
    ran = "passed" in verdicts.values()
    return judged(ran and done.returncode == 0, counts, done.stdout[-8000:])


def test_verdicts(report: Path) -> dict[str, str]:
    """passed, failed or skipped, by the test's name, of a JUnit report."""
    verdicts = {}
    for case in ElementTree.parse(report).iter("testcase"):
        told = {child.tag for child in case}
        verdict = "failed" if told & {"failure", "error"} else "skipped" if "skipped" in told else "passed"
        verdicts[case.attrib["name"]] = verdict
    return verdicts


test_verdicts.__test__ = False  # type: ignore[attr-defined]  # pytest takes it for a test where it is imported


def exactness(place: Place) -> Result:
    """7B-shaped, float16 and bfloat16, 3,680 tokens: finite, and shared no further from float32 than plain"""
    folder, said, right = seven(place), [], True
    shape = ModelShape.from_config(load_config(folder))
    free, needed = free_bytes(place.device), weight_bytes(shape, 4) + 4 * GIB * place.in_full
    for dtype in ("float16", "bfloat16"):
        llm = VideoLLM.from_pretrained(folder, place.device, dtype)
        video = llm.watch(place.video)
        prompts = prompts_of(video, 8 if place.on_gpu else 4)
        logits = video.next_token_logits(prompts)  # it raises where they are not finite
        right &= len(video.tokens) == VISUAL_TOKENS and bool(logits.isfinite().all())
        said.append(f"{dtype}: {len(video.tokens)} tokens, finite")
        if free is not None and needed > 0.9 * free:
            return Result(NOT_HERE, f"{'; '.join(said)}; float32 needs {needed / GIB:.0f} GiB")
        found = half_precision(llm, llm.encode(video.frames), prompts, 12 if place.on_gpu else 4)
        right &= found.holds
        said[-1] += f", {found}"
    return judged(right, "; ".join(said))


def repeated(place: Place) -> Result:
    """The same run twice gives the same tokens; batches of 1, 16 and 32 are compared"""
    llm = VideoLLM.from_pretrained(seven(place), place.device)
    llm.stop_ids = frozenset()
    video = llm.watch(place.video)
    first, second = (answered(video, TOGETHER, TOGETHER) for _ in range(2))
    batches = {batch: answered(video, max(BATCHES), batch) for batch in BATCHES}
    agree = {batch: sum(a == b for a, b in zip(ids, batches[1])) for batch, ids in batches.items() if batch != 1}
    told = ", ".join(f"batch {batch}: {same} of {max(BATCHES)} as batch 1's" for batch, same in agree.items())
    same = sum(a == b for a, b in zip(first, second))
    return judged(first == second, f"{same} of {TOGETHER} answers the same twice; {told} ({llm.model.dtype})")


def peaks(place: Place) -> Result:
    """Memory at its peak with 16 questions: 7B within 20 GiB, 34B within 72"""
    seven(place)
    found = [place.found["7b"], rehearse("34b", place.video, divide=place.divide, loading={"device": str(place.device)},
                                         asked=TOGETHER, say=place.say)]  # fmt: skip
    limits = [PEAKS[one.size] * GIB if place.in_full else float("inf") for one in found]
    right = all(one.right and one.peak_bytes <= most for one, most in zip(found, limits))
    told = ", ".join(f"{one.size} {one.peak_bytes / GIB:.2f} GiB" for one in found)
    limit = "" if place.in_full else f" divided by {place.divide}, against the estimate of such sizes"
    lines = [f"{one.size}: {' | '.join(row.values())}" for one in found for row in one.rows()]
    return judged(right, f"{told}{limit}", "\n".join(lines))


def busy(place: Place) -> Result:
    """50 steps profiled at batch 1, 16 and 32: the GPU is busy at least half the time"""
    llm = VideoLLM.from_pretrained(seven(place), place.device)
    video = llm.watch(place.video)
    said, shares = [], []
    for batch in BATCHES:
        steps = STEPS if place.on_gpu else 10
        encoded = [encode_prompt(prompt, llm.tokenizer) for prompt in prompts_of(video, batch)]
        decoders = video.sharing.decoders(encoded, steps, True)
        _, decoder = next(decoders)
        decoder.start()
        ids = torch.ones(batch, 1, dtype=torch.long, device=llm.device)
        work = partial(run_steps, llm, decoder, ids, steps)
        if place.on_gpu:
            with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
                seconds = seconds_of(work, place.device)
            shares.append(sum(one.self_device_time_total for one in profile.key_averages()) / 1e6 / seconds)
            said.append(f"batch {batch}: {1000 * seconds / steps:.1f} ms a step, busy {shares[-1]:.0%}")
        else:
            said.append(f"batch {batch}: {1000 * seconds_of(work, place.device) / steps:.1f} ms a step")
        decoders.close()
    if not place.on_gpu:
        return Result(NOT_HERE, f"{NO_GPU} to be busy; {', '.join(said)}")
    return judged(min(shares) >= 0.5, f"{', '.join(said)}{'' if min(shares) >= 0.5 else ': a CUDA graph would pay'}")


def run_steps(llm: VideoLLM, decoder, ids, steps: int) -> None:
    for _ in range(steps):
        run_step(llm, decoder, ids)


def stages(place: Place) -> Result:
    """`sfllava speed`, 7B: a video encoded within 60 ms, prefilled within 130 (an H100)"""
    llm = VideoLLM.from_pretrained(seven(place), place.device)
    tries = [shared_way(llm, place.video, questions(1), 2, 16) for _ in range(4 if place.on_gpu else 1)]
    encode, prefill = (1000 * min(one[stage] for one in tries) for stage in ("encode", "prefill"))
    said = f"encode {encode:.0f} ms, prefill {prefill:.0f} ms"
    if not place.on_gpu:
        return Result(NOT_HERE, f"{NO_GPU}; {said}")
    table = "\n".join(run(llm, place.video))
    if not place.in_full or "H100" not in torch.cuda.get_device_name(place.device):
        return Result(NOT_HERE, f"the limits are those of 7B in full on an H100; {said}", table)
    return judged(encode <= ENCODE_MS and prefill <= PREFILL_MS, said, table)


def fed(place: Place) -> Result:
    """Twenty real videos with 2 and 16 workers: the model waits less than a tenth of the time"""
    llm = VideoLLM.from_pretrained(seven(place), place.device)
    kind = (
        "the kit's two clips again and again: give --videos for others" if place.videos is None else str(place.videos)
    )
    folder, count = videos_folder(place), VIDEOS if place.on_gpu else 2
    names = [str(one) for one in sorted(folder.by_name)][:count]
    said, last = [], 1.0
    for workers in (2, 16) if place.on_gpu else (1, 2):
        if workers > service().size:
            set_workers(workers)
        waited, seconds = waiting(llm, folder, names, workers)
        last = waited / seconds
        said.append(f"{workers} workers: {seconds / len(names):.2f} s a video, waited {last:.0%}")
    told = f"{len(names)} videos ({kind}); {', '.join(said)}"
    if not place.on_gpu or len(names) < VIDEOS:
        return Result(NOT_HERE, f"{told}; the limit is a GPU's, with {VIDEOS} videos")
    return judged(last < WAITED, told)


def waiting(llm: VideoLLM, folder: VideoFolder, names: list[str], workers: int) -> tuple[float, float]:
    """Seconds that the model waited for frames, and seconds in all, for a few questions about each video."""
    waits: list[float] = []

    def go_through() -> None:
        read = partial(folder.read, num_frames=llm.method.sample)
        for decoded in prefetch(names, read, workers=workers, count=2 * workers):
            if decoded.error is not None:
                raise decoded.error
            llm.watch_frames(decoded.frames).ask(questions(5), max_new_tokens=4)
            waits.append(decoded.waited)

    seconds = seconds_of(go_through, llm.device)
    return sum(waits), seconds


def videos_folder(place: Place) -> VideoFolder:
    """The folder that was named; else the kit's two clips under twenty names."""
    if place.videos is not None:
        return VideoFolder(place.videos)
    folder = place.folder / "videos"
    folder.mkdir()
    clips = sorted(required(CLIP).parent.glob("*.mp4"))
    for number in range(VIDEOS):
        (folder / f"{number:02}.mp4").symlink_to(clips[number % len(clips)].resolve())
    return VideoFolder(folder, follow_links=True)


def quantized(place: Place) -> Result:
    """4-bit and 8-bit beside float16: they answer, in less memory"""
    if not place.on_gpu or find_spec("bitsandbytes") is None:
        return Result(NOT_HERE, NO_GPU if not place.on_gpu else "pip install bitsandbytes")
    folder, found = seven(place), {}
    for kind in (None, "8bit", "4bit"):
        with measured_peak(place.device) as peak:
            llm = VideoLLM.from_pretrained(folder, place.device, quantization=kind)
            llm.stop_ids = frozenset()
            ids = answered(llm.watch(place.video), TOGETHER, TOGETHER)  # it raises where logits are not finite
        found[kind or "float16"] = (peak.bytes, ids)
        del llm
        torch.cuda.empty_cache()
    whole, right = found["float16"], found["float16"][0] > found["8bit"][0] > found["4bit"][0]
    told = [
        f"{kind}: {size / GIB:.1f} GiB, {sum(a == b for a, b in zip(ids, whole[1]))} of {TOGETHER} answers as float16's"
        for kind, (size, ids) in found.items()
    ]
    return judged(right, "; ".join(told))


def several(place: Place) -> Result:
    """Two GPUs answer as one does (tiny checkpoint, float32), and `look` works"""
    if not place.on_gpu:
        return Result(NOT_HERE, NO_GPU)
    verdicts = place.found.get("tests", {})
    name = "test_a_model_on_several_devices_answers_as_on_one"
    one, two = (verdicts.get(f"{name}[{second}]", "not run") for second in ("cpu", "1"))
    if torch.cuda.device_count() < 2:
        return Result(NOT_HERE, f"one GPU here; with the host's memory behind it: {one}")
    return judged(one == two == "passed", f"two GPUs: {two}; one with the host's memory behind it: {one}")


def seven(place: Place) -> Path:
    """The folder of a 7B-shaped checkpoint, rehearsed once for all items. Raises RehearsalError: no room for it."""
    folder = place.folder / "7b"
    if "7b" not in place.found:
        loading: dict[str, Any] = {"device": str(place.device)}
        told: Rehearsal = rehearse(
            "7b", place.video, divide=place.divide, keep=folder, loading=loading, asked=TOGETHER, say=place.say
        )
        place.found["7b"] = told
    return folder


def prompts_of(video: WatchedVideo, count: int) -> list[tuple[str, str]]:
    """Prompts of so many questions about it."""
    return [video.asking.open_ended(one, video.llm.prompt_style) for one in questions(count)]


def answered(video: WatchedVideo, count: int, batch: int) -> list[list[int]]:
    """Token ids of so many answers, so many made together."""
    prompts = prompts_of(video, count)
    some = [prompts[start : start + batch] for start in range(0, count, batch)]
    return [one.token_ids for prompts in some for one in video.generate(prompts, max_new_tokens=NEW_TOKENS)]


ITEMS: list[Callable[[Place], Result]] = [
    tokenizers, gpu_tests, exactness, repeated, peaks, busy, stages, fed, quantized, several
]  # fmt: skip
