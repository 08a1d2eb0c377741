"""How fast the durable task hub is, beside the vendor's in-memory hub, with the same workers.

`./dev bench task_hub [--rounds N] [--worker vendor|functions] [--json FILE]`. For each round and
each hub in turn: a hub, a worker and this client, each a process of its own. The workers are the
vendor's own and this repository's Functions host. Compare within a run, not across days.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

from durabletask import task
from durabletask.client import AsyncTaskHubGrpcClient
from durabletask.testing import create_test_backend
from durabletask.worker import TaskHubGrpcWorker

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "tests" / "apps" / "sample"
HUBS = ("vendor", "durable", "durable-full")
WORKERS = ("vendor", "functions")
VENDOR_PORT = 50187
STARTS_AT_A_TIME = 8
QUIET = logging.getLogger("bench")  # the vendor's own loggers write several lines an instance
QUIET.setLevel(logging.ERROR)


# What runs in the other processes


def serve_vendor_hub() -> None:
    backend = create_test_backend(port=VENDOR_PORT, max_history_size=100_000)
    sys.stdout.write(f"Ready: 127.0.0.1:{VENDOR_PORT}\n")
    sys.stdout.flush()
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    backend.stop()


def serve_vendor_worker(hub: str) -> None:
    def double(_: task.ActivityContext, number: int) -> int:
        return number * 2

    def one(context: task.OrchestrationContext, number: int):
        return (yield context.call_activity("double", input=number))

    def fan(context: task.OrchestrationContext, count: int):
        tasks = [context.call_activity("double", input=n) for n in range(count)]
        return sum((yield task.when_all(tasks)))

    worker = TaskHubGrpcWorker(host_address=hub, logger=QUIET)
    worker.add_orchestrator(one)
    worker.add_orchestrator(fan)
    worker.add_activity(double)
    worker.start()
    sys.stdout.write("Ready: worker\n")
    sys.stdout.flush()
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    worker.stop()


@contextlib.contextmanager
def process(*arguments: str, ready: str = "Ready: ") -> Iterator[str]:
    """A child process, once it printed a line that begins with `ready`; yields the line's rest."""
    child = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert child.stdout is not None
        for line in child.stdout:
            if line.startswith(ready):
                yield line.removeprefix(ready).strip()
                return
        raise RuntimeError(f"{arguments} ended before it was ready")
    finally:
        child.terminate()
        child.wait(20)


@contextlib.contextmanager
def hub_process(kind: str) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as state, contextlib.ExitStack() as stack:
        if kind == "vendor":
            yield stack.enter_context(process(__file__, "--serve", "hub"))
            return
        options = ["--state", state, "--synchronous", "full" if kind.endswith("full") else "normal"]
        hub = process("-m", "devhost.task_hub.durable", *options, ready="Task hub ready: ")
        yield stack.enter_context(hub)


@contextlib.contextmanager
def worker_process(kind: str, hub: str) -> Iterator[None]:
    with tempfile.TemporaryDirectory() as state, contextlib.ExitStack() as stack:
        if kind == "vendor":
            stack.enter_context(process(__file__, "--serve", "worker", "--hub", hub))
        else:
            host = ["--app", str(SAMPLE), "--port", "0", "--hub", hub, "--state", state]
            settings = ["--settings", str(SAMPLE / "sample.settings.json")]
            stack.enter_context(
                process("-m", "devhost.functions_host", *host, *settings, ready="Host ready: ")
            )
        yield


# What is measured


class Client:
    """Starts orchestrations and waits for them, one wait at a time: each holds a thread of the
    vendor's hub, which has ten."""

    def __init__(self, hub: str) -> None:
        self._client = AsyncTaskHubGrpcClient(host_address=hub, logger=QUIET)

    async def run(self, name: str, argument: int, count: int) -> float:
        """Seconds from the first start of `count` orchestrations to the last end."""
        slots = asyncio.Semaphore(STARTS_AT_A_TIME)

        async def start() -> str:
            async with slots:
                return await self._client.schedule_new_orchestration(name, input=argument)

        began = time.perf_counter()
        for instance_id in await asyncio.gather(*(start() for _ in range(count))):
            state = await self._client.wait_for_orchestration_completion(instance_id, timeout=300)
            assert state is not None, instance_id
            assert state.runtime_status.name == "COMPLETED", state
        return time.perf_counter() - began

    async def close(self) -> None:
        await self._client.close()


async def latency(client: Client) -> float:
    """Median milliseconds of one orchestration with one activity, with nothing else to do."""
    return 1000 * statistics.median([await client.run("one", 1, 1) for _ in range(50)])


def rate(name: str, argument: int, count: int, units: int) -> Callable[[Client], Awaitable[float]]:
    async def measure(client: Client) -> float:
        return units / await client.run(name, argument, count)

    return measure


SCENARIOS: dict[str, Callable[[Client], Awaitable[float]]] = {
    "one orchestration of one activity, ms (median)": latency,
    "200 orchestrations of one activity, orchestrations/s": rate("one", 1, 200, 200),
    "1,000 orchestrations of one activity, orchestrations/s": rate("one", 1, 1000, 1000),
    "10 orchestrations of 100 activities, activities/s": rate("fan", 100, 10, 1000),
    "1 orchestration of 1,000 activities, activities/s": rate("fan", 1000, 1, 1000),
}


@contextlib.asynccontextmanager
async def connected(hub_kind: str, worker_kind: str) -> AsyncIterator[Client]:
    with hub_process(hub_kind) as hub, worker_process(worker_kind, hub):
        client = Client(hub)
        try:
            await client.run("one", 1, 20)  # warm
            yield client
        finally:
            await client.close()


type Measured = dict[str, dict[str, dict[str, list[float]]]]
"""By worker, scenario and hub."""


async def measure(workers: list[str], hubs: list[str], rounds: int) -> Measured:
    measured: Measured = {
        worker: {scenario: {hub: [] for hub in hubs} for scenario in SCENARIOS}
        for worker in workers
    }
    for _ in range(rounds):
        for worker in workers:
            for hub in hubs:
                async with connected(hub, worker) as client:
                    for scenario, run in SCENARIOS.items():
                        measured[worker][scenario][hub].append(await run(client))
    return measured


def report(measured: Measured) -> str:
    lines = []
    for worker, scenarios in measured.items():
        lines.append(f"with the {worker} worker: median (lowest to highest), ratio to the vendor's")
        for scenario, by_hub in scenarios.items():
            lines.append(f"  {scenario}")
            base = statistics.median(by_hub.get("vendor") or [0.0])
            for hub, values in by_hub.items():
                middle = statistics.median(values)
                ratio = f"{middle / base:5.2f}x" if base else ""
                spread = f"({min(values):.1f} to {max(values):.1f})"
                lines.append(f"    {hub:13} {middle:8.1f}  {spread:22} {ratio}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--worker", choices=WORKERS, action="append")
    parser.add_argument("--hub", action="append", help=f"of {', '.join(HUBS)}")
    parser.add_argument("--json", type=Path, help="write every measurement here")
    parser.add_argument("--serve", choices=["hub", "worker"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve == "hub":
        serve_vendor_hub()
    elif arguments.serve == "worker":
        serve_vendor_worker(arguments.hub[0])
    else:
        measured = asyncio.run(
            measure(
                arguments.worker or list(WORKERS), arguments.hub or list(HUBS), arguments.rounds
            )
        )
        sys.stdout.write(report(measured) + "\n")
        if arguments.json is not None:
            arguments.json.write_text(json.dumps(measured, indent=1))


if __name__ == "__main__":
    main()
