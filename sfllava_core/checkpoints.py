"""Checkpoints: what can be loaded, from where, onto which device, and what its files say of prompts and pathways."""

import logging
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import torch
from safetensors import SafetensorError
from transformers import BitsAndBytesConfig, LlavaNextConfig
from transformers.image_processing_base import ImageProcessingMixin
from transformers.utils import logging as logging_of_transformers

from sfllava_core.features import CLIP_MEAN, CLIP_STD
from sfllava_core.pathways import Grid, PathwaySpec, SlowFast
from sfllava_core.specs import parse_spec, scaled_spec

log = logging.getLogger(__name__)
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
EXAMPLE = "llava-hf/llava-v1.6-vicuna-7b-hf"


class ModelError(RuntimeError):
    """A checkpoint that is not there, or is not one that this kit can use; says what to do."""


def checked_source(source: str) -> bool:
    """Whether the checkpoint is a local folder (True) or a hub id (False).

    Raises:
        ModelError: it is neither; a mistyped path must not become a download.
    """
    if Path(source).is_dir():
        return True
    hub_id = HUB_ID.fullmatch(source) and not source.startswith("data/")
    if not hub_id or Path(source).parent.is_dir():
        raise ModelError(f"{source}: no such folder; give a folder with config.json, or a hub id such as {EXAMPLE}")
    return False


def check_supported(config, name: str) -> None:
    """Refuse what is not LLaVA-NeXT with a CLIP tower, with the reason."""
    if not isinstance(config, LlavaNextConfig):
        raise ModelError(
            f"{name}: it is a {config.model_type!r} model; this kit needs 'llava_next', for instance {EXAMPLE}"
        )
    if config.vision_config.model_type != "clip_vision_model":
        raise ModelError(
            f"{name}: its vision tower is {config.vision_config.model_type!r}; this kit needs a CLIP tower"
        )
    if config.vision_feature_select_strategy != "default":
        raise ModelError(
            f"{name}: vision_feature_select_strategy {config.vision_feature_select_strategy!r}; "
            "this kit needs 'default' (no CLS token)"
        )


def guess_prompt_style(config, tokenizer) -> str:
    """The checkpoint's prompt style: what its config records, else what its vocabulary and classes tell."""
    if recorded := getattr(config, "video_prompt_style", None):
        return recorded
    if "<|im_start|>" in tokenizer.get_vocab():
        return "chatml"
    return "mistral" if config.text_config.model_type == "mistral" else "vicuna"


def default_pathways(config, grid: Grid) -> PathwaySpec:
    """The checkpoint's default spec: what its config records as `video_pathways`, else the paper's, to its grid.

    Raises:
        SpecError: what is recorded is no spec.
    """
    recorded = getattr(config, "video_pathways", None)
    return parse_spec(recorded) if recorded else scaled_spec(SlowFast(), grid)


def stop_ids(model, tokenizer) -> frozenset[int]:
    """End-of-sequence ids of the checkpoint's generation settings, else its tokenizer's."""
    ids = model.generation_config.eos_token_id
    ids = tokenizer.eos_token_id if ids is None else ids
    return frozenset([ids] if isinstance(ids, int) else ids or [])


def image_statistics(source: str, local: bool) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation that the checkpoint's image processor records; CLIP's where it records none."""
    try:
        settings, _ = ImageProcessingMixin.get_image_processor_dict(source, local_files_only=local)
    except OSError:
        log.info("%s has no preprocessor_config.json: taking CLIP's mean and standard deviation", source)
        settings = {}
    return tuple(settings.get("image_mean", CLIP_MEAN)), tuple(settings.get("image_std", CLIP_STD))


@contextmanager
def loading(source: str) -> Iterator[None]:
    """Loading a checkpoint's files: what fails is a `ModelError`; no progress bar where nobody watches it."""
    was_on = logging_of_transformers.is_progress_bar_enabled()
    if not sys.stderr.isatty():
        logging_of_transformers.disable_progress_bar()
    try:
        yield
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        if isinstance(error, ModelError):
            raise
        raise ModelError(f"{source}: it cannot be loaded: {type(error).__name__}: {error}") from error
    finally:
        if was_on:
            logging_of_transformers.enable_progress_bar()


def check_complete(found: dict, source: str) -> None:
    """Refuse a checkpoint that lacks weights: transformers would fill them in at random.

    The head may be missing where it is the embedding table.
    """
    missing = sorted(found["missing_keys"])
    if missing:
        raise ModelError(f"{source}: {len(missing)} weights are missing, first {missing[0]}; download it again")


def pick_device(device: str | torch.device) -> torch.device:
    """ "auto" is a GPU if there is one.

    Raises:
        ModelError: a GPU is asked for and torch sees none.
    """
    if device != "auto":
        device = torch.device(device)
        if device.type == "cuda" and not torch.cuda.is_available():
            raise ModelError(f"device={str(device)!r}: torch {torch.__version__} sees no CUDA GPU here; give 'cpu'")
        return device
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def pick_dtype(dtype: str | torch.dtype, device: torch.device) -> torch.dtype:
    """ "auto" is float16 on a GPU and float32 on the CPU."""
    if dtype == "auto":
        return torch.float32 if device.type == "cpu" else torch.float16
    picked = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if not isinstance(picked, torch.dtype):
        raise ValueError(f"dtype={dtype!r}: give 'auto', a torch dtype, or its name such as 'bfloat16'")
    return picked


def quantization_config(quantization: str, dtype: str | torch.dtype = "auto") -> BitsAndBytesConfig:
    """bitsandbytes settings for "4bit" (nf4, doubly quantised, as the released code) or "8bit"."""
    if quantization not in ("4bit", "8bit"):
        raise ValueError(f"quantization={quantization!r}: choose '4bit' or '8bit'")
    if find_spec("bitsandbytes") is None:
        raise ModelError(f"quantization={quantization!r} needs bitsandbytes: pip install bitsandbytes")
    if quantization == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True)
    compute = pick_dtype(dtype, torch.device("cuda"))
    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=compute
    )
