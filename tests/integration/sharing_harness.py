"""Two hosts on one task hub, and simulated deployments that both call."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from devhost.stack.plan import Options
from devhost.stack.running import stack as running_stack
from tests.integration.functions_host_harness import KEY, ROOT, Child, functions_host
from tests.integration.task_hub_harness import HubProcess

APP = ROOT / "tests" / "apps" / "sharing"


@dataclass
class Worker:
    """One of the hosts."""

    session: aiohttp.ClientSession
    host: Child

    async def call(self, model: str) -> dict:
        """The answer's code, and the deployment that gave it."""
        async with self.session.post(f"/call/{model}") as response:
            assert response.status == 200, await response.text()
            return await response.json()

    async def status(self, deployment: str) -> dict:
        """As this worker knows it, without asking."""
        async with self.session.get("/statuses") as response:
            return (await response.json())[deployment]

    async def until(self, deployment: str, **wanted: Any) -> float:
        """Seconds until the deployment's status is so here."""
        began = time.monotonic()
        while not wanted.items() <= (status := await self.status(deployment)).items():
            assert time.monotonic() - began < 60, status
            await asyncio.sleep(0.02)
        return time.monotonic() - began

    async def ask(self, method: str, path: str, body: object = None) -> tuple[int, dict]:
        """An operator's request."""
        async with self.session.request(method, path, json=body) as response:
            return response.status, await response.json()


@asynccontextmanager
async def two_workers(folder: Path, deployments: str) -> AsyncIterator[list[Worker]]:
    """With this text as deployments.yaml."""
    (folder / "deployments.yaml").write_text(deployments)
    (folder / "flows").mkdir()
    settings = {
        "SLUICE_DEPLOYMENTS": str(folder / "deployments.yaml"),
        "SLUICE_FLOWS": str(folder / "flows"),
    }
    async with running_stack(Options(parts=frozenset({"azurite"}))) as stack:
        settings["AzureWebJobsStorage"] = stack.blob  # for the audit log
        async with _two_workers(folder, settings) as workers:
            yield workers


@asynccontextmanager
async def _two_workers(folder: Path, settings: dict[str, str]) -> AsyncIterator[list[Worker]]:
    with ExitStack() as running:
        hub = running.enter_context(HubProcess(folder / "hub"))
        hosts = [
            await asyncio.to_thread(
                running.enter_context, functions_host(folder, hub.address, app=APP, **settings)
            )
            for _ in range(2)
        ]
        headers = {"x-functions-key": KEY}
        async with (
            aiohttp.ClientSession(hosts[0].address, headers=headers) as one,
            aiohttp.ClientSession(hosts[1].address, headers=headers) as other,
        ):
            yield [Worker(one, hosts[0]), Worker(other, hosts[1])]
