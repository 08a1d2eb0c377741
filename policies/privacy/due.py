"""What of one tenant is due: nothing of a job or a batch that has not ended.

Each thing is deleted in an order that ends with what it is found by, so a run that is interrupted
is taken up by the next one, and a run that finds nothing does nothing. A thing is looked at once
its creation is as long ago as its end has to be.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import batched
from typing import Protocol

from contracts.batches import BatchObject
from contracts.ids import time_of
from contracts.names import MOST_LANES, lane_id
from policies.privacy.settings import RetentionSettings
from stores.batches import BatchStore
from stores.files import FileStore
from stores.jobs import JobStore

AT_ONCE = 16
"""Things that are looked at together."""
NEVER_STARTED = timedelta(hours=1)
"""After so long, what has no orchestration will have none: its acceptance was interrupted."""


class Histories(Protocol):
    """What the durable engine keeps of jobs and batches."""

    async def ended_at(self, instance: str, unknown: datetime) -> datetime | None:
        """When it ended; `unknown` when nothing is known of it; None while it has not ended."""

    async def purge(self, instance: str) -> None:
        """Forget an ended one, if there is one."""


@dataclass(slots=True)
class Counts:
    """What one run has deleted."""

    jobs: int = 0
    """Each with its request, result, marks of starts and history."""
    results: int = 0
    """Of jobs that are still known."""
    files: int = 0
    batches: int = 0
    keys: int = 0
    """Of idempotency."""
    unfinished: bool = False
    """There was not time for everything."""


@dataclass(frozen=True, slots=True)
class Stores:
    jobs: JobStore
    files: FileStore
    batches: BatchStore


@dataclass(slots=True)
class Due:
    """What of one tenant is due, in one run."""

    stores: Stores
    histories: Histories
    tenant: str
    rules: RetentionSettings
    now: datetime
    until: float
    counts: Counts
    _in_use: set[str] | None = None
    _forgotten: set[str] = field(default_factory=set)

    async def go(self) -> None:
        rules = self.rules
        if rules.requests is not None:
            before = self.now - rules.requests
            await self._each(self.stores.jobs.old_requests(self.tenant, before), self._job, before)
            await self._free_keys(self.stores.jobs, before)
        if rules.results is not None:
            before = self.now - rules.results
            old = self.stores.jobs.old_results(self.tenant, before)
            await self._each(old, self._result, before)
        if rules.files is not None:
            before = self.now - rules.files
            await self._each(self.stores.files.old(self.tenant, before), self._file, before)
        if rules.batches is not None:
            before = self.now - rules.batches
            await self._each(self.stores.batches.old(self.tenant, before), self._batch, before)
            await self._free_keys(self.stores.batches, before)

    async def _each(
        self,
        pages: AsyncIterator[list[str]],
        step: Callable[[str, datetime], Awaitable[None]],
        before: datetime,
    ) -> None:
        async for page in pages:
            for some in batched(page, AT_ONCE, strict=False):
                if time.monotonic() >= self.until:
                    self.counts.unfinished = True
                    return
                await asyncio.gather(*(step(each, before) for each in some))

    # Jobs.

    async def _job(self, job_id: str, before: datetime) -> None:
        if not await self._over(job_id, before):
            return
        await self.histories.purge(job_id)
        await self.stores.jobs.forget(self.tenant, job_id)
        self._forgotten.add(job_id)
        self.counts.jobs += 1

    async def _result(self, job_id: str, before: datetime) -> None:
        if await self._over(job_id, before):
            await self.stores.jobs.forget_result(self.tenant, job_id)
            self.counts.results += 1

    async def _free_keys(self, store: JobStore | BatchStore, before: datetime) -> None:
        """Those of what is not there any more. What was created of late may be on its way."""
        before = min(before, self.now - NEVER_STARTED)
        async for key, made in store.keys(self.tenant):
            gone = made in self._forgotten
            if gone or (time_of(made) < before and not await store.has(self.tenant, made)):
                await store.free_key(self.tenant, key)
                self.counts.keys += 1

    # Files.

    async def _file(self, file_id: str, before: datetime) -> None:
        stored = await self.stores.files.get(self.tenant, file_id)
        if stored is None:  # its content alone, which may still be on its way
            before = min(before, self.now - NEVER_STARTED)
        created_at = time_of(file_id).timestamp() if stored is None else stored.file.created_at
        if created_at >= before.timestamp():
            return
        if file_id not in await self._inputs():
            await self.stores.files.delete(self.tenant, file_id)
            self.counts.files += 1

    async def _inputs(self) -> set[str]:
        """The files that batches read which have not ended."""
        if self._in_use is None:
            found: set[str] = set()
            async for batch in self.stores.batches.not_ended(self.tenant):
                unknown = batch.created_at + NEVER_STARTED
                ended_at = await self.histories.ended_at(batch.id, unknown)
                if ended_at is None or ended_at > self.now:
                    found.add(batch.request.input_file_id)
            self._in_use = found
        return self._in_use

    # Batches.

    async def _batch(self, batch_id: str, before: datetime) -> None:
        if not await self._over(batch_id, before):
            return
        ended = await self.stores.batches.ended(self.tenant, batch_id)
        for instance in (batch_id, *(lane_id(batch_id, lane) for lane in range(MOST_LANES))):
            await self.histories.purge(instance)
        kept = set() if ended is None else await self._kinds_of_files(ended)
        await self.stores.batches.forget(self.tenant, batch_id, kept)
        self._forgotten.add(batch_id)
        self.counts.batches += 1

    async def _kinds_of_files(self, batch: BatchObject) -> set[str]:
        """Of what its slices wrote, what its files are made of and are still there to show."""
        files = {"out": batch.output_file_id, "err": batch.error_file_id}
        return {
            kind
            for kind, file_id in files.items()
            if file_id is not None and await self.stores.files.get(self.tenant, file_id) is not None
        }

    async def _over(self, instance: str, before: datetime) -> bool:
        """Whether it ended before then."""
        ended_at = await self.histories.ended_at(instance, time_of(instance) + NEVER_STARTED)
        return ended_at is not None and ended_at < before
