"""Posts a job and follows it, as any client of the API would."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import aiohttp
from pydantic import BaseModel, JsonValue

from devhost.demo.cases import Case

POLL_SECONDS = 0.2
PATIENCE_SECONDS = 300
ENDED = {"succeeded", "failed", "cancelled", "expired"}


class Attempt(BaseModel):
    deployment: str
    outcome: str


class Timing(BaseModel):
    queue_seconds: float | None
    flow_seconds: float
    model_seconds: float


class Problem(BaseModel):
    detail: str


class Job(BaseModel):
    """The fields of a job's record that the demo shows; others are ignored."""

    id: str
    status: str
    attempts: list[Attempt] = []
    timing: Timing
    result: JsonValue = None
    error: Problem | None = None


class DemoFailed(Exception):
    """A job did not get as far as an answer."""


async def run_job(
    session: aiohttp.ClientSession, case: Case, progress: Callable[[str], None]
) -> Job:
    """Submit and poll until the job has ended; `progress` is told each status it sees.

    Raises DemoFailed.
    """
    body = {"flow": case.flow, "input": case.input}
    async with session.post("/v1/jobs", json=body) as response:
        if response.status != 202:
            raise DemoFailed(f"POST /v1/jobs answered {response.status}: {await response.text()}")
        location = response.headers["Location"]
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                job = await _record(session, location)
                progress(job.status)
                if job.status in ENDED:
                    return job
                await asyncio.sleep(POLL_SECONDS)
    except TimeoutError:
        raise DemoFailed(f"{location} had not ended after {PATIENCE_SECONDS} s") from None


async def _record(session: aiohttp.ClientSession, location: str) -> Job:
    async with session.get(location) as response:
        if response.status != 200:
            raise DemoFailed(f"GET {location} answered {response.status}")
        return Job.model_validate_json(await response.read())
