"""A job that ends its worker each time it runs: it alone fails, and with a reason."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from dataclasses import dataclass

import pytest

from contracts.names import MOST_STARTS
from tests.faults.clients import Job, Record
from tests.faults.lab import Lab, ask, lab

# The SDK leaves the sockets of connections that broke to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

GIVE_UP_SECONDS = 600


@dataclass(frozen=True, slots=True)
class Others:
    """The jobs that do no harm, spread over the deaths of their workers."""

    count: int
    over_seconds: float = 10
    service_bus: bool = True
    """Whether every second one comes over Service Bus."""

    async def run(self, it: Lab) -> list[Record]:
        return await asyncio.gather(*(self._one(it, n) for n in range(self.count)))

    async def _one(self, it: Lab, n: int) -> Record:
        await asyncio.sleep(n * self.over_seconds / self.count)
        key = f"other {n}"
        if self.service_bus and n % 2:
            await it.doors.send(ask(key), key)
            return await it.doors.queue.reply(key, GIVE_UP_SECONDS)
        return await it.doors.ended(await it.doors.submit(ask(key), key))


@pytest.mark.parametrize(
    ("poisons", "others", "victim"),
    [
        # Without messages: what dies with a worker's message in hand waits for a lock's minute.
        (1, Others(16, over_seconds=5, service_bus=False), None),
        pytest.param(3, Others(100), None, marks=pytest.mark.long),
        pytest.param(2, Others(60), "hub", marks=pytest.mark.long),
    ],
    ids=["one", "three", "two-and-the-hub-dies-too"],
)
async def test_it_is_contained_and_other_jobs_go_on(poisons, others, victim):
    said: list[str] = []
    async with (
        lab(say=said.append, longest_delay_seconds=0.5) as it,
        asyncio.timeout(GIVE_UP_SECONDS),
    ):
        await it.doors.ended(await it.doors.submit(ask("warm"), "warm"))
        it.model.seconds = 0.3  # so that some are in the hands of each worker that dies
        began = time.monotonic()
        ids = [await it.doors.submit(poison(n), f"poison {n}") for n in range(poisons)]
        ending = asyncio.gather(*(it.doors.ended(job_id) for job_id in ids))
        killing = asyncio.create_task(kill(it, victim, ending))
        records = await others.run(it)
        failed = await ending
        took = time.monotonic() - began
        await killing
        replies = it.doors.replies()

    deaths = sum(line.startswith("host ended (exit code 9)") for line in said)
    print(
        f"{poisons} poisoned jobs: {deaths} workers died, {took:.0f} s;"
        f" {others.count} others: {dict(Counter(record['status'] for record in records))},"
        f" replies to each {dict(Counter(replies.values()))}"
    )
    for record in failed:
        assert record["status"] == "failed"
        assert f"started {MOST_STARTS} times" in record["error"]["detail"]
        assert "worker died" in record["error"]["detail"]
    assert {record["status"] for record in records} == {"succeeded"}
    assert len({record["id"] for record in records}) == others.count
    assert set(replies.values()) <= {1}, "no message has two replies"
    assert deaths <= poisons * MOST_STARTS, "no worker died of a job that was given up"


def poison(n: int) -> Job:
    return {"flow": "poison", "input": {"text": f"poison {n}"}}


async def kill(it: Lab, victim: str | None, ending: asyncio.Future[object]) -> None:
    """Kill a part now and then, as long as the poisoned jobs have not ended."""
    while victim is not None and not ending.done():
        await asyncio.sleep(4)
        if (pid := it.stack.pids.get(victim)) is not None:
            os.kill(pid, signal.SIGKILL)
