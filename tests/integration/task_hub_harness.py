"""Hubs, workers and clients for the task hub's tests, all of them the vendor's but one hub."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from durabletask import task
from durabletask.client import TaskHubGrpcClient
from durabletask.grpc_options import GrpcChannelOptions
from durabletask.testing import create_test_backend
from durabletask.worker import (
    ConcurrencyOptions,
    GrpcWorkerResiliencyOptions,
    TaskHubGrpcWorker,
    WorkItemFilters,
)

from devhost.stack.network import free_port
from devhost.task_hub.durable import DurableHub, HubSettings

ROOT = Path(__file__).parents[2]
QUIET = logging.getLogger("task hub tests")
QUIET.setLevel(logging.CRITICAL)

type Functions = list[Callable[..., object]]


@contextmanager
def vendor_hub() -> Iterator[str]:
    """The vendor's in-memory hub; yields its address."""
    port = free_port()
    backend = create_test_backend(port=port)
    try:
        yield f"127.0.0.1:{port}"
    finally:
        backend.stop()


@contextmanager
def durable_hub(state: Path, **settings: float | str) -> Iterator[str]:
    """This repository's hub in a thread of this process; yields its address."""
    hub = DurableHub(HubSettings(state=state, **settings))
    address = hub.start()
    try:
        yield address
    finally:
        hub.stop(0.2)


class HubProcess:
    """This repository's hub as a process, on one port and one state, to be killed and started."""

    def __init__(self, state: Path, *options: str) -> None:
        self._state = state
        self._options = options
        self._process: subprocess.Popen[str] | None = None
        self.address = f"127.0.0.1:{free_port()}"

    def start(self) -> None:
        port = self.address.rpartition(":")[2]
        arguments = ["--state", str(self._state), "--port", port, *self._options]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "devhost.task_hub.durable", *arguments],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == f"Task hub ready: {self.address}\n"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """As `kill -9` does."""
        assert self._process is not None
        self._process.kill()
        self._ended()

    def stop(self) -> int:
        """As SIGTERM does. Returns the exit code."""
        assert self._process is not None
        self._process.terminate()
        return self._ended()

    def _ended(self) -> int:
        assert self._process is not None
        code = self._process.wait(90)
        assert self._process.stdout is not None
        self._process.stdout.close()
        return code

    def __enter__(self) -> HubProcess:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill()


@contextmanager
def worker(
    address: str,
    *,
    orchestrators: Functions = (),
    activities: Functions = (),
    entities: Functions = (),
    filters: WorkItemFilters | None = None,
    threads: int = 16,
) -> Iterator[TaskHubGrpcWorker]:
    """The vendor's worker, taking work until the block ends."""
    served = TaskHubGrpcWorker(
        host_address=address,
        logger=QUIET,
        concurrency_options=ConcurrencyOptions(
            maximum_concurrent_activity_work_items=threads, maximum_thread_pool_workers=threads
        ),
        resiliency_options=GrpcWorkerResiliencyOptions(
            reconnect_backoff_base_seconds=0.1, reconnect_backoff_cap_seconds=0.3
        ),
    )
    for function in orchestrators:
        served.add_orchestrator(function)
    for function in activities:
        served.add_activity(function)
    for function in entities:
        served.add_entity(function)
    if filters is not None:
        served.use_work_item_filters(filters)
    served.start()
    try:
        yield served
    finally:
        served.stop()


@contextmanager
def client(address: str) -> Iterator[TaskHubGrpcClient]:
    """The vendor's client."""
    # By default a channel waits up to two minutes before it tries again to reach a hub.
    options = GrpcChannelOptions(raw_options=[("grpc.max_reconnect_backoff_ms", 200)])
    with TaskHubGrpcClient(host_address=address, logger=QUIET, channel_options=options) as made:
        yield made


def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait for a condition; it must come true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.02)


def double(_: task.ActivityContext, number: int) -> int:
    return number * 2


def one(context: task.OrchestrationContext, number: int):
    return (yield context.call_activity(double, input=number))


def fan(context: task.OrchestrationContext, count: int):
    return sum(
        (yield task.when_all([context.call_activity(double, input=n) for n in range(count)]))
    )
