"""Decoding in a process of its own: decord may hang for ever holding the GIL, or crash, on a broken file.

The parent starts `python -m sfllava_core.worker` with the request as JSON on its command line; the child answers on
its standard output with one line of JSON and then the raw pixels. Nothing that the child does can hurt the parent.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np

from sfllava_core.decoders import open_reader
from sfllava_core.frames import Frames, decode
from sfllava_core.integrity import REENCODE, VideoError


def decode_in_worker(
    decoder: str, path: Path, num_frames: int, size: tuple[int, int] | None, timeout_s: float
) -> Frames:
    """`read_frames` in a child process, ended after `timeout_s` seconds.

    Raises:
        VideoError: decoding failed, crashed, or took too long.
    """
    request = json.dumps({"decoder": decoder, "path": str(path), "num_frames": num_frames, "size": size})
    # A file by its name alone must be found from the child too, and the package even where it is not installed.
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]),
    }
    child = subprocess.Popen(
        [sys.executable, "-m", "sfllava_core.worker", request],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env,
    )  # fmt: skip
    try:
        answer, log = child.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        raise VideoError(
            path,
            f"{decoder} gave no answer within {timeout_s:g} s",
            f"raise timeout_s if the file is merely long; else {REENCODE}",
        ) from None
    finally:
        if child.poll() is None:
            child.kill()
            child.communicate()
    if child.returncode != 0:
        how = (
            f"signal {signal.Signals(-child.returncode).name}"
            if child.returncode < 0
            else f"exit code {child.returncode}"
        )
        last = (log.decode(errors="replace").strip().splitlines() or ["no message"])[-1][:200]
        raise VideoError(path, f"{decoder} crashed ({how}): {last}")
    return unpack(answer, path)


def unpack(answer: bytes, path: Path) -> Frames:
    """Rebuild the child's `Frames`, or raise its `VideoError`."""
    header, _, raw = answer.partition(b"\n")
    fields = json.loads(header)
    if "cause" in fields:
        raise VideoError(fields["path"], fields["cause"], fields["remedy"])
    pixels = np.frombuffer(raw, dtype=np.uint8).reshape(fields.pop("shape")).copy()
    timestamps = np.asarray(fields.pop("timestamps"), dtype=np.float64)
    return Frames(pixels=pixels, timestamps=timestamps, **fields)


def main(request: str) -> None:
    """The child: decode and write the answer to what was standard output (moved lest a library print there)."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    asked = json.loads(request)
    path, size = Path(asked["path"]), asked["size"] and tuple(asked["size"])
    try:
        frames = decode(open_reader(asked["decoder"], path), path, asked["num_frames"], size)
    except VideoError as error:
        out.write(json.dumps({"path": str(error.path), "cause": error.cause, "remedy": error.remedy}).encode() + b"\n")
    else:
        header = {
            "shape": frames.pixels.shape, "timestamps": frames.timestamps.tolist(), "indices": frames.indices,
            "fps": frames.fps, "total": frames.total, "decoder": frames.decoder,
        }  # fmt: skip
        out.write(json.dumps(header).encode() + b"\n")
        out.write(np.ascontiguousarray(frames.pixels).data)
    out.flush()


if __name__ == "__main__":
    main(sys.argv[1])
