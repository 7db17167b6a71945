"""Small video files made for the tests."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np


def moving_noise(count: int = 60, height: int = 96, width: int = 128) -> np.ndarray:
    """(count, height, width, 3) uint8: a smooth random picture that moves 3 pixels a frame."""
    rng = np.random.default_rng(0)
    small = rng.integers(0, 255, (height // 8, width // 8, 3), dtype=np.uint8)
    picture = small.repeat(8, axis=0).repeat(8, axis=1)
    return np.stack([np.roll(picture, 3 * index, axis=1) for index in range(count)])


def write_video(
    path: Path,
    frames: np.ndarray | None = None,
    *,
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    fps: int = 25,
    times: list[float] | None = None,
    options: dict[str, str] | None = None,
    codec_options: dict[str, str] | None = None,
    container: str | None = None,
) -> Path:
    """Encode frames with PyAV; `times` in seconds gives a variable frame rate."""
    frames = moving_noise() if frames is None else frames
    with av.open(str(path), "w", format=container, options=options or {}) as file:
        stream = file.add_stream(codec, rate=fps, options=codec_options or {})
        stream.height, stream.width, stream.pix_fmt = frames.shape[1], frames.shape[2], pixel_format
        stream.gop_size = 12
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for index, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            if times is not None:
                frame.pts, frame.time_base = round(times[index] * 1000), Fraction(1, 1000)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path


def write_audio(path: Path, seconds: float = 0.5) -> Path:
    """A sound file with no pictures."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream("aac", rate=16000, layout="mono")
        samples = np.zeros((1, int(16000 * seconds)), dtype=np.float32)
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
        frame.sample_rate = 16000
        file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path
