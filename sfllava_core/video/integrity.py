"""Is this file what it says it is? Checks before decoding: decoders hang on lies and pass over damage in silence."""

import os
import re
import stat
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int64

from sfllava_core.video.containers import missing_end

REENCODE = "check it with ffprobe; re-encode it with `ffmpeg -i IN -c:v libx264 -pix_fmt yuv420p OUT.mp4`"
PLAYLISTS = {"concat", "hls", "dash", "sdp", "rtsp"}
REFETCH = "give the video file itself"
CUT_SHORT = ("File ended prematurely", "partial file")  # what ffmpeg says when a file stops before its end
# Containers whose packets name their own times and whose keyframes can be sought exactly; all others are gone through.
INDEXED = {"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"}
LOG = threading.RLock()  # ffmpeg's log is one for the whole process: decoding while another captures it may deadlock


class VideoError(RuntimeError):
    """A video that cannot be used. Attributes: path, cause (why), remedy (what to do)."""

    def __init__(self, path: str | Path, cause: str, remedy: str = REENCODE):
        self.path, self.cause, self.remedy = Path(path), cause, remedy
        super().__init__(f"{path}: {cause} (what to do: {remedy})")

    def __reduce__(self):  # a plain RuntimeError would be rebuilt from its message alone
        return type(self), (self.path, self.cause, self.remedy)


class HostError(RuntimeError):
    """The machine is at fault and not a video: no room, no memory, a folder that is gone, a worker that cannot start.

    It ends a run at once; nothing is recorded as failed, and the same command goes on once the cause is mended.
    """


def checked_path(path: str | Path) -> Path:
    """The absolute path, if it is a non-empty file or a folder that can be read; else a `VideoError` that says why.

    Absolute, so that no decoder takes a name such as "12:30.mp4" for an address.
    """
    if not str(path):
        raise VideoError("''", "the path is empty", "give a video file or a folder of images")
    path = at_home(Path(path)).absolute()
    try:
        found = path.stat()  # once: the file may be gone a moment later
    except (FileNotFoundError, NotADirectoryError, ValueError):
        raise VideoError(path, "there is no such file or folder", "check the path and its extension") from None
    except OSError as error:
        reason = f"it cannot be reached: {error.strerror}"
        raise VideoError(
            path, reason, "check the path and the permissions of its folders (no permission to enter?)"
        ) from None
    if not os.access(path, os.R_OK):
        raise VideoError(path, "no permission to read it", f"run `chmod u+r {path}` or run as its owner")
    file, folder = stat.S_ISREG(found.st_mode), stat.S_ISDIR(found.st_mode)
    if file and found.st_size == 0:
        raise VideoError(path, "the file is empty (0 bytes)", "download or copy it again")
    if not file and not folder:
        raise VideoError(path, "it is neither a regular file nor a folder", "give a video file or a folder of images")
    return path


def at_home(path: Path) -> Path:
    """The path with a leading ~ or ~name as the home folder it stands for; a file may be called "~x.mp4" too."""
    try:
        return path.expanduser()
    except RuntimeError:  # no such user
        return path


def open_av(path: Path):
    """The file in PyAV; tags that are not UTF-8 are no reason to refuse it."""
    import av

    return av.open(str(path), metadata_errors="ignore")


def video_stream(path: Path, container):
    """The video stream of an open PyAV container; cover art does not count."""
    streams = [s for s in container.streams.video if "attached_pic" not in str(s.disposition)]
    if not streams:
        kinds = ", ".join(sorted({s.type for s in container.streams})) or "no streams at all"
        raise VideoError(path, f"it has no video stream (it has: {kinds})", "give a file with pictures in it")
    return streams[0]


@dataclass(frozen=True, eq=False)
class Packets:
    """The video packets that are really in a file, in the order in which they are stored.

    times: when each is shown, in the stream's ticks.  keys: where decoding can begin.  shown: not skipped by an edit
    list and not a mere reference.  indexed: every shown packet is one frame with a time of its own, and the container
    can seek, so that frames can be found by their times; else only decoding the whole file tells which frame is which.
    fps: mean frames a second, by the header; NaN where it does not say.  tick: seconds of a tick.
    """

    times: Int64[np.ndarray, "packets"]
    keys: Bool[np.ndarray, "packets"]
    shown: Bool[np.ndarray, "packets"]
    indexed: bool
    fps: float
    tick: float

    @property
    def stored(self) -> int:
        """How many packets there are."""
        return len(self.times)

    @property
    def frames(self) -> int:
        """How many frames they show; of a file that is not indexed the likeliest number."""
        return int(self.shown.sum())


def read_packets(path: Path) -> Packets:
    """Read the whole file, but do not decode it: what a header says may be a lie.

    Raises:
        VideoError: the file is damaged or cut short, which decoders may pass over in silence.
    """
    import av

    with LOG:
        level = av.logging.get_level()
        av.logging.set_level(av.logging.ERROR)
        av.logging.set_skip_repeated(False)  # the second broken file says the same as the first
        try:
            with av.logging.Capture(local=False) as messages, open_av(path) as container:
                kind = container.format.name
                if kind in PLAYLISTS:
                    raise VideoError(path, f"it is a playlist ({kind}), which names other files", REFETCH)
                stream = video_stream(path, container)
                promised, codec = stream.frames, stream.codec_context.name
                tick = float(stream.time_base)
                fps = float(stream.average_rate or stream.guessed_rate or 0) or float("nan")
                rows = [
                    (packet.pts, packet.is_keyframe, is_shown(codec, packet), packet.is_corrupt)
                    for packet in container.demux(stream)
                    if packet.size
                ]
        finally:
            av.logging.set_level(level)
    stored = len(rows)
    told = [text for _, _, text in messages if any(sign in text for sign in CUT_SHORT)]
    missing = missing_end(path, kind)
    if told or missing or any(corrupt for *_, corrupt in rows):
        raise VideoError(path, f"it is cut short or damaged: {missing or f'{stored} frames are there'}")
    if promised > stored and kind != "avi":  # an avi counts frames that are empty, and its length has been checked
        raise VideoError(path, f"its header promises {promised} frames but {stored} are there: damaged or cut short")
    named = all(time is not None for time, *_ in rows)
    times = np.array([time if named else 0 for time, *_ in rows], dtype=np.int64)
    keys, shown = (np.array([row[column] for row in rows], dtype=bool) for column in (1, 2))
    apart = named and len(np.unique(times[shown])) == int(shown.sum())
    return Packets(times, keys, shown, kind in INDEXED and apart, fps, tick)


def is_shown(codec: str, packet) -> bool:
    """Whether a packet gives a picture: an edit list may hide it, and a VP8 one may be a mere reference (fifth bit)."""
    return not packet.is_discard and (codec != "vp8" or bool(bytes(packet)[0] & 0x10))


def short_message(error: BaseException, limit: int = 200) -> str:
    """The first line of a decoder's message, without the time and source line that decord puts before it."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return re.sub(r"(\[[\d:]+\] \S+:\d+: )+", "", lines[0])[:limit]
