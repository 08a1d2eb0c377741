"""Jobs that arrive over both doors while parts of the stack are killed, and what became of them."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field

import aiohttp
from azure.servicebus.exceptions import ServiceBusError

from devhost.stack.running import Stack
from tests.integration.jobs_client import ENDED
from tests.integration.queues_client import Producer, producer

ONE_IN_TWICE = 10
"""One request in so many is sent twice, at the same time."""
GIVE_UP_SECONDS = 400
SIGNALS = {"azurite": signal.SIGTERM}
"""Azurite saves its index every few seconds only: killed with -9 it forgets what it accepted,
which Azure Storage does not. So it is ended, and is away for as long as it takes to start."""


@dataclass
class Outcome:
    """What a storm came to."""

    sent: int = 0
    kills: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    ids: set[str] = field(default_factory=set)
    replies_of_each: Counter[int] = field(default_factory=Counter)
    seconds: float = 0.0


@dataclass
class Storm:
    """`jobs` requests spread over the kills, every second one over Service Bus."""

    stack: Stack
    jobs: int
    kills: int
    victims: tuple[str, ...]
    """Killed one after the other; several at once where a name holds a `+`."""
    seed: int
    service_bus: bool = True
    """Otherwise every request goes over HTTP."""

    async def run(self) -> Outcome:
        began = time.monotonic()
        headers = {"x-functions-key": self.stack.api_key}
        timeout = aiohttp.ClientTimeout(total=20)
        async with (
            asyncio.timeout(GIVE_UP_SECONDS),
            aiohttp.ClientSession(self.stack.http, headers=headers, timeout=timeout) as api,
            producer(self.stack.service_bus) as queue,
        ):
            outcome = Outcome(sent=self.jobs)
            killing = asyncio.create_task(self._kill(outcome))
            records = await asyncio.gather(
                *(
                    self._over_queue(queue, n)
                    if n % 2 and self.service_bus
                    else self._over_http(api, n)
                    for n in range(self.jobs)
                )
            )
            await killing
            outcome.statuses = Counter(record["status"] for record in records)
            outcome.ids = {record["id"] for record in records}
            outcome.replies_of_each = Counter(map(len, queue.replies.values()))
        outcome.seconds = time.monotonic() - began
        return outcome

    async def _kill(self, outcome: Outcome) -> None:
        chance = random.Random(self.seed)
        for n in range(self.kills):
            await asyncio.sleep(chance.uniform(0.2, 1.5))
            for victim in self.victims[n % len(self.victims)].split("+"):
                pid = self.stack.pids.get(victim)
                if pid is not None:
                    os.kill(pid, SIGNALS.get(victim, signal.SIGKILL))
                    await self._replaced(victim, pid)
            outcome.kills += 1

    async def _replaced(self, victim: str, pid: int) -> None:
        while self.stack.pids.get(victim) in (None, pid):
            await asyncio.sleep(0.05)

    def _moment(self, n: int) -> float:
        """Seconds after the start at which the n-th request is sent."""
        return n / self.jobs * self.kills * 1.5

    async def _over_http(self, api: aiohttp.ClientSession, n: int) -> dict[str, str]:
        await asyncio.sleep(self._moment(n))
        key = uuid.uuid4().hex
        copies = 2 if n % ONE_IN_TWICE == 0 else 1
        accepted = await asyncio.gather(*(_submit(api, n, key) for _ in range(copies)))
        assert len(set(accepted)) == 1, "one key, one job"
        return await _ended(api, accepted[0])

    async def _over_queue(self, queue: Producer, n: int) -> dict[str, str]:
        await asyncio.sleep(self._moment(n))
        message_id = uuid.uuid4().hex
        for _ in range(2 if n % ONE_IN_TWICE == 1 else 1):
            await _send(queue, n, message_id)
        reply: dict[str, str] = await queue.reply(message_id, within=GIVE_UP_SECONDS)
        return reply


def _job(n: int) -> dict[str, object]:
    return {"flow": "embed", "input": {"text": f"text {n}"}}


async def _submit(api: aiohttp.ClientSession, n: int, key: str) -> str:
    """Send until it is accepted, as a client with an Idempotency-Key may."""
    while True:
        try:
            headers = {"Idempotency-Key": key}
            async with api.post("/v1/jobs", json=_job(n), headers=headers) as response:
                if response.status in (200, 202):
                    return str((await response.json())["id"])
                assert response.status in (429, 500, 502, 503), await response.text()
        except (aiohttp.ClientError, TimeoutError):
            pass
        await asyncio.sleep(0.2)


async def _ended(api: aiohttp.ClientSession, job_id: str) -> dict[str, str]:
    while True:
        try:
            async with api.get(f"/v1/jobs/{job_id}") as response:
                assert response.status != 404, f"{job_id} was accepted and is lost"
                record = await response.json() if response.status == 200 else {}
            if record.get("status") in ENDED:
                return dict(record)
        except (aiohttp.ClientError, TimeoutError):
            pass
        await asyncio.sleep(0.5)


async def _send(queue: Producer, n: int, message_id: str) -> None:
    while True:
        try:
            await queue.send(_job(n), message_id=message_id)
            return
        except (ServiceBusError, ValueError, OSError):
            await asyncio.sleep(0.2)
