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

from devhost.stack.running import Stack
from tests.faults.clients import Doors, Job, Record, doors

ONE_IN_TWICE = 10
"""One request in so many is sent twice, at the same time."""
GIVE_UP_SECONDS = 900
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
        stack = self.stack
        async with (
            asyncio.timeout(GIVE_UP_SECONDS),
            doors(stack.http, stack.api_key, stack.service_bus) as clients,
        ):
            outcome = Outcome(sent=self.jobs)
            killing = asyncio.create_task(self._kill(outcome))
            records = await asyncio.gather(*(self._one(clients, n) for n in range(self.jobs)))
            await killing
            outcome.statuses = Counter(record["status"] for record in records)
            outcome.ids = {record["id"] for record in records}
            outcome.replies_of_each = Counter(clients.replies().values())
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

    async def _one(self, clients: Doors, n: int) -> Record:
        await asyncio.sleep(n / self.jobs * self.kills * 1.5)
        over_queue = n % 2 and self.service_bus
        copies = 2 if n % ONE_IN_TWICE in (0, 1) else 1
        return await (_over_queue if over_queue else _over_http)(clients, _job(n), copies)


async def _over_http(clients: Doors, job: Job, copies: int) -> Record:
    key = uuid.uuid4().hex
    accepted = await asyncio.gather(*(clients.submit(job, key) for _ in range(copies)))
    assert len(set(accepted)) == 1, "one key, one job"
    return await clients.ended(accepted[0])


async def _over_queue(clients: Doors, job: Job, copies: int) -> Record:
    message_id = uuid.uuid4().hex
    for _ in range(copies):
        await clients.send(job, message_id)
    return await clients.queue.reply(message_id, within=GIVE_UP_SECONDS)


def _job(n: int) -> Job:
    return {"flow": "embed", "input": {"text": f"text {n}"}}
