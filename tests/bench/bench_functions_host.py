"""How fast the local Functions host carries durable work, beside the vendor's own worker.

`python tests/bench/bench_functions_host.py [--rounds N]` starts a task hub and, in turn, this
repository's host with tests/apps/sample and the vendor's worker with the same two functions.
Pairs run one after the other on the same machine: compare within a line, not across days.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
from durabletask import task
from durabletask.client import TaskHubGrpcClient
from durabletask.worker import ConcurrencyOptions, TaskHubGrpcWorker

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "tests" / "apps" / "sample"
LIMIT = 16  # the sample's maxConcurrentActivityFunctions
QUIET = logging.getLogger("bench")  # the vendor's own loggers write several lines an instance
QUIET.setLevel(logging.ERROR)


@contextlib.contextmanager
def process(*arguments: str, ready: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A child process, once it has printed a line that begins with `ready`; that line's rest."""
    child = subprocess.Popen(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert child.stdout is not None
        for line in child.stdout:
            if line.startswith(ready):
                yield child, line.removeprefix(ready).strip()
                return
        raise RuntimeError(f"{arguments[0]} ended before it was ready")
    finally:
        child.terminate()
        child.wait(15)


def vendor_worker(hub: str) -> TaskHubGrpcWorker:
    """The vendor's worker with the sample's `one` and `fan`."""

    def double(_: task.ActivityContext, number: int) -> int:
        return number * 2

    def one(context: task.OrchestrationContext, number: int):
        result = yield context.call_activity("double", input=number)
        return result

    def fan(context: task.OrchestrationContext, count: int):
        tasks = [context.call_activity("double", input=n) for n in range(count)]
        results = yield task.when_all(tasks)
        return sum(results)

    options = ConcurrencyOptions(
        maximum_concurrent_activity_work_items=LIMIT,
        maximum_concurrent_orchestration_work_items=20,
        maximum_thread_pool_workers=LIMIT,
    )
    worker = TaskHubGrpcWorker(host_address=hub, concurrency_options=options, logger=QUIET)
    for function in (one, fan):
        worker.add_orchestrator(function)
    worker.add_activity(double)
    return worker


def run(client: TaskHubGrpcClient, name: str, argument: int, count: int) -> float:
    """Seconds that `count` orchestrations take from the first start to the last end."""
    began = time.perf_counter()
    ids = [client.schedule_new_orchestration(name, input=argument) for _ in range(count)]
    for instance_id in ids:
        state = client.wait_for_orchestration_completion(instance_id, timeout=180)
        assert state is not None, instance_id
        assert state.runtime_status.name == "COMPLETED", state
    return time.perf_counter() - began


SCENARIOS: dict[str, Callable[[TaskHubGrpcClient], float]] = {
    "200 orchestrations of one activity, orchestrations/s": lambda c: 200 / run(c, "one", 1, 200),
    "20 orchestrations of 50 activities, activities/s": lambda c: 1000 / run(c, "fan", 50, 20),
    "10 orchestrations of 100 activities, activities/s": lambda c: 1000 / run(c, "fan", 100, 10),
    "1 orchestration of 1,000 activities, activities/s": lambda c: 1000 / run(c, "fan", 1000, 1),
}


def measure(hub: str, rounds: int) -> dict[str, list[float]]:
    client = TaskHubGrpcClient(host_address=hub, logger=QUIET)
    try:
        run(client, "one", 1, 20)  # warm
        return {name: [each(client) for _ in range(rounds)] for name, each in SCENARIOS.items()}
    finally:
        client.close()


def measure_host(rounds: int) -> tuple[dict[str, list[float]], float, float]:
    """Rates, and the host's resident memory in MB: idle and at its highest."""
    with (
        tempfile.TemporaryDirectory() as state,
        process("devhost.task_hub", ready="Task hub ready: ") as (_, hub),
        process(
            *("devhost.functions_host", "--app", str(SAMPLE), "--port", "0", "--hub", hub),
            *("--settings", str(SAMPLE / "sample.settings.json"), "--state", state),
            ready="Host ready: ",
        ) as (host, _),
    ):
        watched = psutil.Process(host.pid)
        idle = peak = watched.memory_info().rss
        done = threading.Event()

        def watch() -> None:
            nonlocal peak
            while not done.wait(0.05):
                peak = max(peak, watched.memory_info().rss)

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            return measure(hub, rounds), idle / 2**20, peak / 2**20
        finally:
            done.set()
            watcher.join()


def measure_vendor(rounds: int) -> dict[str, list[float]]:
    with process("devhost.task_hub", ready="Task hub ready: ") as (_, hub):
        worker = vendor_worker(hub)
        worker.start()
        try:
            return measure(hub, rounds)
        finally:
            worker.stop()


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=["host", "vendor"])
    arguments = parser.parse_args()
    rates: dict[str, dict[str, list[float]]] = {}
    if arguments.only != "vendor":
        rates["this host"], idle, peak = measure_host(arguments.rounds)
        say(f"host: {idle:.0f} MB idle, {peak:.0f} MB at its highest")
    if arguments.only != "host":
        rates["vendor's worker"] = measure_vendor(arguments.rounds)
    for scenario in SCENARIOS:
        say(scenario)
        for who, measured in rates.items():
            values = sorted(measured[scenario])
            middle = values[len(values) // 2]
            say(f"  {who:16} {middle:7.0f}  ({values[0]:.0f} to {values[-1]:.0f})")


if __name__ == "__main__":
    main()
