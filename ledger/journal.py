"""What a process writes down of its requests before anything else hears of it, on its own disk.

Each note and each record is one write of the operating system: a process that is killed loses none.
The two go to different files, which are renewed together. A new file of notes begins with those
that are still open, and only then the old one is removed: so whatever is noted has its record in
the same segment or a later one, and a segment is needed no longer once it is in storage and its
notes are gone. Whoever finds the journal of a dead process can tell from what is left of it which
requests have no record: see `adoption`.

What the disk does not take is kept in memory, and the journal says that it is full.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from filelock import FileLock

from ledger.segments import LOCK, NEW, Segment, notes_path, write_all

SEGMENT_BYTES = 8 * 1024 * 1024
"""Some 20,000 records."""
MOST_BLOCKS = 40_000
"""Appended to one blob, which takes 50,000."""


class Journal:
    """Of this process. To be used in one thread; nothing is on disk before the first line."""

    def __init__(
        self, root: Path, worker: str, most_bytes: int, clock: Callable[[], float] = time.time
    ) -> None:
        """`most_bytes`: that may wait to be shipped."""
        self.folder = root / worker
        self.written = 0
        """Bytes of records, ever; those included that the disk did not take."""
        self._most_bytes = most_bytes
        self._clock = clock
        self._lock = FileLock(self.folder / LOCK, timeout=0, thread_local=False, mode=0o600)
        self._segments: deque[Segment] = deque()
        """The oldest first; the last one is written to."""
        self._number = 0
        self._day_ends = 0.0
        self._notes = -1
        """Descriptor of the file of notes."""
        self._notes_size = 0
        self._open: dict[str, bytes] = {}
        """Notes without a record, by request ids."""
        self._kept: list[bytes] = []
        """Records that the disk did not take."""
        self._kept_bytes = 0
        self.failure: OSError | None = None
        """Why the disk takes nothing now."""

    @property
    def full(self) -> bool:
        """Whether nothing more should be begun."""
        return self.failure is not None or self.unshipped > self._most_bytes

    @property
    def unshipped(self) -> int:
        """Bytes of records that are not in storage."""
        return sum(segment.unshipped for segment in self._segments) + self._kept_bytes

    @property
    def shipped(self) -> int:
        """Of the bytes ever written."""
        return self.written - self.unshipped

    @property
    def open_notes(self) -> list[bytes]:
        return list(self._open.values())

    def note(self, request_id: str, line: bytes) -> None:
        """A request begins."""
        self._open[request_id] = line
        try:
            self._ready()
            write_all(self._notes, line)
            self._notes_size += len(line)
        except OSError as error:
            self.failure = self.failure or error

    def record(self, request_id: str, line: bytes) -> None:
        """A request has ended."""
        if self.failure is None:
            try:
                self._ready()
                self._segments[-1].write(line)
            except OSError as error:
                self.failure = error
        if self.failure is not None:
            self._kept.append(line)
            self._kept_bytes += len(line)
        self.written += len(line)
        self._open.pop(request_id, None)

    def mend(self) -> bool:
        """Try again what the disk did not take; whether it does now."""
        if self.failure is not None:
            try:
                self._renew()
                self._segments[-1].write(b"".join(self._kept))
            except OSError as error:
                self.failure = error
                return False
            self._kept, self._kept_bytes, self.failure = [], 0, None
        return True

    def segments(self) -> list[Segment]:
        """That have something to ship, the oldest first."""
        return [segment for segment in self._segments if segment.unshipped]

    def clear(self) -> None:
        """Remove what is shipped and written to no longer."""
        while len(self._segments) > 1 and not self._segments[0].unshipped:
            self._segments.popleft().remove()

    def close(self) -> None:
        """Let another process take over what is left."""
        for segment in self._segments:
            segment.close()
        self._segments.clear()
        self._day_ends = 0.0  # whoever writes all the same begins anew
        if self._notes >= 0:
            os.close(self._notes)
            self._notes = -1
        self._lock.release()

    def _ready(self) -> None:
        """Have files to write to. Raises OSError."""
        if (
            self._clock() >= self._day_ends
            or self._segments[-1].size >= SEGMENT_BYTES
            or self._segments[-1].blocks >= MOST_BLOCKS
            or self._notes_size >= SEGMENT_BYTES
        ):
            self._renew()

    def _renew(self) -> None:
        """Go on in new files. Raises OSError, and then nothing has changed."""
        if not self._lock.is_locked:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock.acquire()
        today = datetime.fromtimestamp(self._clock(), UTC)
        number = self._number = self._number + 1
        open_notes = b"".join(self._open.values())
        notes = os.open(notes_path(self.folder, number), NEW, 0o600)
        try:
            if open_notes:
                write_all(notes, open_notes)
            segment = Segment.new(self.folder, number, today.date().isoformat())
        except OSError:
            os.close(notes)
            notes_path(self.folder, number).unlink(missing_ok=True)
            raise
        self._segments.append(segment)
        old, self._notes, self._notes_size = self._notes, notes, len(open_notes)
        midnight = today.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
        self._day_ends = midnight.timestamp()
        if old >= 0:
            os.close(old)
        for path in self.folder.glob("*.notes"):
            if path != notes_path(self.folder, number):
                path.unlink(missing_ok=True)
        self.clear()
