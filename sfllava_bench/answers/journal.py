"""A file of JSON lines that survives anything: written line by line to the disk, mended when it is opened again.

The first line says what the file is of (its settings and their fingerprint). Every further line is one record. A
record is on the disk before `append` returns, so a process that is killed loses nothing it has reported; a line that it
was still writing is cut off at the next opening, and what a full disk takes only half of is cut off at once.
"""

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from sfllava_bench.answers.shapes import Header, check, check_record
from sfllava_bench.answers.surroundings import GO_ON, host_at_fault
from sfllava_bench.questions.records import fingerprint
from sfllava_core.video.integrity import HostError

try:
    import fcntl
except ImportError:  # Windows: no lock, so do not start the same run twice at once there
    fcntl = None  # type: ignore[assignment]  # a module elsewhere

SCHEMA = 2  # in 1, answers named their `method` `pathways`
BEGINNING = b'{"journal": '
MAX_LINE = 16 * 2**20  # bytes; a record has some hundreds, or some thousands
PROVENANCE = ("run", "method", "model")  # in a record: those of its file's first line
Record = dict[str, Any]


class JournalError(RuntimeError):
    """A file that must not be written on: other settings, another process at it, or damage that is no torn line."""


class Journal:
    """Records of one piece of work, kept in a file. Use it with `with`; it is locked meanwhile.

    Attributes: path, settings, fingerprint (of kind and settings), records (those already there, then those appended
    where they are kept), repaired (bytes of a torn last line that were cut off).
    """

    def __init__(self, path: str | Path, kind: str, settings: Record, *, keep: bool = True):
        """Open, or begin, the file.

        Args:
            path: its folder is made if need be.
            kind: what the records are ("answers", "judgements").
            settings: JSON-able; all that can change a record. The file is refused if it was begun with others.
            keep: hold in memory, too, what is appended.

        Raises:
            JournalError: it belongs to other settings, is in use, or is damaged.
            HostError: it cannot be written.
        """
        self.path, self.kind, self.settings, self.keep = Path(path), kind, settings, keep
        self.broken = False
        self.fingerprint = journal_fingerprint(kind, settings)
        with host_at_fault(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.file = open(self.path, "ab", buffering=0)  # what could not be written must not be written later
        try:
            with host_at_fault(self.path):
                self._begin()
        except BaseException:
            self.file.close()
            raise

    def _begin(self) -> None:
        """Lock the file, read what is there, cut off a torn line; write the first line if there is none."""
        lock(self.file, self.path)
        header, self.records, sound = read_lines(self.path)
        self.repaired = self.path.stat().st_size - sound
        if self.repaired:
            self.file.truncate(sound)
        if header is not None:
            self._check(header)
            return
        first = {"journal": self.kind, "schema": SCHEMA, "fingerprint": self.fingerprint, "settings": self.settings}
        self._write(first)
        sync_folder(self.path.parent)

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def append(self, *records: Record) -> None:
        """Write records, each as one line, and wait until they are on the disk.

        Raises:
            HostError: the disk does not take them, or did not take earlier ones; none of them is in the file.
        """
        self._write(*records)
        if self.keep:
            self.records += records

    def _write(self, *lines: Record) -> None:
        text = "".join(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n" for line in lines)
        if self.broken:
            raise HostError(f"{self.path}: it could not be written before: see to its disk, {GO_ON}")
        left, sound = memoryview(text.encode()), os.fstat(self.file.fileno()).st_size
        try:
            with host_at_fault(self.path):
                while left:
                    left = left[self.file.write(left) :]  # a disk that is nearly full takes a part
                os.fsync(self.file.fileno())
        except (HostError, OSError):
            self.broken = True
            with suppress(OSError):  # else the next opening cuts it
                self.file.truncate(sound)
            raise

    def _check(self, header: Record) -> None:
        """Refuse a file of other work, and say what differs."""
        check_schema(header, self.path)
        if header["journal"] != self.kind:
            raise JournalError(f"{self.path}: it holds {header['journal']!r}, not {self.kind!r}: take another file")
        if header.get("fingerprint") != self.fingerprint:
            theirs = header.get("settings", {})
            names = [n for n in sorted({*theirs, *self.settings}) if theirs.get(n) != self.settings.get(n)]
            other = "; ".join(f"{n}: {shown(theirs.get(n))} there, {shown(self.settings.get(n))} now" for n in names)
            raise JournalError(f"{self.path}: it was begun with other settings ({other}): take another file or folder")


def journal_fingerprint(kind: str, settings: Record) -> str:
    """Stands for a file's kind and settings; it is in its first line."""
    return fingerprint({"schema": SCHEMA, "kind": kind, "settings": settings})


def answers_fingerprint(settings: Record) -> str:
    """The fingerprint of a run's answers with these settings."""
    return journal_fingerprint("answers", settings)


def read_journal(path: str | Path) -> tuple[Record, list[Record]]:
    """Header and records of a file, without touching it; a torn last line is left out.

    Raises:
        JournalError: there is none, or it is damaged.
    """
    path = Path(path)
    if not path.is_file():
        raise JournalError(f"{path}: there is no such file")
    header, records, _ = read_lines(path)
    if header is None:
        raise JournalError(f"{path}: it is empty")
    check_schema(header, path)
    return header, records


def check_schema(header: Record, path: Path) -> None:
    """Refuse a file of another version of the kit.

    Raises:
        JournalError: it is one.
    """
    if header["schema"] != SCHEMA:
        version = f"schema {header['schema']}, this kit reads {SCHEMA}"
        raise JournalError(f"{path}: {version}: another version of the kit wrote it: take another file or folder")


def count_answered(path: str | Path) -> tuple[int, int]:
    """(questions that a run's file has an answer to, questions of the run); zeros where there is no such file."""
    try:
        header, records = read_journal(path)
    except JournalError:
        return 0, 0
    answered = {record["key"] for record in records if "key" in record and "error" not in record}
    return len(answered), header["settings"]["expected"]


def read_lines(path: Path) -> tuple[Record | None, list[Record], int]:
    """(header or None, records, bytes that are sound); a last line without its end is not sound."""
    lines: list[Any] = []
    sound = 0
    with path.open("rb") as file:
        beginning = file.read(len(BEGINNING))
        if beginning != BEGINNING[: len(beginning)]:
            raise JournalError(f"{path}: its first line does not say what it is; it was not written by this kit")
        file.seek(0)
        while (line := file.readline(MAX_LINE + 1)).endswith(b"\n"):
            try:
                record = json.loads(line, parse_constant=refuse_constant)
                check_line(record, lines[0] if lines else None)
            except (ValueError, RecursionError) as error:
                raise JournalError(
                    f"{path} line {len(lines) + 1}: {error}: it is no torn last line, so it is not mended; "
                    "look at it by hand"
                ) from None
            lines.append(record)
            sound += len(line)
    if len(line) > MAX_LINE:
        raise JournalError(f"{path} line {len(lines) + 1}: it has more than {MAX_LINE} bytes, which no record has")
    return (lines[0] if lines else None), lines[1:], sound


def check_line(line: object, header: Record | None) -> None:
    """Check a line of a file with this header, or the header itself (None).

    Raises:
        ValueError: it is not what a run writes, or of another run.
    """
    if not isinstance(line, dict):
        raise ValueError("not an object")
    if header is None:
        check(line, Header)
        edited = line["fingerprint"] != journal_fingerprint(line["journal"], line["settings"])
        if edited and line["schema"] == SCHEMA:
            raise ValueError("its settings are not those of its fingerprint")
        return
    run = {"run": header["fingerprint"], **header["settings"]}
    for name in PROVENANCE:
        if name in line and line[name] != run.get(name):
            theirs, ours = shown(line[name]), shown(run.get(name))
            raise ValueError(f"its {name} is {theirs}, the file's is {ours}: it is of another run")
    check_record(line, header["journal"])


def refuse_constant(name: str) -> None:
    """NaN and Infinity, which no record is written with."""
    raise ValueError(f"{name} is no JSON")


def lock(file, path: Path) -> None:
    """One writer at a time; the lock goes with the process, however it ends."""
    if fcntl is None:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise JournalError(f"{path}: another process is writing to it; wait for it, or end it") from None


def sync_folder(folder: Path) -> None:
    """Put the file's name itself on the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def shown(value: object) -> str:
    """A setting's value, short."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:77]}..."
