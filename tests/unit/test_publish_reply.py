"""The reply to a job: sent once, by reference when it is large, given up when it has no queue."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any

import pytest

from activities.publish_reply import INLINE_REPLY_BYTES, publish
from contracts.errors import DependencyUnavailable
from contracts.jobs import AcceptedJob, JobOutcome, JobRequest, JobTicket, ReplyAddress
from contracts.states import JobStatus
from tests.unit.fakes import FakeQueues, MemoryContainer, fake_parts

NOW = datetime(2030, 1, 1, tzinfo=UTC)
REPLY = ReplyAddress(queue="team-replies", correlation_id="c", trace={"traceparent": "t"})


class Reply:
    """A job that has ended, and the queues its reply goes to."""

    def __init__(self, result: bytes) -> None:
        self.queues = FakeQueues()
        job = AcceptedJob(
            id="job_1",
            tenant="default",
            created_at=NOW,
            deadline_at=None,
            request=JobRequest(flow="f", input={}),
        )
        blobs = {
            "default/requests/job_1": job.model_dump_json().encode(),
            "default/results/job_1": result,
        }

        async def never(input: Any, run: Any) -> Any:
            raise AssertionError("a reply runs no flow")

        self.parts = fake_parts(MemoryContainer(blobs), never, queues=self.queues)
        self.outcome = JobOutcome(
            status=JobStatus.SUCCEEDED,
            ended_at=NOW,
            ticket=JobTicket(id="job_1", tenant="default", reply=REPLY),
            result_bytes=len(result),
        )

    async def publish(self) -> None:
        await publish(self.parts, self.outcome)


async def test_a_reply_is_the_jobs_record_and_sent_again_is_a_duplicate():
    reply = Reply(b'{"n": 1}')
    await reply.publish()
    await reply.publish()

    [message] = reply.queues.sent["team-replies"].values()
    assert json.loads(message.body)["result"] == {"n": 1}
    assert (message.id, message.correlation_id) == ("job_1", "c")
    assert message.properties == {"job_id": "job_1", "status": "succeeded", "traceparent": "t"}


async def test_a_large_result_is_a_link():
    reply = Reply(b'"' + b"x" * INLINE_REPLY_BYTES + b'"')
    await reply.publish()
    [message] = reply.queues.sent["team-replies"].values()
    assert json.loads(message.body)["result"] is None
    assert json.loads(message.body)["result_url"] == "/v1/jobs/job_1/result"


async def test_a_namespace_that_is_down_is_left_to_durable_functions():
    reply = Reply(b"1")
    reply.queues.down = True
    with pytest.raises(DependencyUnavailable):
        await reply.publish()


async def test_a_queue_that_does_not_exist_is_told_to_the_operator_once(caplog):
    reply = Reply(b"1")
    reply.queues.missing = {"team-replies"}
    with caplog.at_level(logging.ERROR, logger="sluice"):
        await reply.publish()
    [record] = caplog.records
    assert "job_1" in record.getMessage()
    assert "team-replies" in record.getMessage()
