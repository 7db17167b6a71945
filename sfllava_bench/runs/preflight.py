"""Before any model is loaded: is everything there? A list of what is missing and a stop, instead of half a run.

Every video that a question is about must be found and must open; the model and one video's prefix must fit the GPU;
there must be room for decoded frames and for the answers; the judge must answer. With `allow_missing` the run may start
without some videos; their questions then count as failed.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from sfllava_bench.answers.experiment import Experiment
from sfllava_bench.answers.surroundings import check_room
from sfllava_bench.captions.reasoner import Reasoner
from sfllava_bench.peers.loading import load_config
from sfllava_bench.questions.records import BATCH, Question
from sfllava_bench.runs.opening import check_files
from sfllava_bench.scores.chat import Chat, Judge, JudgeError
from sfllava_bench.terminal import one_line
from sfllava_core.backbones.base import ModelError
from sfllava_core.budget.arithmetic import ModelShape, readable, token_budget
from sfllava_core.budget.hardware import memory_bytes
from sfllava_core.checkpoints import pick_device, quantization_config
from sfllava_core.methods.base import Method
from sfllava_core.video.folder import VideoFolder
from sfllava_core.video.integrity import VideoError

SHOWN = 20


class PreflightError(RuntimeError):
    """Something that a run needs is not there. Attribute: preflight."""

    def __init__(self, preflight: "Preflight"):
        self.preflight = preflight
        super().__init__(str(preflight))


@dataclass(frozen=True)
class Preflight:
    """What a check before the run found.

    videos: cause by video that is missing or does not open.  questions: how many questions each video has.
    obstacles: what no run can do without (memory, room, judge).  notes: what was checked, and what could not be.
    """

    videos: dict[str, str]
    questions: dict[str, int]
    obstacles: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def lost(self) -> int:
        """Questions whose video is missing or does not open."""
        return sum(self.questions[name] for name in self.videos)

    def require(self, allow_missing: bool = False) -> "Preflight":
        """Go on, or stop.

        Raises:
            PreflightError: an obstacle; or videos are missing and `allow_missing` is not set.
            ValueError: `allow_missing` is neither True nor False.
        """
        if not isinstance(allow_missing, bool):  # papermill hands a "no" on as a text, which would mean yes
            raise ValueError(f"allow_missing={allow_missing!r}: give True or False")
        if self.obstacles or (self.videos and not allow_missing):
            raise PreflightError(self)
        return self

    def __str__(self) -> str:
        total, whole, named = sum(self.questions.values()), len(self.questions), list(self.videos.items())
        usable = f"{whole - len(named)} of {whole} videos can be used"
        lines = [f"preflight: {usable}, for {total - self.lost} of {total} questions"]
        lines += [f"  {name} ({self.questions[name]} questions): {why}" for name, why in named[:SHOWN]]
        if len(named) > SHOWN:
            lines.append(f"  ... and {len(named) - SHOWN} more videos")
        lines += [f"  {obstacle}" for obstacle in self.obstacles]
        lines += [f"  ({note})" for note in self.notes]
        if self.videos:
            lines.append(
                "put the videos there; or set allow_missing=True: their questions then count as failed, in every number"
            )
        return "\n".join(map(one_line, lines))


def check_videos(
    questions: list[Question],
    videos: VideoFolder,
    *,
    open_files: bool = True,
    watched: frozenset[str] = frozenset(),
    progress=None,
) -> Preflight:
    """Find, and open, the video of every question.

    Args:
        open_files: read each file through and decode its first frame, in child processes; False only finds them.
        watched: names of videos that an earlier start has watched already: they are found, not opened again.
        progress: see `check_files`.
    """
    counts = Counter(question.video for question in questions)
    causes, found = {}, {}
    for name in counts:
        try:
            found[name] = videos.find(name)
        except VideoError as error:
            causes[name] = error.cause
    unknown = [path for name, path in found.items() if open_files and name not in watched]
    broken = check_files(unknown, workers=videos.workers, timeout_s=videos.timeout_s, progress=progress)
    causes |= {name: broken[path] for name, path in found.items() if path in broken}
    before = f", {len(watched & counts.keys())} had been watched before" if watched & counts.keys() else ""
    note = f"{len(unknown)} files were opened{before}" if open_files else "files were found, not opened"
    return Preflight({name: causes[name] for name in counts if name in causes}, dict(counts), notes=[note])


def check_experiments(
    experiments: list[Experiment],
    judge: Judge | None = None,
    *,
    out: str | Path | None = None,
    open_videos: Callable[[Path], VideoFolder] = VideoFolder,
    loading: Mapping[str, Any] | None = None,
    batch: int = BATCH,
) -> Preflight:
    """What all of these experiments need together: each video opened once, memory for each method, room, the judge.

    Args:
        out: where the runs' files will be; None: room for them is not tried.
        open_videos, loading, batch: as in `reproduce`.

    Raises:
        AnnotationError: the annotation files cannot be used.  VideoError: there is no such folder of videos.
        ModelError: no such checkpoint, or one that cannot be used.
    """
    videos: dict[str, str] = {}
    counts: Counter[str] = Counter()
    obstacles, notes = check_room(out), list[str]()
    for folder in dict.fromkeys(experiment.folder for experiment in experiments):
        here = sorted((one for one in experiments if one.folder == folder), key=lambda one: not one.other_film)
        asked = {(question.benchmark, question.key): question for one in here for question in one.questions()}
        found = check_videos(list(asked.values()), open_videos(folder))
        videos, notes = videos | found.videos, notes + found.notes
        counts.update(found.questions)
    for model, method, scaled in dict.fromkeys((one.model, one.method, one.rope_factor) for one in experiments):
        stops, remarks = check_memory(model, method, rope_scaling=scaled, loading=loading, batch=batch)
        obstacles, notes = obstacles + stops, notes + remarks
    readers = {(one.reasoner, one.without_reasoner): one for one in experiments if one.worded}
    for stops, remarks in (check_judge(judge), *map(check_reasoner, readers.values())):
        obstacles, notes = obstacles + stops, notes + remarks
    return Preflight(videos, dict(counts), obstacles, notes)


def check_judge(judge: Judge | None) -> tuple[list[str], list[str]]:
    """Does the judge answer? (obstacles, notes), each possibly empty; without a judge both are."""
    if judge is None:
        return [], []
    try:
        with Chat(replace(judge, tries=min(judge.tries, 3))) as chat:
            return [], [f"the judge answers as {chat.ping()!r}"]
    except JudgeError as error:
        return [str(error)], []


def check_reasoner(experiment: Experiment) -> tuple[list[str], list[str]]:
    """Is there a language model that reads, where one is needed, and does it answer? (obstacles, notes)."""
    if experiment.without_reasoner:
        return [experiment.without_reasoner], []
    if not experiment.worded or not isinstance(experiment.reasoner, Judge):
        return [], []
    try:
        with Reasoner(replace(experiment.reasoner, tries=min(experiment.reasoner.tries, 3))) as reasoner:
            return [], [f"the reasoner answers as {reasoner.ping()!r}"]
    except JudgeError as error:
        return [str(error)], []


def check_memory(
    model: str | Path,
    method: Method,
    *,
    rope_scaling: float = 2.0,
    loading: Mapping[str, Any] | None = None,
    batch: int = BATCH,
    free_bytes: int | None = None,
) -> tuple[list[str], list[str]]:
    """Do the model and a video's prefix fit the GPU, or those it is spread over? By the budget's arithmetic.

    Of the checkpoint its config alone is read.

    Args:
        model: a checkpoint's folder or hub id; only its config is read.
        rope_scaling: factor of RoPE scaling; the context is the model's own positions times this.
        loading: `device`, `device_map`, `dtype` and `quantization`, as of `VideoLLM.from_pretrained`.
        batch: questions answered together.
        free_bytes: free memory; None asks the GPUs that the model is loaded to.

    Returns:
        (obstacles, notes), each possibly empty.

    Raises:
        ModelError: no such checkpoint, or one that cannot be used; or no such device.
    """
    source, loading = str(model), loading or {}
    shape = ModelShape.from_config(load_config(source))
    budget = token_budget(method, shape, rope_scaling=rope_scaling)
    quantization, wide = loading.get("quantization"), str(loading.get("dtype")).endswith("float32")
    need = memory_bytes(budget, shape, questions=batch, bytes_per_value=4 if wide else 2, quantization=quantization)
    said = f"{source} with {budget.visual_tokens} visual tokens needs about {readable(need)}B of memory"
    if budget.context_used > 1:
        return [f"{source}: {budget.context_tokens} tokens of {method} do not fit its {budget.context_limit}"], []
    try:
        if quantization is not None:
            quantization_config(quantization)
    except ModelError as error:
        return [str(error)], []
    spread = loading.get("device_map") is not None
    free = free_memory(loading.get("device", "auto"), spread) if free_bytes is None else free_bytes
    if free is None:
        return [], [f"{said}; no GPU here, so nothing was compared"]
    said += f"; {readable(int(free))}B are free{' on all GPUs together' if spread else ''}"
    if need > 0.9 * free:
        return [f"{said}: take a larger GPU, device_map='auto', quantization='4bit', or fewer frames"], []
    return [], [said]


def free_memory(device: str | torch.device, spread: bool) -> int | None:
    """Bytes that are free on this GPU, or on all together where a model is spread over them; None without a GPU.

    Raises:
        ModelError: no such device.
    """
    picked = pick_device(device)
    if picked.type != "cuda":
        return None
    cards = range(torch.cuda.device_count()) if spread else [picked]
    return sum(torch.cuda.mem_get_info(card)[0] for card in cards)
