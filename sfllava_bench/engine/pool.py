"""Workers as Ray actors: jobs are handed out, what comes back is handed on once, and whoever is lost is replaced.

    jobs -> up to `prefetch` + 1 at each worker -> (job, what came of it), in the order in which they are done

A job whose worker was lost is tried again, alone at a worker, so that what ends workers is told from what was beside
it. At the third worker that it ends it is given up, with the cause.
"""

import contextlib
from collections import Counter, deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from sfllava_bench.answers.jobs import Work, WorkerLost
from sfllava_bench.answers.surroundings import GO_ON
from sfllava_bench.answers.video_model import ModelFacts
from sfllava_bench.engine.worker import Worker
from sfllava_core.backbones.base import ModelError
from sfllava_core.video.integrity import HostError

TRIES = 3  # workers that a job may end; and starts in a row that may end before a model is loaded
THREADS = 34  # calls at once in a worker: reading ahead, at most twice 16, and one more that begins
PATIENCE_S = 600.0  # for some worker to be there: a 34B takes minutes to load


@dataclass(eq=False)
class Seat:
    """A worker, from its start to its end.

    beginning: the call by which it takes up the present work.  ready: it has.
    jobs: at it now.  alone: nothing else goes to it meanwhile.
    """

    actor: Any
    beginning: Any = None
    ready: bool = False
    jobs: int = 0
    alone: bool = False


class RayWorkers:
    """A pool of workers that stands where a model would (`answers.jobs.Workers`); Ray must be up."""

    def __init__(self, make: Callable[[], Any], workers: int, *, gpus: float = 0, patience_s: float = PATIENCE_S):
        """Start the workers; returns when the first has its model.

        Args:
            make: loads the model, in each worker; it travels there, so it names files that all of them can read.
            workers: how many.
            gpus: for each; a part of one lets several share it.

        Raises:
            HostError: none could be started.  Whatever `make` raises.
        """
        self.size, self.gpus, self.patience_s = workers, gpus, patience_s
        wanted: dict[str, Any] = {"num_cpus": 1, "num_gpus": gpus, "max_concurrency": THREADS}
        self.actor: Any = ray.remote(scheduling_strategy="SPREAD", **wanted)(Worker)
        self.make = ray.put(make)
        self.work: ray.ObjectRef | None = None
        self.seats: list[Seat] = []
        self.flights: dict[ray.ObjectRef, tuple[Seat, int | None]] = {}  # a job's number, None for a beginning
        self.facts: ModelFacts | None = None
        self.bad_starts = 0
        try:
            while self.facts is None:
                self.hire()
                self.landed()
        except BaseException:
            self.close()
            raise

    def __str__(self) -> str:
        return f"ray: {self.size} with {self.gpus:g} GPUs each"

    def each(self, work: Work, jobs: Sequence) -> Generator[tuple[Any, Any], None, None]:
        """(job, what came of it, or `WorkerLost`), in the order in which they are done, each once.

        Raises:
            HostError: no worker is left, and none can be started.  Whatever a work raises.
        """
        together = max(1, -(-self.size // max(1, machines())))  # workers of a machine share its cores
        work.workers, work.prefetch = max(1, work.workers // together), max(2, work.prefetch // together)
        self.work, ahead = ray.put(work), min(work.prefetch, THREADS - 2)
        for seat in self.seats:
            self.begin(seat)
        waiting, suspects, ended, left = deque(range(len(jobs))), deque[int](), Counter[int](), len(jobs)
        try:
            while left:
                self.hire()
                self.feed(jobs, waiting, suspects, ahead)
                for number, found in self.landed():
                    if isinstance(found, WorkerLost):
                        ended[number] += 1
                        if ended[number] < TRIES:
                            suspects.append(number)
                            continue
                        found = WorkerLost(f"it ended {TRIES} workers one after another; the last one: {found}")
                    left -= 1
                    yield jobs[number], found
        finally:
            self.forget()

    def hire(self) -> None:
        """Start as many workers as are missing; they come when there is room for them."""
        while len(self.seats) < self.size:
            self.seats.append(Seat(self.actor.remote()))
            self.begin(self.seats[-1])

    def begin(self, seat: Seat) -> None:
        """Have a worker load its model, if it has none, and take up the present work."""
        seat.ready, seat.jobs, seat.alone = False, 0, False
        seat.beginning = seat.actor.begin.remote(self.make, self.work)
        self.flights[seat.beginning] = (seat, None)

    def feed(self, jobs: Sequence, waiting: deque, suspects: deque, ahead: int) -> None:
        """Hand out jobs, to whoever has the fewest; while there are suspects, one of them to each that has none."""
        here = [seat for seat in self.seats if seat.ready and not seat.alone]
        for seat in here:
            if suspects and not seat.jobs:
                seat.alone = True
                self.send(seat, suspects.popleft(), jobs)
        while waiting and not suspects:
            free = [seat for seat in here if not seat.alone and seat.jobs <= ahead]
            if not free:
                return
            self.send(min(free, key=lambda seat: seat.jobs), waiting.popleft(), jobs)

    def send(self, seat: Seat, number: int, jobs: Sequence) -> None:
        """Hand a worker one job."""
        self.flights[seat.actor.do.remote(jobs[number])] = (seat, number)
        seat.jobs += 1

    def landed(self) -> list[tuple[int, object]]:
        """(number of a job, what came of it) of all that has come back, after some has; workers that have begun go on.

        Raises:
            HostError: nothing can come any more.
        """
        refs = list(self.flights)
        if not ray.wait(refs, timeout=self.patience_s)[0] and not any(seat.jobs for seat in self.seats):
            raise HostError(
                f"no worker was there within {self.patience_s:g} s: each needs 1 CPU and {self.gpus:g} GPUs, and the "
                f"machines have {resources()}: give fewer workers or GPUs, or add machines, {GO_ON}"
            )
        found = []
        for ref in ray.wait(refs, num_returns=len(refs), timeout=0)[0]:
            seat, number = self.flights.pop(ref)
            try:
                value = ray.get(ref)
            except RayTaskError as error:  # as it would have been raised here
                raise getattr(error, "cause", None) or error from None
            except RayError as error:
                value = WorkerLost(ending(error))
                self.dismiss(seat, value)
            if number is not None:
                seat.jobs, seat.alone = seat.jobs - 1, False
                found.append((number, value))
            elif not isinstance(value, WorkerLost):
                self.welcome(value)
                seat.ready = seat.beginning == ref  # an earlier one says nothing of the present work
        return found

    def welcome(self, facts: ModelFacts) -> None:
        """A worker has its model: it must be the others' too."""
        self.facts = self.facts or facts
        ours, theirs = self.facts.settings, facts.settings
        if ours != theirs:
            other = "; ".join(f"{name}: {ours[name]}, {theirs[name]}" for name in ours if ours[name] != theirs[name])
            raise ModelError(
                f"two workers have not the same model, and would answer otherwise ({other}): let all machines have the "
                "same checkpoint and kind of GPU, and give the dtype and device"
            )
        self.bad_starts = 0

    def dismiss(self, seat: Seat, why: WorkerLost) -> None:
        """A worker is gone, or not to be reached: another one takes its place."""
        if seat not in self.seats:
            return
        self.seats.remove(seat)
        with contextlib.suppress(RayError):
            ray.kill(seat.actor)
        self.bad_starts += not seat.ready
        if self.bad_starts >= TRIES:
            raise HostError(
                f"{TRIES} workers in a row ended before they had their model: {why}; is there memory for it?"
            )

    def forget(self) -> None:
        """What is under way for jobs is of no use any more."""
        for ref, (_, number) in list(self.flights.items()):
            if number is not None:
                del self.flights[ref]
                with contextlib.suppress(RayError):
                    ray.cancel(ref)

    def close(self) -> None:
        """End the workers; their models' memory is free then."""
        self.flights.clear()
        while self.seats:
            with contextlib.suppress(RayError):
                ray.kill(self.seats.pop().actor)


def ending(error: RayError) -> str:
    """How a worker ended, in one line."""
    lines = [" ".join(line.split()) for line in str(error).splitlines()]
    told = [line for line in lines if line.startswith(("The actor is dead because", "The actor died because"))]
    return (told or [line for line in lines if line] or [type(error).__name__])[0][:300]


def machines() -> int:
    """How many there are."""
    return sum(bool(node["Alive"]) for node in ray.nodes())


def resources() -> str:
    """ "4 CPUs and 1 GPU" in words, of all machines together."""
    found = ray.cluster_resources()
    return f"{found.get('CPU', 0):g} CPUs and {found.get('GPU', 0):g} GPUs on {machines()} machines"
