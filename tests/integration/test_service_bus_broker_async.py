"""The asynchronous SDK, and several clients at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from azure.servicebus import (
    NEXT_AVAILABLE_SESSION,
    ServiceBusMessage,
    ServiceBusSubQueue,
)
from azure.servicebus.aio import ServiceBusClient, ServiceBusReceiver, ServiceBusSender
from azure.servicebus.exceptions import MessagingEntityNotFoundError, OperationTimeoutError

from tests.integration.service_bus_harness import (
    BRISK,
    LONGEST_WAIT,
    BrokerProcess,
    body,
    write_config,
)
from tests.integration.service_bus_harness import take_async as take

QUEUES: dict[str, Any] = {
    "plain": {},
    "settled": {"MaxDeliveryCount": 2},
    "shared": {},
    "sessions": {"RequiresSession": True},
}
TOPICS: dict[str, Any] = {"events": {"one": [], "two": []}}


class Handlers:
    """Everything that the tests send and receive with, opened and closed all at once."""

    def __init__(self, client: ServiceBusClient) -> None:
        self.client = client
        dead = ServiceBusSubQueue.DEAD_LETTER
        self.to_settled = client.get_queue_sender("settled")
        self.settled = client.get_queue_receiver("settled")
        self.dead = client.get_queue_receiver("settled", sub_queue=dead)
        self.to_plain = client.get_queue_sender("plain")
        self.plain = client.get_queue_receiver("plain")
        self.to_shared = client.get_queue_sender("shared")
        self.sharing = [client.get_queue_receiver("shared", prefetch_count=10) for _ in range(3)]
        self.to_sessions = client.get_queue_sender("sessions")
        self.to_events = client.get_topic_sender("events")
        self.one = client.get_subscription_receiver("events", "one")
        self.two = client.get_subscription_receiver("events", "two")

    async def open(self) -> None:
        await asyncio.gather(*(handler.__aenter__() for handler in self._all()))

    async def close(self) -> None:
        await asyncio.gather(*(handler.close() for handler in self._all()))

    def _all(self) -> list[Any]:
        kinds = (ServiceBusSender, ServiceBusReceiver)
        return [*self.sharing, *(each for each in vars(self).values() if isinstance(each, kinds))]


@pytest.fixture(scope="module")
async def at(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Handlers]:
    directory: Path = tmp_path_factory.mktemp("broker")
    config = write_config(directory / "config.json", queues=QUEUES, topics=TOPICS)
    with BrokerProcess(directory / "state", config) as broker:
        async with ServiceBusClient.from_connection_string(
            broker.connection_string, retry_total=0
        ) as client:
            handlers = Handlers(client)
            await handlers.open()
            yield handlers
            await handlers.close()


async def test_messages_are_sent_and_settled_in_every_way(at: Handlers) -> None:
    receiver, dead = at.settled, at.dead
    await at.to_settled.send_messages(ServiceBusMessage("done"))
    await at.to_settled.send_messages(
        [ServiceBusMessage(each) for each in ("later", "bad", "worn")]
    )
    done, later, bad, worn = await take(receiver, 4)
    await receiver.complete_message(done)
    await receiver.defer_message(later)
    await receiver.dead_letter_message(bad, reason="Invalid", error_description="no flow")
    await receiver.renew_message_lock(worn)
    await receiver.abandon_message(worn)
    await receiver.abandon_message((await take(receiver, 1))[0])

    (deferred,) = await receiver.receive_deferred_messages([later.sequence_number])
    await receiver.complete_message(deferred)
    received = await take(dead, 2)
    assert [message.dead_letter_reason for message in received] == [
        "Invalid",
        "MaxDeliveryCountExceeded",
    ]
    for message in received:
        await dead.complete_message(message)
    assert await receiver.peek_messages(sequence_number=1) == []


async def test_messages_are_scheduled_and_cancelled(at: Handlers) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=5)
    _, cancelled = await at.to_plain.schedule_messages(
        [ServiceBusMessage("kept"), ServiceBusMessage("cancelled")], soon
    )
    await at.to_plain.cancel_scheduled_messages(cancelled)
    (kept,) = await take(at.plain, 1)
    assert body(kept) == b"kept"
    assert datetime.now(UTC) >= soon
    await at.plain.complete_message(kept)
    assert await at.plain.receive_messages(1, max_wait_time=0.3) == []


async def test_competing_receivers_share_the_messages_and_none_gets_one_twice(
    at: Handlers,
) -> None:
    count = 200
    seen: list[bytes] = []

    async def consume(receiver: ServiceBusReceiver) -> int:
        mine = 0
        while len(seen) < count:
            for message in await receiver.receive_messages(10, max_wait_time=0.2):
                mine += 1
                seen.append(body(message))
                await receiver.complete_message(message)
        return mine

    async def produce() -> None:
        for start in range(0, count, 20):
            numbers = range(start, start + 20)
            await at.to_shared.send_messages([ServiceBusMessage(f"{n}") for n in numbers])

    async with asyncio.timeout(180):
        _, *shares = await asyncio.gather(produce(), *(consume(each) for each in at.sharing))
    assert sorted(seen, key=int) == [b"%d" % n for n in range(count)]
    assert min(shares) > 0


async def test_sessions_have_a_state_and_are_waited_for(at: Handlers) -> None:
    await at.to_sessions.send_messages(
        [ServiceBusMessage(each, session_id="a") for each in ("1", "2")]
    )
    async with at.client.get_queue_receiver(
        "sessions", session_id=NEXT_AVAILABLE_SESSION, max_wait_time=LONGEST_WAIT, **BRISK
    ) as receiver:
        assert receiver.session.session_id == "a"
        await receiver.session.set_state("half")
        assert await receiver.session.get_state() == b"half"
        await receiver.session.renew_lock()
        received = await take(receiver, 2)
        assert [body(message) for message in received] == [b"1", b"2"]
        for message in received:
            await receiver.complete_message(message)
        with pytest.raises(OperationTimeoutError):
            await at.client.get_queue_receiver(
                "sessions", session_id=NEXT_AVAILABLE_SESSION, max_wait_time=0.5, **BRISK
            ).__aenter__()


async def test_a_topic_reaches_all_its_subscriptions(at: Handlers) -> None:
    await at.to_events.send_messages(ServiceBusMessage("news"))
    for receiver in (at.one, at.two):
        (message,) = await take(receiver, 1)
        assert body(message) == b"news"
        await receiver.complete_message(message)
    with pytest.raises(MessagingEntityNotFoundError):
        await at.client.get_subscription_receiver("events", "three").__aenter__()
