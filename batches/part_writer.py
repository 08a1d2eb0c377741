"""One of a slice's append blobs, as one run of the slice writes it."""

from __future__ import annotations

from collections.abc import AsyncIterator

from batches.lines import cut
from batches.results import Kept
from contracts.batches import Tokens
from contracts.errors import Overtaken
from stores.batches import BatchStore, Note

MOST_BLOCK_BYTES = 4 * 1024 * 1024
"""Of several lines; one line alone may be longer."""
ANY_LENGTH = 2**62


class PartWriter:
    """`take` comes first; one call at a time.

    Each change names the etag that the one before it left. A change that failed may have been made
    all the same: tried again, it finds that out.
    """

    def __init__(self, store: BatchStore, name: str, run: str) -> None:
        self.name = name
        self.note = Note(run=run)
        self._noted = self.note
        self.before: Note | None = None
        """What an earlier run has noted."""
        self._store = store
        self._run = run
        self._etag = ""
        self._size = 0
        self._waiting: list[Kept] = []
        self._block: list[Kept] = []
        """What is being appended, or may have been."""

    async def take(self, *, make: bool = True) -> AsyncIterator[bytes]:
        """From now on no other run writes the blob. Its lines.

        If there is none, it is made; unless told not to, then with the first line.
        """
        found = await self._store.look(self.name)
        if found is not None:
            self.before = found[0].note
            self.note = self.before.model_copy(update={"run": self._run}, deep=True)
        elif not make:
            return
        taken = await self._store.take(self.name, self.note)
        self._etag = taken.etag
        self._noted = self.note.model_copy(deep=True)
        self.note.lines, self.note.tokens = 0, Tokens()
        if taken.new:
            return
        async for line in cut(self._store.lines(self.name), most=ANY_LENGTH):
            self._size = line.end
            yield line.text

    def count(self, tokens: Tokens) -> None:
        """The blob has one more line."""
        self.note.lines += 1
        self.note.tokens.add(tokens)

    def add(self, line: Kept) -> None:
        """To be appended."""
        self._waiting.append(line)

    async def flush(self) -> None:
        """Append what is to be appended. Raises Overtaken, and DependencyUnavailable: then it may
        be called again."""
        if self._waiting and not self._etag:
            self._etag = (await self._store.take(self.name, self.note)).etag
        while self._block or self._waiting:
            self._block = self._block or self._next_block()
            data = b"".join(line.text for line in self._block)
            await self._append(data)
            self._size += len(data)
            for line in self._block:
                self.count(line.tokens)
            self._block = []

    async def put_note(self) -> None:
        """Set what is noted beside the lines, if it has changed."""
        if self.note == self._noted:
            return
        etag = await self._store.note(self.name, self.note, self._etag)
        while etag is None:
            await self._catch_up()
            etag = await self._store.note(self.name, self.note, self._etag)
        self._etag = etag
        self._noted = self.note.model_copy(deep=True)

    async def _append(self, data: bytes) -> None:
        etag = await self._store.append(self.name, data, self._etag)
        while etag is None:
            if await self._catch_up() == self._size + len(data):
                return  # an earlier try had made it
            etag = await self._store.append(self.name, data, self._etag)
        self._etag = etag

    async def _catch_up(self) -> int:
        """Learn what a failed change of this run came to; returns the blob's size."""
        found = await self._store.look(self.name)
        if found is None or found[0].note.run != self._run:
            raise Overtaken("Another worker carries the same slice. It is started again.")
        part, self._etag = found
        return part.size

    def _next_block(self) -> list[Kept]:
        size, count = 0, 0
        for line in self._waiting:
            size += len(line.text)
            if count and size > MOST_BLOCK_BYTES:
                break
            count += 1
        block, self._waiting = self._waiting[:count], self._waiting[count:]
        return block
