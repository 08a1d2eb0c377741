"""Models that know the id of each call that reached them, load of every kind, and the books."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from contracts.errors import DependencyUnavailable
from devhost.stack.plan import Options
from devhost.stack.running import Stack
from stores.blobs import Container, StorageAccount
from tests.faults.leftovers import clean_stack
from tests.integration.batches_lab import ENDED, PARTS, Batches, Object, batches_of
from tests.integration.jobs_client import ENDED as JOB_ENDED
from tests.unit.lines_fakes import chat_line, jsonl

_DEPLOYMENTS = """
models:
  chat:
    mirror: {{to: shadow, percent: 30}}
    deployments:
      - name: live
        protocol: openai
        url: "{url}/live"
        model: x
        price: {{input_per_million_tokens: 1, output_per_million_tokens: 2, per_request: 0.001}}
      - {{name: shadow, protocol: openai, url: "{url}/shadow", model: x, weight: 0}}
  embed:
    deployments:
      - {{name: embed-1, protocol: openai, url: "{url}/live", model: x}}
  classifier:
    deployments:
      - {{name: classifier-1, protocol: openai, url: "{url}/live", model: x}}
"""
BODY = {"messages": [{"role": "user", "content": "Hi"}]}


@dataclass
class Models:
    """Answer after `seconds`; `seen` has the ids of calls by deployment."""

    seconds: float = 0.03
    seen: dict[str, Counter[str]] = field(
        default_factory=lambda: {"live": Counter(), "shadow": Counter()}
    )

    async def chat(self, request: web.Request) -> web.Response:
        self.seen[request.match_info["name"]][request.headers["x-ms-client-request-id"]] += 1
        await request.read()
        await asyncio.sleep(self.seconds)
        choice = {"index": 0, "message": {"role": "assistant", "content": "Hello"}}
        usage = {"prompt_tokens": 3, "completion_tokens": 2}
        return web.json_response({"object": "chat.completion", "choices": [choice], "usage": usage})

    @property
    def calls(self) -> Counter[str]:
        return self.seen["live"] + self.seen["shadow"]


@dataclass
class LedgerLab:
    stack: Stack
    models: Models
    api: aiohttp.ClientSession
    batches: Batches
    storage: Container
    answered: int = 0
    """Real-time calls."""

    async def real_time(self, until: asyncio.Event) -> None:
        """One call after the other; those that a dying host does not answer are not repeated."""
        while not until.is_set():
            try:
                body = {"model": "chat", **BODY}
                async with self.api.post("/v1/chat/completions", json=body) as response:
                    self.answered += response.status == 200
                    await response.read()
            except (aiohttp.ClientError, TimeoutError):
                await asyncio.sleep(0.1)

    async def job(self) -> Object:
        """One that is sent until it is accepted, at its end."""
        job = {"flow": "chat.completions", "input": BODY, "model": "chat"}
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        sent = await self._call("POST", "/v1/jobs", {200, 202}, json=job, headers=headers)
        while (record := await self._call("GET", f"/v1/jobs/{sent['id']}", {200}))[
            "status"
        ] not in JOB_ENDED:
            await asyncio.sleep(0.2)
        return record

    async def batch(self, lines: int) -> Object:
        """At its end."""
        body = {"model": "chat", **BODY}
        data = jsonl(*(chat_line(f"r{number}", body=body) for number in range(lines)))
        batch_id = await self._begun(data)
        while (batch := await self._call("GET", f"/v1/batches/{batch_id}", {200}))[
            "status"
        ] not in ENDED:
            await asyncio.sleep(0.2)
        return batch

    async def _begun(self, data: bytes) -> str:
        while True:
            try:
                return str((await self.batches.begin(data))["id"])
            except (aiohttp.ClientError, AssertionError, TimeoutError):
                await asyncio.sleep(0.2)

    async def _call(self, method: str, path: str, statuses: set[int], **options: Any) -> Object:
        while True:
            try:
                async with self.api.request(method, path, **options) as response:
                    if response.status in statuses:
                        answer: Object = await response.json()
                        return answer
            except (aiohttp.ClientError, TimeoutError):
                pass
            await asyncio.sleep(0.2)

    async def kill(self, *, disk: bool = False, victim: str = "host") -> None:
        """Kill a part and wait until there is another; with its disk, the journals are gone."""
        pid = self.stack.pids[victim]
        os.kill(pid, signal.SIGKILL if victim == "host" else signal.SIGTERM)
        if disk:
            shutil.rmtree(self.stack.environment["SLUICE_LEDGER_JOURNAL"])
        while self.stack.pids.get(victim) in (None, pid):
            await asyncio.sleep(0.02)

    async def records(self) -> list[dict[str, Any]]:
        """That are in storage, once it can be read."""
        while True:
            try:
                return await self._records()
            except DependencyUnavailable:
                await asyncio.sleep(0.2)

    async def _records(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        async for blob in self.storage.descriptions("usage/"):
            text = await self.storage.get(f"usage/{blob.name}") or b""
            assert not text or text.endswith(b"\n"), "a torn line"
            found += [json.loads(line) for line in text.splitlines()]
        return found

    def journals(self) -> list[Path]:
        """With records or notes in them, of processes that live or have died."""
        root = Path(self.stack.environment["SLUICE_LEDGER_JOURNAL"])
        return [path for path in root.iterdir() if any(path.iterdir())]

    async def settled(self, within: float = 90.0) -> list[dict[str, Any]]:
        """The records, once the journals of all who died are in storage, and nothing more comes."""
        async with asyncio.timeout(within):
            while True:
                before = await self.records()
                await self._call("GET", "/v1/usage", {200})
                await asyncio.sleep(1.0)
                found = await self.records()
                known = {each["request_id"] for each in found}
                arrived = set(self.models.calls) <= known
                if arrived and len(self.journals()) <= 1 and len(before) == len(found):
                    return found


@asynccontextmanager
async def ledger_lab(folder: Path) -> AsyncIterator[LedgerLab]:
    models = Models()
    app = web.Application()
    app.router.add_post("/{name}/chat/completions", models.chat)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        deployments = folder / "deployments.yaml"
        url = "http://{}:{}".format(*runner.addresses[0][:2])
        deployments.write_text(_DEPLOYMENTS.format(url=url))
        with pytest.MonkeyPatch.context() as settings:
            settings.setenv("SLUICE_DEPLOYMENTS", str(deployments))
            async with (
                clean_stack(Options(parts=PARTS), longest_delay_seconds=1.0) as stack,
                batches_of(stack, timeout_seconds=20) as batches,
                StorageAccount(connection_string=stack.blob).open() as service,
            ):
                storage = Container(lambda: service, "sluice-ledger")
                yield LedgerLab(stack, models, batches.api, batches, storage)
    finally:
        await runner.cleanup()
