"""What tests do with jobs: submit one, look at it, wait for its end."""

from __future__ import annotations

import asyncio
import time

ENDED = {"succeeded", "failed", "cancelled", "expired"}
ACCEPTED = {200, 202}
"""200 when it has ended by the time it is answered for: on a busy machine any job may."""


async def submit(api, flow="embed", input=None, headers=None, **fields):
    body = {"flow": flow, "input": {"text": "hello"} if input is None else input} | fields
    async with api.post("/v1/jobs", json=body, headers=headers) as response:
        return response.status, response.headers, await response.json()


async def look(api, job_id: str) -> dict:
    async with api.get(f"/v1/jobs/{job_id}") as response:
        assert response.status == 200
        return await response.json()


async def until(api, job_id: str, statuses: set[str], within: float = 180.0) -> dict:
    limit = time.monotonic() + within
    while time.monotonic() < limit:
        record = await look(api, job_id)
        if record["status"] in statuses:
            return record
        await asyncio.sleep(0.1)
    raise AssertionError(f"job {job_id} is not in {statuses}: {record}")


async def ended(api, job_id: str, within: float = 180.0) -> dict:
    return await until(api, job_id, ENDED, within)
