"""SlowFast-LLaVA (arXiv:2407.15841), small: a training-free video LLM made of a pretrained image LLM.

    frames.py -> features.py -> pathways.py -> prompts.py, model.py -> answer

Importing the package loads nothing heavy; each name below is imported from its module when first used.
"""

from importlib import import_module

__version__ = "0.1.0"

_HOMES = {
    "frames": ("Frames", "read_frames", "sample_frame_indices"),
    "integrity": ("HostError", "VideoError"),
    "features": ("frame_features", "preprocess", "resize_frames"),
    "pooling": ("Pool", "SpecError"),
    "pathways": ("Blind", "Pathway", "SlowFast", "fast_only", "slow_frame_indices", "slow_only", "uniform"),
    "image_grid": ("ImageGrid",),
    "specs": ("parse_spec",),
    "prompts": ("PromptError", "PromptParts", "multiple_choice_prompt", "open_ended_prompt", "tokenize_prompt"),
    "budget": ("MODEL_SHAPES", "Budget", "ModelShape", "token_budget"),
    "hardware": ("GPU", "GPUS", "fits", "memory_bytes", "stage_seconds"),
    "checkpoints": ("ModelError",),
    "sharing": ("ContextError",),
    "model": ("VideoLLM",),
    "watched": ("Choice", "Generation", "WatchedVideo"),
    "bench.scoring": ("parse_choice",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}
__all__ = sorted(_HOME_OF)


def __getattr__(name: str):
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
