"""Jobs from Service Bus: what starts one, what is rejected, what is left for a later delivery."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from azure.functions.servicebus import ServiceBusMessage
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.errors import DependencyUnavailable
from contracts.names import REJECTED_QUEUE, RESULTS_QUEUE
from tests.unit.fakes import FakeDurableClient, FakeQueues, MemoryContainer, fake_parts
from triggers import service_bus
from triggers.service_bus import receive

JOB = {"flow": "f", "input": {"text": "hi"}}


class Door:
    """The door with everything behind it faked at the boundaries."""

    def __init__(self) -> None:
        self.container = MemoryContainer()
        self.client = FakeDurableClient()
        self.queues = FakeQueues()

        async def never(input: Any, run: Any) -> Any:
            raise AssertionError("the door runs no flow")

        self.parts = fake_parts(self.container, never, queues=self.queues)

    async def receive(self, message: ServiceBusMessage) -> None:
        await receive(self.parts, cast(Any, self.client), message)

    @property
    def tickets(self) -> list[dict[str, Any]]:
        return list(self.client.started.values())


def message(body: Any = JOB, **properties: Any) -> ServiceBusMessage:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    fields = {"message_id": "m1", "application_properties": {}, "delivery_count": 1}
    return ServiceBusMessage(body=raw, user_properties={}, **(fields | properties))


@pytest.fixture
def door() -> Door:
    return Door()


@pytest.fixture(autouse=True)
def naps(monkeypatch) -> list[float]:
    """The pauses that were asked for, without taking them."""
    taken: list[float] = []

    async def nap(seconds: float) -> None:
        taken.append(seconds)

    # Its own alone: what other tests have left in the loop sleeps as well.
    monkeypatch.setattr(service_bus, "asyncio", SimpleNamespace(sleep=nap))
    return taken


async def test_a_message_starts_a_job_and_says_where_to_reply(door):
    await door.receive(message(correlation_id="order-17"))
    [ticket] = door.tickets
    assert ticket["reply"]["queue"] == RESULTS_QUEUE
    assert ticket["reply"]["correlation_id"] == "order-17"
    assert f"default/requests/{ticket['id']}" in door.container.blobs
    assert door.queues.sent == {}


async def test_the_message_names_the_reply_queue_and_carries_its_trace(door):
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    await door.receive(
        message(
            reply_to="team-a-replies",
            reply_to_session_id="s1",
            application_properties={"traceparent": trace, "other": "x", "tracestate": 1},
        )
    )
    [ticket] = door.tickets
    assert ticket["reply"] == {
        "queue": "team-a-replies",
        "correlation_id": "m1",
        "session_id": "s1",
        "trace": {"traceparent": trace},
    }


async def test_a_message_delivered_again_starts_no_second_job(door):
    await door.receive(message())
    await door.receive(message(delivery_count=2))
    assert len(door.tickets) == 1


async def test_a_message_delivered_again_after_its_jobs_deadline_is_still_that_job(door):
    deadline = datetime.now(UTC) + timedelta(seconds=1)
    job = JOB | {"deadline": deadline.isoformat()}
    await door.receive(message(job))
    while datetime.now(UTC) <= deadline:
        time.sleep(0.05)
    await door.receive(message(job, delivery_count=2))
    assert len(door.tickets) == 1
    assert door.queues.sent == {}, "it is not rejected"


async def test_a_message_whose_deadline_has_passed_when_it_first_comes_is_rejected(door):
    await door.receive(message(JOB | {"deadline": "2020-01-01T00:00:00Z"}))
    assert door.tickets == []
    assert len(door.queues.sent[REJECTED_QUEUE]) == 1


async def test_an_error_for_a_queue_that_does_not_exist_goes_to_the_results(door):
    door.queues.missing = {"gone-replies"}
    await door.receive(message(b"not json", reply_to="gone-replies"))
    assert len(door.queues.sent[RESULTS_QUEUE]) == 1


async def test_a_message_delivered_twice_at_the_same_time_starts_one_job(door):
    await asyncio.gather(*(door.receive(message()) for _ in range(10)))
    assert len(door.tickets) == 1


async def test_a_crash_between_keeping_and_starting_is_made_good_by_the_next_delivery(door):
    async def dies(*args: Any, **kwargs: Any) -> str:
        raise asyncio.CancelledError

    door.client.schedule_new_orchestration, schedule = (  # type: ignore[method-assign]
        dies,
        door.client.schedule_new_orchestration,
    )
    with pytest.raises(asyncio.CancelledError):
        await door.receive(message())
    door.client.schedule_new_orchestration = schedule  # type: ignore[method-assign]
    await door.receive(message(delivery_count=2))

    [ticket] = door.tickets
    [kept] = [name for name in door.container.blobs if "/requests/" in name]
    assert kept == f"default/requests/{ticket['id']}"


async def test_a_producer_that_sets_no_message_id_is_known_by_the_sequence_number(door):
    for _ in range(2):
        await door.receive(message(message_id=None, sequence_number=7))
    await door.receive(message(message_id=None, sequence_number=8))
    assert len(door.tickets) == 2


async def test_a_cloud_event_in_structured_mode(door):
    event = {"specversion": "1.0", "id": "e1", "source": "/shop", "type": "ask", "data": JOB}
    await door.receive(message(event, content_type="application/cloudevents+json; charset=utf-8"))
    assert len(door.tickets) == 1


async def test_a_cloud_event_in_binary_mode(door):
    properties = {"cloudEvents:specversion": "1.0", "cloudEvents:id": "e1"}
    await door.receive(message(application_properties=properties))
    assert len(door.tickets) == 1


@pytest.mark.parametrize(
    ("bad", "properties", "field"),
    [
        (b"not json", {}, "(body)"),
        (b"\xff\x00", {}, "(body)"),
        (b"", {}, "(body)"),
        ({"flow": "f"}, {}, "input"),
        (JOB | {"flow": "unknown"}, {}, "flow"),
        (JOB | {"colour": "red"}, {}, "no such field"),
        (JOB, {"reply_to": "inference-requests"}, "reply_to"),
        (JOB | {"reply_to": "somebody-elses"}, {}, "reply_to"),
        ({"specversion": "0.3"}, {"content_type": "application/cloudevents+json"}, "specversion"),
        (JOB | {"metadata": {"k": "x" * 2000}}, {}, "bytes"),
    ],
)
async def test_what_can_never_be_a_job_is_kept_with_the_reason_and_answered_once(
    door, naps, bad, properties, field
):
    sent = message(bad, **properties)
    await door.receive(sent)
    await door.receive(sent)

    assert door.tickets == []
    assert door.container.blobs == {}
    [kept] = door.queues.sent[REJECTED_QUEUE].values()
    assert kept.body == sent.get_body()
    assert field in kept.properties["reason"]
    [reply] = door.queues.sent[RESULTS_QUEUE].values()
    assert json.loads(reply.body)["status"] == "rejected"
    assert field in json.loads(reply.body)["error"]["detail"]
    assert reply.correlation_id == "m1"
    assert naps == []


async def test_an_error_is_replied_where_the_producer_listens(door):
    await door.receive(message(b"not json", reply_to="team-a-replies"))
    assert list(door.queues.sent) == [REJECTED_QUEUE, "team-a-replies"]


@pytest.mark.parametrize(("deliveries", "seconds"), [(1, 1.0), (2, 2.0), (5, 16.0), (10, 30.0)])
async def test_lost_storage_leaves_the_message_for_later_never_at_once(
    door, naps, deliveries, seconds
):
    door.container.down = True
    with pytest.raises(DependencyUnavailable):
        await door.receive(message(delivery_count=deliveries))
    assert naps == [seconds]
    assert door.queues.sent == {}


async def test_a_rejection_that_cannot_be_kept_leaves_the_message_for_later(door):
    door.queues.down = True
    with pytest.raises(DependencyUnavailable):
        await door.receive(message(b"not json"))


BODIES = st.binary(max_size=60) | st.recursive(
    st.none() | st.integers() | st.text(max_size=8) | st.sampled_from(["f", "unknown"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["flow", "input", "data", "reply_to", "x"]), inner)
    ),
    max_leaves=8,
).map(lambda value: json.dumps(value).encode())


@settings(max_examples=2000, deadline=None)
@given(
    body=BODIES,
    content_type=st.none() | st.sampled_from(["", "application/cloudevents+json", "text/plain"]),
    message_id=st.none() | st.text(max_size=10),
    reply_to=st.none() | st.text(max_size=20),
)
def test_whatever_comes_is_a_job_or_rejected_with_a_reason(
    body, content_type, message_id, reply_to
):
    door = Door()
    sent = message(
        body,
        content_type=content_type,
        message_id=message_id,
        sequence_number=1,
        reply_to=reply_to,
    )
    asyncio.run(door.receive(sent))
    rejected = door.queues.sent.get(REJECTED_QUEUE, {})
    assert len(door.tickets) + len(rejected) == 1
    assert all(kept.properties["reason"] for kept in rejected.values())
