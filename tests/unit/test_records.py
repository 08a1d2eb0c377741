"""A job as the API shows it, at each point of its life."""

from datetime import UTC, datetime, timedelta

import pytest
from durabletask.client import OrchestrationState, OrchestrationStatus

from contracts.calls import Attempt, Usage
from contracts.errors import NoCapacity
from contracts.jobs import (
    INLINE_RESULT_BYTES,
    AcceptedJob,
    JobOutcome,
    JobRequest,
    JobTicket,
    JobWait,
    fits,
    job_record,
)
from contracts.states import JobStatus
from triggers.records import outcome_of, standing

NOW = datetime(2030, 1, 1, tzinfo=UTC)
JOB = AcceptedJob(
    id="job_1",
    tenant="default",
    created_at=NOW,
    deadline_at=None,
    request=JobRequest(flow="embed", input={}, metadata={"a": "b"}),
)
ATTEMPT = Attempt(
    model="embed",
    deployment="d",
    outcome="answered",
    status=200,
    started_at=NOW,
    seconds=0.5,
    request_id="r",
    usage=Usage(input_tokens=3, requests=1),
)
TICKET = JobTicket(
    id="job_1",
    tenant="default",
    started_at=NOW + timedelta(seconds=2),
    flow_seconds=1.5,
    attempts=[ATTEMPT, ATTEMPT],
    attempts_made=2,
    step=1,
)


def state(status: OrchestrationStatus, *, output=None, custom=None) -> OrchestrationState:
    return OrchestrationState(
        instance_id="job_1",
        name="job",
        runtime_status=status,
        created_at=NOW,
        last_updated_at=NOW + timedelta(minutes=1),
        serialized_input=None,
        serialized_output=output.model_dump_json() if output else None,
        serialized_custom_status=custom.model_dump_json() if custom else None,
        failure_details=None,
    )


def test_a_job_that_has_not_begun_is_queued():
    record = job_record(JOB, standing(state(OrchestrationStatus.PENDING)))
    assert record.status is JobStatus.QUEUED
    assert record.started_at is None
    assert record.timing.queue_seconds is None
    assert record.metadata == {"a": "b"}


def test_a_waiting_job_says_until_when_and_why():
    until = NOW + timedelta(minutes=5)
    wait = JobWait(
        status=JobStatus.WAITING_FOR_CAPACITY,
        ticket=TICKET,
        until=until,
        reason=NoCapacity("All deployments of `embed` throttle.", until).problem(),
    )
    record = job_record(JOB, standing(state(OrchestrationStatus.RUNNING, custom=wait)))

    assert record.status is JobStatus.WAITING_FOR_CAPACITY
    assert record.progress.resumes_at == until
    assert record.progress.reason == "All deployments of `embed` throttle."
    assert (record.progress.waits, record.progress.attempts) == (1, 2)
    assert record.error is None


def test_an_ended_job_shows_its_result_usage_and_where_its_time_went():
    outcome = JobOutcome(status=JobStatus.SUCCEEDED, ended_at=NOW, ticket=TICKET, result_bytes=10)
    record = job_record(
        JOB, standing(state(OrchestrationStatus.COMPLETED, output=outcome)), b'{"n": [1]}'
    )

    assert record.status is JobStatus.SUCCEEDED
    assert record.result == {"n": [1]}
    assert record.result_url == "/v1/jobs/job_1/result"
    assert record.usage == Usage(input_tokens=6, requests=2)
    assert record.timing.queue_seconds == 2.0
    assert record.timing.flow_seconds == 1.5
    assert record.timing.model_seconds == 1.0


@pytest.mark.parametrize(
    ("status", "shown"),
    [
        (OrchestrationStatus.TERMINATED, JobStatus.CANCELLED),
        (OrchestrationStatus.FAILED, JobStatus.FAILED),
    ],
)
def test_an_orchestration_ended_from_outside_is_an_ended_job_with_a_reason(status, shown):
    custom = JobWait(status=JobStatus.RUNNING, ticket=TICKET)
    record = job_record(JOB, standing(state(status, custom=custom)))
    assert record.status is shown
    assert record.error is not None
    assert record.attempts == [ATTEMPT, ATTEMPT]


@pytest.mark.parametrize(
    ("size", "is_inline"), [(None, False), (0, True), (INLINE_RESULT_BYTES + 1, False)]
)
def test_large_results_are_fetched_apart(size, is_inline):
    outcome = JobOutcome(status=JobStatus.SUCCEEDED, ended_at=NOW, ticket=TICKET, result_bytes=size)
    assert fits(outcome) is is_inline


def test_a_running_job_has_no_outcome():
    assert outcome_of(state(OrchestrationStatus.RUNNING)) is None


def test_a_job_whose_reply_is_still_being_sent_has_ended():
    outcome = JobOutcome(status=JobStatus.SUCCEEDED, ended_at=NOW, ticket=TICKET, result_bytes=1)
    assert outcome_of(state(OrchestrationStatus.RUNNING, custom=outcome)) == outcome
