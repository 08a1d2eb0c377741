"""The local stack with one simulated deployment behind every model, and a client of batches."""

from __future__ import annotations

import asyncio
import io
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from devhost.inference.simulated import Behaviour, Constant, Simulated, simulated
from devhost.inference.simulated.deployment import Deployment
from devhost.stack.plan import Options
from devhost.stack.running import Stack
from devhost.stack.running import stack as running_stack
from tests.unit.lines_fakes import CHAT, chat_line, jsonl

ENDED = frozenset({"completed", "failed", "expired", "cancelled"})
LOOK_AGAIN_SECONDS = 0.05
PARTS = frozenset({"azurite", "hub", "host"})
NAME = "sim"

_DEPLOYMENTS = """
models:
  chat:
    deployments:
      - {{name: chat-1, protocol: openai, url: "{url}/v1", model: simulated, probe_seconds: 2}}
  embed:
    deployments:
      - {{name: embed-1, protocol: openai, url: "{url}/v1", model: simulated}}
  classifier:
    deployments:
      - {{name: classifier-1, protocol: aml_online, url: "{url}/score"}}
"""

type Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Batches:
    """A client of files and batches, over HTTP alone."""

    api: aiohttp.ClientSession

    async def upload(self, data: bytes, purpose: str = "batch", name: str = "in.jsonl") -> Object:
        form = aiohttp.FormData({"purpose": purpose})
        form.add_field("file", io.BytesIO(data), filename=name)
        return await self.call("POST", "/v1/files", data=form)

    async def create(self, file_id: str, endpoint: str = CHAT, **fields: Any) -> Object:
        body = {"input_file_id": file_id, "endpoint": endpoint, "completion_window": "24h"}
        return await self.call("POST", "/v1/batches", json=body | fields)

    async def begin(self, data: bytes, endpoint: str = CHAT, **fields: Any) -> Object:
        """Upload and create."""
        return await self.create((await self.upload(data))["id"], endpoint, **fields)

    async def run(self, data: bytes, endpoint: str = CHAT, **fields: Any) -> Object:
        """Upload, create, and wait for the end."""
        return await self.ended((await self.begin(data, endpoint, **fields))["id"])

    async def get(self, batch_id: str) -> Object:
        return await self.call("GET", f"/v1/batches/{batch_id}")

    async def until(self, batch_id: str, condition: Any, within: float = 300.0) -> Object:
        """The batch, once it is as the condition says."""
        limit = time.monotonic() + within
        while time.monotonic() < limit:
            if condition(batch := await self.get(batch_id)):
                return batch
            await asyncio.sleep(LOOK_AGAIN_SECONDS)
        raise AssertionError(f"it is still {batch}")

    async def ended(self, batch_id: str, within: float = 300.0) -> Object:
        return await self.until(batch_id, lambda batch: batch["status"] in ENDED, within)

    async def cancel(self, batch_id: str) -> Object:
        return await self.call("POST", f"/v1/batches/{batch_id}/cancel")

    async def content(self, file_id: str) -> bytes:
        async with self.api.get(f"/v1/files/{file_id}/content") as response:
            assert response.status == 200, await response.text()
            content = await response.read()
        assert len(content) == int(response.headers["content-length"])
        return content

    async def lines(self, file_id: str | None) -> dict[str, Object]:
        """Of an output or error file, by custom_id; none of them twice."""
        if file_id is None:
            return {}
        lines = [json.loads(line) for line in (await self.content(file_id)).splitlines()]
        by_id = {line["custom_id"]: line for line in lines}
        assert len(by_id) == len(lines)
        return by_id

    async def results(self, batch: Object) -> tuple[dict[str, Object], dict[str, Object]]:
        """What was answered, and what failed; no line is in both."""
        out = await self.lines(batch["output_file_id"])
        err = await self.lines(batch["error_file_id"])
        assert not out.keys() & err.keys()
        counts = batch["request_counts"]
        assert (counts["completed"], counts["failed"]) == (len(out), len(err))
        return out, err

    async def call(self, method: str, path: str, status: int = 200, **options: Any) -> Object:
        async with self.api.request(method, path, **options) as response:
            assert response.status == status, await response.text()
            answer: Object = await response.json()
            return answer


@dataclass(frozen=True, slots=True)
class Lab:
    stack: Stack
    batches: Batches
    model: Deployment
    """Every model's only deployment."""

    def slow(self, ms: float, capacity: int | None = None) -> None:
        self.model.set(Behaviour(latency=Constant(ms=ms), capacity=capacity))

    def calls(self) -> int:
        """That the deployment took."""
        return self.model.counts.arrived - self.model.counts.refused


@asynccontextmanager
async def model_of_batches(folder: Path) -> AsyncIterator[Simulated]:
    """The deployment, and the app settings for it, for stacks that are started in the block."""
    async with simulated(NAME) as model:
        deployments = folder / "deployments.yaml"
        deployments.write_text(_DEPLOYMENTS.format(url=f"{model.base_url}/{NAME}"))
        with pytest.MonkeyPatch.context() as settings:
            settings.setenv("SLUICE_DEPLOYMENTS", str(deployments))
            yield model


@asynccontextmanager
async def batches_of(stack: Stack, timeout_seconds: float = 300) -> AsyncIterator[Batches]:
    """A client with the stack's key."""
    timeout = aiohttp.ClientTimeout(total=timeout_seconds)
    headers = {"x-functions-key": stack.api_key}
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(
        stack.http, headers=headers, timeout=timeout, connector=connector
    ) as api:
        yield Batches(api)


@asynccontextmanager
async def lab(folder: Path, parts: frozenset[str] = PARTS) -> AsyncIterator[Lab]:
    async with (
        model_of_batches(folder) as model,
        running_stack(Options(parts=parts)) as stack,
        batches_of(stack) as batches,
    ):
        yield Lab(stack, batches, model[NAME])


def chat_lines(count: int, first: int = 0, **body: Any) -> bytes:
    """Lines r0, r1 and so on."""
    payload = {"model": "chat", "messages": [{"role": "user", "content": "Hi"}]} | body
    return jsonl(*(chat_line(f"r{n}", body=payload) for n in range(first, first + count)))


def ids(count: int) -> set[str]:
    return {f"r{n}" for n in range(count)}
