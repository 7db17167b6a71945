"""SlowFast-LLaVA (arXiv:2407.15841), small: a training-free video LLM made of a pretrained image LLM.

    video/ -> features.py -> methods/ -> prompts.py, model.py -> answering/ -> answer        and budget/ beside them

Importing the package loads nothing heavy; each name below is imported from its module when first used.
"""

from typing import TYPE_CHECKING

from sfllava_core.exports import lazy

__version__ = "0.1.0"

if TYPE_CHECKING:
    from sfllava_core.answering.choices import parse_choice
    from sfllava_core.answering.sharing import ContextError
    from sfllava_core.answering.watched import Choice, Generation, WatchedVideo
    from sfllava_core.backbones.base import Backbone, ModelError
    from sfllava_core.budget.arithmetic import MODEL_SHAPES, Budget, ModelShape, token_budget
    from sfllava_core.budget.hardware import GPU, GPUS, fits, memory_bytes, stage_seconds
    from sfllava_core.features import preprocess, resize_frames
    from sfllava_core.methods.base import Method, SpecError
    from sfllava_core.methods.blind import Blind
    from sfllava_core.methods.dcode import DCoDe
    from sfllava_core.methods.freeva import FreeVA
    from sfllava_core.methods.igvlm import IgVlm
    from sfllava_core.methods.image_grid import ImageGrid
    from sfllava_core.methods.ktv import KTV
    from sfllava_core.methods.llava_next_image import LlavaNextImage
    from sfllava_core.methods.pooling import Pool
    from sfllava_core.methods.slowfast import Pathway, SlowFast, fast_only, slow_frame_indices, slow_only, uniform
    from sfllava_core.methods.specs import parse_spec
    from sfllava_core.methods.tsllava import TSLLaVA
    from sfllava_core.model import VideoLLM
    from sfllava_core.prompts import (
        PromptError,
        PromptParts,
        multiple_choice_prompt,
        open_ended_prompt,
        tokenize_prompt,
    )
    from sfllava_core.video.frames import Frames, sample_frame_indices
    from sfllava_core.video.integrity import HostError, VideoError
    from sfllava_core.video.reading import read_frames
else:
    __getattr__, __dir__ = lazy(__name__, __file__)

__all__ = [
    "GPU", "GPUS", "KTV", "MODEL_SHAPES", "Backbone", "Blind", "Budget", "Choice", "ContextError", "DCoDe", "Frames",
    "FreeVA", "Generation", "HostError", "IgVlm", "ImageGrid", "LlavaNextImage", "Method", "ModelError",
    "ModelShape", "Pathway", "Pool", "PromptError", "PromptParts", "SlowFast", "SpecError", "TSLLaVA",
    "VideoError", "VideoLLM", "WatchedVideo", "fast_only", "fits", "memory_bytes", "multiple_choice_prompt",
    "open_ended_prompt", "parse_choice", "parse_spec", "preprocess", "read_frames", "resize_frames",
    "sample_frame_indices", "slow_frame_indices", "slow_only", "stage_seconds", "token_budget",
    "tokenize_prompt", "uniform",
]  # fmt: skip
