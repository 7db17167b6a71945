"""A third decoder, for GPUs: torchcodec decodes on the CPU or, by NVDEC, on the GPU, which then resizes frames too.

It needs the shared libraries of an FFmpeg that is installed beside it. Its pictures are taken only where they can be
proved to be those that were asked for: on many files (transport streams, avi, edit lists, intra refresh) they are not.
"""

from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path

import numpy as np

from sfllava_core.video.decoders.base import Picture
from sfllava_core.video.integrity import VideoError, open_av, read_packets, video_stream

CHUNK = 8  # frames that lie on the device at once
OTHERWISE = "read it with decoder='auto'"


class TorchCodecReader:
    """torchcodec: each frame's time is held against that of the packet that was asked for; another is refused.

    On the CPU its pixels equal PyAV's. `partial(TorchCodecReader, device="cuda", size=(336, 336))` as the `decoder` of
    `read_frames` samples and resizes on the GPU, where neither decoding nor resizing is bit-equal; never run so far.
    """

    name = "torchcodec"

    def __init__(self, path: Path, device: str = "cpu", size: tuple[int, int] | None = None):
        """size: (height, width), to resize on the device: bicubic with antialiasing, as Pillow's but for rounding.

        Raises:
            VideoError: it does not load here, or the file is none whose frames are known by their times.
        """
        try:
            decoders = import_module("torchcodec.decoders")  # an extra: the core imports its own dependencies alone
        except (RuntimeError, OSError) as error:
            remedy = f"install FFmpeg (4 to 8) with its shared libraries; or {OTHERWISE}"
            raise VideoError(path, "torchcodec is installed but does not load here", remedy) from error
        self.path, self.size, self.packets = path, size, read_packets(path)
        if not self.packets.indexed:
            raise VideoError(path, "torchcodec cannot tell its frames by their times", OTHERWISE)
        if is_mirrored(path):
            raise VideoError(path, "torchcodec does not mirror it as its display matrix says", OTHERWISE)
        self.video = decoders.VideoDecoder(str(path), dimension_order="NHWC", device=device, num_ffmpeg_threads=1)
        self.total, self.fps = self.packets.frames, self.packets.fps

    def read(self, indices: Sequence[int]) -> Iterator[Picture]:
        times = np.sort(self.packets.times[self.packets.shown]) * self.packets.tick
        for start in range(0, len(indices), CHUNK):
            some = list(indices[start : start + CHUNK])
            batch = self.video.get_frames_at(some)
            for index, seconds in zip(some, batch.pts_seconds.tolist()):
                if abs(seconds - times[index]) > self.packets.tick / 2:
                    cause = f"for frame {index}, shown at {times[index]:g} s, torchcodec gives that of {seconds:g} s"
                    raise VideoError(self.path, cause, OTHERWISE)
            pictures = batch.data if self.size is None else resized(batch.data, self.size)
            yield from zip(pictures.cpu().numpy(), batch.pts_seconds.tolist())


def resized(pictures, size: tuple[int, int]):
    """uint8 (frames, h, w, 3) as uint8 (frames, *size, 3), on the device that they lie on."""
    import torch

    planes = pictures.permute(0, 3, 1, 2).float()
    small = torch.nn.functional.interpolate(planes, tuple(size), mode="bicubic", antialias=True)
    return small.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)


def is_mirrored(path: Path) -> bool:
    """Whether the first frame's display matrix mirrors, beside any turn."""
    from av.sidedata.sidedata import Type

    with open_av(path) as container:
        first = next(container.decode(video_stream(path, container)), None)
        matrix = None if first is None else first.side_data.get(Type.DISPLAYMATRIX)
        if matrix is None:
            return False
        a, b, c, d = np.frombuffer(matrix, dtype=np.int32)[[0, 1, 3, 4]].astype(float)
        return bool(a * d - b * c < 0)
