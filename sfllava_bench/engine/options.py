"""The engine's options on a command line."""

from contextlib import AbstractContextManager, nullcontext
from typing import Annotated, Literal

from typer import Option


def make_engine(
    engine: Annotated[
        Literal["local", "ray"], Option(help="local: one model, in this process; ray: one in each of --workers")
    ] = "local",
    workers: Annotated[int | None, Option(help="with --engine ray: models at work at once; 1 if not given")] = None,
    gpus_per_worker: Annotated[
        float | None, Option(help="with --engine ray: GPUs of each, 0.5 for two on one; 1 where there are GPUs")
    ] = None,
    address: Annotated[
        str | None, Option(help="with --engine ray: of a cluster that is there, or auto; else Ray starts here")
    ] = None,
) -> AbstractContextManager:
    """Opened, it gives what makes workers of a model; None for one model in this process."""
    if engine == "ray":
        from sfllava_bench.engine.cluster import RayEngine

        return RayEngine(1 if workers is None else workers, gpus_per_worker, address)
    for name, value in (("workers", workers), ("gpus-per-worker", gpus_per_worker), ("address", address)):
        if value is not None:
            raise ValueError(f"--{name} {value}: it goes with --engine ray")
    return nullcontext()
