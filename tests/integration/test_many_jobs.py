"""Many jobs at once, and large results: all end, and the host stays small."""

from __future__ import annotations

import asyncio
import json
from collections import Counter

import psutil

from tests.integration.jobs_client import ACCEPTED, submit

JOBS = 500
MOST_HOST_BYTES = 400 * 2**20
INPUTS = [
    ("embed", {"text": "The quick brown fox jumps over the lazy dog."}),
    ("classify", {"text": "The striker scored twice.", "labels": ["sport", "cooking"]}),
    ("summarize", {"text": "The sea was calm. The ship sailed at dawn.", "max_words": 8}),
    ("answer", {"question": "How tall is it?", "documents": ["It is 300 metres tall.", "No."]}),
]


async def test_500_jobs_at_once_all_succeed_and_the_host_stays_under_400_mb(api, stack):
    accepted = await asyncio.gather(*(submit(api, *INPUTS[n % 4]) for n in range(JOBS)))
    assert {status for status, _, _ in accepted} <= ACCEPTED

    async def record(job_id: str) -> dict:
        while True:
            async with api.get(f"/v1/jobs/{job_id}") as response:
                found = await response.json()
            if found["ended_at"] is not None:
                return found
            await asyncio.sleep(2)

    async with asyncio.timeout(900):
        records = await asyncio.gather(*(record(job["id"]) for _, _, job in accepted))

    assert Counter(found["status"] for found in records) == {"succeeded": JOBS}
    used = psutil.Process(stack.pids["host"]).memory_info().rss
    print(f"host after {JOBS} jobs of 4 flows: {used / 2**20:.0f} MB")
    assert used < MOST_HOST_BYTES


async def test_a_result_of_50_mb_is_kept_whole_and_fetched_apart(api):
    size = 50_000_000
    _, _, job = await submit(api, "large", {"bytes": size}, headers={"Prefer": "wait=100"})

    assert job["status"] == "succeeded", job["error"]
    assert job["result"] is None, "a large result is not part of the record"
    async with api.get(job["result_url"]) as response:
        assert json.loads(await response.read()) == {"text": "x" * size}
