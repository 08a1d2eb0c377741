"""A job: as it is asked for, as it runs, and as it is shown."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
)
from pydantic_core import from_json

from contracts.calls import Attempt, CallHandle, JsonObject, Usage
from contracts.problems import Problem
from contracts.states import Execution, JobStatus, Priority

DEFAULT_TENANT = "default"
"""Who asks when the app knows no tenants."""

LONGEST_DEADLINE = timedelta(days=30)


_DURATION = TypeAdapter(timedelta)
_TIME: TypeAdapter[datetime] = TypeAdapter(AwareDatetime)


def _parse_deadline(text: object) -> timedelta | datetime:
    if isinstance(text, str):
        for parse in (_DURATION.validate_python, _TIME.validate_python):
            with suppress(ValidationError):
                return parse(text)
    raise ValueError(
        "an ISO 8601 duration such as PT10M, or a time with an offset such as 2030-01-31T12:00:00Z"
    )


def _checked_deadline(text: object) -> object:
    _parse_deadline(text)
    return text


Deadline = Annotated[
    str,
    BeforeValidator(_checked_deadline),
    WithJsonSchema(
        {
            "type": "string",
            "examples": ["PT10M", "2030-01-31T12:00:00Z"],
            "description": "ISO 8601 duration from now, or a time with an offset.",
        }
    ),
]
MetadataKey = Annotated[str, StringConstraints(min_length=1, max_length=64)]
MetadataValue = Annotated[str, StringConstraints(max_length=512)]


class JobRequest(BaseModel):
    """The body of `POST /v1/jobs`, and of a Service Bus request message."""

    model_config = ConfigDict(extra="forbid")

    flow: str = Field(description="A flow's name, from `GET /v1/flows`.", min_length=1)
    input: JsonObject = Field(description="The flow's input, as its `input_schema` says.")
    model: str | None = Field(
        default=None,
        min_length=1,
        description="Use this model instead of the flow's own; for flows with one model."
        " `model@version` or `model@deployment` pins it.",
    )
    sticky_key: str | None = Field(
        default=None,
        min_length=1,
        max_length=255,
        description="Jobs with the same key ask the same deployment, while it takes them.",
    )
    priority: Priority = Priority.REALTIME
    execution: Execution = Field(
        default=Execution.AT_LEAST_ONCE,
        description="`at_most_once` never repeats a model call whose outcome is unknown.",
    )
    deadline: Deadline | None = Field(
        default=None, description="The job expires when it has not ended by then."
    )
    reply_to: str | None = Field(
        default=None,
        min_length=1,
        max_length=260,
        description="Service Bus queue that also receives the result.",
    )
    metadata: dict[MetadataKey, MetadataValue] | None = Field(
        default=None, max_length=16, description="Kept with the job and returned as it is."
    )

    def deadline_after(self, accepted_at: datetime) -> datetime | None:
        """The deadline as a point in time (UTC)."""
        if self.deadline is None:
            return None
        deadline = _parse_deadline(self.deadline)
        if isinstance(deadline, timedelta):
            return accepted_at + deadline
        return deadline.astimezone(UTC)


class ReplyAddress(BaseModel):
    """Where a job's end is announced, and what its producer recognises the reply by."""

    model_config = ConfigDict(extra="forbid")

    queue: str
    correlation_id: str
    session_id: str | None = None
    trace: dict[str, str] = {}
    """W3C trace context of the request, as application properties."""


class Rejection(BaseModel):
    """The reply to a message that can never be a job or a batch."""

    model_config = ConfigDict(extra="forbid")

    object: Literal["job", "batch"] = "job"
    status: Literal["rejected"] = "rejected"
    error: Problem


class AcceptedJob(BaseModel):
    """A job as Blob Storage keeps it, from acceptance on."""

    model_config = ConfigDict(extra="forbid")

    id: str
    tenant: str
    created_at: datetime
    deadline_at: datetime | None
    request: JobRequest
    flags: list[str] = []
    """What screening found in the request and let pass."""


class JobTicket(BaseModel):
    """The orchestration's input: who to run, never what was asked.

    It is carried over each wait, so that history stays as short as one step.
    """

    model_config = ConfigDict(extra="forbid")

    id: str
    tenant: str
    deadline_at: datetime | None = None
    reply: ReplyAddress | None = None
    holds_slot: bool = False
    """Of its tenant's, who may have so many jobs under way."""
    trace: dict[str, str] = {}
    """W3C trace context of the door, which the job's steps go on with."""
    step: int = 0
    """How many times the job has waited and is run again."""
    retries: int = 0
    """How many of those waits followed a failure, not a lack of capacity."""
    started_at: datetime | None = None
    flow_seconds: float = 0.0
    attempts: list[Attempt] = []
    attempts_made: int = 0
    handles: dict[str, CallHandle] = {}
    """What models work on for this job: names alone, as everything here."""

    def after(self, step: JobStep) -> JobTicket:
        """This ticket with what one step did added."""
        return self.model_copy(
            update={
                "step": self.step + (step.wait_for is not None),
                "retries": self.retries + (step.wait_for == "retry"),
                "started_at": self.started_at or step.started_at,
                "flow_seconds": self.flow_seconds + step.flow_seconds,
                "attempts": (self.attempts + step.attempts)[-ATTEMPTS_KEPT:],
                "attempts_made": self.attempts_made + len(step.attempts),
                "handles": step.handles,
            }
        )


ATTEMPTS_KEPT = 50
"""A job's record shows its last attempts; the count is of all."""


class JobStep(BaseModel):
    """What one run of `run_job` came to: an end, or a wait until a time."""

    model_config = ConfigDict(extra="forbid")

    started_at: datetime
    flow_seconds: float
    attempts: list[Attempt]
    status: JobStatus | None = None
    """Set when the job has ended."""
    error: Problem | None = None
    """Why it failed, or why it waits."""
    result_bytes: int | None = None
    wait_for: Literal["capacity", "model", "retry"] | None = None
    wait_until: datetime | None = None
    """When to run again, set with "capacity" and "model"; a retry's back-off is the
    orchestrator's."""
    handles: dict[str, CallHandle] = {}
    """What models work on, to be kept for the next step."""


class JobOutcome(BaseModel):
    """The orchestration's output: how the job ended."""

    model_config = ConfigDict(extra="forbid")

    status: JobStatus
    ended_at: datetime
    ticket: JobTicket
    error: Problem | None = None
    result_bytes: int | None = None


class JobWait(BaseModel):
    """The orchestration's custom status while it runs."""

    model_config = ConfigDict(extra="forbid")

    status: JobStatus
    ticket: JobTicket
    until: datetime | None = None
    reason: Problem | None = None


class Progress(BaseModel):
    """How far a job that has not ended is."""

    model_config = ConfigDict(extra="forbid")

    waits: int = Field(description="How many times the job has waited to run again.")
    attempts: int = Field(description="Model calls attempted so far, in ended steps.")
    resumes_at: datetime | None = Field(default=None, description="When a waiting job runs again.")
    reason: str | None = Field(default=None, description="Why it waits.")


class Timing(BaseModel):
    """Where a job's time went, in seconds."""

    model_config = ConfigDict(extra="forbid")

    queue_seconds: float | None = Field(
        default=None, description="From acceptance to the first start."
    )
    flow_seconds: float = Field(description="Inside the flow, its model calls included.")
    model_seconds: float = Field(description="Summed over the attempts shown.")


class JobRecord(BaseModel):
    """A job as the API shows it."""

    model_config = ConfigDict(extra="forbid")

    id: str
    object: Literal["job"] = "job"
    status: JobStatus
    flow: str
    model: str | None
    priority: Priority
    execution: Execution
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    deadline_at: datetime | None
    metadata: dict[str, str] | None
    flags: list[str] = Field(
        default=[], description="What screening found in the request and let pass: SCREEN.REASON."
    )
    progress: Progress
    attempts: list[Attempt] = Field(description=f"The last {ATTEMPTS_KEPT} model calls attempted.")
    usage: Usage
    timing: Timing
    result: JsonValue = Field(
        default=None, description="The flow's result, unless it is large: see `result_url`."
    )
    result_url: str | None = Field(default=None, description="Where the result is, when it is.")
    error: Problem | None = None


INLINE_RESULT_BYTES = 1_000_000
"""A larger result is not part of the record: it is fetched at `result_url`."""


def job_record(
    job: AcceptedJob, now: JobOutcome | JobWait, result: bytes | None = None
) -> JobRecord:
    """The record of a job; `result` is its JSON text when it is to be shown inline."""
    ticket, request = now.ticket, job.request
    started = ticket.started_at
    outcome = now if isinstance(now, JobOutcome) else None
    wait = now if isinstance(now, JobWait) else None
    shown: JsonValue = from_json(result) if result is not None else None
    has_result = outcome is not None and outcome.result_bytes is not None
    return JobRecord(
        id=job.id,
        status=now.status,
        flow=request.flow,
        model=request.model,
        priority=request.priority,
        execution=request.execution,
        created_at=job.created_at,
        started_at=started,
        ended_at=outcome.ended_at if outcome else None,
        deadline_at=job.deadline_at,
        metadata=request.metadata,
        flags=job.flags,
        progress=Progress(
            waits=ticket.step,
            attempts=ticket.attempts_made,
            resumes_at=wait.until if wait else None,
            reason=wait.reason.detail if wait and wait.reason else None,
        ),
        attempts=ticket.attempts,
        usage=sum((attempt.usage for attempt in ticket.attempts), Usage()),
        timing=Timing(
            queue_seconds=(started - job.created_at).total_seconds() if started else None,
            flow_seconds=ticket.flow_seconds,
            model_seconds=sum(attempt.seconds for attempt in ticket.attempts),
        ),
        result=shown,
        result_url=f"/v1/jobs/{job.id}/result" if has_result else None,
        error=outcome.error if outcome else None,
    )


def fits(outcome: JobOutcome, most_bytes: int = INLINE_RESULT_BYTES) -> bool:
    """Whether the outcome has a result, and one that may be shown inline."""
    return outcome.result_bytes is not None and outcome.result_bytes <= most_bytes


class JobList(BaseModel):
    """A page of jobs, newest first. Records are shown without their results."""

    model_config = ConfigDict(extra="forbid")

    object: Literal["list"] = "list"
    data: list[JobRecord]
    has_more: bool
    next_after: str | None = Field(
        default=None, description="Pass as `after` for the next page, while `has_more`."
    )
