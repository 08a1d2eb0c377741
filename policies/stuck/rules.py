"""When a thing is stuck, from what the durable engine knows of it. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from contracts.stuck import StuckKind, StuckPolicy

GRACE = timedelta(minutes=15)
"""Beyond what a step may take, or a timer was set to: hosts start, and workers are busy."""
BATCH_WINDOW = timedelta(hours=24)
"""Of every batch: OpenAI's `completion_window`."""
BATCH_GRACE = timedelta(hours=1)
"""Beyond it: its files are yet to be made."""


@dataclass(frozen=True, slots=True)
class StuckRules:
    """What an operator has set."""

    policy: StuckPolicy = StuckPolicy.REPORT
    after: timedelta = timedelta(minutes=45)
    """Without progress. More than the longest step takes, else steps that work are disturbed."""

    @property
    def grace(self) -> timedelta:
        """How late a timer may be."""
        return min(self.after, GRACE)


@dataclass(frozen=True, slots=True)
class Looked:
    """What the durable engine tells of one orchestration that has not ended."""

    tenant: str | None
    updated_at: datetime
    """When anything last came of it."""
    resumes_at: datetime | None = None
    """Until when it sleeps."""
    deadline_at: datetime | None = None
    step: int = 0
    has_outcome: bool = False
    """It has ended for its caller; what is left is to tell of it."""

    @property
    def due_at(self) -> datetime:
        """When something should last have come of it."""
        return max(self.updated_at, self.resumes_at or self.updated_at)


def judge(looked: Looked, rules: StuckRules, now: datetime) -> tuple[StuckKind, datetime] | None:
    """How a running orchestration is stuck, and since when; None when it is not."""
    deadline = looked.deadline_at
    if deadline is not None and not looked.has_outcome and now - deadline > rules.grace:
        return StuckKind.OVERDUE, deadline
    sleeps = looked.due_at > looked.updated_at
    if now - looked.due_at > (rules.grace if sleeps else rules.after):
        return StuckKind.SILENT, looked.due_at
    return None


def batch_overdue(created_at: datetime, now: datetime) -> datetime | None:
    """Since when a batch that has not ended is overdue; None when it is not."""
    expires_at = created_at + BATCH_WINDOW
    return expires_at if now - expires_at > BATCH_GRACE else None
