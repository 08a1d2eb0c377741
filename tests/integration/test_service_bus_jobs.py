"""Jobs over Service Bus, with the real SDK, the local broker and the whole stack."""

from __future__ import annotations

import asyncio
import json
import uuid
from datetime import UTC, datetime, timedelta

import pytest

from contracts.names import REJECTED_QUEUE, REQUESTS_QUEUE
from tests.integration.jobs_client import ended, submit
from tests.integration.queues_client import Producer, producer
from tests.integration.service_bus_harness import take_async

# The SDK leaves its sockets' writers to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

EMBED = {"flow": "embed", "input": {"text": "hello"}}


@pytest.fixture(scope="module")
async def queue(stack):
    async with producer(stack.service_bus) as made:
        yield made


async def test_a_message_is_answered_with_the_jobs_record(queue: Producer, api):
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    sent = await queue.send(
        EMBED, correlation_id="order-17", application_properties={"traceparent": trace}
    )
    record = await queue.reply("order-17")

    assert record["status"] == "succeeded"
    assert len(record["result"]["embeddings"][0]) == 384
    [message] = [m for m in queue.messages if m.correlation_id == "order-17"]
    assert message.message_id == record["id"] != sent
    assert message.application_properties[b"traceparent"].decode() == trace
    assert (await ended(api, record["id"]))["result"] == record["result"]


async def test_the_same_message_twice_is_one_job_and_one_reply(queue: Producer):
    message_id = uuid.uuid4().hex
    await asyncio.gather(*(queue.send(EMBED, message_id=message_id) for _ in range(2)))
    await queue.reply(message_id)
    await asyncio.sleep(1)
    assert len(queue.replies[message_id]) == 1


async def test_a_cloud_event(queue: Producer):
    event = {"specversion": "1.0", "id": "1", "source": "/shop", "type": "ask", "data": EMBED}
    sent = await queue.send(event, content_type="application/cloudevents+json")
    assert (await queue.reply(sent))["status"] == "succeeded"


async def test_a_large_result_is_a_link(queue: Producer, api):
    sent = await queue.send({"flow": "large", "input": {"bytes": 2_000_000}})
    record = await queue.reply(sent)
    assert record["result"] is None
    async with api.get(record["result_url"]) as response:
        assert len(await response.read()) > 2_000_000


async def test_a_failed_job_is_answered_with_its_error(queue: Producer, scripted):
    script = {"script": uuid.uuid4().hex, "answers": [400]}
    sent = await queue.send({"flow": "scripted", "input": script})
    record = await queue.reply(sent)
    assert record["status"] == "failed"
    assert record["error"]["code"] == "model_rejected_request"


async def test_what_is_no_job_is_rejected_once_with_its_reason(queue: Producer):
    sent = await queue.send(b"{ this is no JSON")
    reply = await queue.reply(sent)
    assert reply["status"] == "rejected"
    assert "(body)" in reply["error"]["detail"]
    async with queue.client.get_queue_receiver(REJECTED_QUEUE) as receiver:
        [kept] = await take_async(receiver, 1)
        await receiver.complete_message(kept)
    assert b"".join(kept.body) == b"{ this is no JSON"
    assert b"JSON" in kept.application_properties[b"reason"]
    async with queue.client.get_queue_receiver(REQUESTS_QUEUE) as receiver:
        async with asyncio.timeout(60):  # it is completed a moment after it was answered
            while await receiver.peek_messages(sequence_number=1):
                await asyncio.sleep(0.1)
    assert len(queue.replies[sent]) == 1, "it is not delivered again"


async def test_a_scheduled_message_runs_at_its_time(queue: Producer):
    from azure.servicebus import ServiceBusMessage

    at = datetime.now(UTC) + timedelta(seconds=3)
    message = ServiceBusMessage(json.dumps(EMBED), message_id=uuid.uuid4().hex)
    await queue.sender.schedule_messages(message, at)
    record = await queue.reply(str(message.message_id))
    assert datetime.fromisoformat(record["created_at"]) >= at - timedelta(seconds=0.5)


async def test_a_job_over_http_can_be_answered_on_a_queue(queue: Producer, api):
    _, _, job = await submit(api, reply_to="inference-results")
    assert (await queue.reply(job["id"]))["id"] == job["id"]


async def test_a_job_ends_also_when_its_reply_queue_does_not_exist(api):
    _, _, job = await submit(api, reply_to="nobody-replies")
    assert (await ended(api, job["id"]))["status"] == "succeeded"


async def test_a_reply_queue_that_is_not_allowed_is_refused(api):
    status, _, problem = await submit(api, reply_to="inference-requests")
    assert status == 400
    assert problem["errors"][0]["field"] == "reply_to"
    assert "inference-results" in problem["errors"][0]["expected"]


async def test_200_messages_give_200_replies(queue: Producer):
    sent = await asyncio.gather(*(queue.send(EMBED) for _ in range(200)))
    records = await asyncio.gather(*(queue.reply(one, within=600) for one in sent))
    assert {record["status"] for record in records} == {"succeeded"}
    assert all(len(queue.replies[one]) == 1 for one in sent)
