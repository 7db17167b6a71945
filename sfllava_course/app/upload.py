"""A control that takes one video at a time from the browser: bounded, in pieces, and removed again."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import anywidget
from traitlets import Unicode

MIB = 2**20
DEFAULT_LIMIT = 500 * MIB  # bytes


class UploadError(ValueError):
    """What was sent is not taken."""


class Upload(anywidget.AnyWidget):
    """A button for a video file. The file lies in a folder of its own until the next one comes, or the kernel ends.

    Args:
        on_video: called with the path of a file that has arrived, and the name that it had.
        limit: bytes of a file at most.
    """

    _esm = Path(__file__).with_name("upload.js")
    said = Unicode("").tag(sync=True)

    def __init__(self, on_video: Callable[[Path, str], None], limit: int = DEFAULT_LIMIT):
        super().__init__()
        self.on_video, self.limit = on_video, limit
        self.folder = TemporaryDirectory(prefix="sfllava-upload-")
        self.path: Path | None = None
        self.name, self.size, self.come = "", 0, 0
        self.on_msg(self._take)

    def _take(self, _widget: object, message: dict, buffers: list[memoryview]) -> None:
        try:
            if message["kind"] == "begin":
                self._begin(str(message["name"]), int(message["size"]))
            elif message["kind"] == "piece" and self.path is not None:
                self._add(buffers, self.path)
            elif message["kind"] == "end" and self.path is not None:
                self._end(self.path)
            elif message["kind"] == "stop":
                raise UploadError(f"{self.name}: the browser could not read it ({message['why']})")
        except (UploadError, OSError) as error:
            self.forget()
            self.send({"kind": "stop"})
            self.said = f"error: {error}"

    def _begin(self, name: str, size: int) -> None:
        self.forget()
        if size > self.limit:
            raise UploadError(
                f"{name} has {size / MIB:,.0f} MiB, and {self.limit / MIB:,.0f} are taken at most: cut it, or start "
                "the app with a larger --max-upload"
            )
        if size < 1:
            raise UploadError(f"{name} is empty")
        self.name, self.size, self.come = name, size, 0
        suffix = "".join(letter for letter in Path(name).suffix[:8] if letter.isalnum() or letter == ".")
        self.path = Path(self.folder.name) / f"video{suffix}"  # never a name that the browser chose
        self.path.touch()
        self.send({"kind": "next"})

    def _add(self, buffers: list[memoryview], path: Path) -> None:
        self.come += sum(len(piece) for piece in buffers)
        if self.come > self.size:
            raise UploadError(f"{self.name}: more than the {self.size} bytes that it was said to have")
        with path.open("ab") as file:
            for piece in buffers:
                file.write(piece)
        self.said = f"{self.name}: {100 * self.come / self.size:.0f} %"
        self.send({"kind": "next"})

    def _end(self, path: Path) -> None:
        if self.come != self.size:
            raise UploadError(f"{self.name}: {self.come} of {self.size} bytes have come")
        self.said = f"{self.name}: {self.size / MIB:.1f} MiB"
        self.on_video(path, self.name)

    def forget(self) -> None:
        """Remove what was uploaded."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)
        self.path = None
