"""API keys: looked up in storage, and remembered for a bounded time.

A key that is revoked opens nothing on any worker FRESH_SECONDS later: what is known of a key is
never believed for longer without a look at storage, except that while storage cannot be read it
counts for another OUTAGE_SECONDS, so that calls of models, which need no storage, go on. A key in
use is looked at again in the background before its time is up, so that no call waits for it.

Ids that nobody issued cause no read each. All ids are listed, at most once in PAUSE_SECONDS, and
an id is read only when it is in the list; what asks meanwhile waits for the next list.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import Callable
from contextvars import Context
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from contracts.errors import DependencyUnavailable, Unauthenticated
from contracts.identity import Identity
from contracts.keys import PresentedKey
from endpoints.clocks import Clocks
from policies.identity.bounded import Bounded
from stores.keys import StoredKey

_log = logging.getLogger("sluice.identity")

FRESH_SECONDS = 30.0
RENEW_SECONDS = 20.0
"""Used after this, it is looked at again in the background."""
OUTAGE_SECONDS = 600.0
PAUSE_SECONDS = 0.5
ABSENT_SECONDS = 10.0
"""How long an id that was not in the list is refused without another look."""
MOST_KNOWN = 10_000
MOST_ABSENT = 10_000
MOST_WAITING = 200
"""Who wait for the next list. What is beyond is told to come again."""

UNKNOWN = "The API key is not known, or no longer."
"""The same whatever is wrong with it: who guesses learns nothing."""


class KeyReader(Protocol):
    async def get(self, key_id: str) -> StoredKey | None: ...

    async def ids(self) -> set[str]: ...


@dataclass(slots=True)
class _Known:
    key: StoredKey
    identity: Identity
    read_at: float
    renewal: asyncio.Task[None] | None = None


class ApiKeys:
    """What this worker knows of keys."""

    def __init__(self, store: KeyReader, clocks: Clocks | None = None) -> None:
        self._store = store
        self._clocks = clocks or Clocks()
        self._known: Bounded[str, _Known] = Bounded(MOST_KNOWN)
        self._absent: Bounded[str, float] = Bounded(MOST_ABSENT)
        """Since when."""
        self._ids = _Ids(store, self._clocks.monotonic)
        self._reading: dict[str, asyncio.Task[_Known | None]] = {}

    async def identity(self, presented: PresentedKey) -> Identity:
        """Of whom the key was issued for. Raises Unauthenticated, or DependencyUnavailable."""
        known = self._known.get(presented.id)
        age = float("inf") if known is None else self._clocks.monotonic() - known.read_at
        if known is None or age > FRESH_SECONDS:
            known = await self._looked_up(presented.id, known, age)
        elif age > RENEW_SECONDS:
            self._renew(known)
        if known is None or not hmac.compare_digest(known.key.digest, presented.digest):
            raise Unauthenticated(UNKNOWN)
        if (ends_at := _end(known.key)) is not None and self._clocks.now() >= ends_at:
            raise Unauthenticated(UNKNOWN)
        return known.identity

    async def _looked_up(self, key_id: str, before: _Known | None, age: float) -> _Known | None:
        try:
            if before is None and not await self._exists(key_id):
                return None
            found = await self._read(key_id)
        except DependencyUnavailable:
            if before is None or age > FRESH_SECONDS + OUTAGE_SECONDS:
                raise
            return before
        if found is None:
            self._absent.put(key_id, self._clocks.monotonic())
        return found

    async def _exists(self, key_id: str) -> bool:
        since = self._absent.get(key_id)
        if since is not None and self._clocks.monotonic() - since < ABSENT_SECONDS:
            return False
        if await self._ids.has(key_id):
            return True
        self._absent.put(key_id, self._clocks.monotonic())
        return False

    async def _read(self, key_id: str) -> _Known | None:
        """One read at a time of each key, however many ask."""
        reading = self._reading.get(key_id)
        if reading is None:
            reading = asyncio.get_running_loop().create_task(
                self._read_once(key_id), name="api-key", context=Context()
            )
            self._reading[key_id] = reading
            reading.add_done_callback(lambda ended: self._ended(key_id, ended))
        return await asyncio.shield(reading)

    def _ended(self, key_id: str, reading: asyncio.Task[_Known | None]) -> None:
        del self._reading[key_id]
        _seen(reading)

    async def _read_once(self, key_id: str) -> _Known | None:
        read_at = self._clocks.monotonic()
        key = await self._store.get(key_id)
        if key is None:
            self._known.drop(key_id)
            return None
        identity = Identity(key.tenant, f"key:{key_id}", key.roles, key.models, key.flows)
        known = _Known(key, identity, read_at)
        self._known.put(key_id, known)
        return known

    def _renew(self, known: _Known) -> None:
        if known.renewal is None or known.renewal.done():
            known.renewal = asyncio.get_running_loop().create_task(
                self._renewed(known.key.id), name="api-key-renewal", context=Context()
            )

    async def _renewed(self, key_id: str) -> None:
        try:
            await self._read(key_id)
        except DependencyUnavailable:
            _log.warning("what is known of API keys cannot be renewed now")


class _Ids:
    """The ids of all keys, as they were listed last."""

    def __init__(self, store: KeyReader, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock
        self._ids: set[str] = set()
        self._begun = self._read = 0
        """The numbers of the last list that was begun, and of the last that was read."""
        self._begun_at = float("-inf")
        self._listing: asyncio.Task[None] | None = None
        self._waiting = 0

    async def has(self, key_id: str) -> bool:
        """By a list that was begun after this was asked, unless it is in the last one."""
        if key_id in self._ids:
            return True
        if self._waiting >= MOST_WAITING:
            raise DependencyUnavailable("Too many unknown API keys: try again in a few seconds.")
        self._waiting += 1
        try:
            wanted = self._begun + 1
            while self._read < wanted:
                await asyncio.shield(self._list())
        finally:
            self._waiting -= 1
        return key_id in self._ids

    def _list(self) -> asyncio.Task[None]:
        if self._listing is None or self._listing.done():
            self._listing = asyncio.get_running_loop().create_task(
                self._listed(), name="api-key-ids", context=Context()
            )
            self._listing.add_done_callback(_seen)
        return self._listing

    async def _listed(self) -> None:
        await asyncio.sleep(max(0.0, self._begun_at + PAUSE_SECONDS - self._clock()))
        self._begun += 1
        self._begun_at = self._clock()
        self._ids = await self._store.ids()
        self._read = self._begun


def _seen(task: asyncio.Task[Any]) -> None:
    """Whoever waited for it may have left, and asyncio would warn of an error nobody saw."""
    if not task.cancelled():
        task.exception()


def _end(key: StoredKey) -> datetime | None:
    """When it opens nothing any more."""
    ends = [at for at in (key.expires_at, key.revoked_at) if at is not None]
    return min(ends, default=None)
