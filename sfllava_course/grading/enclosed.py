"""The first step inside the box (sandbox.py): shuts the doors, then becomes the kernel. Run as a script, on its own.

In namespaces of its own it is root, over nothing but them: it hides folders, makes all others unwritable and gives
its rights away. Elsewhere it can only set limits.
"""

import ctypes
import json
import os
import random
import resource
import shutil
import sys

BIND, RECURSIVE = 4096, 16384  # mount(2)
MOUNT_SETATTR, CURRENT_FOLDER, ALL_BELOW, READ_ONLY, NO_SETUID = 442, -100, 0x8000, 1, 2  # mount_setattr(2)
DROP_CAPABILITY, NO_NEW_PRIVILEGES = 24, 38  # prctl(2)
BASE = "/run/sfllava"
LINE, ROOM = f"{BASE}/line", f"{BASE}/room"
LIBC = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    plan = json.loads(sys.argv[1])
    if plan["alone"]:
        shut(plan)
    if os.path.exists("/proc/self/oom_score_adj"):
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("1000")  # where memory ends in spite of all, this is what goes
    os.nice(5)  # whoever watches comes first
    if hasattr(os, "SCHED_IDLE"):  # and everybody else, however many threads it starts
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    if hasattr(os, "sched_setaffinity"):  # two cores for each copy: libraries start threads by their number
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, random.sample(cores, min(2, len(cores))))
    for name, value in plan["limits"].items():
        what = getattr(resource, f"RLIMIT_{name}")
        hard = resource.getrlimit(what)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(what, (value, value))
    if plan["alone"]:
        give_rights_away()
    room = plan["environment"]["HOME"]
    for source in plan["copied"]:
        os.makedirs(plan["environment"]["MPLCONFIGDIR"], exist_ok=True)
        shutil.copy(source, plan["environment"]["MPLCONFIGDIR"])
    os.chdir(room)
    os.execve(plan["command"][0], plan["command"], plan["environment"])


def shut(plan: dict) -> None:
    """Hide what holds sockets, other copies or solutions; leave one small room to write in."""
    kept = [path for path in plan["kept"] if path.startswith(("/tmp/", "/var/tmp/"))]
    mount("tmpfs", "/run", "tmpfs", 0, "size=1m")
    for folder in (LINE, ROOM, *(f"{BASE}/kept/{place}" for place in range(len(kept)))):
        os.makedirs(folder)
    mount(plan["line"], LINE, None, BIND)
    for place, path in enumerate(kept):
        mount(path, f"{BASE}/kept/{place}", None, BIND | RECURSIVE)
    for folder in filter(os.path.isdir, ("/tmp", "/var/tmp")):
        mount("tmpfs", folder, "tmpfs", 0, "size=1m")
    for place, path in enumerate(kept):
        os.makedirs(path, exist_ok=True)
        mount(f"{BASE}/kept/{place}", path, None, BIND | RECURSIVE)
    for folder in filter(os.path.isdir, plan["hidden"]):
        mount("tmpfs", folder, "tmpfs", 0, "size=1m")
    for folder in (ROOM, "/dev/shm"):
        mount("tmpfs", folder, "tmpfs", 0, f"size={plan['disk']},nr_inodes=10000,mode=700")
    set_flags("/", ALL_BELOW, READ_ONLY | NO_SETUID, 0)
    for folder in (ROOM, LINE, "/dev/shm", "/proc"):
        set_flags(folder, 0, 0, READ_ONLY)
    with open("/proc/sys/user/max_user_namespaces", "w") as file:
        file.write("0")  # in one of these it would be root again, with mounts of its own
    if tuple(map(int, os.uname().release.split(".")[:2])) >= (6, 14):  # this box's own number from there on
        with open("/proc/sys/kernel/pid_max", "w") as file:
            file.write(str(plan["tasks"]))


def give_rights_away() -> None:
    """No capability outlives the coming exec, and no program brings one back."""
    for capability in range(64):
        LIBC.prctl(DROP_CAPABILITY, capability, 0, 0, 0)
    checked(LIBC.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0), "no new privileges")


def mount(source: str, target: str, kind: str | None, flags: int, options: str = "") -> None:
    words = [word and word.encode() for word in (source, target, kind)]
    checked(LIBC.mount(*words, ctypes.c_ulong(flags), options.encode()), f"mount {target}")


def set_flags(path: str, how: int, on: int, off: int) -> None:
    """mount_setattr(2): Linux 5.12 and later."""
    attributes = (ctypes.c_uint64 * 4)(on, off, 0, 0)
    done = LIBC.syscall(MOUNT_SETATTR, CURRENT_FOLDER, path.encode(), how, attributes, ctypes.sizeof(attributes))
    checked(done, f"make {path} unwritable")


def checked(result: int, what: str) -> None:
    """Raises:
    OSError: a call of the system failed.
    """
    if result:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


if __name__ == "__main__":
    main()
