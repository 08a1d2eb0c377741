"""How many callers were refused, told to the audit log once in a while and not one by one.

Whoever knocks without a key would otherwise decide how long the log becomes.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from contextvars import Context
from datetime import UTC, datetime

from contracts.audit import SERVICE, AuditAction, AuditEvent, AuditOutcome
from contracts.errors import DependencyUnavailable
from contracts.ids import new_audit_id, time_of
from stores.audit import AuditLog

_log = logging.getLogger("sluice.stores")

PAUSE_SECONDS = 60.0
"""From the first refusal to the event that counts it and those that came with it."""


class Refusals:
    """Counts in this worker, written in the background: whoever counts never waits."""

    def __init__(self, log: AuditLog, worker: str, pause_seconds: float = PAUSE_SECONDS) -> None:
        self._audit = log
        self._worker = worker
        self._pause = pause_seconds
        self._counts: Counter[str] = Counter()
        self._writer: asyncio.Task[None] | None = None

    def count(self, code: str) -> None:
        """One more was refused, with this error code."""
        self._counts[code] += 1
        if self._writer is None or self._writer.done():
            self._writer = asyncio.get_running_loop().create_task(
                self._write(), name="refusals", context=Context()
            )

    async def _write(self) -> None:
        """Until nothing waits; a minute is added to the next while storage cannot be used."""
        while self._counts:
            await asyncio.sleep(self._pause)
            counts, self._counts = self._counts, Counter()
            try:
                await self._audit.write(self._event(counts))
            except DependencyUnavailable:
                _log.warning("Refused callers are counted, but the count cannot be written now")
                self._counts += counts

    def _event(self, counts: Counter[str]) -> AuditEvent:
        event_id = new_audit_id(datetime.now(UTC))
        return AuditEvent(
            id=event_id,
            at=time_of(event_id),
            tenant=None,
            subject=SERVICE,
            action=AuditAction.CALLERS_REFUSED,
            target=self._worker,
            outcome=AuditOutcome.DONE,
            detail=dict(counts),
        )
