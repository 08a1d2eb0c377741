"""The enumerations of a job, apart so that messages about calls can use them too."""

from __future__ import annotations

from enum import StrEnum


class Priority(StrEnum):
    REALTIME = "realtime"
    BATCH = "batch"


class Execution(StrEnum):
    AT_LEAST_ONCE = "at_least_once"
    AT_MOST_ONCE = "at_most_once"
    """A call whose outcome is unknown is never repeated."""


class JobStatus(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    WAITING_FOR_CAPACITY = "waiting_for_capacity"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"

    @property
    def ended(self) -> bool:
        return self in ENDED


ENDED = frozenset({JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED, JobStatus.EXPIRED})
