"""Does a file go on to its end? What each container says of its own length, read from its bytes.

ffmpeg passes over a missing end in several of them without a word, so the frames that are left would be taken for all.
A transport or program stream has neither count nor end: cut exactly between two of its packets it is a shorter one, and
nothing in it tells.
"""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

TAIL = 1 << 17  # bytes at the end that are searched for a last page
ASF_FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")


def missing_end(path: Path, kind: str) -> str:
    """What shows that the file, of the container that ffmpeg calls `kind`, stops too early; "" if nothing does."""
    if kind not in CHECKS:
        return ""
    with path.open("rb") as file:
        return CHECKS[kind](file, path.stat().st_size)


def gif(file: BinaryIO, size: int) -> str:
    """A GIF ends with its trailer byte; some writers put a few zeros behind it."""
    file.seek(max(0, size - 64))
    return "" if file.read().rstrip(b"\0").endswith(b";") else "its last byte is no GIF's end"


def avi(file: BinaryIO, size: int) -> str:
    """RIFF chunks, one after another, each with its length before it (0 where the writer never came back to it)."""
    place = 0
    while place + 8 <= size:
        file.seek(place)
        name, length = struct.unpack("<4sI", file.read(8))
        if name != b"RIFF" or length == 0:
            return ""
        place += 8 + length + length % 2
        if place > size + 1:
            return f"its header says {place} bytes, it has {size}"
    return ""


def asf(file: BinaryIO, size: int) -> str:
    """The header's file properties hold the file's size, unless it was broadcast."""
    head = file.read(1 << 16)
    place = head.find(ASF_FILE_PROPERTIES)
    if place < 0 or len(head) < place + 92:
        return "its header is not whole"
    said, flags = struct.unpack_from("<Q", head, place + 40)[0], struct.unpack_from("<I", head, place + 88)[0]
    return "" if flags & 1 or said <= size else f"its header says {said} bytes, it has {size}"


def ogg(file: BinaryIO, size: int) -> str:
    """The last page is whole and says that a stream ends with it."""
    file.seek(max(0, size - TAIL))
    tail = file.read()
    place = tail.rfind(b"OggS")
    page = tail[place:] if place >= 0 else b""
    if len(page) < 27 or len(page) < 27 + page[26] + sum(page[27 : 27 + page[26]]):
        return "its last page is cut"
    return "" if page[5] & 4 else "its last page does not end a stream"


def mpegts(file: BinaryIO, size: int) -> str:
    """Packets of one size, each beginning with its sign: 188 bytes, with a time code before it 192, with parity 204."""
    head = file.read(4 * 204)
    for step, offset in ((188, 0), (192, 4), (204, 0)):
        if all(head[place : place + 1] in (b"G", b"") for place in range(offset, len(head), step)):
            return f"its last packet has {size % step} of {step} bytes" if size % step else ""
    return ""


def mpeg(file: BinaryIO, size: int) -> str:
    """The last packet of a program stream: its length stands behind its start code, whose last byte is 0xBC or more."""
    file.seek(max(0, size - TAIL))
    tail = file.read()
    place = len(tail)
    while (place := tail.rfind(b"\0\0\1", 0, place)) >= 0:
        if len(tail) < place + 6:
            return "its last packet is cut"
        if tail[place + 3] >= 0xBC:
            end = place + 6 + int.from_bytes(tail[place + 4 : place + 6], "big")
            whole = end <= len(tail) and tail[end:] in (b"", b"\0\0\1\xb9")
            return "" if whole else "its last packet is cut"
    return ""


def flv(file: BinaryIO, size: int) -> str:
    """Behind each tag stands its size, with the eleven bytes of its head."""
    file.seek(max(0, size - 4))
    last = int.from_bytes(file.read(4), "big")
    if not 11 <= last <= size - 13:
        return "its last tag is cut"
    file.seek(size - 4 - last + 1)
    return "" if int.from_bytes(file.read(3), "big") == last - 11 else "its last tag is cut"


CHECKS: dict[str, Callable[[BinaryIO, int], str]] = {
    "gif": gif, "avi": avi, "asf": asf, "ogg": ogg, "mpegts": mpegts, "mpeg": mpeg, "flv": flv,
}  # fmt: skip
