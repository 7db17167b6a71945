"""A video told in words: one caption a clip by any model that watches videos, made once and kept.

    video -> clips -> frames of each -> `VideoLLM` -> captions.jsonl -> every question, every method, every later run

Captions do not depend on a question, so a file of them belongs to a model and the settings here, and to nothing else.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from sfllava_bench.answers.counts import Counts
from sfllava_bench.answers.journal import Journal, Record
from sfllava_bench.answers.video_model import VideoModel, model_fingerprint
from sfllava_core.methods.slowfast import uniform
from sfllava_core.video.folder import VideoFolder
from sfllava_core.video.integrity import VideoError


@dataclass(frozen=True)
class Clips:
    """How a video is cut and told.

    every_s: seconds from one clip's start to the next one's.
    length_s: a clip's own.
    frames: how many of a clip are shown, at even distances.
    question: what the model is asked of each (ours).
    new_tokens: the most of a caption.
    together: clips that are read from the file at once.
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


def caption_video(llm: VideoModel, videos: VideoFolder, name: str, clips: Clips = EGOSCHEMA) -> list[str]:
    """The captions of one video, one a clip.

    Raises:
        VideoError: it cannot be found, decoded, or cut.
    """
    first = videos.read(name, 1)
    try:
        wanted = clips.indices(first.total, first.fps)
    except ValueError as error:
        raise VideoError(videos.find(name), str(error), "give another video") from error
    told, method = [], uniform(clips.frames)
    for start in range(0, len(wanted), clips.together):
        some = wanted[start : start + clips.together]
        frames = videos.read(name, lambda _, some=some: sorted({index for clip in some for index in clip}))
        place = {index: number for number, index in enumerate(frames.indices)}
        for clip in some:
            watched = llm.watch_frames(frames.pixels[[place[index] for index in clip]], method)
            told.append(watched.ask(clips.question, max_new_tokens=clips.new_tokens))
    return told


def caption_videos(
    llm: VideoModel, videos: VideoFolder, names: Iterable[str], path: str | Path, clips: Clips = EGOSCHEMA
) -> tuple[dict[str, list[str]], Counts]:
    """The captions of several videos, made where the file does not have them; a video that fails is tried again.

    Args:
        path: the JSON-lines file, of this model and these settings alone.

    Raises:
        JournalError: it is of another model or other settings, or in use.
    """
    names = list(dict.fromkeys(names))
    settings = {"model": model_fingerprint(llm.model), "clips": {**asdict(clips), "together": None}}
    with Journal(path, "captions", settings) as journal:
        for name in names:
            if name in captions_in(journal.records):
                continue
            try:
                journal.append({"video": name, "captions": caption_video(llm, videos, name, clips)})
            except VideoError as error:
                journal.append({"video": name, "error": str(error)})
        made = captions_in(journal.records)
        failed = {record["video"] for record in journal.records if "error" in record} - made.keys()
        found = {name: made[name] for name in names if name in made}
        missing = len(failed & set(names))
        return found, Counts(len(names), len(found), missing, len(names) - len(found) - missing)


def captions_in(records: Sequence[Record]) -> dict[str, list[str]]:
    """Captions by video."""
    return {record["video"]: record["captions"] for record in records if "captions" in record}


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
