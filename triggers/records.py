"""A job as the API shows it, from what was accepted and what Durable Functions knows of it."""

from __future__ import annotations

from durabletask.client import OrchestrationState, OrchestrationStatus
from pydantic import JsonValue
from pydantic_core import from_json

from contracts.calls import Usage
from contracts.errors import SluiceError
from contracts.jobs import (
    AcceptedJob,
    JobOutcome,
    JobRecord,
    JobTicket,
    JobWait,
    Progress,
    Timing,
)
from contracts.states import JobStatus

INLINE_RESULT_BYTES = 1_000_000
"""A larger result is not part of the record: it is fetched at `result_url`."""


def outcome_of(state: OrchestrationState) -> JobOutcome | None:
    """How the job ended; None while it has not."""
    status = state.runtime_status
    if status is OrchestrationStatus.COMPLETED and state.serialized_output is not None:
        return JobOutcome.model_validate_json(state.serialized_output)
    if status is OrchestrationStatus.TERMINATED:
        return _outcome(state, JobStatus.CANCELLED, "An operator terminated the job.")
    if status in (OrchestrationStatus.FAILED, OrchestrationStatus.COMPLETED):
        return _outcome(state, JobStatus.FAILED, "A fault in the service ended the job.")
    return None


def job_record(
    job: AcceptedJob, state: OrchestrationState, result: bytes | None = None
) -> JobRecord:
    """The record of a job; `result` is its JSON text when it is to be shown inline."""
    outcome = outcome_of(state)
    wait = _wait_of(state)
    ticket = outcome.ticket if outcome is not None else wait.ticket
    request = job.request
    usage = sum((attempt.usage for attempt in ticket.attempts), Usage())
    started = ticket.started_at
    shown: JsonValue = from_json(result) if result is not None else None
    return JobRecord(
        id=job.id,
        status=outcome.status if outcome is not None else wait.status,
        flow=request.flow,
        model=request.model,
        priority=request.priority,
        execution=request.execution,
        created_at=job.created_at,
        started_at=started,
        ended_at=outcome.ended_at if outcome is not None else None,
        deadline_at=job.deadline_at,
        metadata=request.metadata,
        progress=Progress(
            waits=ticket.step,
            attempts=ticket.attempts_made,
            resumes_at=wait.until if outcome is None else None,
            reason=wait.reason.detail if outcome is None and wait.reason is not None else None,
        ),
        attempts=ticket.attempts,
        usage=usage,
        timing=Timing(
            queue_seconds=(started - job.created_at).total_seconds() if started else None,
            flow_seconds=ticket.flow_seconds,
            model_seconds=sum(attempt.seconds for attempt in ticket.attempts),
        ),
        result=shown,
        result_url=(
            f"/v1/jobs/{job.id}/result"
            if outcome is not None and outcome.result_bytes is not None
            else None
        ),
        error=outcome.error if outcome is not None else None,
    )


def inline(outcome: JobOutcome | None) -> bool:
    """Whether the record shows the result itself."""
    return (
        outcome is not None
        and outcome.result_bytes is not None
        and outcome.result_bytes <= INLINE_RESULT_BYTES
    )


def _wait_of(state: OrchestrationState) -> JobWait:
    if state.serialized_custom_status is not None:
        return JobWait.model_validate_json(state.serialized_custom_status)
    return JobWait(status=JobStatus.QUEUED, ticket=_bare_ticket(state))


def _bare_ticket(state: OrchestrationState) -> JobTicket:
    return JobTicket(id=state.instance_id, tenant="")


def _outcome(state: OrchestrationState, status: JobStatus, why: str) -> JobOutcome:
    return JobOutcome(
        status=status,
        ended_at=state.last_updated_at,
        ticket=_wait_of(state).ticket,
        error=SluiceError(why).problem(),
    )
