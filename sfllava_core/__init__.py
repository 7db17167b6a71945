"""SlowFast-LLaVA (arXiv:2407.15841), small: a training-free video LLM made of a pretrained image LLM.

    video/ -> features.py -> methods/ -> prompts.py, model.py -> answering/ -> answer        and budget/ beside them

Importing the package loads nothing heavy; each name below is imported from its module when first used.
"""

from sfllava_core.exports import lazy

__version__ = "0.1.0"

HOMES = {
    "video.frames": ("Frames", "sample_frame_indices"),
    "video.reading": ("read_frames",),
    "video.integrity": ("HostError", "VideoError"),
    "features": ("preprocess", "resize_frames"),
    "methods.base": ("Method", "SpecError"),
    "methods.pooling": ("Pool",),
    "methods.slowfast": ("Pathway", "SlowFast", "fast_only", "slow_frame_indices", "slow_only", "uniform"),
    "methods.blind": ("Blind",),
    "methods.freeva": ("FreeVA",),
    "methods.tsllava": ("TSLLaVA",),
    "methods.image_grid": ("ImageGrid",),
    "methods.igvlm": ("IgVlm",),
    "methods.llava_next_image": ("LlavaNextImage",),
    "methods.specs": ("parse_spec",),
    "prompts": ("PromptError", "PromptParts", "multiple_choice_prompt", "open_ended_prompt", "tokenize_prompt"),
    "budget.arithmetic": ("MODEL_SHAPES", "Budget", "ModelShape", "token_budget"),
    "budget.hardware": ("GPU", "GPUS", "fits", "memory_bytes", "stage_seconds"),
    "backbones.base": ("Backbone", "ModelError"),
    "model": ("VideoLLM",),
    "answering.sharing": ("ContextError",),
    "answering.watched": ("Choice", "Generation", "WatchedVideo"),
    "answering.choices": ("parse_choice",),
}
__all__ = sorted(name for names in HOMES.values() for name in names)
__getattr__, __dir__ = lazy(__name__, HOMES)
