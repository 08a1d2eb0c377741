"""Jobs as figures: accepted, begun, ended. A job that is run again is counted at each."""

from __future__ import annotations

from datetime import UTC, datetime

from contracts.jobs import AcceptedJob
from contracts.states import JobStatus
from telemetry import metrics
from telemetry.tracing import Value


def accepted(job: AcceptedJob) -> None:
    """At its door."""
    metrics.JOBS.add(1, _of(job.tenant, "accepted"))


def begun(job: AcceptedJob) -> None:
    """Its first step starts: so long it has waited."""
    metrics.JOB_WAIT.record(_since(job), {"sluice.flow": job.request.flow})


def ended(job: AcceptedJob, status: JobStatus) -> None:
    """Its last step came to this."""
    metrics.JOBS.add(1, _of(job.tenant, status))
    metrics.JOB_DURATION.record(
        _since(job), {"sluice.flow": job.request.flow, "sluice.status": str(status)}
    )


def _of(tenant: str, event: str) -> dict[str, Value]:
    return {"sluice.tenant": tenant, "sluice.event": str(event)}


def _since(job: AcceptedJob) -> float:
    return max(0.0, (datetime.now(UTC) - job.created_at).total_seconds())
