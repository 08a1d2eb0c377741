"""One step of a job: what a flow's end means for the job, and what a second start may do."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest

from activities import cancel_calls
from activities.run_job import run_step
from contracts.calls import Attempt, CallHandle, ModelAnswer, ModelCall, Task
from contracts.errors import (
    CallFailed,
    CallGivenUp,
    CallPending,
    CallRejected,
    DependencyUnavailable,
    FlowFailed,
    NoCapacity,
    OutcomeUnknown,
)
from contracts.jobs import AcceptedJob, JobRequest, JobTicket
from contracts.names import MOST_STARTS
from contracts.states import Execution, JobStatus
from tests.unit.fakes import FakeEndpoints, MemoryContainer, fake_parts

TICKET = JobTicket(id="job_1", tenant="default")


async def container_with(**request) -> MemoryContainer:
    container = MemoryContainer()
    job = AcceptedJob(
        id="job_1",
        tenant="default",
        created_at=datetime.now(UTC),
        deadline_at=request.pop("deadline_at", None),
        request=JobRequest.model_validate({"flow": "f", "input": {"text": "hi"}} | request),
    )
    container.blobs["default/requests/job_1"] = job.model_dump_json().encode()
    return container


async def echo(input, run):
    return {"echo": input["text"]}


def raising(error: Exception):
    async def run_flow(input, run):
        raise error

    return run_flow


async def test_a_flow_that_returns_ends_the_job_and_keeps_its_result():
    container = await container_with()
    step = await run_step(fake_parts(container, echo), TICKET)

    assert step.status is JobStatus.SUCCEEDED
    assert json.loads(container.blobs["default/results/job_1"]) == {"echo": "hi"}
    assert step.result_bytes == len(container.blobs["default/results/job_1"])


async def test_calls_are_made_for_the_job_and_its_attempts_are_reported():
    attempt = Attempt(
        model="m",
        deployment="d",
        outcome="answered",
        status=200,
        started_at=datetime.now(UTC),
        seconds=0.1,
        request_id="r",
    )

    async def answer(call, scope):
        scope.attempts.append(attempt)
        return ModelAnswer(body={"ok": call.payload}, attempt=attempt)

    async def ask(input, run):
        return (await run.invoke(ModelCall("m", Task.SCORE, input["text"]))).body

    endpoints = FakeEndpoints(answer)
    container = await container_with(execution="at_most_once", priority="batch")
    step = await run_step(fake_parts(container, ask, endpoints), TICKET)

    assert step.attempts == [attempt]
    [scope] = endpoints.scopes
    assert (scope.job_id, scope.tenant) == ("job_1", "default")
    assert scope.execution is Execution.AT_MOST_ONCE
    assert json.loads(container.blobs["default/results/job_1"]) == {"ok": "hi"}


async def test_no_capacity_waits_until_a_little_after_there_is_some():
    retry_at = datetime.now(UTC) + timedelta(seconds=40)
    parts = fake_parts(await container_with(), raising(NoCapacity("Full.", retry_at)))
    waits = [(await run_step(parts, TICKET.model_copy(update={"step": n}))) for n in range(20)]

    assert {step.wait_for for step in waits} == {"capacity"}
    moments = [step.wait_until for step in waits if step.wait_until]
    assert all(retry_at <= at <= retry_at + timedelta(seconds=10) for at in moments)
    assert len(set(moments)) > 1, "those who wait must not all come back at once"


@pytest.mark.parametrize(
    ("error", "status", "wait_for"),
    [
        (CallFailed("All failed."), None, "retry"),
        (OutcomeUnknown("No answer."), None, "retry"),
        (CallRejected("Too long."), JobStatus.FAILED, None),
        (FlowFailed("Broken."), JobStatus.FAILED, None),
    ],
)
async def test_what_an_error_means_for_the_job(error, status, wait_for):
    step = await run_step(fake_parts(await container_with(), raising(error)), TICKET)

    assert (step.status, step.wait_for) == (status, wait_for)
    assert step.error is not None
    assert step.error.detail == error.detail


async def test_an_unknown_outcome_of_an_at_most_once_job_ends_it():
    container = await container_with(execution="at_most_once")
    step = await run_step(fake_parts(container, raising(OutcomeUnknown("?"))), TICKET)
    assert step.status is JobStatus.FAILED
    assert step.error is not None
    assert step.error.code == "outcome_unknown"


async def test_lost_storage_is_left_to_durable_functions():
    container = await container_with()
    container.down = True
    with pytest.raises(DependencyUnavailable):
        await run_step(fake_parts(container, echo), TICKET)


async def test_an_at_most_once_step_is_never_begun_twice():
    container = await container_with(execution="at_most_once")
    runs = []

    async def dies(input, run):
        runs.append(1)
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await run_step(fake_parts(container, dies), TICKET)
    step = await run_step(fake_parts(container, dies), TICKET)

    assert len(runs) == 1
    assert step.status is JobStatus.FAILED
    assert step.error is not None
    assert step.error.code == "outcome_unknown"


async def test_an_at_most_once_step_that_had_ended_when_its_worker_died_keeps_its_result():
    container = await container_with(execution="at_most_once")
    await run_step(fake_parts(container, echo), TICKET)
    again = await run_step(fake_parts(container, echo), TICKET)
    assert again.status is JobStatus.SUCCEEDED
    assert again.result_bytes == len(container.blobs["default/results/job_1"])


async def test_a_job_that_kills_its_worker_each_time_is_ended():
    container = await container_with()

    async def dies(input, run):
        raise asyncio.CancelledError

    for _ in range(MOST_STARTS):
        with pytest.raises(asyncio.CancelledError):
            await run_step(fake_parts(container, dies), TICKET)
    step = await run_step(fake_parts(container, dies), TICKET)

    assert step.status is JobStatus.FAILED
    assert step.error is not None
    assert f"{MOST_STARTS} times" in step.error.detail


async def test_each_step_counts_its_own_starts():
    container = await container_with(execution="at_most_once")
    full = raising(NoCapacity("Full.", datetime.now(UTC)))
    await run_step(fake_parts(container, full), TICKET)
    step = await run_step(fake_parts(container, echo), TICKET.model_copy(update={"step": 1}))
    assert step.status is JobStatus.SUCCEEDED


async def sleeps(input, run):
    await asyncio.sleep(60)


async def test_a_flow_past_the_jobs_deadline_is_stopped():
    container = await container_with(deadline_at=datetime.now(UTC) + timedelta(milliseconds=50))
    step = await run_step(fake_parts(container, sleeps), TICKET)
    assert step.status is JobStatus.EXPIRED


async def test_a_flow_that_never_ends_is_stopped():
    parts = fake_parts(await container_with(), sleeps, flow_time=timedelta(milliseconds=50))
    step = await run_step(parts, TICKET)
    assert step.status is JobStatus.FAILED
    assert step.error is not None
    assert step.error.code == "flow_failed"


async def test_a_job_whose_request_is_gone_fails_and_says_so():
    step = await run_step(fake_parts(MemoryContainer(), echo), TICKET)
    assert step.status is JobStatus.FAILED
    assert step.error is not None
    assert "no longer in storage" in step.error.detail


async def test_a_result_that_json_cannot_hold_is_made_json():
    async def odd(input, run):
        return {"nan": float("nan")}

    container = await container_with()
    await run_step(fake_parts(container, odd), TICKET)
    assert json.loads(container.blobs["default/results/job_1"]) == {"nan": None}


# Calls that models work on beyond a step.

BEGUN = CallHandle(deployment="batch", name="n", state="begun", sent_at=datetime.now(UTC))
WAITS = TICKET.model_copy(update={"step": 3, "handles": {"k": BEGUN}})


def begins(due_in: float = 60.0) -> FakeEndpoints:
    """Takes a call and works on it."""

    async def answer(call, scope):
        scope.handles["k"] = BEGUN
        raise CallPending("batch/n", datetime.now(UTC) + timedelta(seconds=due_in))

    return FakeEndpoints(answer)


async def ask(input, run):
    return (await run.invoke(ModelCall("m", Task.SCORE, input["text"]))).body


async def test_a_step_whose_call_goes_on_waits_for_the_model_and_keeps_the_handle():
    step = await run_step(fake_parts(await container_with(), ask, begins()), TICKET)
    assert (step.status, step.wait_for) == (None, "model")
    assert step.handles == {"k": BEGUN}
    assert step.wait_until is not None
    assert step.wait_until > datetime.now(UTC) + timedelta(seconds=50)
    assert step.error is not None
    assert "batch/n" in step.error.detail


async def test_the_next_step_gives_its_handles_to_the_calls():
    endpoints = begins()
    await run_step(fake_parts(await container_with(), ask, endpoints), WAITS)
    [scope] = endpoints.scopes
    assert scope.handles == {"k": BEGUN}


async def test_the_flow_is_not_run_while_all_it_waits_for_goes_on():
    endpoints = begins()
    endpoints.pending = CallPending("batch/n", datetime.now(UTC))
    container = await container_with(execution="at_most_once")
    for _ in range(2):  # a worker that dies in between has begun nothing
        step = await run_step(fake_parts(container, ask, endpoints), WAITS)
        assert (step.wait_for, step.handles) == ("model", {"k": BEGUN})
    assert endpoints.scopes == []
    assert not [name for name in container.blobs if "starts" in name]


async def test_a_job_that_waits_for_nothing_looks_at_nothing():
    endpoints = begins()
    answered = BEGUN.model_copy(update={"state": "answered"})
    ticket = WAITS.model_copy(update={"handles": {"k": answered}})
    await run_step(fake_parts(await container_with(), ask, endpoints), ticket)
    assert endpoints.looked_at == []


@pytest.mark.parametrize(
    "error",
    [NoCapacity("Full.", datetime.now(UTC)), CallFailed("All failed."), CallRejected("No.")],
)
async def test_handles_outlive_whatever_else_a_step_comes_to(error):
    parts = fake_parts(await container_with(), raising(error), begins())
    step = await run_step(parts, WAITS)
    assert step.handles == {"k": BEGUN}


async def test_what_was_given_up_ends_the_job():
    parts = fake_parts(await container_with(), raising(CallGivenUp("It was cancelled.")))
    step = await run_step(parts, TICKET)
    assert (step.status, step.wait_for) == (JobStatus.FAILED, None)


async def test_what_models_work_on_for_an_ended_job_is_cancelled(monkeypatch):
    endpoints = begins()
    parts = fake_parts(MemoryContainer(), ask, endpoints)
    monkeypatch.setattr("wiring.parts", lambda: parts)
    cancel = cancel_calls.cancel_calls._function._func
    await cancel(WAITS.model_dump(mode="json"))
    assert endpoints.cancelled == [{"k": BEGUN}]
