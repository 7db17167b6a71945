"""Which GPU a budget fits, and the seconds below which no code can bring it.

The GPUs' numbers are their vendors' data sheets: dense 16-bit matrix rate, memory bandwidth, memory.
"""

from dataclasses import dataclass

from sfllava_core.budget.arithmetic import Budget, ModelShape

GIB = 2**30


@dataclass(frozen=True)
class GPU:
    """name; memory in bytes; flops: peak dense 16-bit matrix operations a second; bandwidth: bytes a second."""

    name: str
    memory: float
    flops: float
    bandwidth: float


GPUS = {
    "t4": GPU("NVIDIA T4", 16 * GIB, 65e12, 320e9),
    "l4": GPU("NVIDIA L4", 24 * GIB, 121e12, 300e9),
    "rtx4090": GPU("NVIDIA GeForce RTX 4090", 24 * GIB, 165e12, 1008e9),
    "a100-40": GPU("NVIDIA A100 40GB", 40 * GIB, 312e12, 1555e9),
    "a100-80": GPU("NVIDIA A100 80GB", 80 * GIB, 312e12, 2039e9),
    "h100": GPU("NVIDIA H100 SXM", 80 * GIB, 989e12, 3350e9),
}


def memory_bytes(
    budget: Budget,
    model: ModelShape,
    *,
    questions: int = 1,
    bytes_per_value: int = 2,
    chunk_frames: int = 16,
    quantization: str | None = None,
) -> int:
    """Memory for weights, the shared prefix, the questions' own keys and values, and the largest activations.

    An estimate from below: allocators and libraries take about a tenth more.

    Args:
        questions: answered together.
        bytes_per_value: 2 for float16 and bfloat16, 4 for float32; of all that is not quantized.
        quantization: as in `weight_bytes`.
    """
    weights = weight_bytes(model, bytes_per_value, quantization)
    each = budget.context_tokens - budget.visual_tokens
    prefill = layer_bytes(budget.context_tokens, model, bytes_per_value)
    vision = chunk_frames * (model.patches + 1) * (model.vision_mlp + 6 * model.vision_width) * bytes_per_value
    suffixes = max(layer_bytes(each * questions, model, bytes_per_value), attention_bytes(questions, each, model))
    features = budget_features(budget, model) * bytes_per_value
    own = model.kv_bytes(each * questions, bytes_per_value)
    return weights + budget.prefix_kv_bytes + own + max(prefill, vision, suffixes) + features


def weight_bytes(model: ModelShape, bytes_per_value: int = 2, quantization: str | None = None) -> int:
    """Memory of the weights.

    Args:
        quantization: "4bit" (nf4: 4 bits and, doubly quantised, a scale of 8 bits for 64 of them) or "8bit": of the
            language model's layers alone. None is none.

    Raises:
        ValueError: another quantization.
    """
    bits = {None: 8 * bytes_per_value, "8bit": 8, "4bit": 4 + 8 / 64 + 32 / (64 * 256)}
    if quantization not in bits:
        raise ValueError(f"quantization={quantization!r}: choose '4bit', '8bit' or None")
    layers = model.layers * model.layer_parameters
    rest = model.language_parameters - layers + model.vision_parameters
    return int(layers * bits[quantization] / 8) + rest * bytes_per_value


def layer_bytes(tokens: int, model: ModelShape, bytes_per_value: int) -> int:
    """What a layer of the language model makes of so many tokens: its MLP's products and some vectors each."""
    return tokens * (2 * model.mlp + 4 * model.width) * bytes_per_value


def attention_bytes(questions: int, each: int, model: ModelShape) -> int:
    """The peak of `shared_prefix.attend`: in float32 five vectors a token, keys and values, three times own scores."""
    vectors = questions * each * (5 * model.heads + 2 * model.kv_heads) * model.head_dim
    return 4 * (vectors + 3 * questions * model.heads * each**2)


def budget_features(budget: Budget, model: ModelShape) -> int:
    """Values in the frame features, which the pathways are pooled from."""
    frames = budget.projector_flops // model.projector_flops(1)
    return frames * model.patches * model.width


def fits(budget: Budget, model: ModelShape, gpu: GPU, *, questions: int = 1, bytes_per_value: int = 2) -> bool:
    """Whether it fits the GPU, with a tenth of the memory left for allocators and libraries."""
    return memory_bytes(budget, model, questions=questions, bytes_per_value=bytes_per_value) <= 0.9 * gpu.memory


def stage_seconds(
    budget: Budget,
    model: ModelShape,
    gpu: GPU,
    *,
    questions: int = 1,
    share_prefix: bool = True,
    bytes_per_value: int = 2,
) -> dict[str, float]:
    """Lower bound in seconds of each stage, all questions on one video: operations or bytes, whichever takes longer.

    Shared, one pass over the weights serves a token of every question. The plain way does everything for each.
    """
    watched = 1 if share_prefix else questions
    together = questions if share_prefix else 1
    rounds = questions // together
    weights = model.step_parameters * bytes_per_value
    steps = max(budget.new_tokens - 1, 0)

    def bound(flops: float, read: float) -> float:
        return max(flops / gpu.flops, read / gpu.bandwidth)

    return {
        "encode": watched
        * bound(budget.vision_flops + budget.projector_flops, model.vision_parameters * bytes_per_value),
        "prefill": watched * bound(budget.prefill_flops, weights),
        "answer": rounds
        * (
            bound(together * budget.question_flops, weights + budget.prefix_kv_bytes)
            + bound(together * budget.decode_flops, steps * (weights + budget.prefix_kv_bytes))
        ),
    }
