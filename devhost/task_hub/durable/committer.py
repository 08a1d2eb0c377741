"""Group commit: one thread writes, and each of its transactions takes all that waits."""

from __future__ import annotations

import asyncio
import logging
import queue
import sqlite3
import threading
from collections.abc import Callable

from devhost.task_hub.durable.database import Database
from devhost.task_hub.durable.journal import Changes, Journal

logger = logging.getLogger("sluice.task_hub")

FIRST_RETRY_SECONDS = 0.1
LONGEST_RETRY_SECONDS = 2.0


class Committer:
    """Commits the journal's changes in order, and tells who waits for it.

    The loop goes on serving while a commit is written. A commit that cannot be written (disk
    full, I/O error) is tried again until it can; whoever waits for it waits, and `trouble` says
    why, so that new work can be refused. Any other error ends the hub: `failed` raises it.
    """

    def __init__(
        self, database: Database, journal: Journal, on_committed: Callable[[], None]
    ) -> None:
        """`on_committed` is called after the effects of each commit. Needs a running loop."""
        self._database = database
        self._journal = journal
        self._on_committed = on_committed
        self._loop = asyncio.get_running_loop()
        self._orders: queue.SimpleQueue[Changes | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._write, name="task-hub-writer")
        self._writing: Changes | None = None
        self._scheduled = False
        self._told: dict[int, asyncio.Event] = {}
        self._told_or_stuck: dict[int, asyncio.Event] = {}
        self._retry_seconds = FIRST_RETRY_SECONDS
        self.trouble: str | None = None
        self.failed: asyncio.Future[None] = self._loop.create_future()
        self._writer.start()
        journal.on_change = self._changed
        if journal.open:
            self._changed()

    async def settled(self) -> None:
        """Wait until all that was changed before this call is durable and told."""
        await self._wait(self._told)

    async def settled_or_stuck(self) -> None:
        """`settled`, but no longer than commits succeed.

        While they fail, what was changed since is nobody's to know: the last commit is the truth.
        """
        if self.trouble is None:
            await self._wait(self._told_or_stuck)

    async def _wait(self, told: dict[int, asyncio.Event]) -> None:
        changes = self._journal.open or self._writing
        if changes is not None:
            event = told.get(id(changes))
            if event is None:
                event = told[id(changes)] = asyncio.Event()
            await event.wait()

    def give_up(self, error: Exception) -> None:
        """Commit nothing any more: what is in memory may be wrong."""
        if not self.failed.done():
            self.failed.set_exception(error)

    async def close(self) -> None:
        """Commit what is left, when it can be written, and end the thread."""
        if self.trouble is None and not self.failed.done():
            await self.settled()
        self._orders.put(None)
        await asyncio.to_thread(self._writer.join)

    def _changed(self) -> None:
        """Something is to be written: at the end of this step of the loop, so all of a step is."""
        if not self._scheduled and self._writing is None:
            self._scheduled = True
            self._loop.call_soon(self._order)

    def _order(self) -> None:
        self._scheduled = False
        if self._writing is None and self._journal.open and not self.failed.done():
            self._writing = self._journal.take()
            self._orders.put(self._writing)

    def _write(self) -> None:
        """The writing thread."""
        while (changes := self._orders.get()) is not None:
            error: Exception | None = None
            try:
                self._database.apply(changes)
            except Exception as caught:  # noqa: BLE001  it is handled on the loop
                error = caught
            self._loop.call_soon_threadsafe(self._written, changes, error)

    def _written(self, changes: Changes, error: Exception | None) -> None:
        if error is None:
            try:
                self._succeeded(changes)
            except Exception as caught:  # noqa: BLE001  it is raised from `failed`
                self.give_up(caught)
        elif isinstance(error, sqlite3.OperationalError):
            self._try_again(changes, error)
        else:
            self.give_up(error)

    def _succeeded(self, changes: Changes) -> None:
        if self.trouble is not None:
            logger.warning("The database can be written again")
            self.trouble, self._retry_seconds = None, FIRST_RETRY_SECONDS
        self._writing = None
        self._journal.done(changes)
        for waiting in (self._told, self._told_or_stuck):
            told = waiting.pop(id(changes), None)
            if told is not None:
                told.set()
        self._on_committed()
        self._order()

    def _try_again(self, changes: Changes, error: sqlite3.OperationalError) -> None:
        if self.trouble is None:
            logger.error("The database cannot be written, trying again: %s", error)
        self.trouble = str(error)
        for told in self._told_or_stuck.values():
            told.set()
        self._told_or_stuck.clear()
        self._loop.call_later(self._retry_seconds, self._orders.put, changes)
        self._retry_seconds = min(self._retry_seconds * 2, LONGEST_RETRY_SECONDS)
