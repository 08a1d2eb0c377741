"""The ledger of this process: takes notes and records, and sees that storage has them soon.

begun, meter    write to the journal, at once
settled         waits until all that was written so far is in storage
in between      a task ships the journal about once a second, at once when somebody waits, and
                adopts the journals of processes that have died
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from contextvars import Context
from datetime import UTC, datetime

from contracts.calls import CallBegun, UsageRecord
from contracts.errors import DependencyUnavailable
from ledger import rates
from ledger.adoption import adopt_all
from ledger.journal import Journal
from ledger.lines import note_line, read_notes, record_line
from ledger.prices import Prices
from ledger.rates import Rate
from ledger.shipping import ship
from stores.ledger import LedgerStore

_log = logging.getLogger("sluice.ledger")

EVERY_SECONDS = 1.0
"""Between two shipments."""
GATHER_SECONDS = 0.02
"""For others to wait too: a shipment costs the same for many as for one."""
LONGEST_PAUSE_SECONDS = 30.0
"""While storage is away."""
ADOPT_EVERY_SECONDS = 30.0
LONGEST_WAIT_SECONDS = 30.0
"""For usage to be in storage. Whoever has waited so long goes on: what is in the journal on disk is
lost only with the machine, and making calls again would make it no safer."""

type Tell = Callable[[bytes], None]
"""Takes each record's line."""


def _untold(line: bytes) -> None:
    """For those who keep no log."""


class Ledger:
    """Used in one event loop at a time."""

    def __init__(
        self,
        journal: Journal,
        store: LedgerStore,
        prices: Prices,
        *,
        dedicated: Mapping[str, Rate] | None = None,
        tell: Tell = _untold,
    ) -> None:
        """`dedicated`: prices by the hour, as deployments.yaml has them now."""
        self.journal = journal
        self._store = store
        self._prices = prices
        self._dedicated = dedicated or {}
        self._tell = tell
        self._task: asyncio.Task[None] | None = None
        self._wanted = asyncio.Event()
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self._away = False
        self._gave_up = False
        self._process = os.getpid()
        atexit.register(self.close)

    @property
    def full(self) -> bool:
        """Whether no further call should be made, since it could not be written down."""
        return self.journal.full

    def begun(self, begun: CallBegun) -> None:
        """A `Begun`. In the event loop."""
        if self._task is None or self._task.done():
            self.begin()
        self.journal.note(begun.request_id, note_line(begun))

    def meter(self, record: UsageRecord) -> None:
        """A `Meter`. In the event loop."""
        if self._task is None or self._task.done():
            self.begin()
        line = self._line(record)
        self.journal.record(record.attempt.request_id, line)
        self._tell(line[:-1])

    def begin(self) -> None:
        """Ship from now on; cheap when it does already. In the event loop."""
        if self._task is None or self._task.done():
            self._wanted = asyncio.Event()
            self._task = asyncio.get_running_loop().create_task(
                self._run(), name="ledger", context=Context()
            )

    async def settled(self) -> None:
        """A `Booked`."""
        shipped = await self.shipped(LONGEST_WAIT_SECONDS)
        if not shipped and not self._gave_up:
            _log.error("Usage is not in storage yet, and is waited for no longer")
        self._gave_up = not shipped

    async def shipped(self, within: float) -> bool:
        """Whether all that is written is in storage, after so many seconds at most."""
        if not self.journal.unshipped:
            return True
        self.begin()
        done = asyncio.get_running_loop().create_future()
        self._waiting.append((self.journal.written, done))
        self._wanted.set()
        try:
            async with asyncio.timeout(within):
                await done
        except TimeoutError:
            return False
        return True

    async def aclose(self) -> None:
        """Ship what there is, if that can be, and end."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            with suppress(DependencyUnavailable):  # another process will
                await self._ship()
        self.close()

    def close(self) -> None:
        """Nobody will hear the end of what is open: it gets its records now. Another process
        ships what is left."""
        atexit.unregister(self.close)
        if os.getpid() != self._process:
            return  # a copy of the process that writes the journal
        for note in self.journal.open_notes:
            for noted in read_notes(note):
                self.journal.record(noted.request_id, self._line(noted.unknown()))
        self.journal.close()

    def _line(self, record: UsageRecord) -> bytes:
        return record_line(record, self._prices.bill(record))

    # In the background.

    async def _run(self) -> None:
        await self._store.prepare()
        adopting = asyncio.create_task(self._adopt_now_and_then())
        pause = EVERY_SECONDS
        try:
            while True:
                try:
                    await self._ship()
                except Exception as error:  # noqa: BLE001 - whatever it is, the journal has it all
                    self._failed(error)
                    pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
                else:
                    self._succeeded()
                    pause = EVERY_SECONDS
                await self._pause(pause)
        finally:
            adopting.cancel()
            await asyncio.gather(adopting, return_exceptions=True)

    async def _ship(self) -> None:
        if not self.journal.mend():
            raise DependencyUnavailable(f"The journal's disk: {self.journal.failure}")
        for segment in self.journal.segments():
            await ship(self._store, segment)
        self.journal.clear()
        self._wake()

    async def _pause(self, seconds: float) -> None:
        """Unless somebody waits; but what has failed is not tried again at once."""
        if self._away:
            await asyncio.sleep(min(seconds, EVERY_SECONDS) if self._waiting else seconds)
            return
        try:
            async with asyncio.timeout(seconds):
                await self._wanted.wait()
                await asyncio.sleep(GATHER_SECONDS)
        except TimeoutError:
            pass
        self._wanted.clear()

    def _wake(self) -> None:
        """Those whose usage is in storage."""
        shipped = self.journal.shipped
        for written, done in self._waiting:
            if written <= shipped and not done.done():
                done.set_result(None)
        self._waiting = [each for each in self._waiting if not each[1].done()]

    async def _adopt_now_and_then(self) -> None:
        dated = False
        while True:
            try:
                if not dated:
                    await rates.note(self._store, self._dedicated, datetime.now(UTC))
                    dated = True
                folder = self.journal.folder
                await adopt_all(folder.parent, folder, self._store, self._line)
            except DependencyUnavailable:
                pass  # the next time, then
            except Exception:  # noqa: BLE001 - logged; and records go on being shipped
                _log.exception("Journals of workers that are no more cannot be adopted")
            await asyncio.sleep(ADOPT_EVERY_SECONDS)

    def _failed(self, error: Exception) -> None:
        if not self._away:
            why = error.detail if isinstance(error, DependencyUnavailable) else repr(error)
            _log.warning(
                "Usage cannot be shipped now (%s): it is kept in %s", why, self.journal.folder
            )
        self._away = True

    def _succeeded(self) -> None:
        if self._away:
            _log.info("Usage is shipped again")
        self._away = False
