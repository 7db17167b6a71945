"""What stands for files in a run's identity: another content is another run, another place is not."""

import hashlib
from functools import cache
from pathlib import Path


def file_mark(path: Path) -> str:
    """Stands for a file's content. Raises OSError where it cannot be read."""
    about = path.stat()
    return content_mark(path, about.st_size, about.st_mtime_ns)


@cache
def content_mark(path: Path, size: int, time_ns: int) -> str:
    """A file read through, once while it stays as it is."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(2**20):
            digest.update(piece)
    return digest.hexdigest()[:16]


def model_files(model: str) -> list[list]:
    """Names, sizes and times of a local checkpoint's files: another checkpoint in the same folder is another model."""
    folder = Path(model)
    files = sorted(file for file in folder.iterdir() if file.is_file()) if folder.is_dir() else []
    return [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files]
