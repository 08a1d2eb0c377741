"""Two Functions hosts on one task hub and one storage account, and tenants with quotas."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from contracts.identity import Role
from contracts.keys import new_key
from devhost.inference.simulated import Simulated
from devhost.stack.plan import Options
from devhost.stack.running import Stack
from devhost.stack.running import stack as running_stack
from stores.blobs import Container, StorageAccount
from stores.keys import KeyStore, StoredKey
from tests.integration.batches_lab import Batches
from tests.integration.functions_host_harness import ROOT, functions_host
from tests.integration.tenants_lab import bearer

PARTS = frozenset({"azurite", "hub", "service_bus", "host"})


@dataclass
class Heard:
    """What callers were answered."""

    times: list[float] = field(default_factory=list)
    """When calls were answered well."""
    tokens: list[int] = field(default_factory=list)
    """That those used."""
    refused: list[tuple[int, dict[str, str], dict[str, Any]]] = field(default_factory=list)
    """Status, headers and body of the others."""

    def most_in(self, seconds: float) -> int:
        """Calls in any stretch of so many seconds."""
        return max(sum(begin <= at < begin + seconds for at in self.times) for begin in self.times)

    @property
    def statuses(self) -> set[int]:
        return {status for status, _, _ in self.refused}


@dataclass
class QuotasLab:
    stack: Stack
    hosts: tuple[aiohttp.ClientSession, ...]
    keys: dict[str, str]
    """By tenant."""

    @asynccontextmanager
    async def batches(self, tenant: str) -> AsyncIterator[Batches]:
        """A tenant's client of batches, at the first host."""
        async with aiohttp.ClientSession(self.stack.http, headers=bearer(self.keys[tenant])) as api:
            yield Batches(api)

    async def ask(self, host: int, tenant: str, path: str, body: Any, heard: Heard) -> bool:
        """Whether the call was answered well."""
        headers = bearer(self.keys[tenant])
        async with self.hosts[host].post(path, json=body, headers=headers) as response:
            told = await response.json()
            if response.status >= 300:
                shown = {name.lower(): value for name, value in response.headers.items()}
                heard.refused.append((response.status, shown, told))
                return False
            heard.times.append(time.monotonic())
            heard.tokens.append((told.get("usage") or {}).get("total_tokens", 0))
            return True

    async def flood(
        self, tenant: str, path: str, body: Any, seconds: float, *, callers: int = 4
    ) -> Heard:
        """From both hosts, as many as get through."""
        heard = Heard()
        until = time.monotonic() + seconds

        async def caller(host: int) -> None:
            while time.monotonic() < until:
                if not await self.ask(host, tenant, path, body, heard):
                    await asyncio.sleep(0.1)

        await asyncio.gather(*(caller(host) for host in range(2) for _ in range(callers)))
        return heard


@asynccontextmanager
async def quotas_lab(
    folder: Path, models: Simulated, deployments: str, tenants: str
) -> AsyncIterator[QuotasLab]:
    """A folder that was used before goes on where it was."""
    files = folder / "deployments.yaml", folder / "tenants.yaml"
    for file, text in zip(files, (deployments, tenants), strict=True):
        file.write_text(text)
    options = Options(parts=PARTS, deployments=files[0], tenants=files[1])
    with ExitStack() as running:
        async with (
            running_stack(options, state=folder / "state") as one,
            AsyncExitStack() as open_sessions,
        ):
            other = await asyncio.to_thread(
                running.enter_context, _second_host(folder, one, options)
            )
            sessions = [
                await open_sessions.enter_async_context(aiohttp.ClientSession(address))
                for address in (one.http, other.address)
            ]
            keys = await _issued(one, tenants)
            yield QuotasLab(one, tuple(sessions), keys)


def _second_host(folder: Path, one: Stack, options: Options):
    hub = one.log("hub").read_text().partition("Task hub ready: ")[2].split()[0]
    settings = {
        **one.environment,
        "SLUICE_DEPLOYMENTS": str(options.deployments),
        "SLUICE_TENANTS": str(options.tenants),
        "SLUICE_LEDGER_JOURNAL": str(folder / "ledger-2"),
    }
    return functions_host(folder, hub, "--key", one.api_key, app=ROOT, **settings)


async def _issued(stack: Stack, tenants: str) -> dict[str, str]:
    """A key for each tenant."""
    issued: dict[str, str] = {}
    async with StorageAccount(connection_string=stack.blob).open() as blobs:
        store = KeyStore(Container(lambda: blobs, "sluice-keys"))
        for name in yaml.safe_load(tenants)["tenants"]:
            made = new_key()
            await store.add(
                StoredKey(
                    id=made.id,
                    tenant=name,
                    roles=frozenset(Role),
                    digest=made.digest,
                    created_at=datetime.now(UTC),
                    created_by="test",
                )
            )
            issued[name] = made.text
    return issued
