"""Every feature through the unmodified synchronous SDK."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from azure.servicebus import (
    NEXT_AVAILABLE_SESSION,
    AutoLockRenewer,
    ServiceBusClient,
    ServiceBusMessage,
    ServiceBusMessageState,
    ServiceBusReceiveMode,
    ServiceBusReceiver,
    ServiceBusSender,
    ServiceBusSubQueue,
)
from azure.servicebus._pyamqp._encode import encode_payload
from azure.servicebus._pyamqp.message import Message, Properties
from azure.servicebus.amqp import AmqpAnnotatedMessage, AmqpMessageBodyType
from azure.servicebus.exceptions import (
    MessageLockLostError,
    MessageNotFoundError,
    MessageSizeExceededError,
    MessagingEntityNotFoundError,
    OperationTimeoutError,
    ServiceBusError,
    ServiceBusQuotaExceededError,
    SessionCannotBeLockedError,
    SessionLockLostError,
)

from tests.integration.service_bus_harness import (
    BRISK,
    LONGEST_WAIT,
    BrokerProcess,
    body,
    connect,
    nothing_waits,
    take,
    write_config,
)

QUEUES: dict[str, Any] = {
    "plain": {},
    "deleted": {},
    "prefetched": {},
    "settled": {"MaxDeliveryCount": 2},
    "brief-lock": {"LockDuration": "PT5S"},
    "brief-life": {"DefaultMessageTimeToLive": "PT1S", "DeadLetteringOnMessageExpiration": True},
    "once": {"RequiresDuplicateDetection": True},
    "sessions": {"RequiresSession": True},
    "brief-sessions": {"RequiresSession": True, "LockDuration": "PT5S"},
    "small": {"MaxSizeInMegabytes": 1},
    "entry": {"ForwardTo": "target", "ForwardDeadLetteredMessagesTo": "target"},
    "target": {"ForwardDeadLetteredMessagesTo": "morgue"},
    "morgue": {},
}
RED = {
    "Name": "red",
    "Properties": {
        "FilterType": "Correlation",
        "CorrelationFilter": {"Label": "paint", "Properties": {"colour": "red"}},
    },
}
PROPERTIES = [
    "message_id",
    "correlation_id",
    "content_type",
    "subject",
    "to",
    "reply_to",
    "reply_to_session_id",
    "partition_key",
    "session_id",
    "time_to_live",
]
TOPICS: dict[str, Any] = {"events": {"all": [], "red": [RED]}}


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerProcess]:
    directory: Path = tmp_path_factory.mktemp("broker")
    config = write_config(directory / "config.json", queues=QUEUES, topics=TOPICS)
    with BrokerProcess(directory / "state", config) as process:
        yield process


class Handlers:
    """Opens each sender and receiver once, for the SDK takes a second to close one."""

    def __init__(self, client: ServiceBusClient) -> None:
        self.client = client
        self._open: dict[Any, Any] = {}

    def sender(self, queue: str) -> ServiceBusSender:
        return self._once(("sender", queue), lambda: self.client.get_queue_sender(queue))

    def receiver(self, queue: str, **options: Any) -> ServiceBusReceiver:
        key = ("receiver", queue, *sorted(options.items()))
        return self._once(key, lambda: self.client.get_queue_receiver(queue, **options))

    def dead_letters(self, queue: str) -> ServiceBusReceiver:
        return self.receiver(queue, sub_queue=ServiceBusSubQueue.DEAD_LETTER)

    def topic(self, name: str) -> ServiceBusSender:
        return self._once(("topic", name), lambda: self.client.get_topic_sender(name))

    def subscription(self, topic: str, name: str, **options: Any) -> ServiceBusReceiver:
        key = ("subscription", topic, name, *sorted(options.items()))
        return self._once(
            key, lambda: self.client.get_subscription_receiver(topic, name, **options)
        )

    def open(self) -> None:
        """Those of most tests, at once: one by one they would take half a second each."""
        plain = [name for name, own in QUEUES.items() if not own.get("RequiresSession")]
        opens = [partial(self.sender, name) for name in QUEUES]
        opens += [
            partial(self.receiver, name) for name in plain if name not in ("entry", "deleted")
        ]
        opens += [partial(self.dead_letters, name) for name in ("settled", "brief-life")]
        opens += [partial(self.topic, "events")]
        opens += [partial(self.subscription, "events", name) for name in TOPICS["events"]]
        with ThreadPoolExecutor(len(opens)) as pool:
            list(pool.map(lambda each: each(), opens))

    def close(self) -> None:
        with ThreadPoolExecutor(max_workers=len(self._open) or 1) as pool:
            list(pool.map(lambda handler: handler.close(), self._open.values()))

    def _once(self, key: Any, make: Any) -> Any:
        if key not in self._open:
            self._open[key] = make().__enter__()
        return self._open[key]


@pytest.fixture(scope="module")
def at(broker: BrokerProcess) -> Iterator[Handlers]:
    with connect(broker) as client:
        handlers = Handlers(client)
        handlers.open()
        yield handlers
        handlers.close()


def wait_until(moment: datetime | None) -> None:
    """Until a moment later than that."""
    assert moment is not None
    time.sleep(max(0.0, (moment - datetime.now(UTC)).total_seconds()) + 0.2)


def test_a_message_arrives_as_it_was_sent_byte_for_byte(at: Handlers) -> None:
    token = uuid.uuid4()
    properties = {"text": "ä€", "n": -5, "f": 1.5, "yes": True, "id": token}
    sent = ServiceBusMessage(
        bytes(range(256)) * 10,
        application_properties=dict(properties),
        message_id="m-1",
        correlation_id="c-1",
        content_type="application/octet-stream",
        subject="s",
        to="t",
        reply_to="inference-results",
        reply_to_session_id="rs",
        partition_key="p",
        session_id="p",
        time_to_live=timedelta(seconds=90),
    )
    at.sender("plain").send_messages(sent)

    (received,) = take(at.receiver("plain"), 1)
    assert body(received) == bytes(range(256)) * 10
    assert received.application_properties == {
        name.encode(): value.encode() if isinstance(value, str) else value
        for name, value in properties.items()
    }
    for name in PROPERTIES:
        assert getattr(received, name) == getattr(sent, name), name
    assert received.delivery_count == 0
    assert received.sequence_number == 1
    assert received.state is ServiceBusMessageState.ACTIVE
    assert received.enqueued_time_utc is not None
    assert abs(received.enqueued_time_utc - datetime.now(UTC)) < timedelta(seconds=30)
    at.receiver("plain").complete_message(received)


def test_bodies_of_every_kind_and_of_several_frames_arrive(at: Handlers) -> None:
    value = AmqpAnnotatedMessage(value_body={"a": [1, None, "x"]})
    sequence = AmqpAnnotatedMessage(sequence_body=[[1, 2], ["three"]])
    large = ServiceBusMessage(b"\x00" * 200_000)
    lists = AmqpAnnotatedMessage(data_body=[b"part one, ", b"part two"])
    for message in (value, sequence, large, lists):
        at.sender("plain").send_messages(message)

    first, second, third, fourth = take(at.receiver("plain"), 4)
    assert first.body_type is AmqpMessageBodyType.VALUE
    assert first.body == {b"a": [1, None, b"x"]}
    assert list(second.body) == [[1, 2], [b"three"]]
    assert body(third) == b"\x00" * 200_000
    assert list(fourth.body) == [b"part one, ", b"part two"]
    for message in (first, second, third, fourth):
        at.receiver("plain").complete_message(message)


def test_a_body_that_looks_like_a_batch_is_no_batch(at: Handlers) -> None:
    """Only the message format tells them apart: here a message holds an encoded message."""
    inner = Message(properties=Properties(message_id="inner"), data=[b"inner"])
    looks_like_one = bytes(encode_payload(bytearray(), inner))
    at.sender("plain").send_messages(ServiceBusMessage(looks_like_one))

    (received,) = take(at.receiver("plain"), 1)
    assert body(received) == looks_like_one
    at.receiver("plain").complete_message(received)


def test_lists_and_batches_arrive_whole_and_in_order(at: Handlers) -> None:
    sender, receiver = at.sender("plain"), at.receiver("plain")
    sender.send_messages([ServiceBusMessage(f"{n}") for n in range(10)])
    batch = sender.create_message_batch()
    for n in range(10, 20):
        batch.add_message(ServiceBusMessage(f"{n}"))
    sender.send_messages(batch)

    received = take(receiver, 20)
    assert [body(message) for message in received] == [b"%d" % n for n in range(20)]
    for message in received:
        receiver.complete_message(message)
    assert nothing_waits(receiver)


def test_received_and_deleted_is_gone(at: Handlers) -> None:
    at.sender("deleted").send_messages([ServiceBusMessage("a"), ServiceBusMessage("b")])
    mode = ServiceBusReceiveMode.RECEIVE_AND_DELETE
    receiver = at.receiver("deleted", receive_mode=mode)
    assert [body(message) for message in take(receiver, 2)] == [b"a", b"b"]

    assert receiver.peek_messages(sequence_number=1) == []


def test_prefetch_brings_many_messages_once_and_a_closing_receiver_gives_the_rest_back(
    at: Handlers,
) -> None:
    count, wanted = 300, 250
    at.sender("prefetched").send_messages([ServiceBusMessage(f"{n}") for n in range(count)])
    with at.client.get_queue_receiver("prefetched", prefetch_count=100, keep_alive=0) as receiver:
        received = []
        for message in receiver:
            received.append(body(message))
            receiver.complete_message(message)
            if len(received) == wanted:
                break
    assert received == [b"%d" % n for n in range(wanted)]

    left = take(at.receiver("prefetched"), count - wanted)
    assert [body(message) for message in left] == [b"%d" % n for n in range(wanted, count)]
    assert {message.delivery_count for message in left} == {0}
    at.receiver("prefetched").complete_message(left[0])
    assert len(at.receiver("prefetched").peek_messages(99, sequence_number=1)) == len(left) - 1


def test_messages_are_abandoned_deferred_dead_lettered_and_completed(at: Handlers) -> None:
    sender, receiver, dead = (
        at.sender("settled"),
        at.receiver("settled"),
        at.dead_letters("settled"),
    )
    sender.send_messages([ServiceBusMessage(each) for each in ("abandon", "defer", "bad")])
    abandoned, deferred, bad = take(receiver, 3)
    receiver.abandon_message(abandoned)
    receiver.defer_message(deferred)
    receiver.dead_letter_message(bad, reason="Invalid", error_description="no field 'flow'")

    (again,) = take(receiver, 1)
    assert (body(again), again.delivery_count) == (b"abandon", 1)
    receiver.abandon_message(again)  # for the second and last time

    (by_number,) = receiver.receive_deferred_messages([deferred.sequence_number])
    assert body(by_number) == b"defer"
    receiver.renew_message_lock(by_number)
    receiver.complete_message(by_number)
    with pytest.raises(MessageNotFoundError):
        receiver.receive_deferred_messages([deferred.sequence_number])

    worn_out, invalid = take(dead, 2)  # dead letters keep their numbers, and so their order
    assert (invalid.dead_letter_reason, invalid.dead_letter_error_description) == (
        "Invalid",
        "no field 'flow'",
    )
    assert body(worn_out) == b"abandon"
    assert worn_out.dead_letter_reason == "MaxDeliveryCountExceeded"
    assert worn_out.delivery_count == 2
    dead.complete_message(invalid)
    dead.complete_message(worn_out)
    assert dead.peek_messages() == []
    assert receiver.peek_messages(sequence_number=1) == []


def test_a_lock_is_renewed_kept_by_the_auto_renewer_and_lost(at: Handlers) -> None:
    sender, receiver = at.sender("brief-lock"), at.receiver("brief-lock")
    sender.send_messages([ServiceBusMessage(each) for each in ("kept", "renewed", "lost")])
    kept, renewed, lost = take(receiver, 3)
    with AutoLockRenewer() as renewer:
        renewer.register(receiver, kept, max_lock_renewal_duration=30)
        before = renewed.locked_until_utc
        assert before is not None
        time.sleep(0.1)
        assert receiver.renew_message_lock(renewed) > before
        receiver.complete_message(renewed)
        wait_until(lost.locked_until_utc)
        receiver.complete_message(kept)

    with pytest.raises(MessageLockLostError):
        receiver.renew_message_lock(lost)
    lost._expiry = datetime.now(UTC) + timedelta(hours=1)  # past the SDK's own look at the clock
    with pytest.raises(MessageLockLostError):
        receiver.complete_message(lost)
    (again,) = take(receiver, 1)
    assert (body(again), again.delivery_count) == (b"lost", 1)
    receiver.complete_message(again)


def test_an_expired_message_is_dead_lettered(at: Handlers) -> None:
    at.sender("brief-life").send_messages(
        ServiceBusMessage("old", time_to_live=timedelta(minutes=5))
    )

    (expired,) = take(at.dead_letters("brief-life"), 1)
    assert expired.dead_letter_reason == "TTLExpiredException"
    assert expired.time_to_live == timedelta(seconds=1)
    at.dead_letters("brief-life").complete_message(expired)


def test_messages_are_scheduled_cancelled_and_peeked(at: Handlers) -> None:
    sender, receiver = at.sender("plain"), at.receiver("plain")
    soon = datetime.now(UTC) + timedelta(seconds=3)
    kept, cancelled = sender.schedule_messages(
        [ServiceBusMessage("kept"), ServiceBusMessage("cancelled")], soon
    )
    sender.send_messages(
        ServiceBusMessage("sent", scheduled_enqueue_time_utc=soon + timedelta(seconds=0.2))
    )
    sender.cancel_scheduled_messages(cancelled)
    with pytest.raises(MessageNotFoundError):
        sender.cancel_scheduled_messages([cancelled])

    (peeked, _) = receiver.peek_messages(5, sequence_number=kept)
    assert body(peeked) == b"kept"
    assert peeked.state is ServiceBusMessageState.SCHEDULED or datetime.now(UTC) > soon
    early = receiver.receive_messages(1, max_wait_time=0.3)
    assert not early or datetime.now(UTC) > soon
    received = [*early, *take(receiver, 2 - len(early))]
    assert [body(message) for message in received] == [b"kept", b"sent"]
    assert received[0].enqueued_time_utc is not None
    assert received[0].enqueued_time_utc >= soon - timedelta(seconds=0.01)
    for message in received:
        receiver.complete_message(message)


def test_peeking_pages_through_messages_of_every_state(at: Handlers) -> None:
    sender, receiver = at.sender("plain"), at.receiver("plain")
    sender.send_messages([ServiceBusMessage(f"{n}") for n in range(4)])
    deferred, locked = take(receiver, 2)
    receiver.defer_message(deferred)

    first, second = receiver.peek_messages(2, sequence_number=deferred.sequence_number)
    third, fourth = receiver.peek_messages(5)
    assert [body(m) for m in (first, second, third, fourth)] == [b"0", b"1", b"2", b"3"]
    assert first.state is ServiceBusMessageState.DEFERRED
    assert second.sequence_number == locked.sequence_number
    with pytest.raises(ValueError, match="peeked"):
        receiver.complete_message(first)

    for message in receiver.receive_deferred_messages(deferred.sequence_number):
        receiver.complete_message(message)
    for message in [locked, *take(receiver, 2)]:
        receiver.complete_message(message)


def test_a_repeated_message_id_is_dropped(at: Handlers) -> None:
    sender, receiver = at.sender("once"), at.receiver("once")
    for text in ("first", "repeat"):
        sender.send_messages(ServiceBusMessage(text, message_id="job-1"))
    sender.send_messages([ServiceBusMessage(t, message_id="job-2") for t in ("second", "repeat")])

    received = take(receiver, 2)
    assert [body(message) for message in received] == [b"first", b"second"]
    for message in received:
        receiver.complete_message(message)
    sender.send_messages(ServiceBusMessage("still remembered", message_id="job-1"))
    assert nothing_waits(receiver)


def test_a_session_is_received_in_order_with_state_and_renewal(at: Handlers) -> None:
    sender = at.sender("sessions")
    sender.send_messages(
        [ServiceBusMessage(each, session_id=each[0]) for each in ("a1", "b1", "a2")]
    )
    with at.client.get_queue_receiver("sessions", session_id="a", **BRISK) as of_a:
        with pytest.raises(SessionCannotBeLockedError):
            at.client.get_queue_receiver("sessions", session_id="a", **BRISK).__enter__()
        with at.client.get_queue_receiver(
            "sessions", session_id=NEXT_AVAILABLE_SESSION, max_wait_time=LONGEST_WAIT, **BRISK
        ) as of_next:
            assert of_next.session.session_id == "b"
            of_next.complete_message(take(of_next, 1)[0])

        first, second = take(of_a, 2)
        assert [body(first), body(second)] == [b"a1", b"a2"]
        assert of_a.session.get_state() is None
        of_a.session.set_state(b"\x00half")
        assert of_a.session.renew_lock() > datetime.now(UTC) + timedelta(seconds=50)
        of_a.complete_message(first)
        of_a.defer_message(second)
        (by_number,) = of_a.receive_deferred_messages(second.sequence_number)
        of_a.complete_message(by_number)

    assert list(at.client.list_queue_sessions("sessions")) == ["a"]  # for its state
    with at.client.get_queue_receiver("sessions", session_id="a", **BRISK) as of_a:
        assert of_a.session.get_state() == b"\x00half"
        of_a.session.set_state(None)


def test_waiting_for_a_session_ends_in_time_or_with_one(at: Handlers) -> None:
    started = time.monotonic()
    with pytest.raises(OperationTimeoutError):
        at.client.get_queue_receiver(
            "sessions", session_id=NEXT_AVAILABLE_SESSION, max_wait_time=1, **BRISK
        ).__enter__()
    assert time.monotonic() - started < 45, "no longer than it was told to"

    at.sender("sessions").schedule_messages(
        ServiceBusMessage("late", session_id="late"), datetime.now(UTC) + timedelta(seconds=1)
    )
    with at.client.get_queue_receiver(
        "sessions", session_id=NEXT_AVAILABLE_SESSION, max_wait_time=LONGEST_WAIT, **BRISK
    ) as receiver:
        receiver.complete_message(take(receiver, 1)[0])


def test_a_session_lock_that_runs_out_ends_the_receiver(at: Handlers) -> None:
    at.sender("brief-sessions").send_messages(ServiceBusMessage("a1", session_id="a"))
    with at.client.get_queue_receiver("brief-sessions", session_id="a", **BRISK) as receiver:
        (message,) = take(receiver, 1)
        wait_until(receiver.session.locked_until_utc)
        receiver.session._locked_until_utc = None  # past the SDK's own look at the clock
        with pytest.raises(SessionLockLostError):
            receiver.complete_message(message)

    with at.client.get_queue_receiver("brief-sessions", session_id="a", **BRISK) as receiver:
        (again,) = take(receiver, 1)
        assert again.delivery_count == 1
        receiver.complete_message(again)


def test_a_topic_copies_to_the_subscriptions_whose_rules_match(at: Handlers) -> None:
    sender = at.topic("events")
    red = {"colour": "red"}
    sender.send_messages(
        [
            ServiceBusMessage("1", subject="paint", application_properties=red),
            ServiceBusMessage("2", subject="ink", application_properties=dict(red)),
        ]
    )
    scheduled = sender.schedule_messages(
        ServiceBusMessage("3"), datetime.now(UTC) + timedelta(hours=1)
    )
    sender.cancel_scheduled_messages(scheduled)

    of_all, of_red = at.subscription("events", "all"), at.subscription("events", "red")
    first, second = take(of_all, 2)
    assert [body(first), body(second)] == [b"1", b"2"]
    of_all.complete_message(first)
    of_all.dead_letter_message(second, reason="Bad")
    dead = at.subscription("events", "all", sub_queue=ServiceBusSubQueue.DEAD_LETTER)
    assert take(dead, 1)[0].dead_letter_reason == "Bad"
    assert [body(message) for message in take(of_red, 1)] == [b"1"]
    assert nothing_waits(of_red)


def test_messages_and_dead_letters_are_forwarded(at: Handlers) -> None:
    at.sender("entry").send_messages(ServiceBusMessage("on its way"))
    (message,) = take(at.receiver("target"), 1)
    assert message.enqueued_sequence_number == 1
    at.receiver("target").dead_letter_message(message, reason="Bad")

    (dead,) = take(at.receiver("morgue"), 1)
    assert (dead.dead_letter_source, dead.dead_letter_reason) == ("target", "Bad")


def test_what_is_not_there_or_not_allowed_is_refused_as_the_service_does(at: Handlers) -> None:
    client = at.client
    refusals: list[tuple[Any, type[Exception], str]] = [
        (client.get_queue_sender("nowhere"), MessagingEntityNotFoundError, "could not be found"),
        (client.get_queue_receiver("nowhere"), MessagingEntityNotFoundError, "'nowhere'"),
        (client.get_queue_receiver("sessions"), ServiceBusError, "use a session receiver"),
        (client.get_queue_receiver("plain", session_id="a"), ServiceBusError, "not require"),
        (client.get_queue_receiver("events"), ServiceBusError, "is a topic"),
        (client.get_queue_receiver("entry"), ServiceBusError, "forwards every message"),
    ]

    def is_refused(refusal: tuple[Any, type[Exception], str]) -> bool:
        handler, error, why = refusal
        with pytest.raises(error, match=why):
            handler.__enter__()
        return True

    with ThreadPoolExecutor(len(refusals)) as pool:
        assert all(pool.map(is_refused, refusals))
    with pytest.raises(ServiceBusError, match="every message needs a session id"):
        at.sender("sessions").send_messages(ServiceBusMessage("lost"))


def test_messages_that_are_too_large_or_too_many_are_refused(at: Handlers) -> None:
    with pytest.raises(MessageSizeExceededError):
        at.sender("small").send_messages(ServiceBusMessage(b"x" * 300_000))
    with pytest.raises(MessageSizeExceededError):  # by the SDK, which was told the limit
        at.sender("small").send_messages([ServiceBusMessage(b"x" * 100_000)] * 3)
    for _ in range(5):
        at.sender("small").send_messages(ServiceBusMessage(b"x" * 200_000))
    with pytest.raises(ServiceBusQuotaExceededError):
        at.sender("small").send_messages(ServiceBusMessage(b"x" * 200_000))

    at.receiver("small").complete_message(take(at.receiver("small"), 1)[0])
    at.sender("small").send_messages(ServiceBusMessage(b"x" * 200_000))
