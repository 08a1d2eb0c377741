"""Service Bus triggers without a broker: settings, the message's mapping, calls in hand."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from azure.servicebus import ServiceBusReceivedMessage
from azure.servicebus._pyamqp.message import Header, Message, Properties
from azure.servicebus.exceptions import MessageLockLostError, ServiceBusConnectionError

from devhost.functions_host.app_loader import AppError
from devhost.functions_host.host_json import ServiceBusConfig, read_host_config
from devhost.functions_host.json_config import SettingsError
from devhost.functions_host.pumps import split_served
from devhost.functions_host.service_bus_calls import Calls
from devhost.functions_host.service_bus_message import to_function, trace_parent
from devhost.functions_host.service_bus_pump import ServiceBusPump
from devhost.functions_host.service_bus_receiving import Outage
from devhost.functions_host.service_bus_triggers import (
    SERVICE_BUS_TRIGGER,
    Connection,
    Entity,
    triggers_of,
)
from tests.unit.functions_host_fakes import function, invoker

ENVIRON = {"Bus": "Endpoint=sb://x;key=secret", "QUEUE": "jobs"}


async def receive(message): ...


def bus_function(**properties):
    return function(receive, SERVICE_BUS_TRIGGER, "message", **{"connection": "Bus", **properties})


def trigger(environ=ENVIRON, config=ServiceBusConfig(), **properties):  # noqa: B008 - frozen
    return triggers_of([bus_function(**properties)], environ, config)[0]


# Settings


def test_a_trigger_names_its_queue_or_its_topic_and_subscription():
    assert trigger(queueName="a-%QUEUE%").entity == Entity("a-jobs")
    news = trigger(topicName="news", subscriptionName="%QUEUE%")
    assert str(news.entity) == "news/jobs"


@pytest.mark.parametrize(
    ("environ", "connection", "expected"),
    [
        ({"Bus": "text"}, "Bus", Connection("text")),
        ({"AzureWebJobsBus": "text"}, "Bus", Connection("text")),
        ({"AzureWebJobsServiceBus": "text"}, "", Connection("text")),
        (
            {"Bus__fullyQualifiedNamespace": "x.servicebus.windows.net"},
            "Bus",
            Connection("x.servicebus.windows.net", by_identity=True),
        ),
    ],
)
def test_a_connection_is_found_as_the_host_finds_it(environ, connection, expected):
    assert trigger(environ, queueName="q", connection=connection).connection == expected


def test_a_connection_string_is_not_shown():
    assert "secret" not in repr(trigger(queueName="q"))


@pytest.mark.parametrize("environ", [{}, {"Bus": ""}])
def test_without_its_connection_a_function_is_not_served(environ):
    served, unserved = split_served([bus_function(queueName="q")], {}, environ=environ)
    assert served == []
    assert [each.reason for each in unserved] == ["setting Bus is not set"]


@pytest.mark.parametrize(
    ("properties", "said"),
    [
        ({"queueName": "q", "cardinality": "MANY"}, "cardinality many is not served here"),
        ({"queueName": "%NONE%"}, "no app setting NONE"),
        ({"topicName": "news"}, "topicName with subscriptionName"),
    ],
)
def test_what_cannot_be_served_names_its_function(properties, said):
    with pytest.raises(AppError, match=f"function receive: .*{said}"):
        trigger(**properties)


def test_a_trigger_may_have_its_own_completion():
    by_hand = ServiceBusConfig(auto_complete=False)
    assert trigger(queueName="q").auto_complete
    assert not trigger(config=by_hand, queueName="q").auto_complete
    assert trigger(config=by_hand, queueName="q", autoCompleteMessages=True).auto_complete


def host_json(tmp_path, section):
    file = tmp_path / "host.json"
    file.write_text(json.dumps({"extensions": {"serviceBus": section}}))
    return read_host_config(file).service_bus


def test_host_json_sets_the_limits(tmp_path):
    config = host_json(
        tmp_path,
        {
            "prefetchCount": 100,
            "maxConcurrentCalls": 2,
            "maxConcurrentSessions": 3,
            "maxAutoLockRenewalDuration": "1.00:10:05",
            "sessionIdleTimeout": "00:00:07",
            "autoCompleteMessages": False,
        },
    )
    length = timedelta(days=1, minutes=10, seconds=5)
    assert config == ServiceBusConfig(100, 2, 3, length, timedelta(seconds=7), False)
    assert host_json(tmp_path, {}) == ServiceBusConfig(
        0, 16, 8, timedelta(minutes=5), timedelta(minutes=1), True
    )


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"prefetchCount": -1}, "prefetchCount: expected a whole number, at least 0"),
        ({"maxConcurrentCalls": 0}, "maxConcurrentCalls: expected a whole number, at least 1"),
        ({"maxAutoLockRenewalDuration": 300}, 'expected a time such as "00:05:00", got 300'),
        ({"maxAutoLockRenewalDuration": "5m"}, 'expected a time such as "00:05:00"'),
        ({"autoCompleteMessages": "yes"}, "autoCompleteMessages: expected true or false"),
    ],
)
def test_wrong_limits_are_named(tmp_path, section, said):
    with pytest.raises(SettingsError, match=r"extensions\.serviceBus") as raised:
        host_json(tmp_path, section)
    assert said in str(raised.value)


# The message


def received(body=(b"body",), count=0, properties=None, ttl=60_000, locked_for=60.0, **more):
    now = datetime.now(UTC).timestamp()
    encoded = Message(
        header=Header(delivery_count=count, ttl=ttl),
        properties=Properties(**{"message_id": b"m-1", **more}),
        message_annotations={
            b"x-opt-sequence-number": 7,
            b"x-opt-enqueued-time": 1_700_000_000_123,
            b"x-opt-locked-until": int((now + locked_for) * 1000),
        },
        application_properties=properties,
        **({"data": list(body)} if isinstance(body, tuple) else {"value": body}),
    )
    frame = [None, 1, uuid4().bytes_le]
    return ServiceBusReceivedMessage(encoded, frame=frame, receiver=None)


def test_the_first_delivery_has_the_count_1():
    assert to_function(received(count=0)).delivery_count == 1
    assert to_function(received(count=4)).delivery_count == 5


def test_a_message_without_properties_has_none():
    seen = to_function(received(properties=None, message_id=None))
    assert (seen.application_properties, seen.user_properties) == ({}, {})
    assert (seen.message_id, seen.content_type, seen.session_id) == (None, None, None)


def test_properties_come_as_the_worker_gives_them():
    key = uuid4()
    seen = to_function(
        received(
            properties={
                b"text": b"t\xc3\xa9",
                b"bytes": b"\xff\x00",
                b"number": 1.5,
                b"flag": False,
                b"id": key,
                b"at": datetime(2024, 1, 2, tzinfo=UTC),
            },
            content_type=b"application/json",
            group_id=b"s-1",
        )
    )
    assert seen.application_properties == {
        "text": "té",
        "bytes": "/wA=",
        "number": 1.5,
        "flag": False,
        "id": str(key),
        "at": "2024-01-02T00:00:00Z",
    }
    assert (seen.content_type, seen.session_id) == ("application/json", "s-1")
    assert seen.enqueued_time_utc == datetime(2023, 11, 14, 22, 13, 20, 123000, UTC)
    assert seen.metadata["SequenceNumber"] == 7


@pytest.mark.parametrize("seconds", [5, 3600, 14 * 86400, 2**31])
def test_a_lifetime_of_any_length_is_passed_on(seconds):
    assert to_function(received(ttl=seconds * 1000)).time_to_live == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("body", "expected"),
    [((b"a", b"b"), b"ab"), ((), b""), ("text", b"text"), (b"bytes", b"bytes")],
)
def test_a_body_is_bytes(body, expected):
    assert to_function(received(body)).get_body() == expected


def test_a_body_of_another_kind_is_refused():
    with pytest.raises(ValueError, match="AMQP body of kind value"):
        to_function(received(5))


def test_the_producers_trace_is_found():
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    assert trace_parent(received(properties={b"Diagnostic-Id": parent.encode()})) == parent
    assert trace_parent(received()) is None


# Calls in hand


class FakeReceiver:
    """Keeps what was done; raises what it is told to, once each."""

    session = None

    def __init__(self, *failures):
        self.done = []
        self._failures = list(failures)

    async def complete_message(self, message):
        self._do("complete")

    async def abandon_message(self, message):
        self._do("abandon")

    async def renew_message_lock(self, message):
        self._do("renew")

    def _do(self, what):
        if self._failures:
            raise self._failures.pop(0)
        self.done.append(what)


def calls_of(run, limit=2, auto_complete=True, renewal=timedelta(minutes=5)):
    return Calls("work", run, limit, auto_complete=auto_complete, max_lock_renewal=renewal)


async def attended(run, receiver, **options):
    calls = calls_of(run, **options)
    calls.begin(receiver, received())
    await calls.wait(5)
    await calls.attend(receiver)
    return calls


async def test_a_call_that_returns_completes_its_message():
    receiver = FakeReceiver()
    calls = await attended(receive, receiver)
    assert (receiver.done, calls.in_hand, calls.places) == (["complete"], 0, 2)


async def test_a_call_that_returns_may_leave_its_message_to_others():
    receiver = FakeReceiver()
    calls = await attended(receive, receiver, auto_complete=False)
    assert (receiver.done, calls.in_hand) == ([], 0)


async def test_a_call_that_raises_abandons_its_message_and_is_logged_once(caplog):
    async def bad(message):
        raise RuntimeError("no")

    receiver = FakeReceiver()
    await attended(bad, receiver)
    assert receiver.done == ["abandon"]
    assert [record.getMessage() for record in caplog.records] == [
        "work raised on message m-1, delivery 1"
    ]


async def test_a_call_that_is_cancelled_abandons_its_message():
    receiver = FakeReceiver()
    calls = calls_of(lambda _: asyncio.Event().wait())
    calls.begin(receiver, received())
    await calls.wait(0)
    calls.cancel()
    await calls.wait(5)
    await calls.attend(receiver)
    assert (receiver.done, calls.in_hand) == (["abandon"], 0)


async def test_a_lock_lost_at_the_end_is_said_once(caplog):
    calls = await attended(receive, FakeReceiver(MessageLockLostError()))
    assert calls.in_hand == 0
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        (
            "WARNING",
            "work: the lock of message m-1 was lost (MessageLockLostError);"
            " it may be delivered again",
        )
    ]


async def test_what_a_broken_connection_left_is_settled_over_the_next():
    calls = calls_of(receive)
    broken = FakeReceiver(ServiceBusConnectionError(), ServiceBusConnectionError())
    for _ in range(2):
        calls.begin(broken, received())
    await calls.wait(5)
    with pytest.raises(ServiceBusConnectionError):
        await calls.attend(broken)
    assert calls.in_hand == 2
    following = FakeReceiver()
    await calls.attend(following)
    assert (following.done, calls.in_hand) == (["complete", "complete"], 0)


@pytest.mark.parametrize(
    ("locked_for", "renewal", "expected"),
    [(60.0, 300, []), (5.0, 300, []), (0.0, 300, ["renew"]), (0.0, 0, [])],
)
async def test_a_lock_is_renewed_when_it_runs_out_soon(locked_for, renewal, expected):
    receiver = FakeReceiver()
    calls = calls_of(lambda _: asyncio.Event().wait(), renewal=timedelta(seconds=renewal))
    calls.begin(receiver, received(locked_for=locked_for))
    await calls.attend(receiver)
    assert receiver.done == expected
    calls.cancel()
    await calls.give_up()


@pytest.mark.parametrize("hours", [-1, 1])
async def test_a_clock_that_is_set_neither_ends_the_renewals_nor_hurries_them(hours, monkeypatch):
    class SetClock(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz) + timedelta(hours=hours)

    receiver = FakeReceiver()
    calls = calls_of(lambda _: asyncio.Event().wait(), limit=2)
    calls.begin(receiver, received(locked_for=60.0))
    calls.begin(receiver, received(locked_for=0.0))
    monkeypatch.setattr("devhost.functions_host.service_bus_calls.datetime", SetClock)
    await calls.attend(receiver)
    assert receiver.done == ["renew"]
    calls.cancel()
    await calls.give_up()


# The pump

LOCAL = (
    "Endpoint=sb://localhost:1;SharedAccessKeyName=K;SharedAccessKey=secret;"
    "UseDevelopmentEmulator=true;"
)


@pytest.mark.parametrize("sessions", [False, True])
async def test_a_pump_may_be_stopped_before_it_is_started(sessions):
    wanted = trigger({"Bus": LOCAL}, queueName="q", isSessionsEnabled=sessions)
    await ServiceBusPump([wanted], invoker(), ServiceBusConfig()).stop(5)


def test_a_connection_string_that_is_none_is_refused_without_being_shown():
    wanted = trigger({"Bus": "Endpoint=sb://x;SharedAccessKey=secret"}, queueName="q")
    with pytest.raises(AppError, match="function receive: its Service Bus connection") as raised:
        ServiceBusPump([wanted], invoker(), ServiceBusConfig())
    assert "secret" not in str(raised.value)


# An outage


def test_pauses_grow_to_a_bound_and_begin_anew_after_a_sound_link(caplog):
    now = [0.0]
    outage = Outage("q", lambda: now[0])

    def pauses(count):
        seen = []
        for _ in range(count):
            outage.begin(ServiceBusConnectionError())
            seen.append(outage.pause_seconds)
        return seen

    assert pauses(7) == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    assert caplog.text.count("Cannot receive from q (ServiceBusConnectionError)") == 1
    outage.over()
    assert outage.pause_seconds < 0.2
    now[0] += 1
    assert pauses(1) == [5.0], "a link that breaks at once is no end of the outage"
    outage.over()
    now[0] += 60
    assert pauses(1) == [0.2]
