"""Jobs and batches that make no progress: what the last sweep found, and what it did."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class StuckPolicy(StrEnum):
    """What is done with a job that is found; batches are only ever reported."""

    REPORT = "report"
    RETRY = "retry"
    """Started again once; found once more, it is failed."""
    FAIL = "fail"


class StuckKind(StrEnum):
    """How a thing is stuck."""

    NOT_BEGUN = "not_begun"
    """Started, and no worker has taken it up."""
    SILENT = "silent"
    """It runs, and longer than a step may take nothing has come of it."""
    OVERDUE = "overdue"
    """Its deadline passed, and it has not ended."""
    FAULTED = "faulted"
    """Its orchestration failed, which nothing in it should make it do."""
    LOST = "lost"
    """Its request is kept, and the durable engine does not know of it."""


type Deed = Literal["retried", "failed"]


class Stuck(BaseModel):
    """One job or batch."""

    model_config = ConfigDict(extra="forbid")

    object: Literal["stuck"] = "stuck"
    what: Literal["job", "batch"]
    id: str
    tenant: str | None = Field(description="Whose it is, where that could be read.")
    kind: StuckKind
    since: datetime = Field(description="When it last made progress, or should have.")
    found_at: datetime = Field(description="When a sweep first found it so.")
    did: Deed | None = Field(default=None, description="What was done with it, by policy.")


class StuckList(BaseModel):
    """What the last sweep found, longest stuck first."""

    model_config = ConfigDict(extra="forbid")

    object: Literal["list"] = "list"
    policy: StuckPolicy
    swept_at: datetime | None = Field(description="Null before the first sweep.")
    complete: bool = Field(description="False when there was more than one sweep looks at.")
    data: list[Stuck]


class Sweep(BaseModel):
    """What one sweep hands to the next."""

    swept_at: datetime | None = None
    complete: bool = False
    found: list[Stuck] = []
    looked_after: str = ""
    """The id that the next sweep goes on after."""
    accepted_until: datetime | None = None
    """Jobs that were accepted before then have been looked for."""
    deeds: dict[str, Deed] = {}
    """What was last done with a job, oldest first."""


class Nudge(BaseModel):
    """Tells the orchestration of a job that it is stuck."""

    step: int
    """The step that is meant: a nudge that comes later is of no use."""
    to: Literal["again", "fail", "expire"]
