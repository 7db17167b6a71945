"""The image LLM as a video LLM: load a checkpoint, watch videos with it.

frames -> features -> method -> prompt -> answer: `VideoLLM.watch` goes the first three steps,
the `WatchedVideo` that it returns (answering/watched.py) goes the last two, as often as there are questions.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from sfllava_core.answering import rope
from sfllava_core.answering.shared_prefix import install_attention
from sfllava_core.answering.sharing import ContextError
from sfllava_core.answering.watched import WatchedVideo
from sfllava_core.backbones.base import backbone_for
from sfllava_core.checkpoints import (
    check_complete,
    check_finite,
    checked_source,
    default_method,
    load_config,
    load_tokenizer,
    loading,
    pick_device,
    pick_dtype,
    prompt_style_of,
    quantization_config,
    stop_ids,
    straight_to,
)
from sfllava_core.features import CLIP_MEAN, CLIP_STD, check_resize_mode, checked_pixels, preprocess
from sfllava_core.image_statistics import checked_statistics, image_statistics
from sfllava_core.methods.base import Grid, Method, Seen, SpecError
from sfllava_core.methods.specs import parse_spec
from sfllava_core.prompts import checked_style
from sfllava_core.stopwatch import Stopwatch
from sfllava_core.tokenizing import differences
from sfllava_core.video.frames import Frames
from sfllava_core.video.reading import DEFAULT_TIMEOUT_S, read_frames

log = logging.getLogger(__name__)
Progress = Callable[[str, int, int], None]
Video: TypeAlias = Frames | np.ndarray | Tensor  # uint8 (T, h, w, 3)


class VideoLLM:
    """An image LLM and its tokenizer, made to watch videos.

    Attributes: model, tokenizer, name, prompt_style; backbone, what its family's adapter knows of it; method, the
    default one; grid (rows, columns) of patches a frame; image_size (height, width) in pixels; dim, the language
    model's width; max_positions, the longest sequence; lock, which whoever runs the language model holds: its RoPE
    follows the sequence that is being run, so one thread goes after the other, through all videos of this model.
    """

    def __init__(
        self,
        model: nn.Module,
        tokenizer,
        *,
        name: str = "in-memory",
        prompt_style: str | None = None,
        image_mean: tuple[float, ...] = CLIP_MEAN,
        image_std: tuple[float, ...] = CLIP_STD,
    ):
        self.backbone = backbone_for(model.config, name)(model.eval())
        self.model, self.tokenizer, self.name = model, tokenizer, name
        self.prompt_style = prompt_style or prompt_style_of(model.config, tokenizer)
        checked_style(self.prompt_style)
        self.image_mean, self.image_std = checked_statistics(image_mean, image_std, name)
        self.image_size, self.grid = self.backbone.image_size, self.backbone.grid
        self.method = default_method(model.config, self.grid)
        self.dim = model.config.text_config.hidden_size
        self.max_positions = rope.max_positions(model.config.text_config)
        self.stop_ids = stop_ids(model, tokenizer, self.prompt_style)
        self.lock = threading.RLock()
        install_attention(self.language_model)

    @classmethod
    def from_pretrained(
        cls,
        path: str | Path,
        device: str | torch.device = "auto",
        dtype: str | torch.dtype = "auto",
        rope_scaling: float = 2.0,
        *,
        rope_type: str = "dynamic",
        device_map: str | dict | None = None,
        quantization: str | None = None,
        prompt_style: str | None = None,
    ) -> "VideoLLM":
        """Load a checkpoint of one of transformers' own classes (safetensors only).

        Args:
            path: a local folder, or a hub id such as "llava-hf/llava-v1.6-vicuna-7b-hf". Only a hub id downloads.
            device: "auto" (a GPU if there is one), "cpu", "cuda", "cuda:1", "mps".
            dtype: "auto" is float16 on a GPU, as the released code, and float32 on the CPU; or a torch dtype, or its
                name.
            rope_scaling: factor of RoPE scaling; 2 is the paper's, 1 is off.
            rope_type: "dynamic" (the paper's: acts past the model's own positions only) or "linear" (always acts;
                LLaVA-NeXT-Image was published with it, factor 2).
            device_map: transformers' way of spreading a model over several GPUs ("auto", "balanced", a dict): one holds
                what is too large for one, and they work one after the other.
            quantization: "4bit" or "8bit" through bitsandbytes, which must be installed: the language model's layers
                alone. 8-bit answers depend on which questions are answered together.
            prompt_style: "vicuna", "chatml" or "mistral"; None reads it from the checkpoint.

        Raises:
            ModelError: no such checkpoint, or not one that can be used here.
            ValueError: rope_scaling below 1, or an unknown rope_type.
        """
        source = str(Path(path).expanduser())
        config = load_config(source)
        local = checked_source(source)
        device = pick_device(device)
        options = {"quantization_config": quantization_config(quantization, dtype)} if quantization else {}
        if (places := device_map or straight_to(device, bool(quantization))) is not None:
            options["device_map"] = places
        rope.scale_rope(config.text_config, rope_scaling, rope_type)
        with loading(source):
            model, found = backbone_for(config, source).model_class.from_pretrained(
                source,
                config=config,
                dtype=pick_dtype(dtype, device),
                attn_implementation="sdpa",  # else the config may name a kernel to be downloaded and run
                use_safetensors=True,
                local_files_only=local,
                output_loading_info=True,
                **options,
            )
        tokenizer = load_tokenizer(source)
        check_complete(found, source)
        mean, std = image_statistics(source, local)
        model = model if options else model.to(device)
        llm = cls(model, tokenizer, name=source, prompt_style=prompt_style, image_mean=mean, image_std=std)
        for difference in differences(tokenizer, llm.prompt_style):
            log.warning("%s: its tokenizer is not as the released code's, answers may differ: %s", source, difference)
        return llm

    @property
    def language_model(self) -> nn.Module:
        return self.backbone.language_model

    @property
    def device(self) -> torch.device:
        """Where the token embeddings are: inputs go there."""
        return self.language_model.get_input_embeddings().weight.device

    def embed(self, ids: list[int]) -> Float[Tensor, "length dim"]:
        """Token ids to the language model's input embeddings."""
        return self.language_model.get_input_embeddings()(torch.tensor(ids, dtype=torch.long, device=self.device))

    def logits(self, hidden: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch vocabulary"]:
        """Hidden states to logits over the vocabulary. Raises ModelError where they are no finite numbers."""
        with torch.inference_mode():
            logits = self.backbone.head(hidden)
        check_finite(logits, self.name, "logits")
        return logits

    def encode(
        self,
        frames: Video,
        *,
        resize: str = "pillow",
        chunk_frames: int = 16,
        progress: Progress | None = None,
    ) -> Float[Tensor, "frames rows columns dim"]:
        """Frames to frame features F_v (section 3.1): resize, normalise, vision tower, projector. See features.py.

        Args:
            resize: "pillow" (exact) or "torch" (on the device, faster there); see `preprocess`.
            chunk_frames: frames that are resized and encoded together; bounds the memory.
            progress: called as progress("encode", frames done, frames in all).

        Raises:
            ModelError: NaN or infinite features.
        """
        return self.look(
            checked_pixels(frames), None, resize=resize, chunk_frames=chunk_frames, progress=progress
        ).features

    def look(
        self,
        views: np.ndarray,
        method: Method | None,
        *,
        resize: str = "pillow",
        chunk_frames: int = 16,
        progress: Progress | None = None,
    ) -> Seen:
        """What the model sees of a method's views (`Method.arrange`): features, and whatever else it wants.

        The rest is as in `encode`.
        """
        if chunk_frames < 1:
            raise ValueError(f"chunk_frames={chunk_frames}: encode at least 1 frame at a time")
        device, whole = self.backbone.vision_device, {}
        for start in range(0, len(views), chunk_frames):
            chunk = views[start : start + chunk_frames]
            pixel_values = preprocess(
                chunk, self.image_size, resize=resize, device=device, mean=self.image_mean, std=self.image_std
            )
            seen = self.backbone.look(pixel_values, method)
            check_finite(seen.features, self.name, "frame features")
            for name, rows in {"": seen.features, **seen.more}.items():  # in place: all of them never lie there twice
                if start == 0:
                    whole[name] = rows.new_empty((len(views), *rows.shape[1:]))
                whole[name][start : start + len(chunk)] = rows
            if progress is not None:
                progress("encode", start + len(chunk), len(views))
        return Seen(whole.pop(""), self.backbone.newline, more=whole)

    def watch(
        self,
        video: str | Path,
        method: Method | str | None = None,
        *,
        resize: str = "pillow",
        chunk_frames: int = 16,
        decoder: str = "auto",
        timeout_s: float | None = DEFAULT_TIMEOUT_S,
        progress: Progress | None = None,
    ) -> WatchedVideo:
        """Watch a video file, or a folder of images, once, to ask it many questions.

        Args:
            method: which frames are sampled and what is made of them, a value or its name; None takes `self.method`.
            resize, chunk_frames: see `encode`.  decoder, timeout_s: see `read_frames`.
            progress: called as progress(stage, done, total) with stages "decode" and "encode".

        Raises:
            VideoError: the file cannot be decoded.  HostError: the machine is at fault.
            SpecError: the method does not fit this model's grid.
            ContextError: the visual tokens alone do not fit the model's context.
        """
        if not isinstance(video, (str, Path)):
            raise TypeError(
                f"watch takes a file or folder, this is a {type(video).__name__}: "
                "use watch_frames for uint8 frames (T, h, w, 3), watch_features for features (T, H, W, D)"
            )
        method, stopwatch = self.checked_method(method), Stopwatch(self.device)
        check_resize_mode(resize)
        if progress is not None:
            progress("decode", 0, method.num_frames)
        size = method.decoded_size(self.image_size, resize)
        with stopwatch("decode"):
            frames = read_frames(video, method.sample, decoder=decoder, size=size, timeout_s=timeout_s)
        if progress is not None:
            progress("decode", len(frames), len(frames))
        return self._watch_frames(frames, method, resize, chunk_frames, progress, stopwatch)

    def watch_frames(
        self,
        frames: Video,
        method: Method | str | None = None,
        *,
        resize: str = "pillow",
        chunk_frames: int = 16,
        progress: Progress | None = None,
    ) -> WatchedVideo:
        """Watch frames that are sampled already: `Frames`, or uint8 RGB (T, h, w, 3). The rest is as in `watch`."""
        method, stopwatch = self.checked_method(method), Stopwatch(self.device)
        return self._watch_frames(frames, method, resize, chunk_frames, progress, stopwatch)

    def watch_features(
        self,
        features: Float[Tensor, "views rows columns dim"],
        method: Method | str | None = None,
        more: dict[str, Tensor] | None = None,
    ) -> WatchedVideo:
        """Watch frame features that `encode` gave, (T, H, W, D). Errors are those of `watch`.

        Args:
            more: what the method wants beside them, by name, first axis the frames: embeddings of another model, say.
        """
        method = self.checked_method(method)
        seen = Seen(features, self.backbone.newline, more=more or {})
        return self._watch_seen(seen, method, None, Stopwatch(self.device))

    def checked_method(self, method: Method | str | None) -> Method:
        """A method, its name, or this model's own; one that does not fit the model is refused before any work."""
        method = parse_spec(method) if isinstance(method, str) else method or self.method
        try:
            method.token_count(method.num_frames, self.grid)
        except SpecError as error:
            if (scaled := method.scaled(self.grid)) != method:
                raise SpecError(f"{error}; in proportion to this grid it is {scaled}") from None
            raise
        if method.needs_newline and self.backbone.newline is None:
            kind = self.backbone.model_type
            raise SpecError(f"{method} needs the model's image_newline vector; {self.name}, a {kind!r} model, has none")
        return method

    def _watch_frames(
        self,
        frames: Video,
        method: Method,
        resize: str,
        chunk_frames: int,
        progress: Progress | None,
        stopwatch: Stopwatch,
    ) -> WatchedVideo:
        pixels = checked_pixels(frames)
        views = method.arrange(pixels, self.image_size)
        with stopwatch("encode"):
            seen = self.look(views, method, resize=resize, chunk_frames=chunk_frames, progress=progress)
        seen = replace(seen, frame_size=pixels.shape[1:3], image_size=self.image_size)
        return self._watch_seen(seen, method, frames if isinstance(frames, Frames) else None, stopwatch)

    def _watch_seen(self, seen: Seen, method: Method, frames: Frames | None, stopwatch: Stopwatch) -> WatchedVideo:
        seen = replace(seen, features=self.checked_features(seen.features, method.feature_grid(self.grid)))
        with stopwatch("pool"), torch.inference_mode():
            tokens = method.tokens_of(seen)
        if len(tokens) >= self.max_positions:
            raise ContextError(
                f"{len(tokens)} visual tokens of {method} leave no room in the {self.max_positions} positions "
                f"of {self.name}: take fewer frames, or pool more"
            )
        return WatchedVideo(self, tokens, method, frames, stopwatch)

    def checked_features(
        self, features: Float[Tensor, "frames rows columns dim"], grid: Grid | None = None
    ) -> Float[Tensor, "frames rows columns dim"]:
        """Features with this grid (the model's own) and the model's width, on its device and in its dtype."""
        rows, columns = grid or self.grid
        if not isinstance(features, Tensor) or not features.is_floating_point():
            raise ValueError(f"features of type {type(features).__name__}: give a floating torch tensor of `encode`")
        if tuple(features.shape[1:]) != (rows, columns, self.dim) or len(features) == 0:
            expected = f"(frames, {rows}, {columns}, {self.dim})"
            raise ValueError(
                f"features of shape {tuple(features.shape)}: {self.name} makes {expected}, at least 1 frame"
            )
        features = features.to(self.device, self.model.dtype)
        check_finite(features, self.name, "frame features")
        return features
