"""Where a job is, from what Durable Functions knows of it."""

from __future__ import annotations

from durabletask.client import OrchestrationState, OrchestrationStatus
from pydantic import TypeAdapter

from contracts.errors import SluiceError
from contracts.jobs import JobOutcome, JobTicket, JobWait
from contracts.states import JobStatus


def standing(state: OrchestrationState) -> JobOutcome | JobWait:
    """How the job ended or, while it has not, where it is."""
    return outcome_of(state) or _wait_of(state)


_SHOWN: TypeAdapter[JobOutcome | JobWait] = TypeAdapter(JobOutcome | JobWait)


def outcome_of(state: OrchestrationState) -> JobOutcome | None:
    """How the job ended; None while it has not."""
    status = state.runtime_status
    if status is OrchestrationStatus.COMPLETED and state.serialized_output is not None:
        return JobOutcome.model_validate_json(state.serialized_output)
    if status is OrchestrationStatus.TERMINATED:
        return _outcome(state, JobStatus.CANCELLED, "An operator terminated the job.")
    if status in (OrchestrationStatus.FAILED, OrchestrationStatus.COMPLETED):
        return _outcome(state, JobStatus.FAILED, "A fault in the service ended the job.")
    shown = _shown(state)
    return shown if isinstance(shown, JobOutcome) else None  # its reply is still being sent


def _shown(state: OrchestrationState) -> JobOutcome | JobWait | None:
    if state.serialized_custom_status is None:
        return None
    return _SHOWN.validate_json(state.serialized_custom_status)


def _wait_of(state: OrchestrationState) -> JobWait:
    shown = _shown(state)
    if isinstance(shown, JobWait):
        return shown
    ticket = shown.ticket if shown else JobTicket(id=state.instance_id, tenant="")
    return JobWait(status=JobStatus.QUEUED, ticket=ticket)


def _outcome(state: OrchestrationState, status: JobStatus, why: str) -> JobOutcome:
    return JobOutcome(
        status=status,
        ended_at=state.last_updated_at,
        ticket=_wait_of(state).ticket,
        error=SluiceError(why).problem(),
    )
