"""The local stack with two tenants, and callers with the keys that an operator gave them."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from devhost.stack.plan import Options
from devhost.stack.running import Stack
from devhost.stack.running import stack as running_stack
from tests.integration.batches_lab import PARTS, model_of_batches

ROOT = Path(__file__).parents[2]
TENANTS = """
tenants:
  ops: {}
  research: {}
"""

type Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who comes with a key."""

    session: aiohttp.ClientSession

    async def call(
        self, method: str, path: str, status: int | None = 200, **options: Any
    ) -> Object:
        """The answer's JSON; `status` is what it must have, or None for any."""
        async with self.session.request(method, path, **options) as response:
            assert status in (None, response.status), await response.text()
            answer: Object = await response.json()
            return answer

    async def status(self, method: str, path: str, **options: Any) -> int:
        async with self.session.request(method, path, **options) as response:
            return response.status


class KeysLab:
    """A stack, and an operator of the tenant `ops`."""

    operator_key: str
    operator: Caller

    def __init__(self, stack: Stack, open_sessions: AsyncExitStack) -> None:
        self.stack = stack
        self._sessions = open_sessions

    async def caller(self, key: str | None) -> Caller:
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        timeout = aiohttp.ClientTimeout(total=300)
        session = aiohttp.ClientSession(self.stack.http, headers=headers, timeout=timeout)
        return Caller(await self._sessions.enter_async_context(session))

    async def issued(self, tenant: str, *roles: str, **fields: Any) -> Object:
        """A new key, by the operator."""
        body = {"tenant": tenant, "roles": roles} | fields
        return await self.operator.call("POST", "/v1/keys", 201, json=body)

    async def dev_keys(
        self, *arguments: str, key: str | None = None, **environ: str
    ) -> tuple[int, str, str]:
        """Status, standard output and standard error of `./dev keys`, without the set-up."""
        if "--storage" not in arguments:
            arguments = (*arguments, "--url", self.stack.http)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "devhost.keys", *arguments),
            cwd=ROOT,
            env=os.environ | environ | ({} if key is None else {"SLUICE_KEY": key}),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        said, told = await asyncio.wait_for(process.communicate(), 120)
        assert process.returncode is not None
        return process.returncode, said.decode(), told.decode()


@asynccontextmanager
async def keys_lab(folder: Path) -> AsyncIterator[KeysLab]:
    """The first operator's key is issued in the storage account, as docs/tenants.md says."""
    file = folder / "tenants.yaml"
    file.write_text(TENANTS)
    async with (
        model_of_batches(folder),
        running_stack(Options(parts=PARTS, tenants=file)) as stack,
        AsyncExitStack() as sessions,
    ):
        lab = KeysLab(stack, sessions)
        roles = "submit,read,operate,bill"
        status, key, told = await lab.dev_keys(
            *("create", "--storage", "--tenant", "ops", "--roles", roles),
            AzureWebJobsStorage=stack.blob,
        )
        assert status == 0, told
        lab.operator_key = key.strip()
        lab.operator = await lab.caller(lab.operator_key)
        yield lab
