"""Ray on this machine, started and ended with a run; or one that is there already, on one machine or many.

The one of our own asks nothing of a network, obeys nobody but this process and those that it starts (by a token of its
own), and leaves nothing behind: its processes end with ours. After a SIGKILL two small ones of Ray's, without a model,
take a minute to notice, and the temporary folder stays until the next start takes it away.
"""

import contextlib
import os
import secrets
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

try:
    import fcntl
except ImportError:  # Windows, where nothing that was left is taken away
    fcntl = None  # type: ignore[assignment]  # a module elsewhere

from sfllava_core.video.integrity import HostError
from sfllava_core.video.service import cores

if TYPE_CHECKING:
    from sfllava_bench.engine.pool import RayWorkers

PREFIX = "sfllava-ray-"
LONGEST = 40  # bytes of a folder's name: sockets below it may have 107
STORE_BYTES = 128 << 20  # for what travels: jobs and records; frames never do
TOKEN = secrets.token_hex(32)
START_S = 180  # for Ray's processes to come up; by itself it gives up after 30, which a busy machine needs
PATIENT = {"RAY_raylet_start_wait_time_s": f"{START_S}", "RAY_agent_register_timeout_ms": f"{START_S * 1000}"}
NO_RAY = "--engine ray needs Ray: pip install 'sfllava-core[ray]'"


class RayEngine:
    """Makes workers of a model, one model at a time; Ray is there within `with`.

    workers: models at once.  gpus: of each; None is one where there are GPUs.  address: of a cluster that is there
    ("auto", "10.0.0.1:6379"); None starts one here.
    """

    def __init__(self, workers: int = 1, gpus: float | None = None, address: str | None = None):
        if workers < 1:
            raise ValueError(f"--workers {workers}: give at least 1")
        if gpus is not None and gpus < 0:
            raise ValueError(f"--gpus-per-worker {gpus:g}: give 0 or more")
        self.workers, self.gpus, self.address = workers, gpus, address
        self.opened = contextlib.ExitStack()
        self.pool: RayWorkers | None = None

    def __enter__(self) -> "RayEngine":
        self.opened.enter_context(connected(self.address) if self.address else ray_here(self.workers))
        import ray

        there = ray.cluster_resources().get("GPU", 0)
        self.gpus = min(1.0, there) if self.gpus is None else self.gpus
        if not self.address and self.gpus * self.workers > there:
            self.opened.close()
            raise ValueError(
                f"--workers {self.workers} with {self.gpus:g} GPUs each: this machine has {there:g}: give fewer, or "
                "--gpus-per-worker 0.5 to let two share one"
            )
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        self.opened.close()

    def __call__(self, make: Callable[[], Any]):
        """Workers that have the model which `make` loads; those that were made before are ended."""
        from sfllava_bench.engine.pool import RayWorkers

        self.end()
        self.pool = RayWorkers(make, self.workers, gpus=self.gpus or 0)
        return self.pool

    def end(self) -> None:
        """End the present workers."""
        pool, self.pool = self.pool, None
        if pool is not None:
            pool.close()


@contextlib.contextmanager
def connected(address: str) -> Iterator[None]:
    """A Ray cluster that is there; the kit must be installed on its machines, in the same version.

    Raises:
        HostError: there is none.
    """
    with own_signals():
        ray = imported()
        try:
            ray.init(address=address, log_to_driver=False, logging_level="WARNING")
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise HostError(f"--address {address}: no Ray cluster can be reached there: {error}") from error
    try:
        yield
    finally:
        ray.shutdown()


@contextlib.contextmanager
def ray_here(workers: int) -> Iterator[None]:
    """Ray on this machine alone; one that the process has already is used, and left as it is.

    Raises:
        HostError: it does not start.
    """
    # It listens on all of the machine's addresses, and whoever may talk to it runs code in it: only we have the token.
    own = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN}
    own |= {"RAY_USAGE_STATS_ENABLED": "0", **PATIENT}
    own = {name: value for name, value in own.items() if name not in os.environ}
    os.environ.update(own)
    try:
        ray = imported()
        look_again()
        if ray.is_initialized():
            yield
            return
        with temporary_folder() as folder:
            with own_signals():
                start(ray, workers, folder)
            try:
                yield
            finally:
                ray.shutdown()
    finally:
        for name in own:
            os.environ.pop(name, None)
        look_again()


def start(ray, workers: int, folder: Path) -> None:
    """Start it. Raises HostError where it does not come up."""
    try:
        ray.init(
            address="local", num_cpus=max(workers, cores()), object_store_memory=STORE_BYTES,
            include_dashboard=False, log_to_driver=False, logging_level="ERROR",
            _node_ip_address="127.0.0.1", _temp_dir=str(folder),
        )  # fmt: skip
    except Exception as error:  # it raises just that where its own processes do not come up
        ray.shutdown()
        raise HostError(f"Ray does not start here: {error}") from error


def look_again() -> None:
    """Have Ray read the environment, which it does when it is imported, once more."""
    with contextlib.suppress(ImportError, AttributeError):  # no name that it promises to keep
        from ray._raylet import Config  # type: ignore[attr-defined]  # its types do not tell of it

        Config.initialize("")


def imported():
    """The library. Raises HostError where it is not installed."""
    try:
        import ray
    except ImportError as error:
        raise HostError(f"{NO_RAY} ({error})") from None
    return ray


@contextlib.contextmanager
def own_signals() -> Iterator[None]:
    """Within, Ray may take the process's signals; afterwards they are as they were: one Ctrl-C ends us as always."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            with contextlib.suppress(ValueError, TypeError):  # no main thread; or no handler of Python's
                signal.signal(number, handler)


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder for Ray's sockets and logs, locked while it is used; those that killed runs have left are removed."""
    parent = Path(tempfile.gettempdir())
    if len(os.fsencode(parent)) > LONGEST and os.name == "posix":
        parent = Path("/tmp")
    for left in parent.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError), locked(left):
            shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    try:
        with locked(folder):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder's lock, which goes with the process. Raises OSError where another one holds it."""
    with open(folder / "lock", "ab") as file:
        if fcntl is None:
            yield
            return
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
