"""A video told in words: one caption a clip by any model that watches videos, made once and kept.

    video -> clips -> frames of each -> `VideoLLM` -> captions.jsonl -> every question, every method, every later run

Captions do not depend on a question, so a file of them belongs to a model and the settings here, and to nothing else.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from sfllava_bench.answers.counts import Counts
from sfllava_bench.answers.journal import Journal, Record
from sfllava_bench.answers.video_model import Elsewhere, facts_of
from sfllava_bench.captions.telling import tell
from sfllava_core.methods.base import Method
from sfllava_core.methods.slowfast import uniform
from sfllava_core.model import VideoLLM
from sfllava_core.video.folder import VideoFolder
from sfllava_core.video.frames import Frames
from sfllava_core.video.integrity import VideoError


@dataclass(frozen=True)
class Clips:
    """How a video is cut and told.

    every_s: seconds from one clip's start to the next one's.
    length_s: a clip's own.
    frames: how many of a clip are shown, at even distances.
    question: what the model is asked of each (ours).
    new_tokens: the most of a caption.
    together: clips that go through the model at once.
    """

    every_s: float = 1.0
    length_s: float = 1.0
    frames: int = 1
    question: str = "Describe in one sentence what happens."
    new_tokens: int = 48
    together: int = 16

    def __post_init__(self) -> None:
        if not (self.every_s > 0 and self.length_s > 0) or min(self.frames, self.new_tokens, self.together) < 1:
            raise ValueError(f"{self}: each number must be above 0")

    def indices(self, total: int, fps: float) -> list[list[int]]:
        """The frames of each clip; a clip that the video ends in is told too.

        Raises:
            ValueError: a video without a clock, whose seconds nobody knows.
        """
        if not fps > 0:
            raise ValueError(f"{fps} frames a second: clips are seconds long, give a video with a clock")
        starts = [number * self.every_s for number in range(max(1, round(total / fps / self.every_s)))]
        shares = [(place + 0.5) / self.frames for place in range(self.frames)]
        return [[min(int((start + share * self.length_s) * fps), total - 1) for share in shares] for start in starts]


EGOSCHEMA = Clips()  # 1 s, as LLoVi and VideoTree have them there
ELSEWHERE = Clips(every_s=2.0, length_s=2.0)  # 0.5 frames a second
READ_AT_ONCE = 64  # clips whose pictures are read from a file together
Read = Callable[..., Frames]  # as `VideoFolder.read`
Keep = Callable[[Record], None]


def caption_video(
    llm: VideoLLM,
    read: Read,
    name: str,
    clips: Clips = EGOSCHEMA,
    made: Sequence[str] = (),
    keep: Keep = lambda record: None,
) -> list[str]:
    """The captions of one video, one a clip.

    Args:
        made: those of its first clips, which are not made again.
        keep: gets a record of each few captions, as soon as they are made.

    Raises:
        VideoError: it cannot be found, decoded, or cut.
    """
    wanted, told = clip_frames(read, name, clips), list(made)
    for some in clip_pictures(llm, read, name, wanted[len(told) :]):
        for start in range(0, len(some), clips.together):
            new = tell(llm, some[start : start + clips.together], clips.question, clips.new_tokens)
            keep({"video": name, "first": len(told), "clips": len(wanted), "captions": new})
            told += new
    return told


def clip_frames(read: Read, name: str, clips: Clips) -> list[list[int]]:
    """The frames of each clip of a video. Raises VideoError."""
    first = read(name, 1)
    try:
        return clips.indices(first.total, first.fps)
    except ValueError as error:
        raise VideoError(name, str(error), "give another video") from error


def clip_pictures(
    llm: VideoLLM, read: Read, name: str, wanted: Sequence[Sequence[int]]
) -> Iterator[list[UInt8[np.ndarray, "frames height width 3"]]]:
    """The pictures of clips, of a bounded number of them at a time."""
    size = uniform(1).decoded_size(llm.image_size)
    for start in range(0, len(wanted), READ_AT_ONCE):
        some = wanted[start : start + READ_AT_ONCE]
        frames = read(name, lambda _, some=some: sorted({index for clip in some for index in clip}), size=size)
        place = {index: number for number, index in enumerate(frames.indices)}
        yield [frames.pixels[[place[index] for index in clip]] for clip in some]


def clip_embeddings(llm: VideoLLM, read: Read, name: str, clips: Clips, method: Method) -> Float[Tensor, "clips width"]:
    """The tower's CLS of each clip's middle frame.

    Args:
        method: one that `wants` "embeddings".

    Raises:
        VideoError: as in `caption_video`.  ModelError: the model's tower has none.
    """
    middle = [[clip[len(clip) // 2]] for clip in clip_frames(read, name, clips)]
    seen = [
        llm.look(np.concatenate(some), method).more["embeddings"] for some in clip_pictures(llm, read, name, middle)
    ]
    return torch.cat(seen).float().cpu()


class Captions:
    """The file of captions of one model and setting: what is in it is read, what is not is made. Use it with `with`.

    Raises:
        JournalError: the file is of another model or other settings, or in use.
    """

    def __init__(self, llm: VideoLLM | Elsewhere, path: str | Path, clips: Clips = EGOSCHEMA):
        self.llm, self.clips = llm, clips
        self.journal = Journal(path, "captions", caption_settings(llm, clips))
        self.begun, self.whole = begun_in(self.journal.records), captions_in(self.journal.records)

    def __enter__(self) -> "Captions":
        return self

    def __exit__(self, *_: object) -> None:
        self.journal.__exit__()

    def of(self, name: str, read: Read) -> list[str]:
        """A video's captions; each few are on the disk before the next are made. Raises VideoError."""
        if name not in self.whole:
            made = self.begun.setdefault(name, [])

            def keep(record: Record) -> None:
                self.journal.append(record)
                made.extend(record["captions"])

            assert not isinstance(self.llm, Elsewhere), "workers make captions of their own (carried.py)"
            self.whole[name] = caption_video(self.llm, read, name, self.clips, made, keep)
        return self.whole[name]

    def keep(self, records: Sequence[Record]) -> None:
        """Write down captions that were made elsewhere; what is here already stays as it is."""
        for record in records:
            made = self.begun.setdefault(record["video"], [])
            if record["first"] == len(made):
                self.journal.append(record)
                made.extend(record["captions"])
                if len(made) == record["clips"]:
                    self.whole[record["video"]] = made


def caption_settings(llm: VideoLLM | Elsewhere, clips: Clips) -> Record:
    """All that a caption depends on."""
    known = facts_of(llm).settings
    of_the_model = {name: known[name] for name in ("model", "dtype", "device", "prompt_style")}
    return {**of_the_model, "clips": {**asdict(clips), "together": None}}


def caption_videos(
    llm: VideoLLM, videos: VideoFolder, names: Iterable[str], path: str | Path, clips: Clips = EGOSCHEMA
) -> tuple[dict[str, list[str]], Counts]:
    """The captions of several videos, made where the file does not have them; a video that fails is tried again.

    Args:
        path: the JSON-lines file, of this model and these settings alone.

    Raises:
        JournalError: it is of another model or other settings, or in use.
    """
    names, found, missing = list(dict.fromkeys(names)), {}, 0
    with Captions(llm, path, clips) as captions:
        for name in names:
            try:
                found[name] = captions.of(name, videos.read)
            except VideoError as error:
                missing += 1
                captions.journal.append({"video": name, "error": str(error)})
    return found, Counts(len(names), len(found), missing, 0)


def begun_in(records: Sequence[Record]) -> dict[str, list[str]]:
    """Captions by video, of those that are whole and of those that are not."""
    found: dict[str, list[str]] = {}
    for record in records:
        if "captions" in record:
            found.setdefault(record["video"], []).extend(record["captions"])
    return found


def captions_in(records: Sequence[Record]) -> dict[str, list[str]]:
    """Captions by video, of those whose every clip has one."""
    clips = {record["video"]: record["clips"] for record in records if "captions" in record}
    return {video: told for video, told in begun_in(records).items() if len(told) == clips[video]}


def read_captions(path: str | Path) -> dict[str, str | list[str]]:
    """A file of captions that somebody else made: JSON, each video's name with a text, a list, or texts by frame.

    Raises:
        ValueError: it is something else; names the video.
    """
    path = Path(path)
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: no JSON file of captions: {error}") from None
    if not isinstance(stored, dict) or not stored:
        raise ValueError(f"{path}: give one object, each video's name with its captions")
    return {video: told(path, video, captions) for video, captions in stored.items()}


def told(path: Path, video: str, captions: object) -> str | list[str]:
    """One video's captions; those by frame in the frames' order."""
    if isinstance(captions, Mapping) and all(key.isdecimal() for key in captions):
        captions = [captions[key] for key in sorted(captions, key=int)]
    if isinstance(captions, str) or (isinstance(captions, list) and all(isinstance(one, str) for one in captions)):
        return captions
    raise ValueError(f"{path}: captions of {video!r} are {captions!r:.80}: give a text or a list of texts")
