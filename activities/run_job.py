"""Run a job's flow once, and say what came of it: an end, or a wait until when."""

from __future__ import annotations

import asyncio
import random
import time
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import azure.durable_functions as df
from pydantic import JsonValue
from pydantic_core import to_json

import wiring
from contracts.calls import Attempt, CallHandle, CallScope, ModelAnswer, ModelCall
from contracts.errors import (
    CallPending,
    DeadlineExceeded,
    DependencyUnavailable,
    FlowFailed,
    NoCapacity,
    OutcomeUnknown,
    Retry,
    SluiceError,
)
from contracts.flows import FlowRun
from contracts.jobs import AcceptedJob, JobStep, JobTicket
from contracts.names import HUB_BINDING, MOST_STARTS, RUN_JOB_ACTIVITY
from contracts.states import Execution, JobStatus
from telemetry import jobs as telemetry
from telemetry.tracing import Attributes, Kind, fail, span
from wiring import Parts

bp = df.Blueprint()

PATIENCE_SECONDS = 2.0
"""How long a model call waits for room here; longer waits are the orchestrator's."""


@bp.generic_input_binding(**HUB_BINDING)
@bp.activity_trigger(input_name="ticket", activity=RUN_JOB_ACTIVITY)
async def run_job(ticket: object, hub: str) -> dict[str, Any]:
    """One step of the job: JobTicket in, JobStep out."""
    parts = wiring.parts()
    parts.share_by(hub)
    mine = JobTicket.model_validate(ticket)
    asked: Attributes = {"sluice.job_id": mine.id, "sluice.tenant": mine.tenant}
    with span("run job", Kind.STEP, asked, parent=mine.trace) as made:
        step = await run_step(parts, mine)
        await parts.booked()
        if step.error is not None and step.wait_for in (None, "retry"):
            fail(made, step.error.code)
    return step.model_dump(mode="json")


async def run_step(parts: Parts, ticket: JobTicket) -> JobStep:
    """Run the job's flow and keep its result.

    Raises DependencyUnavailable when storage cannot be used: Durable Functions then starts
    the step again.
    """
    record = _StepRecord(ticket.handles)
    try:
        # Nothing is run while all that models work on goes on: the flow would come no further.
        if any(handle.open for handle in ticket.handles.values()):
            await parts.endpoints.look(ticket.handles)
        job = await _begin(parts, ticket)
        if job is None:
            return await _ended_before(parts, ticket, record)
        record.began(job, first=ticket.step == 0)
        result = to_json(await _run_flow(parts, job, record), inf_nan_mode="null")
    except DependencyUnavailable:
        raise
    except SluiceError as error:
        return record.of_error(error)
    await parts.jobs.put_result(ticket.tenant, ticket.id, result)
    return record.step(status=JobStatus.SUCCEEDED, result_bytes=len(result))


async def _begin(parts: Parts, ticket: JobTicket) -> AcceptedJob | None:
    """The job to run; None when it may not be begun again.

    The mark is made after the request was read and before any model is called: a second
    start means that a worker died, or lost storage, when a call may have been made.
    """
    job = await parts.jobs.get_request(ticket.tenant, ticket.id)
    if job is None:
        raise SluiceError("The job's request is no longer in storage. Send the job again.")
    starts = await parts.jobs.mark_start(ticket.tenant, ticket.id, ticket.step)
    if starts > 1 and job.request.execution is Execution.AT_MOST_ONCE:
        return None
    if starts > MOST_STARTS:
        raise SluiceError(
            f"The job was started {MOST_STARTS} times and each time its worker died before it"
            " ended. Send a smaller input, or ask the operator to look at the flow."
        )
    return job


async def _ended_before(parts: Parts, ticket: JobTicket, record: _StepRecord) -> JobStep:
    record.execution = Execution.AT_MOST_ONCE
    result = await parts.jobs.get_result(ticket.tenant, ticket.id)
    if result is not None:
        return record.step(status=JobStatus.SUCCEEDED, result_bytes=len(result))
    return record.of_error(
        OutcomeUnknown(
            "The service was interrupted while the job ran, and an at_most_once job is not run"
            " again: the model may or may not have been called."
        )
    )


async def _run_flow(parts: Parts, job: AcceptedJob, record: _StepRecord) -> JsonValue:
    request = job.request
    scope = CallScope(
        job_id=job.id,
        tenant=job.tenant,
        flow=request.flow,
        execution=request.execution,
        priority=request.priority,
        weight=parts.quotas.of(job.tenant).weight,
        deadline=job.deadline_at,
        patience=PATIENCE_SECONDS,
        sticky_key=request.sticky_key,
        attempts=record.attempts,
        handles=record.handles,
    )

    async def invoke(call: ModelCall) -> ModelAnswer:
        return await parts.endpoints.invoke(call, scope)

    longest = parts.limits.flow_time.total_seconds()
    try:
        async with asyncio.timeout(_seconds_left(job.deadline_at, longest)):
            flow = parts.flows.get(request.flow)
            return await flow.run(request.input, FlowRun(invoke=invoke, model=request.model))
    except TimeoutError:
        if job.deadline_at is not None and job.deadline_at <= datetime.now(UTC):
            raise DeadlineExceeded("The job did not end before its deadline.") from None
        raise FlowFailed(
            f"The flow ran longer than {longest:.0f} seconds, which this service allows."
        ) from None


def _seconds_left(deadline_at: datetime | None, longest: float) -> float:
    if deadline_at is None:
        return longest
    return min(longest, (deadline_at - datetime.now(UTC)).total_seconds())


class _StepRecord:
    """Gathers what a JobStep tells besides how the step ended."""

    def __init__(self, handles: dict[str, CallHandle]) -> None:
        self.started_at = datetime.now(UTC)
        self.attempts: list[Attempt] = []
        self.handles = dict(handles)
        self.execution = Execution.AT_LEAST_ONCE
        self._job: AcceptedJob | None = None
        self._start = time.monotonic()

    def began(self, job: AcceptedJob, *, first: bool) -> None:
        """The step runs this job; `first`: it is the job's first."""
        self._job = job
        self.execution = job.request.execution
        if first:
            telemetry.begun(job)

    def step(
        self,
        *,
        status: JobStatus | None = None,
        error: SluiceError | None = None,
        result_bytes: int | None = None,
        wait_for: Literal["capacity", "model", "retry"] | None = None,
        wait_until: datetime | None = None,
    ) -> JobStep:
        if status is not None and self._job is not None:
            telemetry.ended(self._job, status)
        return JobStep(
            started_at=self.started_at,
            flow_seconds=time.monotonic() - self._start,
            attempts=self.attempts,
            status=status,
            error=error.problem() if error is not None else None,
            result_bytes=result_bytes,
            wait_for=wait_for,
            wait_until=wait_until,
            handles=self.handles,
        )

    def of_error(self, error: SluiceError) -> JobStep:
        """What an error means for the job: see Retry."""
        once = self.execution is Execution.AT_MOST_ONCE and isinstance(error, OutcomeUnknown)
        if isinstance(error, DeadlineExceeded):
            return self.step(status=JobStatus.EXPIRED, error=error)
        if isinstance(error, NoCapacity):
            return self.step(error=error, wait_for="capacity", wait_until=_spread(error.retry_at))
        if isinstance(error, CallPending):
            return self.step(error=error, wait_for="model", wait_until=_spread(error.check_at))
        if error.retry is Retry.LATER and not once:
            return self.step(error=error, wait_for="retry")
        return self.step(status=JobStatus.FAILED, error=error)


def _spread(retry_at: datetime) -> datetime:
    """Later by up to a quarter of the wait, so that the waiting do not come back all at once."""
    wait = max((retry_at - datetime.now(UTC)).total_seconds(), 1.0)
    return retry_at + timedelta(seconds=random.uniform(0, wait / 4))  # noqa: S311
