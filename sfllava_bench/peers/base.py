"""What the peers have in common: frames spread from first to last, pictures cropped as CLIP's, prompts, loading."""

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor, nn
from transformers import PretrainedConfig

from sfllava_core.backbones.base import ModelError
from sfllava_core.checkpoints import checked_source, load_tokenizer, loading, pick_device, pick_dtype
from sfllava_core.image_statistics import image_statistics
from sfllava_core.methods.base import Grid, Method, SpecError
from sfllava_core.model import VideoLLM
from sfllava_core.prompts import ALL_PARTS, IMAGE, PromptError, PromptParts, checked_text, option_letters
from sfllava_core.video.frames import resize_picture


class PeerMethod(Method):
    """A method that was published with a model: square pictures, and one chat for all questions.

    chats: what stands before and after a question, by prompt style.
    stops: the text that ends an answer, by prompt style.
    """

    chats: ClassVar[dict[str, tuple[str, str]]]
    stops: ClassVar[dict[str, str]]

    def decoded_size(self, size: tuple[int, int], resize: str = "pillow") -> None:
        """Frames keep their size: they are cropped, not stretched."""

    @abstractmethod
    def arrange(
        self, pixels: UInt8[np.ndarray, "frames h w 3"], size: Grid
    ) -> UInt8[np.ndarray, "frames height width 3"]:
        """Frames as the model was shown them; `size` is that of the tower's pictures."""

    def open_ended(self, question: str, style: str, parts: PromptParts = ALL_PARTS) -> tuple[str, str]:
        """The published prompt. It has no parts to leave out: `parts` is not looked at."""
        before, after = of_style(self.chats, style, self)
        checked_question(question)
        return before, f"{question}{after}"

    def multiple_choice(
        self, question: str, options: Sequence[str], style: str, parts: PromptParts = ALL_PARTS
    ) -> tuple[str, str]:
        """The published prompt around question and options; how options are asked is ours, nothing is published."""
        before, after = of_style(self.chats, style, self)
        gap = "" if after.endswith("\n") else " "
        return (
            before,
            f"{question_with_options(question, options)}\nOnly give the best option.{after}{gap}Best option:(",
        )


def of_style(found: dict[str, tuple[str, str]], style: str, method: Method) -> tuple[str, str]:
    """What is there for a prompt style. Raises PromptError where the model has no prompt of it."""
    if style not in found:
        raise PromptError(f"{method} has no prompt in style {style!r}: choose {' or '.join(found)}")
    return found[style]


def checked_question(text: object, what: str = "question") -> None:
    """Refuse what is no text, or holds a mark that stands for the video. Raises PromptError."""
    checked_text(text, what)
    if "<video>" in text:
        raise PromptError(f"the {what} {text!r} holds a literal <video>, which marks the video's place")


def question_with_options(question: str, options: Sequence[str]) -> str:
    """ "What is it?\\nOptions:\\n(A) a cat\\n(B) a dog". Raises PromptError for broken texts."""
    letters = option_letters(options)
    checked_question(question)
    for letter, option in zip(letters, options):
        checked_question(option, f"option {letter}")
    return f"{question}\nOptions:\n" + "\n".join(f"({letter}) {option}" for letter, option in zip(letters, options))


def chat(system: str, end: str = " ASSISTANT:") -> tuple[str, str]:
    """What stands before and after the question in a Vicuna chat."""
    return f"{system} USER: {IMAGE}\n", end


def spread_frames(total: int, count: int) -> list[int]:
    """`count` frames from the first to the last, cut down to whole numbers; a short video repeats some.

    Raises:
        ValueError: a video without frames.

    Source: numpy.linspace(0, total - 1, count, dtype=int) of Video-LLaVA's and LLaVA-NeXT-Video's evaluations.
    """
    if total < 1:
        raise ValueError(f"total={total}: a video needs at least 1 frame to sample from")
    return np.linspace(0, total - 1, count, dtype=int).tolist()


def crop_to_square(pixels: UInt8[np.ndarray, "frames h w 3"], size: Grid) -> UInt8[np.ndarray, "frames height width 3"]:
    """Pictures as CLIP's preparation makes them: bicubic to the short side, then the middle of the long one is kept.

    Args:
        size: (height, width), both the same.
    """
    side = size[0]
    if size[0] != size[1]:
        raise SpecError(f"pictures of {size[0]} x {size[1]}: these models look at squares")
    height, width = pixels.shape[1:3]
    short = min(height, width)
    rows, columns = int(side * height / short), int(side * width / short)  # the shorter is `side` exactly
    top, left = (rows - side) // 2, (columns - side) // 2
    return np.stack([resize_picture(one, (rows, columns))[top : top + side, left : left + side] for one in pixels])


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

    def config(self, kind: type[PretrainedConfig], **changed: object) -> PretrainedConfig:
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
            **({} if device_map is None else {"device_map": device_map}),
        }

    def peer(
        self, model: nn.Module, method: PeerMethod, device_map: str | dict | None, text_from: str = ""
    ) -> VideoLLM:
        """The model with its tokenizer and its own method.

        Args:
            text_from: where tokenizer and picture settings are, where not here.
        """
        source = text_from or self.name
        tokenizer = load_tokenizer(source)
        mean, std = image_statistics(source, checked_source(source))
        model = model.to(self.device) if device_map is None else model
        llm = VideoLLM(model, tokenizer, name=self.name, image_mean=mean, image_std=std)
        llm.method = method
        stop = tokenizer.convert_tokens_to_ids(method.stops.get(llm.prompt_style, ""))
        if stop is not None and stop != tokenizer.unk_token_id:
            llm.stop_ids |= {stop}
        return llm


def settings_of(source: str, local: bool) -> dict[str, object]:
    """What a checkpoint's config.json says. Raises ModelError where it has none."""
    with loading(source):
        found, _ = PretrainedConfig.get_config_dict(source, local_files_only=local)
    if not found:
        raise ModelError(f"{source}: it has no config.json; download it again")
    return found


def frames_of_tokens(places: Sequence[int], each: int) -> Int64[Tensor, "tokens"]:
    """For `each` tokens a frame, the frame of every token."""
    return torch.tensor(places, dtype=torch.long).repeat_interleave(each)
