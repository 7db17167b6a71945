"""A zoo of video files: every frame carries its own number, painted so that no codec can blur it.

A picture is 6 x 4 cells, black or white: four that tell which way is up, ten for the number and ten for its
complement. `paint` makes it, `read_number` reads it back from a picture of any size, or says that it is not readable.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

ROWS, COLUMNS, BITS = 4, 6, 10
HEIGHT, WIDTH = 64, 96
FOLDER = Path(__file__).parent / "data" / "zoo"  # see its README
KEPT = {
    "theora.ogv": range(100),
    "xvid_noB.avi": range(120),
    "xvid_B.avi": [*range(117), 118],  # its encoder wrote 118 frames and promised 120
    "cli_trim.mp4": range(33, 85),
    **{f"av1.{end}": range(100) for end in ("mp4", "mkv", "webm")},
}


def paint(number: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """(height, width, 3) uint8: white, black over black, black corners; between them the number and its complement."""
    bits = [number >> place & 1 for place in range(BITS)]
    inner = [*bits, *(1 - bit for bit in bits)]
    cells = np.array([1, *inner[:4], 0, *inner[4:16], 0, *inner[16:], 0]).reshape(ROWS, COLUMNS)
    rows, columns = np.arange(height) * ROWS // height, np.arange(width) * COLUMNS // width
    grey = (40 + 175 * cells[rows][:, columns]).astype(np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2)


def read_number(picture: np.ndarray) -> int | None:
    """The number painted on a picture, None where it is not upright or not readable."""
    height, width = picture.shape[:2]
    rows = ((np.arange(ROWS) + 0.5) * height / ROWS).astype(int)
    columns = ((np.arange(COLUMNS) + 0.5) * width / COLUMNS).astype(int)
    cells = (picture[rows][:, columns].mean(axis=2) > 127).astype(int).ravel()
    corners = [cells[0], cells[COLUMNS - 1], cells[-COLUMNS], cells[-1]]
    inner = [*cells[1:5], *cells[6:18], *cells[19:23]]
    bits, complement = inner[:BITS], inner[BITS:]
    if corners != [1, 0, 0, 0] or any(bit == other for bit, other in zip(bits, complement)):
        return None
    return int(sum(bit << place for place, bit in enumerate(bits)))


@dataclass(frozen=True)
class Film:
    """A file that PyAV makes."""

    name: str
    codec: str = "libx264"
    count: int = 120
    options: dict[str, str] = field(default_factory=dict)
    pixel_format: str = "yuv420p"
    size: tuple[int, int] = (HEIGHT, WIDTH)
    times: Callable[[int], float] | None = None
    turn: Callable[[np.ndarray], np.ndarray] | None = None
    matrix: tuple[int, int, int, int] | None = None
    container: dict[str, str] = field(default_factory=dict)
    trim: tuple[float, float] | None = None
    sound: bool = False
    rate: int = 25

    def make(self, folder: Path) -> tuple[Path, list[int]]:
        """Write the file; its path, and the number that each of its frames shows."""
        path = folder / self.name
        source = path if self.trim is None else path.with_name(f"whole_{path.name}")
        self.encode(source)
        return path, list(range(self.count)) if self.trim is None else trimmed(source, path, *self.trim, self.rate)

    def encode(self, path: Path) -> None:
        with av.open(str(path), "w", options=self.container) as file:
            stream = file.add_stream(self.codec, rate=self.rate, options=self.options)
            pixels = [paint(number, *self.size) for number in range(self.count)]
            if self.turn is not None:
                pixels = [np.ascontiguousarray(self.turn(picture)) for picture in pixels]
            stream.height, stream.width, stream.pix_fmt = *pixels[0].shape[:2], self.pixel_format
            if "g" in self.options:
                stream.gop_size = int(self.options["g"])
            if self.times is not None:
                stream.codec_context.time_base = Fraction(1, 1000)
            if self.matrix is not None:
                stream.set_display_matrix(display_matrix(*self.matrix))
            voice = file.add_stream("aac", rate=16000, layout="mono") if self.sound else None
            for number, picture in enumerate(pixels):
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                if self.times is not None:
                    frame.pts, frame.time_base = round(self.times(number) * 1000), Fraction(1, 1000)
                file.mux(stream.encode(frame))
                if voice is not None:
                    file.mux(voice.encode(silence(16000 // self.rate, number)))
            file.mux(stream.encode())
            if voice is not None:
                file.mux(voice.encode())


def silence(samples: int, number: int) -> av.AudioFrame:
    frame = av.AudioFrame.from_ndarray(np.zeros((1, samples), dtype=np.float32), format="fltp", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = 16000, number * samples, Fraction(1, 16000)
    return frame


def display_matrix(a: int, b: int, c: int, d: int) -> list[int]:
    """The nine numbers of a display matrix: column x goes to (a x + c y), row y to (b x + d y)."""
    one = 1 << 16
    return [a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30]


def trimmed(source: Path, target: Path, start: float, seconds: float, rate: int) -> list[int]:
    """Copy a part without decoding, as `ffmpeg -ss START -i SOURCE -t SECONDS -c copy TARGET`; the numbers shown.

    It begins at the keyframe before; where the container has an edit list, what comes before START is hidden by it.
    """
    with av.open(str(source)) as file, av.open(str(target), "w", options={"avoid_negative_ts": "disabled"}) as out:
        stream = file.streams.video[0]
        copy = out.add_stream_from_template(stream)
        begin, end = (round(second / stream.time_base) for second in (start, start + seconds))
        file.seek(begin, stream=stream)
        packets = [packet for packet in file.demux(stream) if packet.dts is not None and packet.dts < end]
        numbers = sorted(round(packet.pts * stream.time_base * rate) for packet in packets if packet.pts >= begin)
        for packet in packets:
            packet.stream, packet.pts, packet.dts = copy, packet.pts - begin, packet.dts - begin
            out.mux(packet)
    return numbers


X264 = {
    "noB": {"g": "12", "bf": "0"},
    "B": {"g": "24", "bf": "3"},
    "pyramid": {"g": "250", "bf": "8", "x264-params": "b-pyramid=normal:ref=5:scenecut=0"},
    "open": {"g": "12", "bf": "3", "x264-params": "open-gop=1:scenecut=0:keyint=12:min-keyint=12"},
    "intra": {"g": "1"},
    "refresh": {"g": "30", "bf": "0", "x264-params": "intra-refresh=1:keyint=30"},
    "lone": {"g": "9999", "bf": "3", "x264-params": "keyint=infinite:scenecut=0"},
}
X265 = {
    "noB": {"g": "12", "x265-params": "log-level=error:keyint=12:bframes=0"},
    "B": {"g": "24", "x265-params": "log-level=error:keyint=24:min-keyint=24:bframes=4:open-gop=0:scenecut=0"},
    "open": {"g": "24", "x265-params": "log-level=error:keyint=24:min-keyint=24:bframes=4:open-gop=1:scenecut=0"},
}
BFRAMES = {"noB": {"g": "12", "bf": "0"}, "B": {"g": "12", "bf": "2"}}
VP8 = {
    "auto-alt-ref": "1",
    "lag-in-frames": "16",
    "arnr-maxframes": "7",
    "g": "30",
    "deadline": "good",
    "cpu-used": "5",
}
VP9 = {"auto-alt-ref": "1", "lag-in-frames": "16", "g": "30", "deadline": "good", "cpu-used": "8"}
LONG = 600


def uneven(number: int) -> float:
    """Times of a variable frame rate, in seconds."""
    return number * 0.04 + (number % 7) * 0.005 + (number // 20) * 0.5


def make_zoo(folder: Path) -> dict[str, tuple[Path, list[int]]]:
    """All files, by name: where each is, and the numbers that its frames show, in order."""
    kept = {name: (FOLDER / name, list(numbers)) for name, numbers in KEPT.items()}
    return kept | {film.name: film.make(folder) for film in films()}


def films() -> list[Film]:
    """What is made anew."""
    zoo = [
        Film(f"h264_{kind}.{end}", options=options, count=LONG if kind in ("B", "open") else 120)
        for kind, options in X264.items()
        for end in ("mp4", "mkv", "mov", "ts", "avi", "flv")
    ]
    zoo += [
        Film(f"hevc_{kind}.{end}", "libx265", options=options, count=LONG if kind != "noB" else 120)
        for kind, options in X265.items()
        for end in ("mp4", "mkv", "ts", "mov")
    ]
    for codec, ends in {
        "mpeg2video": ("mpg", "ts", "mkv", "mp4", "vob", "avi"),
        "mpeg1video": ("mpg", "avi"),
        "mpeg4": ("avi", "mp4", "mkv", "mov", "ts"),
    }.items():
        for kind, options in BFRAMES.items():
            zoo += [Film(f"{codec}_{kind}.{end}", codec, 300, {**options, "qscale": "2"}) for end in ends]
    zoo += [Film(f"vp8.{end}", "libvpx", 150, VP8) for end in ("webm", "mkv")]
    zoo += [Film(f"vp9.{end}", "libvpx-vp9", 150, VP9) for end in ("webm", "mkv", "mp4")]
    zoo += [Film(f"mjpeg.{end}", "mjpeg", 60, pixel_format="yuvj420p") for end in ("avi", "mov", "mkv", "mp4")]
    for name, codec, pixel_format in (
        ("wmv1.wmv", "wmv1", "yuv420p"), ("wmv2.wmv", "wmv2", "yuv420p"), ("wmv2.avi", "wmv2", "yuv420p"),
        ("msmpeg4.avi", "msmpeg4", "yuv420p"), ("msmpeg4v2.avi", "msmpeg4v2", "yuv420p"),
        ("flv1.flv", "flv", "yuv420p"), ("gif.gif", "gif", "gray"),
        ("ffv1.mkv", "ffv1", "yuv420p"), ("ffv1.avi", "ffv1", "yuv420p"),
        ("huffyuv.avi", "huffyuv", "yuv422p"), ("prores.mov", "prores_ks", "yuv422p10le"),
        ("raw.avi", "rawvideo", "yuv420p"), ("qtrle.mov", "qtrle", "rgb24"), ("png.mov", "png", "rgb24"),
        ("utvideo.avi", "utvideo", "yuv420p"), ("svq1.mov", "svq1", "yuv410p"),
    ):  # fmt: skip
        zoo.append(Film(name, codec, 80, {"g": "12"}, pixel_format))
    zoo.append(Film("h263.3gp", "h263", 80, {"g": "12"}, size=(144, 176)))
    zoo += [Film(f"uneven.{end}", count=200, options=X264["B"], times=uneven) for end in ("mp4", "mkv", "mov")]
    zoo.append(Film("uneven.webm", "libvpx-vp9", 100, VP9, times=uneven))
    turns = {
        "90": (lambda p: np.rot90(p, 1), (0, 1, -1, 0)),
        "180": (lambda p: np.rot90(p, 2), (-1, 0, 0, -1)),
        "270": (lambda p: np.rot90(p, 3), (0, -1, 1, 0)),
        "hflip": (lambda p: p[:, ::-1], (-1, 0, 0, 1)),
        "vflip": (lambda p: p[::-1], (1, 0, 0, -1)),
        "transpose": (lambda p: p.transpose(1, 0, 2), (0, 1, 1, 0)),
        "antitranspose": (lambda p: p[::-1, ::-1].transpose(1, 0, 2), (0, -1, -1, 0)),
    }
    zoo += [
        Film(f"turned_{name}.{end}", turn=turn, matrix=matrix, options=X264["B"])
        for name, (turn, matrix) in turns.items()
        for end in ("mp4", "mov")
    ]
    zoo += [
        Film("odd.mp4", pixel_format="yuv444p", size=(65, 97), options=X264["B"]),
        Film("odd.webm", "libvpx-vp9", 60, VP9, size=(65, 97)),
        Film("odd.gif", "gif", 60, pixel_format="gray", size=(65, 97)),
        Film("odd.avi", "mjpeg", 60, pixel_format="yuvj444p", size=(65, 97)),
        Film("h264_10bit.mp4", options=X264["B"], pixel_format="yuv420p10le"),
        Film("hevc_10bit.mkv", "libx265", 120, X265["open"], "yuv420p10le"),
        Film("faststart.mp4", options=X264["B"], container={"movflags": "faststart"}),
        Film("fragmented.mp4", options=X264["B"], container={"movflags": "frag_keyframe+empty_moov"}),
        Film("fast.mp4", options=X264["B"], rate=60, count=LONG),
        Film("one_frame.mp4", count=1),
        Film("two_frames.avi", "mpeg4", 2),
    ]
    zoo += [Film(f"sound.{end}", options=X264["B"], sound=True) for end in ("mp4", "mkv", "ts", "mov")]
    zoo += [Film(f"trim.{end}", options=X264["B"], count=LONG, trim=(5.3, 4.0)) for end in ("mp4", "mov")]
    zoo += [Film("trim_open.mp4", options=X264["open"], count=LONG, trim=(5.3, 4.0))]
    zoo += [Film("trim_hevc.mp4", "libx265", LONG, X265["open"], trim=(5.3, 4.0))]
    zoo += [Film("trim_mpeg4.mp4", "mpeg4", LONG, BFRAMES["B"], trim=(5.3, 4.0))]
    return zoo
