"""A Jupyter kernel in a box, talked to over files: cells are run in it, and functions that it holds are called.

Only its replies are read, never what it prints: a flood of output goes nowhere.
"""

import json
import pickle
import sys
import tempfile
import time
from ast import literal_eval
from base64 import b64encode
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from queue import Empty
from typing import Any

import zmq
from jupyter_client.blocking import BlockingKernelClient
from jupyter_client.connect import write_connection_file

from sfllava_course.grading import enclosed
from sfllava_course.grading.sandbox import Box, Limits, missing
from sfllava_course.grading.values import decode

LARGEST_REPLY = 16 * 1024**2  # bytes
PEACE_S = 2.0  # an interrupted cell has so long to end


class Ended(BaseException):
    """The kernel is gone, and why. No fault of the answer that was being checked: nothing on the way may catch it."""


class TooLong(Exception):
    """A cell or an answer took longer than it may; the kernel lives on."""


class Kernel(AbstractContextManager):
    """A fresh kernel.

    Args:
        longest: seconds for one cell or one call.
        hidden: folders that it must not see.
    """

    def __init__(self, limits: Limits, longest: float, hidden: tuple[Path, ...] = ()):
        self.longest = longest
        self.folder = tempfile.TemporaryDirectory(prefix="sfllava-")
        line, room = Path(self.folder.name) / "line", Path(self.folder.name) / "room"
        for folder in (line, room):
            folder.mkdir(mode=0o700)
        seen = line if missing() else Path(enclosed.LINE)  # by the kernel
        context = zmq.Context()
        context.setsockopt(zmq.MAXMSGSIZE, LARGEST_REPLY)  # for the sockets to come
        self.client = BlockingKernelClient(context=context)
        _, about = write_connection_file(str(line / "kernel.json"), transport="ipc", ip=str(seen / "k"))
        self.client.load_connection_info({**about, "ip": str(line / "k")})
        command = [sys.executable, "-m", "ipykernel_launcher", "-f", str(seen / "kernel.json"),
                   "--HistoryManager.enabled=False"]  # fmt: skip
        self.box = Box(command, line, room, limits, hidden)
        self.client.start_channels(iopub=False, stdin=False, hb=False)
        try:
            self.reply_to(self.client.kernel_info(), limits.seconds)
        except (TooLong, Ended) as error:
            self.close()
            raise Ended(f"the kernel did not start: {self.box.ended or error}") from None

    def run(self, source: str) -> str:
        """Run a cell; what it raised, or "".

        Raises:
            TooLong: it was interrupted.
            Ended: the kernel is gone.
        """
        content = self.reply_to(self.client.execute(source, allow_stdin=False, stop_on_error=False), self.longest)
        if any(one.get("source") == "ask_exit" for one in content.get("payload", [])):
            raise Ended("a cell called exit()")
        return "" if content.get("status") == "ok" else said(content)

    def function(self, name: str) -> Callable[..., Any]:
        """The function of this name that the kernel holds now, to be called from here."""

        def call(*inputs: Any) -> Any:
            packed = b64encode(pickle.dumps(inputs)).decode()
            from_inside = "__import__('sfllava_course.grading.inside', fromlist=['call']).call"
            asked = {"answer": f"{from_inside}(globals()[{name!r}], {packed!r})"}
            sent = self.client.execute("", silent=True, user_expressions=asked, allow_stdin=False)
            answer = self.reply_to(sent, self.longest).get("user_expressions", {})["answer"]
            if answer.get("status") != "ok":
                raise raised(answer.get("ename"), answer.get("evalue"))
            content = json.loads(literal_eval(answer["data"]["text/plain"]))
            if "raised" in content:
                raise raised(*content["raised"])
            return decode(content["value"])

        return call

    def holds(self, name: str) -> bool:
        """Whether the kernel has something callable of this name."""
        asked = {"answer": f"callable(globals().get({name!r}))"}
        sent = self.client.execute("", silent=True, user_expressions=asked, allow_stdin=False)
        answer = self.reply_to(sent, self.longest).get("user_expressions", {}).get("answer", {})
        return answer.get("data", {}).get("text/plain") == "True"

    def reply_to(self, request: str, seconds: float) -> dict[str, Any]:
        """What the kernel replies to a request."""
        deadline = time.monotonic() + seconds
        interrupted = False
        while True:
            if not self.box.running:
                self.box.watcher.join()
                raise Ended(self.box.ended or "its kernel ended")
            if time.monotonic() > deadline:
                if interrupted:
                    raise Ended(f"a cell took more than {seconds:g} s, and could not be interrupted")
                self.client.control_channel.send(self.client.session.msg("interrupt_request", {}))
                deadline, interrupted = time.monotonic() + PEACE_S, True
            try:
                message = self.client.get_shell_msg(timeout=0.1)
            except Empty:
                continue
            except Exception as error:
                raise Ended(f"its kernel sent what is no message ({type(error).__name__})") from None
            if message.get("parent_header", {}).get("msg_id") == request:
                if interrupted:
                    raise TooLong(f"it took more than {seconds:g} s")
                return message["content"]

    def close(self) -> None:
        self.box.close()
        self.client.stop_channels()
        self.client.context.destroy(linger=0)
        self.folder.cleanup()

    def __exit__(self, *error: object) -> None:
        self.close()


def said(content: dict[str, Any]) -> str:
    return f"{content.get('ename', 'error')}: {content.get('evalue', '')}"[:300]


def raised(name: object, text: object) -> Exception:
    """An error that has this name and says this: one of another process, of which only words are known here."""
    return type(str(name)[:60].replace("\0", ""), (Exception,), {})(str(text)[:300])
