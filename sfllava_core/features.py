"""Frames -> frame features: what the vision tower and the projector make of each frame, on its own.

Second step of the way: frames -> **features** -> method -> prompt -> answer.

    pixels (T, h, w, 3) -> resize to S x S -> normalise -> vision tower, hidden layer -2 without CLS -> projector
    -> features (T, H, W, D)

S = 336 and H = W = 24 for LLaVA-NeXT. F_v of the paper's section 3.1 is the result.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional as F

from sfllava_core.video.frames import Frames, resize_picture

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
RESIZE_MODES = ("pillow", "torch")


def checked_pixels(frames: Frames | np.ndarray | Tensor) -> UInt8[np.ndarray, "frames h w 3"]:
    """uint8 (T, h, w, 3) pixels of what was given in place of a file."""
    pixels = frames.pixels if isinstance(frames, Frames) else frames
    if isinstance(pixels, Tensor):
        pixels = pixels.cpu().numpy()
    if not isinstance(pixels, np.ndarray):
        raise ValueError(
            f"a video of type {type(frames).__name__}: "
            "give Frames, or uint8 frames (T, h, w, 3); for features (T, H, W, D) use watch_features"
        )
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[-1] != 3 or 0 in pixels.shape:
        raise ValueError(
            f"frames of dtype {pixels.dtype} and shape {pixels.shape}: "
            "give uint8 RGB of shape (T, h, w, 3), T at least 1 (features: a floating torch tensor)"
        )
    return pixels


def resize_frames(
    pixels: UInt8[np.ndarray, "frames h w 3"], size: Sequence[int]
) -> UInt8[np.ndarray, "frames height width 3"]:
    """Resize each frame to (height, width) as the released code does: Pillow bicubic on uint8, aspect ignored."""
    return np.stack([resize_picture(picture, size) for picture in pixels])


def normalize(
    pixels: UInt8[Tensor, "frames height width 3"] | Float[Tensor, "frames height width 3"],
    mean: tuple[float, ...] = CLIP_MEAN,
    std: tuple[float, ...] = CLIP_STD,
) -> Float[Tensor, "frames 3 height width"]:
    """0..255 pixels to the vision tower's input, float32: (x / 255 - mean) / std for each colour."""
    scaled = rearrange(pixels, "t h w c -> t c h w").float() / 255
    mean_, std_ = (torch.tensor(v, device=pixels.device)[:, None, None] for v in (mean, std))
    return (scaled - mean_) / std_


def preprocess(
    pixels: UInt8[np.ndarray, "frames h w 3"] | Float[np.ndarray, "frames h w 3"],
    size: tuple[int, int],
    *,
    resize: str = "pillow",
    device: torch.device | str = "cpu",
    mean: tuple[float, ...] = CLIP_MEAN,
    std: tuple[float, ...] = CLIP_STD,
) -> Float[Tensor, "frames 3 height width"]:
    """Resize and normalise frames, float32 on `device`.

    Floating pixels, 0 to 255, are pictures that a method has made at the tower's size (`Method.arrange`): they are
    only normalised.

    resize="pillow" (default) equals the released code bit for bit before normalisation. resize="torch" moves the raw
    frames to the device and does all of it there (antialiased bicubic), which is faster on a GPU. On the clips in
    data/clips it differs from exact by 1 grey level of 255 at fewer than 1 value in 500, elsewhere not at all
    (tests/test_features.py measures it).

    Raises:
        ValueError: an unknown resize mode, or floating pixels of another size.
    """
    check_resize_mode(resize)
    if pixels.dtype != np.uint8:
        if pixels.shape[1:3] != tuple(size):
            raise ValueError(f"views of dtype {pixels.dtype} and shape {pixels.shape}: only uint8 is resized to {size}")
        resized = torch.from_numpy(pixels).to(device)
    elif resize == "pillow":
        resized = torch.from_numpy(resize_frames(pixels, size)).to(device)
    else:
        raw = rearrange(torch.from_numpy(pixels.copy()).to(device), "t h w c -> t c h w").float()
        for step in ((raw.shape[2], size[1]), size):  # across, then down, whole grey levels after each, as Pillow
            raw = F.interpolate(raw, size=step, mode="bicubic", antialias=True).round().clamp(0, 255)
        resized = rearrange(raw, "t c h w -> t h w c")
    return normalize(resized, mean, std)


def check_resize_mode(resize: str) -> None:
    """Refuse an unknown resize mode."""
    if resize not in RESIZE_MODES:
        raise ValueError(f"resize={resize!r}: choose one of {RESIZE_MODES}")


def tower_states(
    tower: torch.nn.Module, pixel_values: Float[Tensor, "frames 3 height width"], layers: Iterable[int]
) -> dict[int, Float[Tensor, "frames rows vision_dim"]]:
    """Hidden states of a CLIP or SigLIP tower after each of `layers`, computing no layer beyond them.

    Rows are patches, behind CLS where the tower has one (`class_rows`). `layers` count as transformers' `hidden_states`
    do: 0 = embeddings, -1 = last layer, -2 = the last but one.
    """
    depth = len(tower.encoder.layers)
    names = {number: number % (depth + 1) for number in layers}
    hidden = tower.embeddings(pixel_values)
    if hasattr(tower, "pre_layrnorm"):
        hidden = tower.pre_layrnorm(hidden)
    states = {0: hidden}
    for number, block in enumerate(tower.encoder.layers[: max(names.values())], start=1):
        hidden = block(hidden, None)
        if number in names.values():
            states[number] = hidden
    return {name: states[number] for name, number in names.items()}


def class_rows(tower: torch.nn.Module) -> int:
    """How many rows of a tower's hidden states stand before the patches: CLIP's CLS, nothing for SigLIP."""
    return int(hasattr(tower.embeddings, "class_embedding"))


def cls_scores(
    query: Float[Tensor, "*frames width"], keys: Float[Tensor, "*frames patches width"]
) -> Float[Tensor, "*frames patches"]:
    """How much CLS looks at each patch: query and keys of an attention layer over their full width, no softmax.

    Source: KTV, which takes CLIP's last layer, whose heads and scaling it leaves out.
    """
    return torch.einsum("...d, ...pd -> ...p", query.float(), keys.float()) / query.shape[-1] ** 0.5
