"""Is this file what it says it is? Checks before decoding: decoders hang on lies and pass over damage in silence."""

import os
import re
from pathlib import Path
from typing import NamedTuple

REENCODE = "check it with ffprobe; re-encode it with `ffmpeg -i IN -c:v libx264 -pix_fmt yuv420p OUT.mp4`"

# What ffmpeg says when a file stops before its end.
PLAYLISTS = {"concat", "hls", "dash", "sdp", "rtsp"}
REFETCH = "give the video file itself"
CUT_SHORT = ("File ended prematurely", "partial file")


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
    path = Path(path).expanduser().absolute()
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError):
        raise VideoError(path, "there is no such file or folder", "check the path and its extension") from None
    except OSError as error:
        reason = f"it cannot be reached: {error.strerror}"
        raise VideoError(
            path, reason, "check the path and the permissions of its folders (no permission to enter?)"
        ) from None
    if not os.access(path, os.R_OK):
        raise VideoError(path, "no permission to read it", f"run `chmod u+r {path}` or run as its owner")
    if path.is_file() and path.stat().st_size == 0:
        raise VideoError(path, "the file is empty (0 bytes)", "download or copy it again")
    if not path.is_file() and not path.is_dir():
        raise VideoError(path, "it is neither a regular file nor a folder", "give a video file or a folder of images")
    return path


def open_av(path: Path):
    import av

    return av.open(str(path), metadata_errors="ignore")


def video_stream(path: Path, container):
    """The video stream of an open PyAV container; cover art does not count."""
    streams = [s for s in container.streams.video if "attached_pic" not in str(s.disposition)]
    if not streams:
        kinds = ", ".join(sorted({s.type for s in container.streams})) or "no streams at all"
        raise VideoError(path, f"it has no video stream (it has: {kinds})", "give a file with pictures in it")
    return streams[0]


class Packets(NamedTuple):
    """Video packets really in a file: all that are stored, and those that its edit list does not skip."""

    stored: int
    shown: int


def count_packets(path: Path) -> Packets:
    """Read the whole file, but do not decode it: what a header says may be a lie.

    Raises:
        VideoError: the file is damaged or cut short, which decoders may pass over in silence.
    """
    import av

    level = av.logging.get_level()
    av.logging.set_level(av.logging.ERROR)
    try:
        with av.logging.Capture(local=False) as messages, open_av(path) as container:
            if container.format.name in PLAYLISTS:
                raise VideoError(path, f"it is a playlist ({container.format.name}), which names other files", REFETCH)
            stream = video_stream(path, container)
            promised = stream.frames
            packets = [(packet.is_discard, packet.is_corrupt) for packet in container.demux(stream) if packet.size]
    finally:
        av.logging.set_level(level)
    stored = len(packets)
    told = [text for _, _, text in messages if any(sign in text for sign in CUT_SHORT)]
    if told or any(corrupt for _, corrupt in packets) or (path.suffix.lower() == ".gif" and not gif_is_whole(path)):
        raise VideoError(path, f"it is cut short or damaged: {stored} frames are there")
    if promised > stored:
        raise VideoError(path, f"its header promises {promised} frames but {stored} are there: damaged or cut short")
    return Packets(stored, sum(not discarded for discarded, _ in packets))


def gif_is_whole(path: Path) -> bool:
    """Whether a GIF ends with its trailer byte; some writers put a few zeros behind it."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 64))
        return file.read().rstrip(b"\0").endswith(b";")


def short_message(error: BaseException, limit: int = 200) -> str:
    """The first line of a decoder's message, without the time and source line that decord puts before it."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return re.sub(r"(\[[\d:]+\] \S+:\d+: )+", "", lines[0])[:limit]
