"""How fast the local Service Bus takes and gives messages, with the real SDK, and what it weighs.

`python tests/bench/bench_service_bus.py [--messages N]` starts a broker with its state on disk in
a temporary directory; every figure includes the SDK's own work and one flush to disk for each
answer. The receiver and the broker share the machine: compare within a run, not across days.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from azure.servicebus import ServiceBusClient, ServiceBusMessage
from azure.servicebus.aio import ServiceBusClient as AsyncServiceBusClient

ROOT = Path(__file__).resolve().parents[2]
READY = "Service Bus ready: "
QUEUE = "bench"
BATCH = 100
PREFETCH = 100
CLIENTS = 8
BODY = b"x" * 1024


@contextmanager
def broker(directory: Path) -> Iterator[tuple[psutil.Process, str]]:
    """A broker with one queue, and its connection string."""
    config = directory / "config.json"
    queue = {"Name": QUEUE, "Properties": {"LockDuration": "PT5M"}}
    namespace = {"Name": "sbemulatorns", "Queues": [queue], "Topics": []}
    config.write_text(json.dumps({"UserConfig": {"Namespaces": [namespace]}}), encoding="utf-8")
    arguments = ["--port", "0", "--state", str(directory / "state"), "--config", str(config)]
    process = subprocess.Popen(
        [sys.executable, "-m", "devhost.service_bus", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith(READY), "the broker did not start"
        yield psutil.Process(process.pid), line.removeprefix(READY).strip()
    finally:
        process.terminate()
        process.wait(10)


def report(what: str, count: int, seconds: float, process: psutil.Process, cpu: float) -> None:
    used = sum(process.cpu_times()[:2]) - cpu
    print(f"{what:<44}{count / seconds:>9,.0f} /s   broker CPU {used / count * 1e6:>5.0f} µs each")


def measured(what: str, count: int, process: psutil.Process, run: Callable[[], None]) -> None:
    cpu = sum(process.cpu_times()[:2])
    started = time.perf_counter()
    run()
    report(what, count, time.perf_counter() - started, process, cpu)


def send_singly(client: ServiceBusClient, process: psutil.Process, count: int) -> None:
    with client.get_queue_sender(QUEUE) as sender:

        def run() -> None:
            for _ in range(count):
                sender.send_messages(ServiceBusMessage(BODY))

        measured("send, one after the other", count, process, run)


def send_batches(client: ServiceBusClient, process: psutil.Process, count: int) -> None:
    with client.get_queue_sender(QUEUE) as sender:

        def run() -> None:
            for _ in range(count // BATCH):
                sender.send_messages([ServiceBusMessage(BODY) for _ in range(BATCH)])

        measured(f"send, batches of {BATCH}", count, process, run)


def receive(client: ServiceBusClient, process: psutil.Process, count: int) -> None:
    with client.get_queue_receiver(QUEUE, prefetch_count=PREFETCH) as receiver:

        def run() -> None:
            left = count
            for message in receiver:
                receiver.complete_message(message)
                left -= 1
                if left == 0:
                    return

        measured(f"receive and complete, prefetch {PREFETCH}", count, process, run)


async def many_clients(connection_string: str, process: psutil.Process, count: int) -> None:
    async with AsyncServiceBusClient.from_connection_string(connection_string) as client:
        senders = [client.get_queue_sender(QUEUE) for _ in range(CLIENTS)]
        receivers = [
            client.get_queue_receiver(QUEUE, prefetch_count=PREFETCH) for _ in range(CLIENTS)
        ]
        await asyncio.gather(*(each.__aenter__() for each in [*senders, *receivers]))
        share = count // CLIENTS
        left = share * CLIENTS

        async def send(sender) -> None:
            for _ in range(share):
                await sender.send_messages(ServiceBusMessage(BODY))

        async def take(receiver) -> None:
            nonlocal left
            while left > 0:
                for message in await receiver.receive_messages(PREFETCH, max_wait_time=0.2):
                    await receiver.complete_message(message)
                    left -= 1

        for what, workers in (
            (f"send, {CLIENTS} async senders at once", [send(each) for each in senders]),
            (
                f"receive and complete, {CLIENTS} async receivers",
                [take(each) for each in receivers],
            ),
        ):
            cpu = sum(process.cpu_times()[:2])
            started = time.perf_counter()
            await asyncio.gather(*workers)
            report(what, share * CLIENTS, time.perf_counter() - started, process, cpu)
        await asyncio.gather(*(each.close() for each in [*senders, *receivers]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=4000)
    count = parser.parse_args().messages // BATCH * BATCH
    with tempfile.TemporaryDirectory() as directory, broker(Path(directory)) as (process, string):
        idle = process.memory_info().rss
        with ServiceBusClient.from_connection_string(string) as client:
            send_singly(client, process, count)
            send_batches(client, process, 5 * count)
            waiting = count + 5 * count
        full = process.memory_info().rss
        print(
            f"memory: {idle / 2**20:.0f} MB idle, {full / 2**20:.0f} MB with {waiting:,} messages"
            f" of {len(BODY)} bytes waiting ({(full - idle) / waiting:.0f} bytes a message)"
        )
        with ServiceBusClient.from_connection_string(string) as client:
            receive(client, process, waiting)
        asyncio.run(many_clients(string, process, count))
        print(f"memory: {process.memory_info().rss / 2**20:.0f} MB after all were completed")


if __name__ == "__main__":
    main()
