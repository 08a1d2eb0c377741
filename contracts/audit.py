"""Who did what: the events of the audit log, as they are kept and shown."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

type Detail = str | int | float | bool | list[str] | list[float] | None

SERVICE = "service"
"""The subject of what the app does by itself."""


class AuditAction(StrEnum):
    """What the log tells of."""

    KEY_ISSUED = "key.issued"
    KEY_ROTATED = "key.rotated"
    KEY_REVOKED = "key.revoked"
    DEPLOYMENT_STEERED = "deployment.steered"
    ROLLOUT_STARTED = "rollout.started"
    ROLLOUT_ADVANCED = "rollout.advanced"
    ROLLOUT_CANCELLED = "rollout.cancelled"
    ROLLOUT_ENDED = "rollout.ended"
    JOB_CANCELLED = "job.cancelled"
    BATCH_CANCELLED = "batch.cancelled"
    BATCH_RETRIED = "batch.retried"
    FILE_DELETED = "file.deleted"
    CALLERS_REFUSED = "callers.refused"
    MESSAGES_READ = "messages.read"
    MESSAGE_RESUBMITTED = "message.resubmitted"
    MESSAGE_DELETED = "message.deleted"
    QUEUE_PURGED = "queue.purged"


class AuditOutcome(StrEnum):
    ACCEPTED = "accepted"
    """It was allowed, and about to be done: the event is written before the deed. Done, unless a
    later event says that it failed."""
    DONE = "done"
    """It had happened when the event was written."""
    FAILED = "failed"
    """What an earlier event says was about to be done could not be done after all."""


class AuditEvent(BaseModel):
    """One event. It never changes, and holds neither a secret nor what anybody wrote."""

    model_config = ConfigDict(extra="forbid")

    id: str
    object: Literal["audit_event"] = "audit_event"
    at: datetime = Field(description="To the millisecond, as its id tells it.")
    tenant: str | None = Field(description="Of who did it; null where it is nobody's.")
    subject: str = Field(
        description="Who did it: `key:ID`, `entra:OBJECT-ID`, `ISSUER#SUB`, `platform-key`;"
        " `service` for what the app does by itself."
    )
    action: AuditAction
    target: str = Field(description="The id or name of what it was done to.")
    outcome: AuditOutcome
    detail: dict[str, Detail] = Field(
        default={}, description="What else is to be known of the action, by its kind."
    )


class AuditPage(BaseModel):
    """A page of events, newest first."""

    model_config = ConfigDict(extra="forbid")

    object: Literal["list"] = "list"
    data: list[AuditEvent]
    has_more: bool
    next_after: str | None = Field(
        default=None, description="Pass as `after` for the next page, while `has_more`."
    )
