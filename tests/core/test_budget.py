"""The arithmetic: against the published sizes, and against operations counted while a model runs."""

import weakref
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from sfllava_core import GPUS, ImageGrid, ModelShape, SlowFast, SpecError, fast_only, token_budget
from sfllava_core.answering.shared_prefix import attend
from sfllava_core.budget.arithmetic import MODEL_SHAPES
from sfllava_core.budget.hardware import GIB, attention_bytes, fits, memory_bytes, stage_seconds, weight_bytes


@contextmanager
def count_operations():
    """torch's own counter; attention as plain matrix products, since it does not see into the CPU's fused kernel."""
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        yield counter


def test_published_numbers():
    """Section 5 of our reference: 18, 1.2 and 53 TFLOP for 50 frames and 3.8k tokens; 1.8 and 0.86 GiB of cache."""
    vicuna, yi = MODEL_SHAPES["7b"], MODEL_SHAPES["34b"]
    assert vicuna.vision_flops(50) == pytest.approx(18e12, rel=0.03)
    assert vicuna.projector_flops(50) == pytest.approx(1.2e12, rel=0.02)
    assert vicuna.language_flops(3800) == pytest.approx(53e12, rel=0.03)
    assert vicuna.kv_bytes(3740) / GIB == pytest.approx(1.8, abs=0.05)
    assert yi.kv_bytes(3740) / GIB == pytest.approx(0.86, abs=0.02)
    assert vicuna.language_parameters == pytest.approx(6.74e9, rel=0.01)
    assert yi.language_parameters == pytest.approx(34.4e9, rel=0.01)


def test_the_shape_is_read_from_a_config(llm):
    shape = ModelShape.from_config(llm.model.config)
    assert (shape.grid, shape.vision_layers, shape.kv_heads, shape.native_positions) == ((24, 24), 3, 2, 4096)


@pytest.mark.parametrize("tokens", [1, 300])
def test_language_flops_are_what_a_run_counts(llm, tokens):
    """torch's own counter sees full attention squares, so the counted square is halved before comparing."""
    shape = ModelShape.from_config(llm.model.config)
    embeddings = torch.randn(1, tokens, llm.dim)
    with count_operations() as counter, torch.inference_mode():
        hidden = llm.language_model(inputs_embeds=embeddings).last_hidden_state
        llm.model.lm_head(hidden[:, -1])
    attention = 4 * tokens * tokens * shape.heads * shape.head_dim * shape.layers
    causal = 4 * tokens * (tokens + 1) // 2 * shape.heads * shape.head_dim * shape.layers
    assert counter.get_total_flops() - attention + causal == pytest.approx(shape.language_flops(tokens), rel=1e-3)


def test_vision_flops_are_what_a_run_counts(llm, golden_frames):
    shape = ModelShape.from_config(llm.model.config)
    with count_operations() as counter:
        llm.encode(golden_frames[:2])
    assert counter.get_total_flops() == pytest.approx(shape.vision_flops(2) + shape.projector_flops(2), rel=1e-3)


def test_cache_bytes_are_what_a_run_keeps(llm, golden_frames):
    shape = ModelShape.from_config(llm.model.config)
    video = llm.watch_frames(golden_frames[:5])
    video.ask("what is it?", max_new_tokens=1)
    assert video.prefix_bytes == shape.kv_bytes(video.sharing.prefix.length, bytes_per_value=4)


def test_the_default_budget_adds_up():
    budget = token_budget(SlowFast(), MODEL_SHAPES["7b"])
    assert budget.pathway_tokens == {"slow": 2880, "fast": 800} and budget.visual_tokens == 3680
    assert budget.context_tokens == 3680 + budget.text_tokens + budget.new_tokens
    assert budget.context_limit == 8192 and budget.context_used == budget.context_tokens / 8192
    shared, plain = budget.total_flops(25), budget.total_flops(25, share_prefix=False)
    assert plain - shared == 24 * budget.video_flops
    assert plain / shared > 15
    assert "visual_tokens" in str(budget) and "3680" in str(budget)


def test_a_short_video_costs_less():
    short = token_budget(SlowFast(), MODEL_SHAPES["7b"], num_frames=20)
    assert short.visual_tokens == 2880 + 16 * 20
    assert short.vision_flops == MODEL_SHAPES["7b"].vision_flops(20)


def test_an_image_grid_encodes_views_not_frames():
    budget = token_budget(ImageGrid(), MODEL_SHAPES["7b"])
    assert budget.vision_flops == MODEL_SHAPES["7b"].vision_flops(5)


def test_what_fits_which_gpu():
    """The 34B's weights alone are 64 GiB in half precision: no 24 or 40 GiB card can hold them."""
    for name, gpus in {"7b": {"l4", "rtx4090", "a100-40", "a100-80", "h100"}, "34b": {"a100-80", "h100"}}.items():
        budget = token_budget(SlowFast(), MODEL_SHAPES[name])
        assert {key for key, gpu in GPUS.items() if fits(budget, MODEL_SHAPES[name], gpu)} == gpus
    budget = token_budget(SlowFast(), MODEL_SHAPES["7b"])
    one, many = (memory_bytes(budget, MODEL_SHAPES["7b"], questions=n) for n in (1, 9))
    own = MODEL_SHAPES["7b"].kv_bytes(budget.context_tokens - budget.visual_tokens)
    assert many - one == 8 * own, "only the questions' own tokens are added"
    more = memory_bytes(budget, MODEL_SHAPES["7b"], questions=101)
    assert more - one > 100 * own, "so many run at once that what their layers make is more than the prefill's"


class Peak(TorchDispatchMode):
    """The most bytes that tensors made meanwhile held at once."""

    def __init__(self):
        super().__init__()
        self.held, self.peak, self.known = 0, 0, set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        given = {id_of(one) for one in args if isinstance(one, torch.Tensor)}
        for one in out if isinstance(out, tuple) else (out,):
            if isinstance(one, torch.Tensor) and id_of(one) not in given | self.known:
                self.add(one.untyped_storage())
        return out

    def add(self, storage):
        place, size = storage._cdata, storage.nbytes()
        self.known.add(place)
        self.held += size
        self.peak = max(self.peak, self.held)
        weakref.finalize(storage, self.drop, place, size)

    def drop(self, place, size):
        self.known.discard(place)
        self.held -= size


def id_of(tensor):
    return tensor.untyped_storage()._cdata


def test_attention_over_a_shared_prefix_takes_what_is_said():
    """Its peak as counted while it runs, for suffixes of which the vectors, and of which the scores, are most."""
    shape = replace(MODEL_SHAPES["7b"], heads=8, kv_heads=8, head_dim=64)
    for questions, each in ((16, 40), (4, 400)):
        query, key, value = (torch.randn(questions, 8, each, 64) for _ in range(3))
        mask = torch.ones(questions, 1, each, each, dtype=torch.bool).tril()
        prefix = torch.randn(2, 8, 500, 64)
        with torch.inference_mode(), Peak() as peak:
            attend(query, key, value, mask, *prefix, 0.125)
        assert 0.6 <= peak.peak / attention_bytes(questions, each, shape) <= 1.1


def test_quantized_weights_are_the_layers_alone():
    """34B in 4 bits leaves room on a 24 GiB card, in 8 bits it does not."""
    shape = MODEL_SHAPES["7b"]
    whole, eight, four = (weight_bytes(shape, 2, kind) for kind in (None, "8bit", "4bit"))
    layers = shape.layers * shape.layer_parameters
    assert whole - eight == layers and whole == 2 * (shape.language_parameters + shape.vision_parameters)
    assert whole - four == pytest.approx(layers * (2 - 4.127 / 8), rel=1e-4)
    budget, large = token_budget(SlowFast(), MODEL_SHAPES["34b"]), MODEL_SHAPES["34b"]
    need = {kind: memory_bytes(budget, large, questions=16, quantization=kind) / GIB for kind in ("4bit", "8bit")}
    assert need["4bit"] < 24 < need["8bit"]
    with pytest.raises(ValueError, match="quantization='2bit'"):
        weight_bytes(shape, 2, "2bit")


def test_lower_bounds_shrink_with_sharing_and_with_faster_gpus():
    shape = MODEL_SHAPES["7b"]
    budget = token_budget(SlowFast(), shape)
    shared = stage_seconds(budget, shape, GPUS["h100"], questions=25)
    plain = stage_seconds(budget, shape, GPUS["h100"], questions=25, share_prefix=False)
    assert plain["encode"] == pytest.approx(25 * shared["encode"])
    assert plain["prefill"] == pytest.approx(25 * shared["prefill"])
    assert sum(shared.values()) < sum(stage_seconds(budget, shape, GPUS["a100-80"], questions=25).values())


def test_impossible_budgets_are_refused():
    with pytest.raises(ValueError, match="new_tokens=-1"):
        token_budget(SlowFast(), MODEL_SHAPES["7b"], new_tokens=-1)
    with pytest.raises(SpecError, match="does not fit"):
        token_budget(fast_only(8, (30, 30)), MODEL_SHAPES["7b"])


def test_each_models_context_is_its_configs():
    """max_position_embeddings in config.json of llava-hf's llava-v1.6-{vicuna-7b,mistral-7b,34b}-hf."""
    assert {name: shape.native_positions for name, shape in MODEL_SHAPES.items()} == {
        "7b": 4096, "mistral-7b": 32768, "34b": 4096,
    }  # fmt: skip
    assert token_budget(SlowFast(), MODEL_SHAPES["mistral-7b"], rope_scaling=1.0).context_limit == 32768


def test_the_gpus_are_those_of_their_data_sheets():
    """GB of memory, dense 16-bit tensor TFLOPS with 32-bit sums, GB/s.

    NVIDIA's data sheets: T4 (65 FP16, 320+ GB/s), L4 (242 with sparsity, so 121; 300 GB/s), A100 (312; 1,555 GB/s for
    40GB, 2,039 GB/s for 80GB SXM), H100 SXM (1,979 with sparsity, so 989; 3.35 TB/s); the Ada whitepaper's table for
    GeForce RTX 4090 (165.2; 1008 GB/s).
    """
    assert {name: (gpu.memory / GIB, gpu.flops / 1e12, gpu.bandwidth / 1e9) for name, gpu in GPUS.items()} == {
        "t4": (16, 65, 320), "l4": (24, 121, 300), "rtx4090": (24, 165, 1008), "a100-40": (40, 312, 1555),
        "a100-80": (80, 312, 2039), "h100": (80, 989, 3350),
    }  # fmt: skip


def test_a_video_of_too_many_frames_is_refused_with_the_limit():
    with pytest.raises(SpecError, match="num_frames=2000000000: give a whole number of at most 10000"):
        token_budget(SlowFast(), MODEL_SHAPES["7b"], num_frames=2_000_000_000)
