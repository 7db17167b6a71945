"""The models of the tables that were trained on videos, answering through the same face as our own.

    base              what they have in common: pictures, prompts, loading
    pllava            PLLaVA: its LoRA merged into a stock LLaVA-NeXT; pllava_judge: its way of being scored
    video_llava       Video-LLaVA
    llava_next_video  LLaVA-NeXT-Video and -DPO

Each is a `Method` (frames, pictures, tokens, prompts), a `Backbone` (where its model's parts are) and a way to be
loaded; what comes of it is a `VideoLLM`, so that runner, counts, scores and reports serve it unchanged.
"""

from sfllava_core.exports import lazy

HOMES = {
    "pllava": ("Pllava", "load_pllava"),
    "video_llava": ("VideoLlava", "load_video_llava"),
    "llava_next_video": ("LlavaNextVideo", "load_llava_next_video"),
}
__all__ = sorted(name for names in HOMES.values() for name in names)
__getattr__, __dir__ = lazy(__name__, HOMES)
