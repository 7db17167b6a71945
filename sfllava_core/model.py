"""The image LLM as a video LLM: load a LLaVA-NeXT checkpoint, watch videos with it.

frames -> features -> pathways -> prompt -> answer: `VideoLLM.watch` goes the first three steps,
the `WatchedVideo` that it returns (watched.py) goes the last two, as often as there are questions.
"""

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from transformers import LlavaNextForConditionalGeneration

from sfllava_core.answering import rope
from sfllava_core.answering.shared_prefix import install_attention
from sfllava_core.answering.sharing import ContextError
from sfllava_core.answering.watched import WatchedVideo
from sfllava_core.checkpoints import (
    check_complete,
    check_finite,
    check_supported,
    checked_source,
    default_pathways,
    guess_prompt_style,
    load_config,
    load_tokenizer,
    loading,
    pick_device,
    pick_dtype,
    quantization_config,
    stop_ids,
)
from sfllava_core.features import (
    CLIP_MEAN,
    CLIP_STD,
    check_resize_mode,
    checked_pixels,
    frame_features,
    is_features,
    preprocess,
)
from sfllava_core.image_statistics import checked_statistics, image_statistics
from sfllava_core.methods.pathways import PathwaySpec
from sfllava_core.methods.specs import parse_spec
from sfllava_core.prompts import checked_style
from sfllava_core.stopwatch import Stopwatch
from sfllava_core.video.frames import Frames
from sfllava_core.video.reading import DEFAULT_TIMEOUT_S, read_frames

Progress = Callable[[str, int, int], None]


class VideoLLM:
    """A LLaVA-NeXT model and its tokenizer, made to watch videos.

    Attributes: model, tokenizer, name, prompt_style; pathways, the default spec; grid (rows, columns) of patches a
    frame; image_size (height, width) in pixels; dim, the language model's width; max_positions, the longest sequence;
    lock, which whoever runs the language model holds: its RoPE follows the sequence that is being run, so one thread
    goes after the other, through all videos of this model.
    """

    def __init__(
        self,
        model: LlavaNextForConditionalGeneration,
        tokenizer,
        *,
        name: str = "in-memory",
        prompt_style: str | None = None,
        image_mean: tuple[float, ...] = CLIP_MEAN,
        image_std: tuple[float, ...] = CLIP_STD,
    ):
        check_supported(model.config, name)
        self.model, self.tokenizer, self.name = model.eval(), tokenizer, name
        self.prompt_style = prompt_style or guess_prompt_style(model.config, tokenizer)
        checked_style(self.prompt_style)
        self.image_mean, self.image_std = checked_statistics(image_mean, image_std, name)
        vision, text = model.config.vision_config, model.config.text_config
        self.image_size = (vision.image_size, vision.image_size)
        self.grid = (vision.image_size // vision.patch_size,) * 2
        self.pathways = default_pathways(model.config, self.grid)
        self.dim = text.hidden_size
        self.max_positions = rope.max_positions(text)
        self.stop_ids = stop_ids(model, tokenizer)
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
        device_map: str | dict | None = None,
        quantization: str | None = None,
        prompt_style: str | None = None,
    ) -> "VideoLLM":
        """Load a checkpoint of transformers' LlavaNext classes (safetensors only).

        Args:
            path: a local folder, or a hub id such as "llava-hf/llava-v1.6-vicuna-7b-hf". Only a hub id downloads.
            device: "auto" (a GPU if there is one), "cpu", "cuda", "cuda:1", "mps".
            dtype: "auto" is float16 on a GPU, as the released code, and float32 on the CPU; or a torch dtype, or its
                name.
            rope_scaling: factor of dynamic RoPE scaling; 2 is the paper's, 1 is off.
            device_map: transformers' way of spreading a model over several GPUs ("auto", "balanced", a dict).
            quantization: "4bit" or "8bit" through bitsandbytes, which must be installed.
            prompt_style: "vicuna", "chatml" or "mistral"; None reads it from the checkpoint.

        Raises:
            ModelError: no such checkpoint, or not one that can be used here.  ValueError: rope_scaling below 1.
        """
        source = str(Path(path).expanduser())
        config = load_config(source)
        local = checked_source(source)
        device = pick_device(device)
        options = {"quantization_config": quantization_config(quantization, dtype)} if quantization else {}
        if device_map is not None or quantization:
            options["device_map"] = device_map or {"": device}
        rope.use_dynamic_rope(config.text_config, rope_scaling)
        with loading(source):
            model, found = LlavaNextForConditionalGeneration.from_pretrained(
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
        return cls(model, tokenizer, name=source, prompt_style=prompt_style, image_mean=mean, image_std=std)

    @property
    def language_model(self) -> torch.nn.Module:
        return self.model.model.language_model

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
            logits = self.model.lm_head(hidden)
        check_finite(logits, self.name, "logits")
        return logits

    def encode(
        self,
        frames: Frames | UInt8[np.ndarray, "frames h w 3"] | UInt8[Tensor, "frames h w 3"],
        *,
        resize: str = "pillow",
        chunk_frames: int = 16,
        progress: Progress | None = None,
    ) -> Float[Tensor, "frames rows columns dim"]:
        """Frames to frame features F_v (equation 2): resize, normalise, vision tower, projector. See features.py.

        Args:
            resize: "pillow" (exact) or "torch" (on the device, faster there); see `preprocess`.
            chunk_frames: frames that are resized and encoded together; bounds the memory.
            progress: called as progress("encode", frames done, frames in all).

        Raises:
            ModelError: NaN or infinite features.
        """
        if chunk_frames < 1:
            raise ValueError(f"chunk_frames={chunk_frames}: encode at least 1 frame at a time")
        pixels = checked_pixels(frames)
        device, features = self.model.model.vision_tower.device, []
        for start in range(0, len(pixels), chunk_frames):
            chunk = pixels[start : start + chunk_frames]
            pixel_values = preprocess(
                chunk, self.image_size, resize=resize, device=device, mean=self.image_mean, std=self.image_std
            )
            features.append(frame_features(self.model, pixel_values))
            check_finite(features[-1], self.name, "frame features")
            if progress is not None:
                progress("encode", start + len(chunk), len(pixels))
        return torch.cat(features)

    def watch(
        self,
        video: str | Path | Frames | np.ndarray | Tensor,
        pathways: PathwaySpec | str | None = None,
        *,
        resize: str = "pillow",
        chunk_frames: int = 16,
        decoder: str = "auto",
        timeout_s: float | None = DEFAULT_TIMEOUT_S,
        progress: Progress | None = None,
    ) -> WatchedVideo:
        """Watch a video once, to ask it many questions.

        Args:
            video: a file or a folder of images, which is sampled as `pathways` says; or frames that are sampled
                already, `Frames` or uint8 (T, h, w, 3); or frame features of `encode`, floating (T, H, W, D).
            pathways: how visual tokens are made of the frames, a spec or its name; None takes `self.pathways`.
            resize, chunk_frames: see `encode`.  decoder, timeout_s: see `read_frames`.
            progress: called as progress(stage, done, total) with stages "decode" and "encode".

        Raises:
            VideoError: the file cannot be decoded.  SpecError: the spec does not fit this model's grid.
            ContextError: the visual tokens alone do not fit the model's context.  ModelError: NaN or infinite features.
        """
        pathways = parse_spec(pathways) if isinstance(pathways, str) else pathways or self.pathways
        check_resize_mode(resize)
        pathways.token_count(pathways.num_frames, self.grid)  # refuse a spec that does not fit before any work
        stopwatch = Stopwatch(self.device)
        features, frames = (video, None) if is_features(video) else (None, video)
        if isinstance(frames, (str, Path)):
            report = progress or (lambda stage, done, total: None)
            report("decode", 0, pathways.num_frames)
            size = pathways.decoded_size(self.image_size, resize)
            with stopwatch("decode"):
                frames = read_frames(frames, pathways.num_frames, decoder=decoder, size=size, timeout_s=timeout_s)
            report("decode", len(frames), len(frames))
        if features is None:
            pixels = checked_pixels(frames)
            with stopwatch("encode"):
                features = self.encode(
                    pathways.arrange(pixels, self.image_size),
                    resize=resize,
                    chunk_frames=chunk_frames,
                    progress=progress,
                )
        features = self.checked_features(features)
        with stopwatch("pool"), torch.inference_mode():
            tokens = pathways.visual_tokens(features, self.model.model.image_newline)
        if len(tokens) >= self.max_positions:
            raise ContextError(
                f"{len(tokens)} visual tokens of {pathways} leave no room in the {self.max_positions} positions "
                f"of {self.name}: take fewer frames, or pool more"
            )
        return WatchedVideo(self, tokens, pathways, frames if isinstance(frames, Frames) else None, stopwatch)

    def checked_features(
        self, features: Float[Tensor, "frames rows columns dim"]
    ) -> Float[Tensor, "frames rows columns dim"]:
        """Features with this model's grid and width, on its device and in its dtype."""
        if tuple(features.shape[1:]) != (*self.grid, self.dim) or len(features) == 0:
            expected = f"(frames, {self.grid[0]}, {self.grid[1]}, {self.dim})"
            raise ValueError(
                f"features of shape {tuple(features.shape)}: {self.name} makes {expected}, at least 1 frame"
            )
        features = features.to(self.device, self.model.dtype)
        check_finite(features, self.name, "frame features")
        return features
