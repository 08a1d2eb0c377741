"""Batches from Service Bus: started once, rejected with a reason, announced when they end."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from azure.functions.servicebus import ServiceBusMessage

from activities.announce_batch import announce
from contracts.batches import BatchObject, BatchTicket, FileObject
from contracts.errors import DependencyUnavailable, Misconfigured
from contracts.names import REJECTED_QUEUE, RESULTS_QUEUE
from tests.unit.fakes import FakeDurableClient, FakeQueues, MemoryContainer, fake_parts
from tests.unit.lines_fakes import CHAT, chat_file, job_line, jsonl, streamed
from triggers import service_bus
from triggers.service_bus import receive

CONTAINER = "https://account.blob.core.windows.net/batch-inputs"
BLOB = {"batch": {"input_blob": f"{CONTAINER}/june.jsonl"}}


class Door:
    """The door with everything behind it faked at the boundaries."""

    def __init__(self) -> None:
        self.container = MemoryContainer()
        self.inputs = MemoryContainer(name="batch-inputs", url=CONTAINER)
        self.inputs._set("june.jsonl", chat_file(3))
        self.client = FakeDurableClient()
        self.queues = FakeQueues()

        async def never(given: Any, run: Any) -> Any:
            raise AssertionError("the door runs no flow")

        self.parts = fake_parts(self.container, never, queues=self.queues, inputs=self.inputs)

    async def receive(self, body: Any, **properties: Any) -> None:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        fields = {"message_id": "m1", "application_properties": {}, "delivery_count": 1}
        message = ServiceBusMessage(body=raw, user_properties={}, **(fields | properties))
        await receive(self.parts, cast(Any, self.client), message)

    @property
    def tickets(self) -> list[BatchTicket]:
        return [BatchTicket.model_validate(ticket) for ticket in self.client.started.values()]

    def rejection(self) -> dict[str, Any]:
        """What the one rejected message was answered."""
        assert self.tickets == []
        [kept] = self.queues.sent[REJECTED_QUEUE].values()
        assert kept.properties["reason"]
        [reply] = self.queues.sent[RESULTS_QUEUE].values()
        said: dict[str, Any] = json.loads(reply.body)
        assert (said["object"], said["status"]) == ("batch", "rejected")
        return dict(said["error"])

    async def ended(self, status: Any = "completed") -> BatchTicket:
        [ticket] = self.tickets
        ended = BatchObject(
            id=ticket.id, endpoint=CHAT, input_file_id="file-1", status=status, created_at=1
        )
        await self.parts.batch_store.end("default", ended)
        return ticket


@pytest.fixture
def door() -> Door:
    return Door()


@pytest.fixture(autouse=True)
def no_naps(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nap(seconds: float) -> None:
        return None

    # Its own alone: what other tests have left in the loop sleeps as well.
    monkeypatch.setattr(service_bus, "asyncio", SimpleNamespace(sleep=nap))


async def test_a_blob_is_a_batch_for_what_its_first_line_asks(door):
    await door.receive(BLOB, correlation_id="order-17")
    [ticket] = door.tickets
    assert ticket.announce
    batch = await door.parts.batch_store.get("default", ticket.id)
    assert batch is not None
    assert batch.request.endpoint == CHAT
    assert batch.input_blob is not None
    assert (batch.input_blob.name, batch.input_blob.etag) == ("june.jsonl", "1")
    assert batch.reply is not None
    assert (batch.reply.queue, batch.reply.correlation_id) == (RESULTS_QUEUE, "order-17")


async def test_the_message_may_say_all_that_a_request_over_http_may(door):
    door.inputs._set("jobs.jsonl", b"\n\r\n" + jsonl(job_line("a")))
    said = {
        "input_blob": f"{CONTAINER}/jobs.jsonl",
        "endpoint": "/v1/jobs",
        "completion_window": "24h",
        "metadata": {"team": "a"},
        "max_failed_share": 0.5,
        "reply_to": "team-a-replies",
    }
    await door.receive({"batch": said})
    [ticket] = door.tickets
    batch = await door.parts.batch_store.get("default", ticket.id)
    assert batch is not None
    assert batch.request.metadata == {"team": "a"}
    assert batch.request.max_failed_share == 0.5
    assert batch.reply is not None
    assert batch.reply.queue == "team-a-replies"


async def test_empty_lines_before_the_first_say_nothing(door):
    door.inputs._set("jobs.jsonl", b"\xef\xbb\xbf\n\r\n" + jsonl(job_line("a")))
    await door.receive({"batch": {"input_blob": f"{CONTAINER}/jobs.jsonl"}})
    [ticket] = door.tickets
    batch = await door.parts.batch_store.get("default", ticket.id)
    assert batch is not None
    assert batch.request.endpoint == "/v1/jobs"


async def test_an_uploaded_file_is_taken_too(door):
    file = FileObject(id="file-1", bytes=0, created_at=1, filename="f", purpose="batch")
    await door.parts.files.upload("default", file, streamed([chat_file(3)]))
    await door.receive({"batch": {"input_file_id": "file-1"}})
    [ticket] = door.tickets
    batch = await door.parts.batch_store.get("default", ticket.id)
    assert batch is not None
    assert (batch.request.input_file_id, batch.request.endpoint) == ("file-1", CHAT)


async def test_a_cloud_event_may_hold_a_batch(door):
    event = {"specversion": "1.0", "id": "e1", "source": "/shop", "type": "ask", "data": BLOB}
    await door.receive(event, content_type="application/cloudevents+json")
    assert len(door.tickets) == 1


async def test_a_message_delivered_again_starts_no_second_batch(door):
    for deliveries in (1, 2):
        await door.receive(BLOB, delivery_count=deliveries)
    assert len(door.tickets) == 1
    assert door.client.starts == 1


async def test_a_message_delivered_again_once_its_blob_is_gone_is_still_that_batch(door):
    await door.receive(BLOB)
    await door.inputs.delete("june.jsonl")
    await door.receive(BLOB, delivery_count=2)
    assert len(door.tickets) == 1
    assert door.queues.sent == {}


async def test_two_messages_are_two_batches(door):
    await door.receive(BLOB)
    await door.receive(BLOB, message_id="m2")
    assert len(door.tickets) == 2


@pytest.mark.parametrize(
    ("batch", "code", "said"),
    [
        ({"input_blob": "https://evil.example/a.jsonl"}, "invalid_request", CONTAINER),
        ({"input_blob": "http://169.254.169.254/metadata"}, "invalid_request", CONTAINER),
        ({"input_blob": f"{CONTAINER}/../sluice-files/x"}, "invalid_request", CONTAINER),
        ({"input_blob": f"{CONTAINER}/june.jsonl?sig=s"}, "invalid_request", "without a query"),
        ({"input_blob": f"{CONTAINER}/july.jsonl"}, "not_found", "july.jsonl"),
        ({"input_blob": f"{CONTAINER}/large.jsonl"}, "payload_too_large", "10,000"),
        ({"input_blob": f"{CONTAINER}/bad.jsonl"}, "invalid_request", "batch.endpoint"),
        ({"input_blob": f"{CONTAINER}/empty.jsonl"}, "invalid_request", "batch.endpoint"),
        ({"input_file_id": "file-9"}, "invalid_request", "input_file_id"),
        ({}, "invalid_request", "either input_blob or input_file_id"),
        (BLOB["batch"] | {"input_file_id": "file-1"}, "invalid_request", "either"),
        (BLOB["batch"] | {"endpoint": "/v1/completions"}, "invalid_request", "endpoint"),
        (BLOB["batch"] | {"colour": "red"}, "invalid_request", "colour"),
        (BLOB["batch"] | {"reply_to": "inference-requests"}, "invalid_request", "reply_to"),
        ("june.jsonl", "invalid_request", "batch"),
    ],
)
async def test_what_can_be_no_batch_is_rejected_with_its_reason(door, batch, code, said):
    door.inputs._set("large.jsonl", b"x" * 10_001)
    door.inputs._set("bad.jsonl", b"{}\n" + chat_file(1))
    door.inputs._set("empty.jsonl", b"")
    await door.receive({"batch": batch})
    error = door.rejection()
    assert error["code"] == code
    assert said in error["detail"]
    assert door.container.blobs == {}, "nothing is kept of it"


async def test_lost_storage_leaves_the_message_for_later(door):
    door.inputs.down = True
    with pytest.raises(DependencyUnavailable):
        await door.receive(BLOB)
    assert door.queues.sent == {}


# The end, announced.


async def test_the_end_of_a_batch_is_announced_once_as_the_batch_object(door):
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    await door.receive(
        BLOB,
        reply_to="team-a-replies",
        reply_to_session_id="s1",
        application_properties={"traceparent": trace},
    )
    ticket = await door.ended("expired")
    for _ in range(2):
        await announce(door.parts, ticket)
    [message] = door.queues.sent["team-a-replies"].values()
    assert json.loads(message.body)["id"] == ticket.id
    assert json.loads(message.body)["status"] == "expired"
    assert (message.id, message.correlation_id, message.session_id) == (ticket.id, "m1", "s1")
    assert message.properties == {
        "batch_id": ticket.id,
        "status": "expired",
        "traceparent": trace,
    }


async def test_a_namespace_that_is_down_is_left_to_durable_functions(door):
    await door.receive(BLOB)
    ticket = await door.ended()
    door.queues.down = True
    with pytest.raises(DependencyUnavailable):
        await announce(door.parts, ticket)


async def test_a_queue_that_does_not_exist_is_told_to_the_operator(door, caplog):
    await door.receive(BLOB, reply_to="gone-replies")
    ticket = await door.ended()
    door.queues.missing = {"gone-replies"}
    await announce(door.parts, ticket)
    assert "gone-replies" in caplog.text


async def test_what_retention_has_removed_is_not_announced(door):
    ticket = BatchTicket(
        id="batch_1", tenant="default", expires_at=datetime.now(UTC) + timedelta(hours=1)
    )
    await announce(door.parts, ticket)
    assert door.queues.sent == {}


async def test_without_a_namespace_the_operator_is_told(door):
    await door.receive(BLOB)
    ticket = await door.ended()
    door.parts = fake_parts(door.container, cast(Any, None))
    with pytest.raises(Misconfigured):
        await announce(door.parts, ticket)
