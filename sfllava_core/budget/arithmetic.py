"""What a pathway spec costs: tokens, KV cache and floating point operations, by arithmetic alone.

A multiply and an add count as two operations. The language model's prefill is priced as causal attention needs it
(half of the square). hardware.py turns these numbers into memory that must fit and seconds that cannot be beaten.
"""

from dataclasses import dataclass, fields

from sfllava_core.methods.base import Method


@dataclass(frozen=True)
class ModelShape:
    """The sizes of a LLaVA-NeXT model that its costs follow from."""

    vision_width: int
    vision_layers: int  # those that are computed: up to hidden layer -2
    vision_mlp: int
    patch_size: int
    image_size: int
    width: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    mlp: int
    vocabulary: int
    native_positions: int

    @classmethod
    def from_config(cls, config) -> "ModelShape":
        """The shape of a transformers `LlavaNextConfig`."""
        vision, text = config.vision_config, config.text_config
        layer = config.vision_feature_layer
        deepest = max(n % (vision.num_hidden_layers + 1) for n in ([layer] if isinstance(layer, int) else layer))
        return cls(
            vision_width=vision.hidden_size,
            vision_layers=deepest,
            vision_mlp=vision.intermediate_size,
            patch_size=vision.patch_size,
            image_size=vision.image_size,
            width=text.hidden_size,
            layers=text.num_hidden_layers,
            heads=text.num_attention_heads,
            kv_heads=text.num_key_value_heads,
            head_dim=getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads,
            mlp=text.intermediate_size,
            vocabulary=text.vocab_size,
            native_positions=text.max_position_embeddings,
        )

    @property
    def grid(self) -> tuple[int, int]:
        """Patches a frame, (rows, columns)."""
        return (self.image_size // self.patch_size,) * 2

    @property
    def patches(self) -> int:
        return self.grid[0] * self.grid[1]

    @property
    def layer_parameters(self) -> int:
        """Weights of one language model layer's matrices: queries and output, keys and values, gated MLP."""
        queries, keys = self.heads * self.head_dim, self.kv_heads * self.head_dim
        return 2 * self.width * queries + 2 * self.width * keys + 3 * self.width * self.mlp

    @property
    def language_parameters(self) -> int:
        """Weights of the language model's matrices, with embeddings and head."""
        return self.layers * self.layer_parameters + 2 * self.vocabulary * self.width

    @property
    def step_parameters(self) -> int:
        """Weights that are read to make one token: all but the embedding table, of which one row is."""
        return self.language_parameters - self.vocabulary * self.width

    @property
    def vision_parameters(self) -> int:
        """Weights of the vision tower's computed layers and the projector."""
        layer = 4 * self.vision_width**2 + 2 * self.vision_width * self.vision_mlp
        return self.vision_layers * layer + self.vision_width * self.width + self.width**2

    def vision_flops(self, frames: int) -> int:
        """Vision tower for `frames` frames, patch embedding and CLS token included."""
        tokens = self.patches + 1
        embedding = 2 * self.patches * 3 * self.patch_size**2 * self.vision_width
        matrices = 2 * tokens * (4 * self.vision_width**2 + 2 * self.vision_width * self.vision_mlp)
        attention = 4 * tokens**2 * self.vision_width
        return frames * (embedding + self.vision_layers * (matrices + attention))

    def projector_flops(self, frames: int) -> int:
        """The two-layer projector on every patch of `frames` frames."""
        return 2 * frames * self.patches * (self.vision_width * self.width + self.width**2)

    def language_flops(self, tokens: int, after: int = 0) -> int:
        """`tokens` tokens through the language model behind `after` cached ones, and one token's logits."""
        pairs = tokens * after + tokens * (tokens + 1) // 2
        attention = 4 * pairs * self.heads * self.head_dim
        return self.layers * (2 * tokens * self.layer_parameters + attention) + 2 * self.width * self.vocabulary

    def kv_bytes(self, tokens: int, bytes_per_value: int = 2) -> int:
        """Keys and values of `tokens` tokens in all layers."""
        return 2 * self.layers * self.kv_heads * self.head_dim * tokens * bytes_per_value


CLIP_L_336 = (1024, 23, 4096, 14, 336)  # vision_width, vision_layers, vision_mlp, patch_size, image_size
LANGUAGE_MODELS = {
    # of llava-v1.6-   width layers heads kv_heads head_dim mlp vocabulary native_positions
    "7b":             (4096,   32,   32,      32,     128, 11008,   32064,   4096),  # vicuna-7b
    "mistral-7b":     (4096,   32,   32,       8,     128, 14336,   32064,  32768),  # mistral-7b
    "34b":            (7168,   60,   56,       8,     128, 20480,   64064,   4096),  # 34b (Yi)
}  # fmt: skip
MODEL_SHAPES = {name: ModelShape(*CLIP_L_336, *sizes) for name, sizes in LANGUAGE_MODELS.items()}


@dataclass(frozen=True)
class Budget:
    """The price of watching one video and of one question about it. Tokens, bytes, and floating point operations."""

    pathway_tokens: dict[str, int]
    visual_tokens: int
    text_tokens: int
    new_tokens: int
    context_tokens: int
    context_limit: int
    prefix_kv_bytes: int
    vision_flops: int
    projector_flops: int
    prefill_flops: int
    question_flops: int
    decode_flops: int

    @property
    def context_used(self) -> float:
        """Share of the context that prompt and answer fill; above 1 it does not fit."""
        return self.context_tokens / self.context_limit

    @property
    def video_flops(self) -> int:
        """Once a video: vision, projector, prefill of the prefix."""
        return self.vision_flops + self.projector_flops + self.prefill_flops

    def total_flops(self, questions: int, share_prefix: bool = True) -> int:
        """All work for `questions` questions on one video; not shared, the video's work is done for each of them."""
        watched = 1 if share_prefix else questions
        return watched * self.video_flops + questions * (self.question_flops + self.decode_flops)

    def __str__(self) -> str:
        width = max(len(field.name) for field in fields(self))
        return "\n".join(f"{field.name:<{width}}  {readable(getattr(self, field.name))}" for field in fields(self))


def token_budget(
    spec: Method,
    model: ModelShape,
    *,
    num_frames: int | None = None,
    prefix_text_tokens: int = 60,
    question_tokens: int = 40,
    new_tokens: int = 16,
    rope_scaling: float = 2.0,
    bytes_per_value: int = 2,
) -> Budget:
    """Price a spec on a model.

    Args:
        num_frames: frames that the video gives (fewer than the spec's for a short video).
        prefix_text_tokens: text that all questions share (before and after the visual tokens).
        question_tokens: text of the question itself and of what follows it in the prompt.
        new_tokens: length of an answer.
        rope_scaling: the context is the model's own positions times this (the paper: 2 x 4096).
        bytes_per_value: 2 for float16, 4 for float32.

    Raises:
        SpecError: a spec that does not fit the model's grid.  ValueError: a negative number.
    """
    sizes = {"prefix_text_tokens": prefix_text_tokens, "question_tokens": question_tokens, "new_tokens": new_tokens}
    for name, size in sizes.items():
        if size < 0:
            raise ValueError(f"{name}={size}: give 0 or more")
    frames = spec.num_frames if num_frames is None else num_frames
    counts = spec.token_counts(frames, model.grid)
    visual = sum(counts.values())
    prefix = prefix_text_tokens + visual
    encoded = spec.encoded_pictures(frames)
    decode = sum(model.language_flops(1, after=prefix + question_tokens + step) for step in range(new_tokens - 1))
    return Budget(
        pathway_tokens=counts,
        visual_tokens=visual,
        text_tokens=prefix_text_tokens + question_tokens,
        new_tokens=new_tokens,
        context_tokens=prefix + question_tokens + new_tokens,
        context_limit=int(model.native_positions * rope_scaling),
        prefix_kv_bytes=model.kv_bytes(prefix, bytes_per_value),
        vision_flops=model.vision_flops(encoded),
        projector_flops=model.projector_flops(encoded),
        prefill_flops=model.language_flops(prefix),
        question_flops=model.language_flops(question_tokens, after=prefix),
        decode_flops=decode,
    )


def readable(number: object) -> str:
    """12345678 as "12.35 M"; anything else as it is."""
    if not isinstance(number, int):
        return str(number)
    for size, letter in ((10**12, "T"), (10**9, "G"), (10**6, "M")):
        if number >= size:
            return f"{number / size:.2f} {letter}"
    return str(number)
