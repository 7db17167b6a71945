"""How a run's work is done, from the command line to the model: devices, numbers, batches, and how it is fed."""

from types import SimpleNamespace

import pytest
import torch
from conftest import GRAND_PRIX

from sfllava_bench.answers.experiment import Experiment
from sfllava_bench.loading_options import loading_options
from sfllava_bench.reports.timing import Timing
from sfllava_bench.runs import preflight
from sfllava_bench.runs.preflight import check_memory
from sfllava_bench.runs.reproduce import fingerprints
from sfllava_core.budget.arithmetic import MODEL_SHAPES
from sfllava_core.budget.hardware import GIB, weight_bytes
from sfllava_core.checkpoints import ModelError
from sfllava_core.methods.slowfast import SlowFast
from sfllava_core.video import folder, service
from sfllava_core.video.folder import VideoFolder


def test_only_what_is_asked_for_is_told_to_the_loader():
    assert loading_options()["loading"] == {} and loading_options()["batch"] == 16
    told = loading_options("cuda:1", None, "bfloat16", "4bit", 8)
    assert told["loading"] == {"device": "cuda:1", "dtype": "bfloat16", "quantization": "4bit"} and told["batch"] == 8
    assert loading_options(device_map="auto")["loading"] == {"device_map": "auto"}


@pytest.mark.parametrize(("cores", "workers"), [(1, 1), (2, 1), (3, 1), (4, 2), (16, 14), (64, 16)])
def test_workers_and_look_ahead_go_by_the_cores(cores, workers, monkeypatch):
    monkeypatch.setattr(service, "cores", lambda: cores)
    videos = loading_options()["open_videos"](GRAND_PRIX.parent)
    assert (videos.workers, videos.prefetch) == (workers, 2 * workers)
    assert VideoFolder(GRAND_PRIX.parent, workers=3).prefetch == 6
    assert folder.decode_workers() == workers


def test_more_workers_than_cores_are_there_when_asked_for():
    before = service.service().size
    try:
        videos = loading_options(decoding=before + 3, ahead=1)["open_videos"](GRAND_PRIX.parent)
        assert (videos.workers, videos.prefetch, service.service().size) == (before + 3, 1, before + 3)
        loading_options(decoding=1)
        assert service.service().size == before + 3, "other uses keep theirs"
    finally:
        service.set_workers(before)


@pytest.mark.parametrize("name", ["batch", "decoding", "ahead"])
def test_numbers_below_1_are_refused(name):
    with pytest.raises(ValueError, match=rf"--{name.replace('decoding', 'decode-workers')} 0: give at least 1"):
        loading_options(**{name: 0})


@pytest.fixture
def cards(monkeypatch):
    """Two GPUs, with 10 and 30 GiB free: their sizes alone are made up."""
    free = [10 * GIB, 30 * GIB]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(free))
    monkeypatch.setattr(
        torch.cuda, "mem_get_info", lambda card: (free[card if isinstance(card, int) else card.index or 0], 0)
    )
    monkeypatch.setattr("sfllava_core.checkpoints.find_spec", lambda name: SimpleNamespace())
    shape = SimpleNamespace(from_config=lambda config: MODEL_SHAPES["7b"])
    monkeypatch.setattr(preflight, "ModelShape", shape)
    monkeypatch.setattr(preflight, "load_config", lambda source: None)


@pytest.mark.parametrize(
    ("loading", "fits"),
    [
        ({}, False),  # 7B in float16 is 13 GiB of weights
        ({"device": "cuda:1"}, True),
        ({"device_map": "auto"}, True),
        ({"device_map": "auto", "dtype": "float32"}, True),
        ({"device": "cuda:1", "dtype": "float32"}, False),
        ({"quantization": "4bit"}, True),
    ],
)
def test_memory_is_compared_on_the_devices_and_in_the_numbers_asked_for(loading, fits, cards):
    obstacles, notes = check_memory("7b", SlowFast(), loading=loading)
    assert (not obstacles, bool(notes)) == (fits, fits), obstacles or notes
    assert ("on all GPUs together" in (obstacles or notes)[0]) == ("device_map" in loading)


def test_a_device_that_is_not_there_is_named_before_anything_is_loaded(llm):
    with pytest.raises(ModelError, match="cuda:7"):
        check_memory(llm.name, SlowFast(), loading={"device": "cuda:7"})


def test_quantized_weights_take_less_the_layers_alone():
    """7B: 13.2 GiB in half precision; 6.48 billion of its 7.06 billion weights lie in the layers."""
    shape = MODEL_SHAPES["7b"]
    half, eight, four = (weight_bytes(shape, 2, kind) for kind in (None, "8bit", "4bit"))
    layers = shape.layers * shape.layer_parameters
    assert half / GIB == pytest.approx(13.2, abs=0.1) and layers == pytest.approx(6.48e9, rel=0.01)
    assert half - eight == layers and eight - four == pytest.approx(layers * 0.48, rel=0.02)
    with pytest.raises(ValueError, match="choose '4bit'"):
        weight_bytes(shape, 2, "2bit")


def test_a_run_in_other_numbers_is_another_run_and_one_on_more_gpus_is_not():
    experiment = Experiment("x", model="none")
    plain, same, other = (
        fingerprints(experiment, [], None, 0, loading)["answers"]
        for loading in (None, {"device_map": "auto"}, {"quantization": "8bit"})
    )
    assert plain == same != other


def test_what_the_model_waited_for_is_said():
    told = str(
        Timing({"waited": 1.0, "prefill": 2.0, "answer": 1.0}, questions=5, videos=2, total=4.0, released_way=9.0)
    )
    assert told == "5 questions about 2 videos in 4.0 s; the model waited 1.0 s (25 %) for frames"
