"""Video names -> files -> frames: a benchmark's videos, wherever they lie below one folder, and nowhere else."""

import os
import re
from collections import defaultdict
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path, PurePosixPath
from typing import SupportsIndex

from sfllava_core.video.decoders.images import IMAGE_SUFFIXES
from sfllava_core.video.frames import FrameRule, Frames
from sfllava_core.video.integrity import VideoError
from sfllava_core.video.reading import DEFAULT_TIMEOUT_S, read_frames
from sfllava_core.video.service import decode_workers

VIDEO_SUFFIXES = (
    ".mp4", ".webm", ".mkv", ".avi", ".mov", ".m4v", ".mpg", ".mpeg", ".ts", ".ogv", ".ogg", ".wmv", ".flv", ".3gp",
    ".gif",
)  # fmt: skip


def without_extension(name: str) -> str:
    """The name without a video's extension; other dots are part of it ("walk_0.5_10.25" stays as it is)."""
    stem, suffix = os.path.splitext(name)
    return stem if suffix.lower() in VIDEO_SUFFIXES and stem else name


class VideoFolder:
    """The videos below a folder, by name, and how they are decoded.

    A video is a file with a video's extension in any letter case, in any sub-folder, or a folder of images. A name is
    found as it is, with "v_" put before it, or with its "v_" taken off (ActivityNet is stored both ways), and may lead
    through sub-folders ("1164/4010069381"). Letter case counts: YouTube's ids differ by it.

    The folder is read once, when the object is made.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        follow_links: bool = False,
        timeout_s: float | None = DEFAULT_TIMEOUT_S,
        workers: int | None = None,
        prefetch: int | None = None,
    ):
        """Look for the videos.

        Args:
            root: the folder.
            follow_links: use links, too, that lead out of it.
            timeout_s: limit for decoding one video, in seconds; None is no limit.
            workers: how many videos are decoded at a time where many are read; None is `decode_workers`, which goes
                by the cores.
            prefetch: how many are decoded in advance then, and wait in memory; None is twice the workers.

        Raises:
            VideoError: there is no such folder.
            ValueError: less than 1 worker, or less than 1 in advance.
        """
        workers = decode_workers() if workers is None else workers
        prefetch = 2 * workers if prefetch is None else prefetch
        if workers < 1 or prefetch < 1:
            raise ValueError(f"workers={workers}, prefetch={prefetch}: both must be at least 1")
        self.timeout_s, self.workers, self.prefetch = timeout_s, workers, prefetch
        self.root = Path(root)
        if not self.root.is_dir():
            raise VideoError(self.root, "there is no such folder", "give the folder that holds the videos")
        self.follow_links = follow_links
        self.outside: list[Path] = []
        self.by_name: dict[str, list[Path]] = defaultdict(list)
        for path in self._scan():
            self.by_name[without_extension(path.name)].append(path)

    def __len__(self) -> int:
        """How many videos there are."""
        return sum(map(len, self.by_name.values()))

    def find(self, name: str) -> Path:
        """The file (or folder of images) of the video called `name`.

        Raises:
            VideoError: none, or several that are equally good; says what is like it.
        """
        wanted = PurePosixPath(without_extension(name))
        for last in spellings(wanted.name):
            folders = wanted.parts[:-1]
            found = [p for p in self.by_name.get(last, []) if p.parent.parts[-len(folders) :] == folders or not folders]
            if found:
                return self._best(name, found)
        raise VideoError(self.root / name, self._why_missing(wanted.name), "put it below the videos' folder")

    def read(
        self,
        name: str,
        num_frames: FrameRule | Sequence[FrameRule] = 50,
        *,
        decoder: str = "auto",
        size: Sequence[SupportsIndex] | None = None,
    ) -> Frames:
        """Frames of the video called `name`, as `read_frames` gives them, within this folder's limit of time.

        Raises:
            VideoError: no such video, or it cannot be decoded in time.
            HostError: the machine is at fault.
        """
        return read_frames(self.find(name), num_frames, decoder=decoder, size=size, timeout_s=self.timeout_s)

    def _scan(self) -> list[Path]:
        """All videos below the root."""
        root, found = self.root.resolve(), []
        visited: set[Path] = set()
        for folder, subfolders, files in os.walk(self.root, followlinks=True):
            here = Path(folder).resolve()
            if here in visited or not self._allowed(Path(folder), here, root):
                subfolders.clear()
                continue
            visited.add(here)
            subfolders[:] = sorted(s for s in subfolders if not s.startswith("."))
            videos = sorted(Path(folder, f) for f in files if f.lower().endswith(VIDEO_SUFFIXES) and f[0] != ".")
            found += [path for path in videos if self._allowed(path, path.resolve(), root)]
            images = [Path(folder, f) for f in files if f.lower().endswith(IMAGE_SUFFIXES)]
            pictures = any(path.suffix.lower() != ".gif" for path in images)
            links = [path for path in images if path.is_symlink()]
            if pictures and not videos and here != root and all(self._allowed(p, p.resolve(), root) for p in links):
                found.append(Path(folder))
        return found

    def _allowed(self, path: Path, target: Path, root: Path) -> bool:
        """Whether a path may be used: what it really is lies below the root, or links may be followed."""
        inside = target == root or root in target.parents
        if not inside and not self.follow_links:
            self.outside.append(path)
        return inside or self.follow_links

    def _best(self, name: str, found: list[Path]) -> Path:
        """The one video among files of the same name: by extension; two in different places are refused."""
        rank = {suffix: place for place, suffix in enumerate(VIDEO_SUFFIXES)}
        ranked = sorted(found, key=lambda path: rank.get(path.suffix.lower(), len(rank)))
        rivals = [path for path in ranked if path.parent != ranked[0].parent or path.suffix == ranked[0].suffix]
        if len(rivals) > 1:
            places = ", ".join(str(path.relative_to(self.root)) for path in ranked)
            raise VideoError(
                self.root / name, f"{len(ranked)} videos have this name: {places}", "keep one of them below the folder"
            )
        return ranked[0]

    def _why_missing(self, name: str) -> str:
        """What to say of a name that is not there."""
        links = [p for p in self.outside if {without_extension(p.name), p.parent.name} & {*spellings(name)}]
        if links:
            where = links[0].resolve()
            return f"{links[0].name} is a link that leads out of the videos' folder ({where}): pass follow_links=True"
        plain = re.sub(r"\W", "", name).lower()
        alike = [n for n in self.by_name if re.sub(r"\W", "", n).lower() == plain]
        alike = alike or (get_close_matches(name, self.by_name, n=2) if len(self.by_name) < 2000 else [])
        hint = f"; there is {', '.join(map(repr, alike[:2]))}" if alike else ""
        return f"no video of this name among the {len(self)} below {self.root}{hint}"


def spellings(name: str) -> list[str]:
    """The ways in which a video's name may be written on disk, likeliest first."""
    return [name, f"v_{name}", *([name[2:]] if name.startswith("v_") else [])]
