"""What a dead process has left: its records are shipped, its open notes become records.

The lock of a journal is held while its process lives, so who gets it may adopt the journal. Every
step can be done again by another who adopts it after a crash: what has a record already, in any of
the segments, is written no second time, since a segment goes only after all notes have gone.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic_core import from_json

from contracts.calls import UsageRecord
from ledger.lines import read_notes
from ledger.segments import LOCK, NOTES, Segment, left_segments, pread
from ledger.shipping import ship, whole_lines
from stores.ledger import LedgerStore

_log = logging.getLogger("sluice.ledger")

YOUNG_SECONDS = 60.0
"""A folder without a line in it may be that of a process that is only starting."""
PIECE_BYTES = 1024 * 1024

type Line = Callable[[UsageRecord], bytes]
"""A record, priced and written as a line."""


async def adopt_all(root: Path, own: Path, store: LedgerStore, line: Line) -> None:
    """Adopt every journal below `root` whose process is dead. Raises DependencyUnavailable."""
    for folder in await asyncio.to_thread(_folders, root, own):
        with _locked(folder) as mine:
            if mine:
                await _adopt(folder, store, line)


async def _adopt(folder: Path, store: LedgerStore, line: Line) -> None:
    segments = await asyncio.to_thread(left_segments, folder)
    try:
        for segment in segments:
            await _true(segment, store)
        written_off = await asyncio.to_thread(_write_off, folder, segments, line)
        if segments:
            why = "Worker %s is no more: its journal is shipped, %d of its calls had no end"
            _log.info(why, folder.name, written_off)
        while segments:
            await ship(store, segments[0])
            segments.pop(0).remove()
    finally:
        for segment in segments:
            segment.close()
    await asyncio.to_thread(_remove, folder)


async def _true(segment: Segment, store: LedgerStore) -> None:
    """Make the file whole lines, and as long as the blob: a machine that lost power may have
    forgotten what was in storage already."""
    segment.cut(await asyncio.to_thread(_whole, segment))
    segment.shipped = await store.size(segment.blob)
    if segment.shipped > segment.size:
        async for piece in store.read(segment.blob, segment.size, segment.shipped - segment.size):
            segment.write(piece)
        segment.cut(segment.shipped)


def _write_off(folder: Path, segments: list[Segment], line: Line) -> int:
    """Give each open note a record, booked today, and remove the notes. How many there were."""
    files = sorted(folder.glob(f"*{NOTES}"))
    noted = {each.request_id: each for file in files for each in read_notes(file.read_bytes())}
    if noted:
        for segment in segments:
            for text in _lines(segment):
                noted.pop(_request_id(text), None)
    if noted:
        number = 1 + max([int(path.name[:6]) for path in [*files, *(s.path for s in segments)]])
        today = datetime.fromtimestamp(time.time(), UTC).date().isoformat()
        segments.append(Segment.new(folder, number, today))
        segments[-1].write(b"".join(line(each.unknown()) for each in noted.values()))
    for file in files:
        file.unlink()
    return len(noted)


def _whole(segment: Segment) -> int:
    """The length of the lines at its beginning that are whole."""
    size = 0
    for text in _lines(segment):
        try:
            from_json(text)
        except ValueError:
            break
        size += len(text)
    return size


def _lines(segment: Segment) -> Iterator[bytes]:
    rest, at = b"", 0
    while piece := pread(segment.file, at, min(PIECE_BYTES, segment.size - at)):
        at += len(piece)
        whole = whole_lines(rest + piece)
        rest = (rest + piece)[len(whole) :]
        yield from whole.splitlines(keepends=True)


def _request_id(text: bytes) -> str:
    return str(from_json(text)["request_id"])


def _folders(root: Path, own: Path) -> list[Path]:
    if not root.is_dir():
        return []
    return [path for path in sorted(root.iterdir()) if path != own and _left(path)]


def _left(folder: Path) -> bool:
    with suppress(OSError):
        if not folder.is_dir():
            return False
        if any(path.name != LOCK for path in folder.iterdir()):
            return True
        return time.time() - folder.stat().st_mtime > YOUNG_SECONDS
    return False


@contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Whether the journal is this process's now."""
    lock = FileLock(folder / LOCK, timeout=0, thread_local=False)
    try:
        lock.acquire()
    except (Timeout, OSError):
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def _remove(folder: Path) -> None:
    with suppress(OSError):
        (folder / LOCK).unlink()
        folder.rmdir()
