"""A worker of the decoding service (service.py): a process that answers one request after another, and may be killed.

A request is a line of JSON, and so is its answer; pixels go with it in a block of memory that has no name.
"""

import array
import contextlib
import json
import math
import os
import select
import signal
import socket
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from sfllava_core.video.decoders.opening import open_reader
from sfllava_core.video.frames import choose, decode
from sfllava_core.video.integrity import REENCODE, VideoError, checked_path

Message = dict[str, Any]
SMALLER = "give memory, or read fewer frames, or smaller ones (size=)"


def main(line: int, life: int) -> None:
    """Answer requests until the parent closes its line."""
    die_with_parent(life)
    with socket.socket(fileno=line) as parent, parent.makefile("rb") as requests:
        send(parent, {})
        for request in requests:
            asked = json.loads(request)
            # The parent kills us when time is up; this does where it is gone and the kernel has not told us.
            signal.alarm(0 if asked["timeout_s"] is None else math.ceil(asked["timeout_s"]) + 5)
            answer, pixels = answer_to(asked, partial(chosen_by, parent, requests))
            block = None
            if pixels is not None:
                try:
                    block = shared(pixels)
                except (OSError, MemoryError) as error:
                    answer = {"host": f"no memory for {pixels.nbytes:,} bytes of frames: {error}; {SMALLER}"}
            del pixels
            signal.alarm(0)
            send(parent, answer, block)
            if block is not None:
                os.close(block)


def chosen_by(parent: socket.socket, requests: BinaryIO, total: int) -> list[int]:
    """The frames that the parent wants of a video of `total`: its rule may be any function, and stays there."""
    send(parent, {"choose_of": total})
    return json.loads(requests.readline())["indices"]


def answer_to(asked: Message, rule: Callable[[int], list[int]]) -> tuple[Message, np.ndarray | None]:
    """What is said to a request, and the pixels that go with it. `rule` picks frames where no numbers do."""
    path = Path(asked.get("read") or asked["open"])
    try:
        if "open" in asked:
            path = checked_path(path)
            next(iter(open_reader("images" if path.is_dir() else "pyav", path).read([0])))
            return {}, None
        size, numbers = asked["size"] and tuple(asked["size"]), asked["numbers"]
        rule = rule if numbers is None else partial(choose, numbers, path)
        frames = decode(open_reader(asked["decoder"], path), path, rule, size)
    except VideoError as error:
        return {"path": str(error.path), "cause": error.cause, "remedy": error.remedy}, None
    except Exception as error:
        return {"path": str(path), "cause": f"{type(error).__name__}: {str(error)[:200]}", "remedy": REENCODE}, None
    told = {"indices": frames.indices, "fps": frames.fps, "total": frames.total, "decoder": frames.decoder}
    return {"shape": frames.pixels.shape, "timestamps": frames.timestamps.tolist(), **told}, frames.pixels


def shared(pixels: np.ndarray) -> int:
    """A block of memory that holds the pixels, known by its handle alone."""
    if hasattr(os, "memfd_create"):
        block = os.memfd_create("sfllava")
    else:
        with tempfile.TemporaryFile() as file:
            block = os.dup(file.fileno())
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(block, 0, pixels.nbytes)  # a full memory is an error here and a crash later
        with open(block, "wb", closefd=False) as file:
            pixels.tofile(file)
    except BaseException:
        os.close(block)
        raise
    return block


def die_with_parent(life: int) -> None:
    """End when this pipe's other end closes, whatever a decoder is doing: the kernel sends SIGIO, and that kills."""
    with contextlib.suppress(ImportError, AttributeError, OSError):
        import fcntl

        fcntl.fcntl(life, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(life, fcntl.F_SETFL, fcntl.fcntl(life, fcntl.F_GETFL) | os.O_ASYNC)
        if select.select([life], [], [], 0)[0]:  # it was closed before we listened
            os._exit(1)


def send(parent: socket.socket, message: Message, block: int | None = None) -> None:
    """One line, with a block's handle beside it."""
    line = json.dumps(message).encode() + b"\n"
    handles = [] if block is None else [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [block]))]
    sent = parent.sendmsg([line], handles)
    parent.sendall(line[sent:])
