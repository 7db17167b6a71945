"""A run's surroundings: disk, folder, permissions. What they are at fault for is no answer, and stops the run.

A video that cannot be read is recorded as failed only while all around it is as it was when the run began.
"""

import errno
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sfllava_core.video.folder import VideoFolder
from sfllava_core.video.frames import FrameRule, Frames
from sfllava_core.video.integrity import HostError, VideoError

TEMPORARY_BYTES = 16 << 20  # 50 frames of a model's size
RUN_BYTES = 4 << 20  # some thousand records
GO_ON = "then give the same command: it goes on, and what is answered is kept"
OF_THE_HOST = {
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.ENOMEM, errno.EMFILE, errno.ENFILE,
    errno.EACCES, errno.EPERM, errno.ESTALE, errno.ENODEV, errno.ENXIO, errno.ENOTCONN,
}  # fmt: skip


class Surroundings:
    """The videos of a run, as they are when it begins.

    names: of the videos that it will read. One that cannot be used at the beginning, which the preflight says, is that
    video's own fault for the whole of the run.
    """

    def __init__(self, videos: VideoFolder, names: Iterable[str]):
        self.videos, self.found = videos, {}
        for name in dict.fromkeys(names):
            try:
                path = videos.find(name)
            except VideoError:
                continue
            if readable(path):
                self.found[name] = path

    def read(self, name: str, num_frames: FrameRule | list[FrameRule], **options: Any) -> Frames:
        """`VideoFolder.read`.

        Raises:
            VideoError: the video cannot be used.  HostError: the machine is at fault, or a file or folder that could be
                read when the run began cannot any more.
        """
        try:
            return self.videos.read(name, num_frames, **options)
        except VideoError as error:
            self.check(name, error)
            raise

    def check(self, name: str, error: VideoError) -> None:
        """Refuse to take an error for a video's own where the videos are not as they were.

        Raises:
            HostError: the videos' folder, or this video, is gone or cannot be read any more.
        """
        root, path = self.videos.root, self.found.get(name)
        lost = root if not readable(root) else path if path is not None and not readable(path) else None
        if lost is not None:
            raise HostError(
                f"{lost}: it was there when the run began, and is gone or cannot be read any more ({error.cause}): "
                f"see to its disk and permissions, {GO_ON}"
            ) from error


@contextmanager
def host_at_fault(path: str | Path = "") -> Iterator[None]:
    """Within, and as a decorator: an `OSError` of the machine (full disk, no permission, ...) becomes a `HostError`.

    path: what is being written, where the error may not name it.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in OF_THE_HOST:
            raise
        name = error.filename or path
        where = f"{name}: " if name else ""
        raise HostError(f"{where}{error.strerror}: make room, or mend the permissions, {GO_ON}") from error


def readable(path: Path) -> bool:
    """Whether a file is there and can be read, or a folder listed; does not open it."""
    return os.access(path, os.R_OK | os.X_OK if path.is_dir() else os.R_OK)


def check_room(out: str | Path | None, temporary_bytes: int = TEMPORARY_BYTES, run_bytes: int = RUN_BYTES) -> list[str]:
    """Obstacles: no room for decoded frames in the temporary folder, or for the answers where a run's files will be.

    Both are tried out: a few MB are written, and taken away again. Makes no folder. out: None tries the first alone.
    """
    try:
        temporary = tempfile.gettempdir()
    except OSError as error:  # none of those that the system has can be written to
        obstacles = [f"{error.strerror}: set TMPDIR=... to a folder that can be written to"]
    else:
        obstacles = no_room(Path(temporary), temporary_bytes, "make room, or set TMPDIR=... to a folder that has it")
    if out is None:
        return obstacles
    out = Path(out).absolute()
    there = next(folder for folder in (out, *out.parents) if folder.is_dir())
    return obstacles + no_room(there, run_bytes, "make room, or give another folder")


def no_room(folder: Path, size: int, remedy: str) -> list[str]:
    """[why `size` bytes cannot be written in a folder], or [] where they can."""
    try:
        with tempfile.TemporaryFile(prefix="sfllava-", dir=folder) as file:
            file.write(bytes(size))
            file.flush()
            os.fsync(file.fileno())  # some disks tell only now
    except OSError as error:
        return [f"{folder}: {size >> 20} MB cannot be written there ({error.strerror}): {remedy}"]
    return []
