"""The audit log: one blob an event, never written over and never deleted by the app.

In the container, `audit/YYYY-MM-DD/ID`. Ids sort newest first, so a day is listed from its end. The
event is in the blob, and in its metadata for the list. That nobody else changes or deletes it
either is for an immutability policy on the container to see to.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from urllib.parse import quote, unquote

from contracts.audit import AuditAction, AuditEvent, AuditOutcome, Detail
from contracts.errors import DependencyUnavailable, SluiceError
from contracts.identity import Identity
from contracts.ids import new_audit_id, time_of
from stores.blobs import Container, Described

MOST_METADATA_BYTES = 7000
"""Blob Storage takes 8 KB of it; the list reads what is longer from the blob itself."""


@dataclass(frozen=True, slots=True)
class AuditQuery:
    """Which events: from `since` on, before `until` (both aware), and by whom and of what."""

    since: datetime
    until: datetime
    tenant: str | None = None
    action: AuditAction | None = None
    after: str | None = None
    """The last event of a former page."""


def _utc_now() -> datetime:
    return datetime.now(UTC)


class AuditLog:
    """Methods raise DependencyUnavailable when storage cannot be used."""

    def __init__(self, container: Container, now: Callable[[], datetime] = _utc_now) -> None:
        self._blobs = container
        self._now = now

    @asynccontextmanager
    async def recorded(
        self, who: Identity, action: AuditAction, target: str, **detail: Detail
    ) -> AsyncIterator[None]:
        """Around a deed: it is noted before, and noted once more when it fails.

        Raises DependencyUnavailable, and nothing is done, when it cannot be noted.
        """
        event = await self.note(who, action, target, **detail)
        try:
            yield
        except Exception as error:
            code = error.code if isinstance(error, SluiceError) else SluiceError.code
            failed = {"event": event.id, "code": code}
            with suppress(DependencyUnavailable):  # the caller hears of the failure itself
                await self.write(self._event(who, action, target, AuditOutcome.FAILED, failed))
            raise

    async def note(
        self, who: Identity, action: AuditAction, target: str, **detail: Detail
    ) -> AuditEvent:
        """Keep that this caller is about to do this; when it returns, it is kept."""
        event = self._event(who, action, target, AuditOutcome.ACCEPTED, detail)
        await self.write(event)
        return event

    async def write(self, event: AuditEvent) -> None:
        """Keep an event; one that is there already stays as it is."""
        content = event.model_dump_json().encode()
        listed = quote(content, safe="")
        await self._blobs.put_new(
            f"{_day(time_of(event.id).date())}{event.id}",
            content,
            metadata={"event": listed} if len(listed) <= MOST_METADATA_BYTES else {},
        )

    async def page(self, asked: AuditQuery, most: int) -> tuple[list[AuditEvent], bool]:
        """Up to `most` events, newest first, and whether there are more."""
        found: list[AuditEvent] = []
        async with aclosing(self._events(asked)) as events:
            async for event in events:
                if len(found) == most:
                    return found, True
                found.append(event)
        return found, False

    def _event(
        self,
        who: Identity,
        action: AuditAction,
        target: str,
        outcome: AuditOutcome,
        detail: Mapping[str, Detail],
    ) -> AuditEvent:
        event_id = new_audit_id(self._now())
        return AuditEvent(
            id=event_id,
            at=time_of(event_id),
            tenant=who.tenant,
            subject=who.subject,
            action=action,
            target=target,
            outcome=outcome,
            detail=dict(detail),
        )

    async def _events(self, asked: AuditQuery) -> AsyncGenerator[AuditEvent]:
        """What was asked for, newest first."""
        newest = asked.until if asked.after is None else min(asked.until, time_of(asked.after))
        day = newest.date()
        while day >= asked.since.date():
            prefix = _day(day)
            async for blob in self._blobs.descriptions(prefix):
                at = time_of(blob.name)
                if at < asked.since:  # as is all that follows
                    return
                if at >= asked.until or (asked.after is not None and blob.name <= asked.after):
                    continue
                event = await self._read(prefix, blob)
                if asked.tenant in (None, event.tenant) and asked.action in (None, event.action):
                    yield event
            day -= timedelta(days=1)

    async def _read(self, prefix: str, blob: Described) -> AuditEvent:
        listed = blob.metadata.get("event")
        content = unquote(listed) if listed else await self._blobs.get(f"{prefix}{blob.name}")
        return AuditEvent.model_validate_json(content or "")


def _day(day: date) -> str:
    return f"audit/{day.isoformat()}/"
