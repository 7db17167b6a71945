"""The box that a student's kernel runs in: limits, no network, nothing to write but one small room, and an end.

Linux's namespaces give it users, mounts, processes and a network of its own; `unshare` makes them, without any right.
Where it may not (some containers, other systems), limits are all there is, and `missing` says what that means.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import psutil

from sfllava_core.defaults import COURSE, ROOT
from sfllava_course.grading import enclosed

UNSHARE = ["unshare", "--user", "--map-root-user", "--mount", "--net", "--ipc", "--uts", "--pid", "--fork",
           "--kill-child", "--mount-proc"]  # fmt: skip
WATCH_S = 0.1
SUBREAPER, PARENT_DEATH = 36, 1  # prctl(2)
DISK = 256 * 1024**2
PROCESSES, TASKS = 32, 800  # and threads with them
MOST_TASKS = 1000  # more cannot be started


@dataclass(frozen=True)
class Limits:
    """What one copy may use: seconds in all, bytes of memory in all."""

    seconds: float = 600.0
    memory: int = 4 * 1024**3


@cache
def missing() -> str:
    """What the box does not keep from a copy on this machine, in a sentence; "" where it keeps all."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            plan = plan_of([sys.executable, "-c", ""], Path(folder), Path(folder), True, Limits(), ())
            done = subprocess.run(first_step(plan), capture_output=True, text=True, timeout=60)
        if done.returncode == 0:
            return ""
        why = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
    except (OSError, subprocess.TimeoutExpired) as error:
        why = str(error)
    return (
        "copies are not isolated: they have the network, and can read and write all that you can "
        f"(time, memory and processes are limited). Grade in a container or as another user. Why: {why}"
    )


def first_step(plan: dict) -> list[str]:
    """The command that makes a box and then becomes what the plan says."""
    words = [sys.executable, "-I", enclosed.__file__, json.dumps(plan)]
    return [*UNSHARE, *words] if plan["alone"] else words


def plan_of(command: list[str], line: Path, room: Path, alone: bool, limits: Limits, hidden: tuple[Path, ...]) -> dict:
    """What enclosed.py is told. Alone, `room` is not used: it makes one in memory."""
    home = enclosed.ROOM if alone else str(room)
    fonts = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"), "matplotlib").glob("fontlist*.json")
    numbers = {"AS": limits.memory, "CPU": int(limits.seconds) + 5, "FSIZE": DISK, "CORE": 0, "NOFILE": 512}
    if alone:  # else it would count all that the user runs
        numbers["NPROC"] = MOST_TASKS
    return {
        "alone": alone,
        "line": str(line),
        "kept": [os.path.realpath(path) for path in (ROOT, sys.prefix, sys.base_prefix)],
        "hidden": [os.path.realpath(path) for path in (COURSE, *hidden)],
        "disk": DISK,
        "tasks": MOST_TASKS,
        "limits": numbers,
        "copied": [str(path) for path in fonts],
        "command": command,
        "environment": {
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": "C.UTF-8",
            "HOME": home,
            "TMPDIR": home,
            "MPLCONFIGDIR": f"{home}/matplotlib",
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
            "OMP_NUM_THREADS": "1",
            "TOKENIZERS_PARALLELISM": "false",
            "HF_HUB_OFFLINE": "1",
        },
    }


class Box:
    """A command in its box, watched. `ended` says why it was killed, or "" where it runs or ended by itself.

    The process that makes one adopts whatever escapes (`adopt_orphans`), so that `close` finds all of it.
    """

    def __init__(self, command: list[str], line: Path, room: Path, limits: Limits, hidden: tuple[Path, ...] = ()):
        self.limits, self.line, self.ended = limits, line, ""
        self.deadline = time.monotonic() + limits.seconds
        adopt_orphans()
        plan = plan_of(command, line, room, not missing(), limits, hidden)
        nowhere: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
        self.process = subprocess.Popen(first_step(plan), start_new_session=True, preexec_fn=die_with_parent, **nowhere)
        self.closing = threading.Event()
        self.watcher = threading.Thread(target=self.watch, daemon=True)
        self.watcher.start()

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def watch(self) -> None:
        """Kill it when it takes too much."""
        while not self.closing.wait(WATCH_S) and self.running:
            try:
                self.ended = self.excess()
            except (psutil.Error, OSError):  # what was looked at has just gone; next time
                continue
            if self.ended:
                self.process.kill()
                kill_descendants(1)

    def excess(self) -> str:
        """What it takes too much of; "" where nothing."""
        if time.monotonic() > self.deadline:
            return f"time is up: a copy has {self.limits.seconds:g} s"
        entries = {entry.name for entry in os.scandir(self.line)} if self.line.is_dir() else set()
        if len(entries) > 20:
            return "it wrote beside its room"
        found = descendants()
        if len(found) > PROCESSES:  # before anything is asked of each: they may be spinning
            return f"more than {PROCESSES} processes"
        tasks, memory = 0, 0
        for process in found:
            with suppress(psutil.Error, OSError):
                tasks += process.num_threads()
                memory += process.memory_info().rss
        if tasks > TASKS:
            return f"more than {TASKS} threads"
        if memory > self.limits.memory and shared_out(found) > self.limits.memory:
            return f"more than {self.limits.memory / 1024**3:g} GiB of memory"
        return ""

    def close(self) -> None:
        """End it and everything that it started."""
        self.closing.set()
        if self.running:
            self.process.kill()
        self.process.wait()
        self.watcher.join()
        kill_descendants(10)


def shared_out(processes: list[psutil.Process]) -> int:
    """Bytes that they hold, shared ones counted once."""
    total = 0
    for process in processes:
        with suppress(psutil.Error, OSError):
            full = process.memory_full_info()
            total += getattr(full, "pss", full.rss)
    return total


def descendants() -> list[psutil.Process]:
    """All processes below this one."""
    return psutil.Process().children(recursive=True)


def kill_descendants(seconds: float) -> None:
    """Kill all processes below this one, those too that they start meanwhile."""
    deadline = time.monotonic() + seconds
    while (found := descendants()) and time.monotonic() < deadline:
        for number in (signal.SIGSTOP, signal.SIGKILL):  # what stands still starts nothing
            for process in found:
                with suppress(psutil.Error):
                    process.send_signal(number)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        time.sleep(0.01)


def adopt_orphans() -> None:
    """From now on whatever loses its parent below this process becomes its child, and can be found."""
    if sys.platform == "linux":
        enclosed.LIBC.prctl(SUBREAPER, 1, 0, 0, 0)


def die_with_parent() -> None:
    if sys.platform == "linux":
        enclosed.LIBC.prctl(PARENT_DEATH, signal.SIGKILL, 0, 0, 0)
