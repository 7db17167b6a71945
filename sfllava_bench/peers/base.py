"""What the peers have in common: how options are listed, and how a checkpoint becomes a `VideoLLM`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int64
from torch import Tensor, nn
from transformers import PretrainedConfig

from sfllava_core.backbones.base import ModelError
from sfllava_core.checkpoints import checked_source, load_tokenizer, loading, pick_device, pick_dtype, straight_to
from sfllava_core.image_statistics import image_statistics
from sfllava_core.methods.base import Method
from sfllava_core.model import VideoLLM
from sfllava_core.prompts import checked_text, option_letters


def question_with_options(question: str, options: Sequence[str]) -> str:
    """ "What is it?\\nOptions:\\n(A) a cat\\n(B) a dog". Raises PromptError for broken texts."""
    letters = option_letters(options)
    checked_text(question, "question")
    for letter, option in zip(letters, options):
        checked_text(option, f"option {letter}")
    return f"{question}\nOptions:\n" + "\n".join(f"({letter}) {option}" for letter, option in zip(letters, options))


class Source:
    """A peer's checkpoint, and where it is to go. Arguments as of `VideoLLM.from_pretrained`.

    Attributes: name; local, a folder and no hub id; settings, what its config.json says; device; dtype.

    Raises:
        ModelError: no such checkpoint, or no such device.
    """

    def __init__(self, path: str | Path, device: str | torch.device, dtype: str | torch.dtype):
        self.name = str(Path(path).expanduser())
        self.local = checked_source(self.name)
        self.device = pick_device(device)
        self.dtype = pick_dtype(dtype, self.device)
        self.settings = settings_of(self.name, self.local)

    def config(self, kind: type[PretrainedConfig], **changed: Any) -> PretrainedConfig:
        """Its config as one of `kind`, whatever kind it says to be: revisions differ. Raises ModelError."""
        with loading(self.name):
            return kind.from_dict({**self.settings, "model_type": kind.model_type, **changed})

    def options(self, config: PretrainedConfig, device_map: str | dict | None) -> dict[str, object]:
        """What transformers' `from_pretrained` is to be told."""
        return {
            "config": config,
            "dtype": self.dtype,
            "attn_implementation": "sdpa",  # else the config may name a kernel to be downloaded and run
            "use_safetensors": True,
            "local_files_only": self.local,
            "output_loading_info": True,
            **({} if (places := device_map or straight_to(self.device)) is None else {"device_map": places}),
        }

    def peer(
        self,
        model: nn.Module,
        method: Method,
        stops: dict[str, str],
        device_map: str | dict | None = None,
        text_from: str = "",
    ) -> VideoLLM:
        """The model with its tokenizer and its own method.

        Args:
            stops: what ends an answer, by prompt style.
            text_from: where tokenizer and picture settings are, where not here.
        """
        source = text_from or self.name
        tokenizer = load_tokenizer(source)
        mean, std = image_statistics(source, checked_source(source))
        model = model.to(self.device) if device_map is None else model
        llm = VideoLLM(model, tokenizer, name=self.name, image_mean=mean, image_std=std)
        llm.method = method
        stop = tokenizer.convert_tokens_to_ids(stops.get(llm.prompt_style, ""))
        if stop is not None and stop != tokenizer.unk_token_id:
            llm.stop_ids |= {stop}
        return llm


def settings_of(source: str, local: bool) -> dict[str, Any]:
    """What a checkpoint's config.json says. Raises ModelError where it has none."""
    with loading(source):
        found, _ = PretrainedConfig.get_config_dict(source, local_files_only=local)
    if not found:
        raise ModelError(f"{source}: it has no config.json; download it again")
    return found


def frames_of_tokens(places: Sequence[int], each: int) -> Int64[Tensor, "tokens"]:
    """For `each` tokens a frame, the frame of every token."""
    return torch.tensor(places, dtype=torch.long).repeat_interleave(each)
