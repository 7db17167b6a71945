"""`sfllava speed decode`: what long-lived workers save, and what seeking to keyframes does.

Each file is read twice, right after each other in one run, so that the ratio means something on a noisy machine; it
has been read into the machine's memory before either. Short films are read by a child made for each and by the
service; a long file of 720p, made on the spot, is gone through and sought in.
"""

import math
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from tqdm import tqdm

from sfllava_bench.answers.prefetch import Decoded, prefetch
from sfllava_core.defaults import CLIP, POCKETBENCH, required
from sfllava_core.video.decoders.pyav import PyAVReader
from sfllava_core.video.folder import VIDEO_SUFFIXES
from sfllava_core.video.frames import sample_frame_indices
from sfllava_core.video.reading import read_frames
from sfllava_core.video.service import cores, service, set_workers


def compare_decoding(films: int | None, num_frames: int, seconds: float) -> list[dict[str, object]]:
    """Frames a second of PocketBench's films (the first so many; None: all) and of one file of so many seconds.

    Raises:
        RuntimeError: the two ways gave different frames.  FileNotFoundError: no films; they come with a clone.
    """
    paths = pocketbench(films)
    rows = [row(f"{len(paths)} films", paths, num_frames)]
    with TemporaryDirectory(prefix="sfllava-") as temporary:
        long = Path(temporary) / "long.mp4"
        length = repeat(required(CLIP), long, seconds)
        rows.append(row(f"one file of {length:.0f} s", [long], num_frames))
    return rows


def pocketbench(films: int | None) -> list[Path]:
    """PocketBench's films, the first so many; None: all."""
    folder = required(POCKETBENCH / "videos")
    return sorted(path for path in folder.iterdir() if path.suffix in VIDEO_SUFFIXES)[:films]


def frames_of(one: Decoded) -> int:
    """How many frames were read. Raises the video's error where none were."""
    if one.frames is None:
        raise one.error or RuntimeError(f"{one.video}: no frames and no error")
    return len(one.frames)


def compare_pools(number: int | None, num_frames: int, sizes: Sequence[int]) -> list[dict[str, object]]:
    """Frames a second of PocketBench's films, read as a run reads them, by so many workers; a row for each size.

    number: of films, the first ones; None: all.

    Raises:
        FileNotFoundError: no films; they come with a clone.
    """
    films, rows, first = [str(path) for path in pocketbench(number)], [], 0.0
    try:
        for size in sizes:
            set_workers(size)
            read = partial(read_frames, num_frames=num_frames)
            list(prefetch(films[:size] * 2, read, workers=size, count=size))  # the workers are there
            began = time.perf_counter()
            frames = sum(map(frames_of, prefetch(films, read, workers=size, count=2 * size)))
            rate = frames / (time.perf_counter() - began)
            first = first or rate
            rows.append({"decode workers": size, "films": len(films), "frames": frames,
                         "frames/s": f"{rate:.0f}", "ratio": f"{rate / first:.1f} x"})  # fmt: skip
    finally:
        set_workers(cores())
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
        length, unit = stream.duration, stream.time_base
        assert length is not None and unit is not None, f"{clip}: the kit's own clips tell their length"
        times = math.ceil(seconds / float(length * unit))
        for number in range(times):
            source.seek(0)
            for packet in source.demux(stream):
                if packet.dts is not None and packet.pts is not None:  # the last one is empty
                    packet.dts += number * length
                    packet.pts += number * length
                    packet.stream = copy
                    out.mux(packet)
        return times * float(length * unit)


class Counting(PyAVReader):
    """Counts the frames that it decodes."""

    decoded = 0

    def frames(self, container):
        for frame in super().frames(container):
            self.decoded += 1
            yield frame


def compare_seeking(seconds: float, numbers: tuple[int, ...]) -> list[dict[str, object]]:
    """One 720p file of so many seconds, x264 with its own choice of keyframes: gone through and sought in.

    numbers: of frames that are sampled; one line of the table for each.

    Raises:
        RuntimeError: the two ways gave different frames.  FileNotFoundError: no clip to make it of.
    """
    with TemporaryDirectory(prefix="sfllava-") as temporary:
        part, file = Path(temporary) / "part.mp4", Path(temporary) / "720p.mp4"
        enlarge(required(CLIP), part, 720, 1280)
        length = repeat(part, file, seconds)
        reader = Counting(file)
        return [seeking_row(f"720p of {length:.0f} s", reader, number) for number in numbers]


def seeking_row(name: str, reader: Counting, num_frames: int) -> dict[str, object]:
    """Read this file both ways; one line of the table."""
    indices, seconds, decoded, read = sample_frame_indices(reader.total, num_frames), [], [], []
    for way in (reader.by_count, reader.by_time):
        reader.decoded, began = 0, time.perf_counter()
        read.append(list(way(indices)))
        seconds.append(time.perf_counter() - began)
        decoded.append(reader.decoded)
    if len(read[1]) != len(indices) or any(not np.array_equal(a[0], b[0]) for a, b in zip(*read)):
        raise RuntimeError(f"{reader.path}: seeking gave other frames than going through")
    return {
        "file": name,
        "keyframes": int(reader.packets.keys.sum()),
        "sampled": len(indices),
        "decoded, going through": decoded[0],
        "decoded, seeking": decoded[1],
        "going through": f"{seconds[0]:.2f} s",
        "seeking": f"{seconds[1]:.2f} s",
        "ratio": f"{seconds[0] / seconds[1]:.1f} x",
    }


def enlarge(clip: Path, target: Path, height: int, width: int) -> None:
    """Write a clip in another size, by x264."""
    import av

    with av.open(str(clip)) as source, av.open(str(target), "w") as out:
        stream = out.add_stream("libx264", rate=25, options={"preset": "veryfast"})
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        for number, frame in enumerate(source.decode(video=0)):
            picture = av.VideoFrame.from_ndarray(frame.to_ndarray(width=width, height=height, format="rgb24"))
            picture.pts = number
            out.mux(stream.encode(picture))
        out.mux(stream.encode())
