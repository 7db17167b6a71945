"""Checkpoints: what can be loaded, from where, onto which device, and what its files say of prompts and pathways."""

import logging
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from torch import Tensor
from transformers import AutoConfig, AutoTokenizer, BitsAndBytesConfig, PretrainedConfig
from transformers.utils import cached_file
from transformers.utils import logging as logging_of_transformers

from sfllava_core.backbones.base import EXAMPLE, ModelError, backbone_for
from sfllava_core.defaults import absent
from sfllava_core.methods.base import Grid, Method
from sfllava_core.methods.slowfast import SlowFast
from sfllava_core.methods.specs import parse_spec
from sfllava_core.tokenizing import IM_END, from_sentencepiece, mended, missing_packages

log = logging.getLogger(__name__)
NOT_QUANTIZED = ["model.vision_tower", "model.multi_modal_projector", "lm_head"]
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


def checked_source(source: str) -> bool:
    """Whether the checkpoint is a local folder (True) or a hub id (False).

    Raises:
        ModelError: it is neither; a mistyped path must not become a download.
    """
    if Path(source).is_dir():
        return True
    hub_id = HUB_ID.fullmatch(source) and not source.startswith("data/")
    if not hub_id or Path(source).parent.is_dir():
        nowhere = f"{source}: no such folder; give a folder with config.json, or a hub id such as {EXAMPLE}"
        raise ModelError(absent(source) or nowhere)
    return False


def load_config(source: str | Path) -> PretrainedConfig:
    """A checkpoint's config, of a folder or a hub id; no code of the checkpoint's own is run, whoever says yes.

    Raises:
        ModelError: no such checkpoint, or not one that this kit can use.
    """
    source = str(source)
    local = checked_source(source)
    with loading(source):
        config = AutoConfig.from_pretrained(source, local_files_only=local, trust_remote_code=False)
    backbone_for(config, source)
    return config


def load_tokenizer(source: str | Path):
    """A checkpoint's tokenizer, with the released code's pieces; no code of the checkpoint's own is run.

    From its tokenizer.json; where it has none, from its tokenizer.model, if sentencepiece and protobuf are installed.

    Raises:
        ModelError: no such checkpoint, none of the two files, one that cannot be read, or a package that is missing.
    """
    source = str(source)
    local = checked_source(source)
    with loading(source):
        model = None
        if found_file(source, "tokenizer.json", local) is None:
            model, missing = found_file(source, "tokenizer.model", local), missing_packages()
            if model is None or missing:
                install = f"pip install {' '.join(missing)} to read its tokenizer.model, or " if model else ""
                raise ModelError(
                    f"{source}: it cannot be loaded: it has no tokenizer.json (a tokenizer.model alone is not enough); "
                    f"{install}download it again, or take one that has it, such as {EXAMPLE}"
                )
        tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=local, trust_remote_code=False)
        if model is None:
            return mended(tokenizer)
        return from_sentencepiece(tokenizer, model, tokenizer.init_kwargs.get("add_bos_token", True))


def found_file(source: str, name: str, local: bool) -> Path | None:
    """Where a checkpoint's file of that name lies; None where the checkpoint has none."""
    path = cached_file(source, name, local_files_only=local, _raise_exceptions_for_missing_entries=False)
    return None if path is None else Path(path)


def prompt_style_of(config, tokenizer) -> str:
    """The checkpoint's prompt style: what its config records, else what its family's adapter tells."""
    return getattr(config, "video_prompt_style", None) or backbone_for(config, "").prompt_style(config, tokenizer)


def default_method(config, grid: Grid) -> Method:
    """The checkpoint's default method: what its config records as `video_pathways`, else the paper's, to its grid.

    Raises:
        SpecError: what is recorded is no spec.
    """
    if recorded := getattr(config, "video_pathways", None):
        return parse_spec(recorded)
    paper = SlowFast()
    scaled = paper.scaled(grid)
    if scaled != paper:
        log.warning("a grid of %d x %d patches: the default method is %s, in proportion to %s", *grid, scaled, paper)
    return scaled


def stop_ids(model, tokenizer, style: str) -> frozenset[int]:
    """What ends an answer: the end tokens of the generation settings and of the tokenizer, and that of a ChatML turn.

    All of them, because they differ between files of one checkpoint: 34B's settings may name `<|endoftext|>` alone.
    """
    named = model.generation_config.eos_token_id
    ids = {tokenizer.eos_token_id, *(named if isinstance(named, list) else [named])}
    if style == "chatml":
        ids.add(tokenizer.get_vocab().get(IM_END))
    return frozenset(ids - {None})


def check_finite(values: Float[Tensor, "..."], name: str, stage: str) -> None:
    """Refuse NaN and infinity, of which every later step would make an answer.

    Args:
        name: the model's.  stage: what was computed, such as "frame features".

    Raises:
        ModelError: at least one of the values is not finite.
    """
    if not torch.stack(values.aminmax()).isfinite().all():  # one pass, nothing as large as the values is made
        way_out = "its weights may be damaged: download it again"
        if values.dtype == torch.float16:
            way_out = f"float16 ends at 65504: give dtype='bfloat16' or 'float32'; if it stays so, {way_out}"
        raise ModelError(f"{name}: its {stage} hold NaN or infinity; {way_out}")


@contextmanager
def loading(source: str) -> Iterator[None]:
    """Loading a checkpoint's files: what fails is a `ModelError`; no progress bar where nobody watches it."""
    was_on = logging_of_transformers.is_progress_bar_enabled()
    if not sys.stderr.isatty():
        logging_of_transformers.disable_progress_bar()
    try:
        yield
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError) as error:
        if isinstance(error, ModelError):
            raise
        if "trust_remote_code" in str(error):  # transformers' advice, which nobody can follow here
            raise ModelError(
                f"{source}: it can only be loaded by running code that comes with it, which this kit never does; "
                f"take one of transformers' own kind, such as {EXAMPLE}"
            ) from error
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
        ModelError: no device of that name, or none that torch sees here.
    """
    cards = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "auto":
        return torch.device("cuda" if cards else "mps" if torch.backends.mps.is_available() else "cpu")
    try:
        picked = torch.device(device)
    except RuntimeError as error:
        raise ModelError(f"device {device!r}: give 'auto', 'cpu', 'cuda', 'cuda:1' or 'mps'") from error
    if picked.type == "cuda" and (picked.index or 0) >= cards:
        seen = f"only {cards} CUDA GPU{'s' * (cards > 1)}, numbered from 0" if cards else "no CUDA GPU"
        raise ModelError(f"device {str(device)!r}: this torch sees {seen}; give device={'cuda' if cards else 'cpu'!r}")
    if picked.type == "mps" and not torch.backends.mps.is_available():
        raise ModelError(f"device {str(device)!r}: this torch sees no Apple GPU; give device='cpu'")
    return picked


def straight_to(device: torch.device, needed: bool = False) -> dict[str, torch.device] | None:
    """A device_map that loads each weight straight to the device: 34B's would fill the host's memory else.

    None elsewhere than on CUDA, and without accelerate, which transformers does it with, unless `needed`.
    """
    with_help = device.type == "cuda" and find_spec("accelerate") is not None
    return {"": device} if needed or with_help else None


def pick_dtype(dtype: str | torch.dtype, device: torch.device) -> torch.dtype:
    """ "auto" is float16 on a GPU and float32 on the CPU."""
    if dtype == "auto":
        return torch.float32 if device.type == "cpu" else torch.float16
    picked = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if not isinstance(picked, torch.dtype):
        raise ValueError(f"dtype={dtype!r}: give 'auto', a torch dtype, or its name such as 'bfloat16'")
    return picked


def quantization_config(quantization: str, dtype: str | torch.dtype = "auto") -> BitsAndBytesConfig:
    """bitsandbytes settings for "4bit" (nf4, doubly quantised, as the released code) or "8bit".

    Vision tower, projector and head stay as they are: small beside the language model, and every answer needs them.
    """
    if quantization not in ("4bit", "8bit"):
        raise ValueError(f"quantization={quantization!r}: choose '4bit' or '8bit'")
    if find_spec("bitsandbytes") is None:
        raise ModelError(f"quantization={quantization!r} needs bitsandbytes: pip install bitsandbytes")
    if quantization == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=NOT_QUANTIZED)
    compute = pick_dtype(dtype, torch.device("cuda"))
    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=compute,
        llm_int8_skip_modules=NOT_QUANTIZED,
    )  # fmt: skip
