"""The options of `sfllava bench run` that say how a run's work is done: on which devices, how fed, in what batches."""

from functools import partial
from typing import Annotated, Literal

from typer import Option

from sfllava_bench.questions.records import BATCH

Device = Annotated[str, Option(help="cpu, cuda, cuda:1, mps")]
DeviceMap = Annotated[
    str | None, Option("--device-map", help="auto or balanced: one model over all GPUs, which work in turn")
]
Dtype = Annotated[
    Literal["auto", "float16", "bfloat16", "float32"], Option(help="auto: float16 on a GPU, float32 on the CPU")
]
Quantization = Annotated[Literal["4bit", "8bit"] | None, Option(help="through bitsandbytes, on a GPU")]


def model_options(
    device: Device = "auto",
    device_map: DeviceMap = None,
    dtype: Dtype = "auto",
    quantization: Quantization = None,
) -> dict[str, object]:
    """What `VideoLLM.from_pretrained` is told of it; what was not said is left out."""
    told = {"device": device, "device_map": device_map, "dtype": dtype, "quantization": quantization}
    defaults = {"device": "auto", "device_map": None, "dtype": "auto", "quantization": None}
    return {name: value for name, value in told.items() if value != defaults[name]}


def loading_options(
    device: Device = "auto",
    device_map: DeviceMap = None,
    dtype: Dtype = "auto",
    quantization: Quantization = None,
    batch: Annotated[int, Option(help="questions answered together")] = BATCH,
    decoding: Annotated[
        int | None, Option("--decode-workers", help="videos decoded at a time; else the cores less 2, from 1 to 16")
    ] = None,
    ahead: Annotated[
        int | None, Option(help="videos decoded in advance, which wait in memory; else twice the workers")
    ] = None,
) -> dict[str, object]:
    """What `reproduce` and `sweep` are told of it.

    Raises:
        ValueError: a number below 1.
    """
    from sfllava_core.video.folder import VideoFolder
    from sfllava_core.video.service import service, set_workers

    for name, number in (("--batch", batch), ("--decode-workers", decoding), ("--ahead", ahead)):
        if number is not None and number < 1:
            raise ValueError(f"{name} {number}: give at least 1")
    if decoding is not None and decoding > service().size:
        set_workers(decoding)
    return {
        "loading": model_options(device, device_map, dtype, quantization),
        "open_videos": partial(VideoFolder, workers=decoding, prefetch=ahead),
        "batch": batch,
    }
