"""kill -9 while a batch runs: each line ends once, and what is paid for twice was under way.

The model counts its calls by line. At each kill the lines under way are those that have been called
since the kill before and are not in storage: they alone may be called again.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from devhost.stack.plan import Options
from devhost.stack.running import Stack
from stores.blobs import Container, StorageAccount
from tests.faults.leftovers import clean_stack
from tests.integration.batches_lab import ENDED, PARTS, Batches, Object, batches_of
from tests.unit.lines_fakes import chat_line, jsonl

GIVE_UP_SECONDS = 900
SETTLE_SECONDS = 0.3
"""For what is on the wire; nothing is started again before."""

_DEPLOYMENTS = """
models:
  chat:
    deployments:
      - {{name: chat-1, protocol: openai, url: "{url}/v1", model: counted}}
  embed:
    deployments:
      - {{name: embed-1, protocol: openai, url: "{url}/v1", model: counted}}
  classifier:
    deployments:
      - {{name: classifier-1, protocol: aml_online, url: "{url}/score"}}
"""


@dataclass
class Model:
    """A chat model that counts its calls by what it is told; 429 when it is full."""

    seconds: float = 0.05
    capacity: int = 64
    url: str = ""
    calls: Counter[str] = field(default_factory=Counter)
    in_flight: int = 0

    async def chat(self, request: web.Request) -> web.Response:
        content = (await request.json())["messages"][0]["content"]
        if self.in_flight >= self.capacity:
            return web.json_response({}, status=429, headers={"Retry-After": "1"})
        self.calls[content] += 1
        self.in_flight += 1
        try:
            await asyncio.sleep(self.seconds)
        finally:
            self.in_flight -= 1
        choice = {"index": 0, "message": {"role": "assistant", "content": content}}
        return web.json_response({"object": "chat.completion", "choices": [choice]})


@asynccontextmanager
async def counting_model(folder: Path) -> AsyncIterator[Model]:
    """The model, and the app settings for it, for every stack that is started in the block."""
    model = Model()
    app = web.Application()
    app.router.add_post("/v1/chat/completions", model.chat)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        model.url = "http://{}:{}".format(*runner.addresses[0][:2])
        deployments = folder / "deployments.yaml"
        deployments.write_text(_DEPLOYMENTS.format(url=model.url))
        with pytest.MonkeyPatch.context() as settings:
            settings.setenv("SLUICE_DEPLOYMENTS", str(deployments))
            yield model
    finally:
        await runner.cleanup()


@dataclass
class Storm:
    """A batch, and the kills while it runs."""

    stack: Stack
    model: Model
    storage: Container
    lines: int
    seed: int
    under_way: list[set[str]] = field(default_factory=list)
    """The lines at each kill."""

    async def kill(self, victim: str) -> None:
        """Kill a part, and wait until there is another; note which lines were under way."""
        pid = self.stack.pids[victim]
        os.kill(pid, signal.SIGKILL)
        await asyncio.sleep(SETTLE_SECONDS)
        called = self.model.calls - self._calls_before
        self._calls_before = Counter(self.model.calls)
        self.under_way.append(set(called) - await self.kept())
        while self.stack.pids.get(victim) in (None, pid):
            await asyncio.sleep(0.05)

    async def kept(self) -> set[str]:
        """The lines that are in storage; none twice."""
        found: list[str] = []
        async for blob in self.storage.descriptions("default/slices/"):
            if not blob.name.endswith(".left"):
                text = await self.storage.get(f"default/slices/{blob.name}") or b""
                assert not text or text.endswith(b"\n"), "a torn line"
                found += [json.loads(line)["custom_id"] for line in text.splitlines()]
        assert len(set(found)) == len(found)
        return set(found)

    async def run(self, kills: int, victim: str) -> None:
        """One kill after the other, each once a next part of the batch has been called."""
        chance = random.Random(self.seed)
        self._calls_before: Counter[str] = Counter()
        for _ in range(kills):
            since = self.model.calls.total()
            enough = chance.uniform(0.3, 1.0) * self.lines / (kills + 3)
            while self.model.calls.total() - since < enough:
                if len(self.model.calls) == self.lines:
                    return  # and nothing is left to be called
                await asyncio.sleep(0.005)
            await self.kill(victim)


async def ended(batches: Batches, batch_id: str) -> Object:
    """Over the host's deaths."""
    while True:
        try:
            batch = await batches.get(batch_id)
            if batch["status"] in ENDED:
                return batch
        except (aiohttp.ClientError, AssertionError, TimeoutError):
            pass
        await asyncio.sleep(0.2)


@pytest.mark.parametrize(
    ("lines", "kills", "victim"),
    [
        (600, 3, "host"),
        pytest.param(2000, 10, "host", marks=pytest.mark.long),
        pytest.param(2000, 5, "hub", marks=pytest.mark.long),
    ],
)
async def test_every_line_ends_once(lines, kills, victim, tmp_path):
    async with (
        asyncio.timeout(GIVE_UP_SECONDS),
        counting_model(tmp_path) as model,
        clean_stack(Options(parts=PARTS), longest_delay_seconds=1.0) as stack,
        batches_of(stack, timeout_seconds=60) as batches,
        StorageAccount(connection_string=stack.blob).open() as service,
    ):
        storm = Storm(stack, model, Container(lambda: service, "sluice-files"), lines, seed=lines)
        data = jsonl(
            *(
                chat_line(
                    f"r{n}",
                    body={"model": "chat", "messages": [{"role": "user", "content": f"r{n}"}]},
                )
                for n in range(lines)
            )
        )
        began = time.monotonic()
        batch_id = (await batches.begin(data))["id"]
        await storm.run(kills, victim)
        batch = await ended(batches, batch_id)
        seconds = time.monotonic() - began
        out, err = await batches.results(batch)

    twice = model.calls.total() - lines
    print(
        f"{lines} lines, {len(storm.under_way)} kills of the {victim}: {batch['status']} after"
        f" {seconds:.0f} s, {len(out)} lines answered and {len(err)} failed, {twice} calls paid"
        f" twice; lines under way at each kill {[len(each) for each in storm.under_way]}"
    )
    assert len(storm.under_way) == kills or victim != "host"
    assert batch["status"] == "completed"
    assert batch["request_counts"] == {"total": lines, "completed": lines, "failed": 0}
    assert out.keys() == {f"r{n}" for n in range(lines)}
    for custom_id, line in out.items():
        answer = line["response"]["body"]["choices"][0]["message"]["content"]
        assert answer == custom_id, "no line has another's answer"
    if victim == "host":
        times = Counter(custom_id for each in storm.under_way for custom_id in each)
        again = {name: calls for name, calls in model.calls.items() if calls > 1 + times[name]}
        assert not again, "a line was called again though it was not under way at a kill"
        assert twice <= times.total()
