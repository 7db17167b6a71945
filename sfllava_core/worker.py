"""Decoding in a process of its own: decord may hang for ever holding the GIL, or crash, on a broken file.

The parent starts a Python with the request as JSON on its command line; the child answers with JSON on its standard
output, and leaves the pixels in a temporary file. A hang or a crash of the child does not touch the parent, and a child
whose parent is gone ends itself.
"""

import json
import math
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from sfllava_core.decoders import open_reader
from sfllava_core.frames import Frames, decode
from sfllava_core.integrity import REENCODE, VideoError

# The package is found where it is now; the folder the user is in is not searched for modules.
START = f"""
import sys
sys.path[0] = {str(Path(__file__).parents[1])!r}
from sfllava_core.worker import main
main(sys.argv[1])
"""


def decode_in_worker(
    decoder: str, path: Path, num_frames: list[int], size: tuple[int, int] | None, timeout_s: float
) -> Frames:
    """`read_frames` in a child process, ended after `timeout_s` seconds.

    Raises:
        VideoError: decoding failed, crashed, or took too long.
    """
    with tempfile.NamedTemporaryFile(prefix="sfllava-") as pixels:
        asked = {"decoder": decoder, "path": str(path), "num_frames": num_frames, "size": size}
        request = json.dumps({**asked, "pixels": pixels.name, "timeout_s": timeout_s})
        answer = answer_of_child(request, decoder, path, timeout_s)
        if "cause" in answer:
            raise VideoError(answer["path"], answer["cause"], answer["remedy"])
        shape = answer.pop("shape")
        timestamps = np.asarray(answer.pop("timestamps"), dtype=np.float64)
        return Frames(np.fromfile(pixels, dtype=np.uint8).reshape(shape), timestamps=timestamps, **answer)


def answer_of_child(request: str, decoder: str, path: Path, timeout_s: float) -> dict:
    """Run the child to its end, or to the time limit; what it answers, as JSON."""
    child = subprocess.Popen(
        [sys.executable, "-c", START, request],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        answer, log = child.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        remedy = f"raise timeout_s if the file is merely long; else {REENCODE}"
        raise VideoError(path, f"{decoder} gave no answer within {timeout_s:g} s", remedy) from None
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
    return json.loads(answer)


def main(request: str) -> None:
    """The child: decode and write the answer to what was standard output (moved lest a library print there)."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    asked = json.loads(request)
    if hasattr(signal, "alarm"):
        signal.alarm(math.ceil(asked["timeout_s"]) + 5)  # the parent ends us before; if it is gone, this does
    path, size = Path(asked["path"]), asked["size"] and tuple(asked["size"])
    try:
        frames = decode(open_reader(asked["decoder"], path), path, asked["num_frames"], size)
    except VideoError as error:
        answer = {"path": str(error.path), "cause": error.cause, "remedy": error.remedy}
    else:
        frames.pixels.tofile(asked["pixels"])
        answer = {
            "shape": frames.pixels.shape, "timestamps": frames.timestamps.tolist(), "indices": frames.indices,
            "fps": frames.fps, "total": frames.total, "decoder": frames.decoder,
        }  # fmt: skip
    with out:
        out.write(json.dumps(answer).encode())
