"""Clients of both doors that try until they are accepted, and follow each job to its end."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
from azure.servicebus.exceptions import ServiceBusError

from tests.integration.jobs_client import ENDED
from tests.integration.queues_client import Producer, producer

AWAY = (429, 500, 502, 503)
"""What a client may be told while a part is away; anything else is an answer."""

type Job = dict[str, Any]
type Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Doors:
    """A client's side of one stack, as long as it runs."""

    api: aiohttp.ClientSession
    queue: Producer

    async def try_submit(self, job: Job, key: str) -> str | None:
        """Send over HTTP once: the job's id, None when it was not accepted."""
        try:
            headers = {"Idempotency-Key": key}
            async with self.api.post("/v1/jobs", json=job, headers=headers) as response:
                if response.status in (200, 202):
                    return str((await response.json())["id"])
                assert response.status in AWAY, await response.text()
        except (aiohttp.ClientError, TimeoutError):
            pass
        return None

    async def submit(self, job: Job, key: str) -> str:
        """Send until it is accepted, as a client with an Idempotency-Key may."""
        while (job_id := await self.try_submit(job, key)) is None:
            await asyncio.sleep(0.2)
        return job_id

    async def try_send(self, job: Job, message_id: str) -> bool:
        """Send a message once; whether the queue has it for sure."""
        try:
            await self.queue.send(job, message_id=message_id)
        except (ServiceBusError, ValueError, OSError):
            return False
        return True

    async def send(self, job: Job, message_id: str) -> None:
        """Send until the queue has it."""
        while not await self.try_send(job, message_id):
            await asyncio.sleep(0.2)

    async def ended(self, job_id: str) -> Record:
        """The record of an accepted job, once it has ended."""
        while True:
            try:
                async with self.api.get(f"/v1/jobs/{job_id}") as response:
                    assert response.status != 404, f"{job_id} was accepted and is lost"
                    record = await response.json() if response.status == 200 else {}
                if record.get("status") in ENDED:
                    return dict(record)
            except (aiohttp.ClientError, TimeoutError):
                pass
            await asyncio.sleep(0.5)

    def replies(self) -> Counter[str]:
        """How many replies came to each message; one that was delivered again is the same."""
        each = {(str(m.correlation_id), m.sequence_number) for m in self.queue.messages}
        return Counter(correlation_id for correlation_id, _ in each)


@asynccontextmanager
async def doors(
    http: str, api_key: str, service_bus: str, timeout_seconds: float = 20
) -> AsyncIterator[Doors]:
    timeout = aiohttp.ClientTimeout(total=timeout_seconds)
    headers = {"x-functions-key": api_key}
    async with (
        aiohttp.ClientSession(http, headers=headers, timeout=timeout) as api,
        producer(service_bus) as queue,
    ):
        yield Doors(api, queue)
