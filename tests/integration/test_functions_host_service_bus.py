"""Service Bus triggers: a host and a broker as processes, and the SDK as producer."""

from __future__ import annotations

import json
from contextlib import ExitStack
from datetime import timedelta

import pytest
from azure.servicebus import ServiceBusMessage, ServiceBusSubQueue

from tests.integration.functions_host_harness import ROOT, functions_host, task_hub, until
from tests.integration.service_bus_harness import BrokerProcess, body, connect, take, write_config

APP = ROOT / "tests" / "apps" / "queue_sample"
QUEUES = {
    "seen": {},
    "failing": {"MaxDeliveryCount": 3},
    "slow": {},
    "ordered": {"RequiresSession": True},
}


class Stage:
    """A broker, a host of the sample app, and what the app has noted."""

    def __init__(self, folder, **properties):
        """With these properties of the queue `slow`."""
        self.folder = folder
        self.notes_file = folder / "notes"
        self._ends = ExitStack()
        hub = self._ends.enter_context(task_hub(folder))
        self._hub = hub.address
        self._config = write_config(
            folder / "config.json",
            queues=QUEUES | {"slow": properties},
            topics={"news": {"all": []}},
        )
        self.broker = self.start_broker()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._ends.close()
        self.broker.stop()

    def start_broker(self, port=0):
        return BrokerProcess(self.folder / "bus", self._config, port)

    def restart_broker(self):
        self.broker = self.start_broker(self.broker.port)

    def host(self, *arguments):
        return functions_host(
            self.folder,
            self._hub,
            *arguments,
            app=APP,
            Bus=self.broker.connection_string,
            SEEN="seen",
            SAMPLE_NOTES=str(self.notes_file),
        )

    def send(self, entity, *messages):
        with connect(self.broker) as client, client.get_queue_sender(entity) as sender:
            sender.send_messages(list(messages))

    def notes(self, what):
        lines = self.notes_file.read_text().splitlines() if self.notes_file.exists() else []
        return [note for note in map(json.loads, lines) if note["what"] == what]

    def wait_for(self, what, count, seconds=120.0):
        return until(lambda: noted if len(noted := self.notes(what)) >= count else None, seconds)

    def left_in(self, queue, count):
        with connect(self.broker) as client, client.get_queue_receiver(queue) as receiver:
            return take(receiver, count)

    def is_empty(self, queue):
        """Neither waiting nor locked."""
        with connect(self.broker) as client, client.get_queue_receiver(queue) as receiver:
            return not receiver.peek_messages(1)


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    """One for the tests that disturb nobody."""
    with Stage(tmp_path_factory.mktemp("shared")) as shared, shared.host() as host:
        shared.running = host
        yield shared


@pytest.fixture
def own(tmp_path):
    with Stage(tmp_path) as stage:
        yield stage


def naps(seconds, count):
    return [
        ServiceBusMessage(json.dumps({"seconds": seconds, "number": number}))
        for number in range(count)
    ]


def test_a_function_sees_the_message_with_all_its_properties(stage):
    stage.send(
        "seen",
        ServiceBusMessage(
            b"hello",
            application_properties={"color": "red", b"size": 3, "big": True, "raw": b"x"},
            content_type="text/plain",
            correlation_id="c-1",
            message_id="m-1",
            reply_to="answers",
            reply_to_session_id="rs-1",
            subject="greeting",
            to="somewhere",
            time_to_live=timedelta(minutes=5),
        ),
    )
    seen = stage.wait_for("see", 1)[0]
    expected = {
        "body": "hello",
        "application_properties": {"color": "red", "size": 3, "big": True, "raw": "x"},
        "content_type": "text/plain",
        "correlation_id": "c-1",
        "message_id": "m-1",
        "reply_to": "answers",
        "reply_to_session_id": "rs-1",
        "subject": "greeting",
        "label": "greeting",
        "to": "somewhere",
        "time_to_live": "0:05:00",
        "delivery_count": 1,
        "sequence_number": 1,
        "state": 0,
        "session_id": None,
    }
    assert {name: seen[name] for name in expected} == expected
    assert seen["user_properties"] == seen["application_properties"]
    for name in ("enqueued_time_utc", "expires_at_utc", "locked_until", "lock_token"):
        assert seen[name], name
    until(lambda: stage.is_empty("seen") or None)


def test_a_message_whose_function_raises_is_delivered_again_until_it_is_dead_lettered(stage):
    stage.send("failing", ServiceBusMessage("a secret"))
    stage.wait_for("fail", 3)
    with (
        connect(stage.broker) as client,
        client.get_queue_receiver("failing", sub_queue=ServiceBusSubQueue.DEAD_LETTER) as receiver,
    ):
        dead = take(receiver, 1)[0]
        assert (body(dead), dead.dead_letter_reason) == (b"a secret", "MaxDeliveryCountExceeded")
        receiver.complete_message(dead)
    assert [note["count"] for note in stage.notes("fail")] == [1, 2, 3]
    assert stage.running.log.count("fail raised on message") == 3
    assert "a secret" not in stage.running.log


def test_calls_run_at_the_same_time_up_to_the_limit(stage):
    stage.send("slow", *naps(1.0, 9))
    stage.wait_for("end", 9)
    running = most = 0
    for line in stage.notes_file.read_text().splitlines():
        running += {"begin": 1, "end": -1}.get(json.loads(line)["what"], 0)
        most = max(most, running)
    assert most == 3
    until(lambda: stage.is_empty("slow") or None)


def test_a_topic_reaches_the_function_of_its_subscription(stage):
    with connect(stage.broker) as client, client.get_topic_sender("news") as sender:
        sender.send_messages(ServiceBusMessage("extra"))
    assert stage.wait_for("news", 1)[0]["body"] == "extra"


def test_messages_of_a_session_come_one_after_the_other_and_sessions_side_by_side(stage):
    """Three sessions on two places: the third gets its turn when another is left alone."""
    stage.send(
        "ordered",
        *(
            ServiceBusMessage(str(number), session_id=session)
            for number in range(4)
            for session in ("a", "b", "c")
        ),
    )
    stage.wait_for("end session", 12)
    for session in ("a", "b", "c"):
        lines = [
            (note["what"].split()[0], note["body"])
            for note in map(json.loads, stage.notes_file.read_text().splitlines())
            if note.get("session") == session
        ]
        assert lines == [(what, str(n)) for n in range(4) for what in ("begin", "end")]


def test_a_function_whose_connection_is_not_set_is_listed_with_the_reason(stage):
    assert "never: setting Nowhere is not set" in stage.running.log
    assert "see: serviceBusTrigger" in stage.running.log


def test_a_call_longer_than_the_lock_keeps_its_message(tmp_path):
    with Stage(tmp_path, LockDuration="PT8S") as own:
        own.send("slow", *naps(10, 1))
        with own.host():
            own.wait_for("end", 1)
            until(lambda: own.is_empty("slow") or None)
        assert [note["count"] for note in own.notes("begin")] == [1]


def test_the_broker_may_be_killed_and_come_back(own):
    """What ran meanwhile is completed after all, and not delivered twice."""
    own.broker.kill()
    with own.host() as host:
        host.wait_for("Cannot receive from slow")
        own.restart_broker()
        own.send("slow", *naps(1.5, 2))
        own.wait_for("begin", 2)
        own.broker.kill()
        own.restart_broker()
        own.wait_for("end", 2)
        own.send("slow", *naps(0, 1))
        own.wait_for("end", 3)
        until(lambda: own.is_empty("slow") or None)
        assert host.process.poll() is None
        assert host.log.count("Cannot receive from slow") == 2
    assert [note["count"] for note in own.notes("begin")] == [1, 1, 1]


def test_a_stopped_host_ends_what_runs_and_hands_back_the_rest(own):
    """Three end in time; three are begun and do not; one was only taken ahead."""
    own.send("slow", *naps(0.5, 3), *naps(100, 4))
    with own.host("--grace", "1.5") as host:
        own.wait_for("end", 3)
        own.wait_for("begin", 6)
        assert host.terminate() < 60, "it waits for no call to its end"
        assert host.process.returncode == 0
    assert (len(own.notes("begin")), len(own.notes("end"))) == (6, 3)
    counts = sorted(message.delivery_count for message in own.left_in("slow", 4))
    assert counts[0] <= 1  # given back uncounted, unless its lock ran out before
    assert counts[1:] == [1, 1, 1]


def test_a_call_that_ends_within_the_grace_is_completed(own):
    own.send("slow", *naps(1, 1))
    with own.host("--grace", "60") as host:
        own.wait_for("begin", 1)
        host.terminate()
    assert len(own.notes("end")) == 1
    assert own.is_empty("slow")
