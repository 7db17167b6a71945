"""The models of the tables that were trained on videos, answering through the same face as our own.

    base              what they have in common
    pllava            PLLaVA: its LoRA merged (pllava_weights), prompts (pllava_prompts), scoring (pllava_scores)
    video_llava       Video-LLaVA; its original tower (video_llava_tower)
    llava_next_video  LLaVA-NeXT-Video and -DPO
    loading           any model by its folder: a peer, or one of our own

Each is a `Method` (frames, pictures, tokens, prompts), a `Backbone` (where its model's parts are) and a way to be
loaded; what comes of it is a `VideoLLM`, so that runner, counts, scores and reports serve it unchanged.
"""

from typing import TYPE_CHECKING

from sfllava_core.exports import lazy

if TYPE_CHECKING:
    from sfllava_bench.peers.llava_next_video import LlavaNextVideo, load_llava_next_video
    from sfllava_bench.peers.loading import load_model
    from sfllava_bench.peers.pllava import Pllava, load_pllava
    from sfllava_bench.peers.video_llava import VideoLlava, load_video_llava
else:
    __getattr__, __dir__ = lazy(__name__, __file__)

__all__ = [
    "LlavaNextVideo",
    "Pllava",
    "VideoLlava",
    "load_llava_next_video",
    "load_model",
    "load_pllava",
    "load_video_llava",
]
