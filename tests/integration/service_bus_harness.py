"""A broker in its own process, and the SDK's clients with waits fit for a test."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

from azure.servicebus import ServiceBusClient, ServiceBusReceivedMessage, ServiceBusReceiver
from azure.servicebus.aio import ServiceBusReceiver as AsyncServiceBusReceiver

from devhost.service_bus.__main__ import connection_string

BRISK_SENDER: dict[str, Any] = {"keep_alive": 0}
BRISK: dict[str, Any] = {"keep_alive": 0, "prefetch_count": 1}
"""Options of a receiver that closes at once: its keep-alive thread would take a second to end."""
READY = "Service Bus ready: "
LONGEST_WAIT = 60
"""Seconds for a message that must come: a busy machine may take its time."""


class BrokerProcess:
    """`python -m devhost.service_bus`; ended by `stop`, `kill` or the end of the `with`."""

    def __init__(self, state: Path, config: Path | None = None, port: int = 0) -> None:
        command = [sys.executable, "-m", "devhost.service_bus", "--port", str(port)]
        command += ["--state", str(state)] + (["--config", str(config)] if config else [])
        self._log = (state.parent / f"{state.name}.log").open("a", encoding="utf-8")
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=self._log, text=True
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith(READY), Path(self._log.name).read_text(encoding="utf-8")
        self.connection_string = line.removeprefix(READY).strip()
        self.port = int(self.connection_string.split(";")[0].rpartition(":")[2])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> int:
        return self._end(signal.SIGTERM)

    def kill(self) -> int:
        return self._end(signal.SIGKILL)

    def log(self) -> str:
        return Path(self._log.name).read_text(encoding="utf-8")

    def _end(self, number: signal.Signals) -> int:
        if self.process.poll() is None:
            os.kill(self.process.pid, number)
        status = self.process.wait(60)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self._log.close()
        return status


def write_config(
    path: Path, *, queues: dict[str, Any], topics: dict[str, Any] | None = None
) -> Path:
    """Queues by name with their properties; topics by name with their subscriptions' rules."""
    namespace = {
        "Name": "sbemulatorns",
        "Queues": [{"Name": name, "Properties": own} for name, own in queues.items()],
        "Topics": [
            {
                "Name": name,
                "Subscriptions": [
                    {"Name": each, "Rules": rules} for each, rules in subscriptions.items()
                ],
            }
            for name, subscriptions in (topics or {}).items()
        ],
    }
    content = {"UserConfig": {"Namespaces": [namespace], "Logging": {"Type": "File"}}}
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def connect(broker: BrokerProcess) -> ServiceBusClient:
    """Without retries: a test sees the first answer."""
    return connect_to(broker.port)


def connect_to(port: int) -> ServiceBusClient:
    return ServiceBusClient.from_connection_string(connection_string(port), retry_total=0)


def take(receiver: ServiceBusReceiver, count: int) -> list[ServiceBusReceivedMessage]:
    """Exactly this many messages; the wait is long only where one is missing."""
    messages: list[ServiceBusReceivedMessage] = []
    while len(messages) < count:
        more = receiver.receive_messages(count - len(messages), max_wait_time=LONGEST_WAIT)
        assert more, f"{len(messages)} of {count} messages came"
        messages += more
    return messages


async def take_async(
    receiver: AsyncServiceBusReceiver, count: int
) -> list[ServiceBusReceivedMessage]:
    """As `take`."""
    messages: list[ServiceBusReceivedMessage] = []
    while len(messages) < count:
        wanted = count - len(messages)
        more = await receiver.receive_messages(wanted, max_wait_time=LONGEST_WAIT)
        assert more, f"{len(messages)} of {count} messages came"
        messages += more
    return messages


def nothing_waits(receiver: ServiceBusReceiver) -> bool:
    return not receiver.receive_messages(1, max_wait_time=0.3)


def body(message: ServiceBusReceivedMessage) -> bytes:
    return b"".join(message.body)
