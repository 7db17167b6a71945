"""`sfllava speed decode`: what long-lived workers save. Each file is read twice, first by a child made for it alone.

Both reads take the same way through `read_frames`, in one run and right after each other, so that their ratio means
something on a noisy machine; the file has been read into the machine's memory before either.
"""

import math
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from tqdm import tqdm

from sfllava_core.defaults import CLIP, POCKETBENCH, required
from sfllava_core.video.folder import VIDEO_SUFFIXES
from sfllava_core.video.reading import read_frames
from sfllava_core.video.service import service


def compare_decoding(films: int | None, num_frames: int, seconds: float) -> list[dict[str, object]]:
    """Frames a second of PocketBench's films (the first so many; None: all) and of one file of so many seconds.

    Raises:
        RuntimeError: the two ways gave different frames.  FileNotFoundError: no films; they come with a clone.
    """
    folder = required(POCKETBENCH / "videos")
    paths = sorted(path for path in folder.iterdir() if path.suffix in VIDEO_SUFFIXES)[:films]
    rows = [row(f"{len(paths)} films", paths, num_frames)]
    with TemporaryDirectory(prefix="sfllava-") as temporary:
        long = Path(temporary) / "long.mp4"
        length = repeat(required(CLIP), long, seconds)
        rows.append(row(f"one file of {length:.0f} s", [long], num_frames))
    return rows


def row(files: str, paths: list[Path], num_frames: int) -> dict[str, object]:
    """Read these files both ways; one line of the table."""
    child, kept, frames = 0.0, 0.0, 0
    for path in tqdm(paths, desc=files, disable=None, leave=False):
        path.read_bytes()
        service().close()  # so that the next read starts a child, which then serves the one after it
        began = time.perf_counter()
        alone = read_frames(path, num_frames)
        between = time.perf_counter()
        again = read_frames(path, num_frames)
        kept += time.perf_counter() - between
        child += between - began
        frames += len(alone)
        if alone.indices != again.indices or not np.array_equal(alone.pixels, again.pixels):
            raise RuntimeError(f"{path}: the decoding service gave other frames than a child process of its own")
    return {
        "files": files,
        "frames": frames,
        "a child for each": f"{frames / child:.0f} frames/s",
        "service": f"{frames / kept:.0f} frames/s",
        "ratio": f"{child / kept:.1f} x",
    }


def repeat(clip: Path, target: Path, seconds: float) -> float:
    """Write a clip again and again, as it is, into one file of at least so many seconds; its length."""
    import av

    with av.open(str(clip)) as source, av.open(str(target), "w") as out:
        stream = source.streams.video[0]
        copy = out.add_stream_from_template(stream)
        length = stream.duration
        times = math.ceil(seconds / float(length * stream.time_base))
        for number in range(times):
            source.seek(0)
            for packet in source.demux(stream):
                if packet.dts is not None:  # the last one is empty
                    packet.dts += number * length
                    packet.pts += number * length
                    packet.stream = copy
                    out.mux(packet)
        return times * float(length * stream.time_base)
