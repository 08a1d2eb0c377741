"""What of a slice has ended: append blobs, which grow by whole lines.

One is part of the batch's output file, one of its error file; a third, where there is need of it,
tells of lines that are to be run again. One block is appended at a time, and each holds whole
lines, so a crash leaves no part of a line.

A slice may be started a second time while the first run still goes on: after its worker was cut off
for a while, say. The run that began last has the blobs from then on: what another still has under
way can no longer reach them.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Iterable
from hashlib import blake2b

from batches import results
from batches.part_writer import PartWriter
from batches.results import Kept, Left
from contracts.batches import AcceptedBatch
from stores.batches import BatchStore

NOTE_EVERY_SECONDS = 1.0
"""For progress to be seen."""
THIS_WORKER = secrets.token_hex(4)
"""This process, unlike any other."""


class Checkpoint:
    """Of one slice, written by one run of it. `read` comes first; one call at a time.

    Methods raise Overtaken, and DependencyUnavailable.
    """

    def __init__(
        self, store: BatchStore, out: str, err: str, left: str, *, worker: str = THIS_WORKER
    ) -> None:
        """The names of its parts."""
        run = f"{worker}-{secrets.token_hex(8)}"
        self._worker = worker
        self._out, self._err = PartWriter(store, out, run), PartWriter(store, err, run)
        self._left = PartWriter(store, left, run)
        self._noted_at = time.monotonic()
        self._deadly = ""
        self.left: dict[str, Left] = {}
        """How far lines have come that have not ended, by their custom_ids."""

    @classmethod
    def of_slice(cls, store: BatchStore, batch: AcceptedBatch, index: int) -> Checkpoint:
        """Of a batch's n-th slice, from 0."""
        kinds = ("out", "err", "left")
        return cls(store, *(store.part_name(batch.tenant, batch.id, index, kind) for kind in kinds))

    @property
    def ended(self) -> int:
        """Lines."""
        return self._out.note.lines + self._err.note.lines

    @property
    def failed(self) -> int:
        """Lines, of those."""
        return self._err.note.lines

    @property
    def starts(self) -> int:
        """How often the slice was started, this time included, since a line of it last ended or a
        run came to its end: more than once after a worker died in it."""
        return self._out.note.starts

    async def read(self) -> set[str]:
        """Take the slice over; returns the custom_ids of the lines that have ended."""
        ended: set[str] = set()

        async def read_ended(part: PartWriter) -> None:
            async for text in part.take():
                custom_id, tokens = results.read_ended(text)
                ended.add(custom_id)
                part.count(tokens)

        async def read_left() -> None:
            async for text in self._left.take(make=False):
                custom_id, so_far = results.read_left(text)
                self.left[custom_id] = so_far

        await asyncio.gather(read_ended(self._out), read_ended(self._err), read_left())
        for custom_id in ended & self.left.keys():
            del self.left[custom_id]
        await self._count_start()
        return ended

    def add(self, lines: Iterable[Kept]) -> None:
        """Lines to be kept."""
        for line in lines:
            self._part(line).add(line)

    async def flush(self) -> None:
        """Keep what is to be kept. After DependencyUnavailable it may be called again: nothing is
        kept twice."""
        await self._out.flush()
        await self._err.flush()
        await self._left.flush()

    @property
    def note_due(self) -> bool:
        return time.monotonic() - self._noted_at >= NOTE_EVERY_SECONDS

    async def put_note(self) -> None:
        """Note the counts where progress is looked up."""
        self._noted_at = time.monotonic()
        await self._out.put_note()
        await self._err.put_note()

    async def close(self) -> None:
        """Note the counts, and that the run came to its end."""
        self._out.note.starts, self._out.note.alone = 0, ""
        await self.put_note()

    async def begin_alone(self, custom_id: str) -> None:
        """Note that a line is run by itself."""
        self._out.note.alone = _short(custom_id)
        await self._out.put_note()

    def ended_its_worker(self, custom_id: str) -> bool:
        """Whether a worker has died while this line was run by itself."""
        return self._deadly == _short(custom_id)

    @property
    def _died(self) -> bool:
        """Whether the run before this one may have ended with its worker."""
        before = self._out.before
        return before is not None and before.starts > 0 and not before.run.startswith(self._worker)

    async def _count_start(self) -> None:
        note, before = self._out.note, self._out.before
        if before is None:
            return
        self._deadly = note.alone = before.alone if self._died else ""
        note.ended, note.starts = self.ended, 1
        if before.starts and before.ended == self.ended:
            note.starts = before.starts + self._died
        await self._out.put_note()

    def _part(self, line: Kept) -> PartWriter:
        return {"out": self._out, "err": self._err, "left": self._left}[line.kind]


def _short(custom_id: str) -> str:
    return blake2b(custom_id.encode(), digest_size=16).hexdigest()
