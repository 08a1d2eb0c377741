"""A segment of a journal: one local file of records, which becomes one append blob, byte for byte.

JOURNAL/WORKER/lock                     held by the process while it lives
JOURNAL/WORKER/000001-2030-01-31.jsonl  records, booked on that day (UTC)
JOURNAL/WORKER/000001.notes             requests begun while this segment was written
usage/2030-01-31/WORKER-000001.jsonl    the blob
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

LOCK = "lock"
NOTES = ".notes"
_RECORDS = re.compile(r"(\d{6})-(\d{4}-\d{2}-\d{2})\.jsonl")

_BINARY = getattr(os, "O_BINARY", 0)
NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | _BINARY
_OLD = os.O_RDWR | os.O_APPEND | _BINARY


@dataclass(slots=True)
class Segment:
    """Its file is open until it is removed."""

    path: Path
    blob: str
    file: int
    size: int = 0
    """Bytes of whole lines."""
    shipped: int = 0
    """Bytes that are in the blob: always the first ones, and whole lines."""
    blocks: int = 0
    """Appended by this process."""

    @classmethod
    def new(cls, folder: Path, number: int, day: str) -> Segment:
        """Raises OSError."""
        path = folder / f"{number:06d}-{day}.jsonl"
        return cls(path, _blob(folder.name, number, day), os.open(path, NEW, 0o600))

    @classmethod
    def open(cls, path: Path) -> Segment:
        """One that a process has left behind. Raises OSError."""
        found = _RECORDS.fullmatch(path.name)
        assert found is not None
        blob = _blob(path.parent.name, int(found[1]), found[2])
        return cls(path, blob, os.open(path, _OLD), size=path.stat().st_size)

    @property
    def number(self) -> int:
        return int(self.path.name[:6])

    @property
    def unshipped(self) -> int:
        return self.size - self.shipped

    def write(self, data: bytes) -> None:
        """Add whole lines. Raises OSError, with nothing of them counted as written."""
        write_all(self.file, data)
        self.size += len(data)

    def read(self, start: int, most: int) -> bytes:
        return pread(self.file, start, min(most, self.size - start))

    def cut(self, size: int) -> None:
        """Drop what follows the first `size` bytes."""
        os.ftruncate(self.file, size)
        self.size = size

    def close(self) -> None:
        os.close(self.file)

    def remove(self) -> None:
        self.close()
        self.path.unlink(missing_ok=True)


def left_segments(folder: Path) -> list[Segment]:
    """Of a process that is no more, in their order."""
    paths = sorted(path for path in folder.iterdir() if _RECORDS.fullmatch(path.name))
    return [Segment.open(path) for path in paths]


def notes_path(folder: Path, number: int) -> Path:
    return folder / f"{number:06d}{NOTES}"


def write_all(file: int, data: bytes) -> None:
    """Raises OSError, and leaves the file as long as it was if it can."""
    written = os.write(file, data)
    if written != len(data):
        os.ftruncate(file, os.fstat(file).st_size - written)
        raise OSError("the disk took a part of it only")


def pread(file: int, start: int, length: int) -> bytes:
    if hasattr(os, "pread"):
        return os.pread(file, length, start)
    os.lseek(file, start, os.SEEK_SET)  # what is written goes to the end all the same
    return os.read(file, length)


def _blob(worker: str, number: int, day: str) -> str:
    return f"usage/{day}/{worker}-{number:06d}.jsonl"
