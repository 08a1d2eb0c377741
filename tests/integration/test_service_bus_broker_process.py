"""The broker as a process: killed, stopped, started wrongly, fed with garbage."""

from __future__ import annotations

import asyncio
import gc
import random
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from azure.servicebus import (
    ServiceBusClient,
    ServiceBusMessage,
    ServiceBusReceiveMode,
    ServiceBusSender,
)
from azure.servicebus.aio import ServiceBusClient as AsyncServiceBusClient
from azure.servicebus.exceptions import ServiceBusError

from devhost.service_bus.__main__ import connection_string
from devhost.service_bus.core.errors import SessionCannotBeLocked
from devhost.service_bus.core.settings import NamespaceSettings, QueueSettings
from devhost.service_bus.core.store import Store
from devhost.service_bus.transport.server import Server
from tests.integration.service_bus_harness import (
    BRISK,
    BRISK_SENDER,
    BrokerProcess,
    body,
    connect,
    connect_to,
    take,
    take_async,
    write_config,
)

# The SDK leaves the socket of a connection that broke to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(autouse=True)
def _collect_what_the_sdk_leaves() -> Iterator[None]:
    yield
    gc.collect()


def test_every_accepted_message_is_there_once_after_kill_9(tmp_path: Path) -> None:
    """Killed at a random moment of the sending, four times over."""
    config = write_config(tmp_path / "config.json", queues={"orders": {}})
    chance = random.Random(5)
    accepted: list[str] = []
    attempted: list[str] = []

    def send_until_cut_off(sender: ServiceBusSender, name: str) -> None:
        for n in range(100_000):
            bodies = [f"{name}-{n}-{part}" for part in range(1 + n % 3)]
            attempted.extend(bodies)
            try:
                sender.send_messages([ServiceBusMessage(each) for each in bodies], timeout=5)
            except ServiceBusError:
                return
            accepted.extend(bodies)

    for round_number in range(4):
        broker = BrokerProcess(tmp_path / "state", config)
        with connect(broker) as client, client.get_queue_sender("orders", **BRISK_SENDER) as sender:
            thread = threading.Thread(
                target=send_until_cut_off, args=(sender, f"round{round_number}")
            )
            before = len(accepted)
            thread.start()
            until = time.monotonic() + 60
            while len(accepted) < before + 10 and time.monotonic() < until:
                time.sleep(0.01)
            time.sleep(chance.uniform(0.0, 0.25))
            broker.kill()
            thread.join(90)
            assert not thread.is_alive()

    with BrokerProcess(tmp_path / "state", config) as broker, connect(broker) as client:
        mode = ServiceBusReceiveMode.RECEIVE_AND_DELETE
        with client.get_queue_receiver("orders", receive_mode=mode, **BRISK) as receiver:
            found: list[str] = []
            until, messages = time.monotonic() + 60, []
            while messages or not (set(accepted) <= set(found) or time.monotonic() > until):
                messages = receiver.receive_messages(1000, max_wait_time=0.5)
                found += [body(message).decode() for message in messages]

    assert len(accepted) > 20
    assert len(found) == len(set(found)), "a message came twice"
    assert set(accepted) <= set(found), "an accepted message was lost"
    assert set(found) <= set(attempted)
    assert [each for each in found if each in set(accepted)] == accepted, "the order changed"


def test_locks_and_counts_survive_kill_9_and_a_cut_off_client_settles_after_it(
    tmp_path: Path,
) -> None:
    queues = {"orders": {"LockDuration": "PT1M"}}
    config = write_config(tmp_path / "config.json", queues=queues)
    broker = BrokerProcess(tmp_path / "state", config)
    with ServiceBusClient.from_connection_string(
        broker.connection_string, retry_backoff_factor=0.1
    ) as client:
        with client.get_queue_sender("orders", **BRISK_SENDER) as sender:
            sender.send_messages([ServiceBusMessage("abandoned"), ServiceBusMessage("held")])
        with client.get_queue_receiver("orders", **BRISK) as receiver:
            abandoned, held = take(receiver, 2)
            receiver.abandon_message(abandoned)
            broker.kill()
            with BrokerProcess(tmp_path / "state", config, broker.port) as again:
                receiver.complete_message(held)
                assert again.stop() == 0

    with (
        BrokerProcess(tmp_path / "state", config) as broker,
        connect(broker) as client,
        client.get_queue_receiver("orders", **BRISK) as receiver,
    ):
        (message,) = take(receiver, 1)
        assert (body(message), message.delivery_count) == (b"abandoned", 1)
        assert len(receiver.peek_messages(5, sequence_number=1)) == 1


def test_it_stops_on_sigterm_with_clients_connected(tmp_path: Path) -> None:
    broker = BrokerProcess(tmp_path / "state")
    with (
        connect(broker) as client,
        client.get_queue_sender("inference-requests", **BRISK_SENDER) as sender,
    ):
        sender.send_messages(ServiceBusMessage("kept"))
        started = time.monotonic()
        assert broker.stop() == 0
        assert time.monotonic() - started < 45, "it waits for no client to leave"

    with BrokerProcess(tmp_path / "state") as broker, connect(broker) as client:
        with client.get_queue_receiver("inference-requests", **BRISK) as receiver:
            assert body(take(receiver, 1)[0]) == b"kept"
        assert "ERROR" not in broker.log()


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"queues": {"orders": {"LockDuration": "soon"}}}, "Properties.LockDuration: 'soon' is"),
        (None, "is in use by another broker"),
    ],
)
def test_it_says_why_it_cannot_run(config: dict[str, Any] | None, why: str, tmp_path: Path) -> None:
    arguments = [sys.executable, "-m", "devhost.service_bus", "--port", "0"]
    arguments += ["--state", str(tmp_path / "state")]
    with BrokerProcess(tmp_path / "state"):
        if config is not None:
            arguments += ["--config", str(write_config(tmp_path / "config.json", **config))]
        ended = subprocess.run(arguments, capture_output=True, text=True, timeout=120, check=False)

    assert ended.returncode == 1
    assert "Service Bus cannot run: " in ended.stderr
    assert why in ended.stderr
    assert ended.stdout == ""


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[BrokerProcess]:
    config = write_config(tmp_path / "config.json", queues={"orders": {}})
    with BrokerProcess(tmp_path / "state", config) as process:
        yield process


def test_garbage_ends_its_own_connection_and_nothing_else(broker: BrokerProcess) -> None:
    """Random bytes, and a real conversation with bytes of it changed, at any place."""
    conversation = recorded_conversation(broker)
    chance = random.Random(7)
    with connect(broker) as client, client.get_queue_sender("orders", **BRISK_SENDER) as sender:
        for n in range(200):
            garbage = bytearray(conversation)
            if n % 3 == 0:
                garbage = bytearray(b"AMQP\x00\x01\x00\x00" + chance.randbytes(300))
            for _ in range(chance.randrange(1, 6)):
                garbage[chance.randrange(len(garbage))] = chance.randrange(256)
            throw(broker.port, bytes(garbage))
        sender.send_messages(ServiceBusMessage("still here"))

    assert broker.process.poll() is None
    assert "Traceback" not in broker.log()
    with connect(broker) as client, client.get_queue_receiver("orders", **BRISK) as receiver:
        bodies: list[bytes] = []
        while b"still here" not in bodies:
            (message,) = take(receiver, 1)
            bodies.append(body(message))
            receiver.complete_message(message)


def recorded_conversation(broker: BrokerProcess) -> bytes:
    """What a client says that sends, receives and settles: all of it on one connection each."""
    said = bytearray()
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(4) as pool:
        port = listener.getsockname()[1]

        def relay(source: socket.socket, target: socket.socket, record: bytearray) -> None:
            with suppress(OSError):  # either side may go first
                while data := source.recv(65536):
                    record += data
                    target.sendall(data)
                target.shutdown(socket.SHUT_WR)

        def serve_one() -> None:
            client, _ = listener.accept()
            with client, socket.create_connection(("127.0.0.1", broker.port)) as server:
                answers = pool.submit(relay, server, client, bytearray())
                relay(client, server, said)
                answers.result()

        served = [pool.submit(serve_one) for _ in range(2)]
        with connect_to(port) as client:
            with client.get_queue_sender("orders", **BRISK_SENDER) as sender:
                sender.send_messages([ServiceBusMessage("a"), ServiceBusMessage("b")])
            with client.get_queue_receiver("orders", **BRISK) as receiver:
                receiver.complete_message(take(receiver, 1)[0])
                receiver.peek_messages()
        for each in served:
            each.result()
    return bytes(said)


def throw(port: int, data: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.settimeout(60)
        with suppress(ConnectionError):  # as it deserves
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass


class FailingStore(Store):
    """A disk that is full once."""

    full = False

    def commit(self) -> None:
        if self.full:
            self.full = False
            raise sqlite3.OperationalError("database or disk is full")
        super().commit()


async def test_what_could_not_be_written_is_accepted_from_nobody(tmp_path: Path) -> None:
    store = FailingStore(tmp_path / "state.sqlite3")
    queues = {"orders": QueueSettings(), "sessions": QueueSettings(requires_session=True)}
    server = Server(NamespaceSettings(queues=queues), store)
    try:
        port = await server.start("127.0.0.1", 0)
        async with AsyncServiceBusClient.from_connection_string(
            connection_string(port), retry_total=0
        ) as client:
            async with client.get_queue_sender("sessions", **BRISK_SENDER) as sender:
                await sender.send_messages(ServiceBusMessage("held", session_id="a"))
            holder = client.get_queue_receiver("sessions", session_id="a", **BRISK)
            async with holder, client.get_queue_sender("orders", **BRISK_SENDER) as sender:
                assert await take_async(holder, 1)
                await sender.send_messages(ServiceBusMessage("kept"))
                store.full = True
                with pytest.raises(ServiceBusError):
                    await sender.send_messages(ServiceBusMessage("refused"))
            with pytest.raises(SessionCannotBeLocked):  # cut off, the holder keeps its time
                server.broker.session_queue("sessions").lock_session("a")
            async with client.get_queue_sender("orders", **BRISK_SENDER) as sender:
                await sender.send_messages(ServiceBusMessage("after"))
            async with client.get_queue_receiver("orders", **BRISK) as receiver:
                messages = await take_async(receiver, 2)
                assert [body(message) for message in messages] == [b"kept", b"after"]
    finally:
        await server.stop()
        store.close()


async def test_a_client_that_does_not_read_holds_up_nobody(tmp_path: Path) -> None:
    """Its messages wait in the queue, not in the broker's memory."""
    store = Store(None)
    settings = NamespaceSettings(queues={"orders": QueueSettings(), "other": QueueSettings()})
    server = Server(settings, store)
    try:
        port = await server.start("127.0.0.1", 0)
        async with AsyncServiceBusClient.from_connection_string(
            connection_string(port), retry_total=0
        ) as client:
            receiver = client.get_queue_receiver("orders", prefetch_count=1000)
            async with receiver, client.get_queue_sender("orders", **BRISK_SENDER) as sender:
                first = asyncio.create_task(receiver.receive_messages(1, max_wait_time=5))
                await asyncio.sleep(0.5)
                for _ in range(100):
                    await sender.send_messages(ServiceBusMessage(b"x" * 200_000))
                await first  # and never again
                locked = sum(m.lock is not None for m in server.broker.queue("orders").peek(0, 999))
                assert locked < 100
    finally:
        await server.stop()
        store.close()
