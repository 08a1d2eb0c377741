"""Batches over the app's own doors, as a client of them sees it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
import psutil

from devhost.stack.running import Stack
from tests.bench.peers.calls import MODEL, PAYLOAD

ENDED = frozenset({"completed", "failed", "expired", "cancelled"})
LOOK_AGAIN_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Carried:
    """What a batch took: seconds in all, of which the lines themselves, and the host's memory."""

    seconds: float
    lines_seconds: float
    """From its creation to its completion."""
    peak_mb: float


@dataclass(slots=True)
class BatchClient:
    api: aiohttp.ClientSession
    running: Stack

    async def carry(self, lines: int) -> Carried:
        """Upload, run to the end, download, check that each line is there once."""
        began = time.perf_counter()
        batch_id = await self.begin(lines)
        created = time.perf_counter()
        batch, peak = await self._ended(batch_id)
        completed = time.perf_counter()
        assert batch["request_counts"] == {"total": lines, "completed": lines, "failed": 0}, batch
        seen = {json.loads(line)["custom_id"] async for line in self._output(batch)}
        assert len(seen) == lines, f"{lines - len(seen)} lines are missing"
        return Carried(time.perf_counter() - began, completed - created, peak)

    async def begin(self, lines: int) -> str:
        """Upload and create; the batch's id."""
        form = aiohttp.FormData({"purpose": "batch"})
        form.add_field("file", _lines(lines), filename="lines.jsonl")
        async with self.api.post("/v1/files", data=form) as response:
            assert response.status == 200, await response.text()
            file_id = (await response.json())["id"]
        request = {
            "input_file_id": file_id,
            "endpoint": "/v1/chat/completions",
            "completion_window": "24h",
        }
        async with self.api.post("/v1/batches", json=request) as response:
            assert response.status == 200, await response.text()
            return str((await response.json())["id"])

    async def state(self, batch_id: str, wait: int = 0) -> dict[str, object]:
        """Once it has ended, or after so many seconds."""
        headers = {"Prefer": f"wait={wait}"}
        async with self.api.get(f"/v1/batches/{batch_id}", headers=headers) as response:
            assert response.status == 200, await response.text()
            return dict(await response.json())

    async def cancel(self, batch_id: str) -> None:
        async with self.api.post(f"/v1/batches/{batch_id}/cancel") as response:
            assert response.status == 200, await response.text()

    async def _ended(self, batch_id: str) -> tuple[dict[str, object], float]:
        """The batch once it has ended, and the host's memory at its highest, in MB."""
        waiting = asyncio.create_task(self._wait(batch_id))
        host, peak = psutil.Process(self.running.pids["host"]), 0.0
        while not waiting.done():
            peak = max(peak, host.memory_info().rss / 2**20)
            await asyncio.wait({waiting}, timeout=LOOK_AGAIN_SECONDS)
        return await waiting, peak

    async def _wait(self, batch_id: str) -> dict[str, object]:
        while True:
            batch = await self.state(batch_id, wait=60)
            if batch["status"] in ENDED:
                return batch

    async def _output(self, batch: dict[str, object]) -> AsyncIterator[bytes]:
        path = f"/v1/files/{batch['output_file_id']}/content"
        async with self.api.get(path) as response:
            assert response.status == 200
            async for line in response.content:
                yield line


@asynccontextmanager
async def batch_client(running: Stack) -> AsyncIterator[BatchClient]:
    timeout = aiohttp.ClientTimeout(total=1800)
    headers = {"x-functions-key": running.api_key}
    async with aiohttp.ClientSession(running.http, headers=headers, timeout=timeout) as api:
        yield BatchClient(api, running)


def _lines(count: int) -> bytes:
    body = {**PAYLOAD, "model": MODEL}
    return b"".join(
        json.dumps(
            {
                "custom_id": f"line-{number}",
                "method": "POST",
                "url": "/v1/chat/completions",
                "body": body,
            }
        ).encode()
        + b"\n"
        for number in range(count)
    )
