"""The local stack with tenants whose requests are screened, each in its own way."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp

from contracts.identity import Role
from contracts.keys import new_key
from devhost.inference.simulated import Simulated, simulated
from devhost.inference.simulated.deployment import Deployment
from devhost.stack.plan import Options
from devhost.stack.running import Stack
from devhost.stack.running import stack as running_stack
from stores.blobs import Container, StorageAccount
from stores.keys import KeyStore, StoredKey
from tests.integration.batches_lab import Batches
from tests.integration.content_safety_server import KEY, ContentSafetyServer, content_safety
from tests.integration.tenants_lab import DEPLOYMENTS, MODEL, PARTS, bearer

STRICT, MILD, SAFE, OPEN, FREE = "strict", "mild", "safe", "open", "free"

TENANTS = """
service_bus: {{unsigned_tenant: strict}}
defaults:
  screening:
    content_safety:
      endpoint: {url}
      auth: {{key: {key}}}
      timeout_seconds: 1
tenants:
  strict:
    screening:
      injection: {{decision: block}}
      rate: {{decision: block, least_per_minute: 200}}
      repetition: {{decision: block, times: 8}}
  mild:
    screening:
      injection: {{decision: flag}}
      size: {{decision: flag, characters: 1000}}
      key_sharing: {{decision: flag, networks: 2}}
      repetition: {{decision: flag, times: 3}}
  safe: {{screening: {{content_safety: {{decision: block, on_error: refuse}}}}}}
  open: {{screening: {{content_safety: {{decision: flag}}}}}}
  free: {{}}
"""


@dataclass(frozen=True, slots=True)
class ScreeningLab:
    stack: Stack
    models: Simulated
    safety: ContentSafetyServer
    http: aiohttp.ClientSession
    keys: dict[str, str]
    """By tenant."""
    sessions: list[aiohttp.ClientSession] = field(default_factory=list)

    @property
    def model(self) -> Deployment:
        """Every model's only deployment."""
        return self.models[MODEL]

    def calls(self) -> int:
        """That models were asked."""
        return self.model.counts.arrived

    async def call(
        self, tenant: str, path: str, body: Any, status: int = 200, **headers: str
    ) -> tuple[Any, dict[str, str]]:
        """The body and the headers that the tenant's key is answered with."""
        sent = bearer(self.keys[tenant]) | headers
        async with self.http.post(path, json=body, headers=sent) as answer:
            assert answer.status == status, await answer.text()
            told = {name.lower(): value for name, value in answer.headers.items()}
            if answer.content_type == "text/event-stream":
                return await answer.text(), told
            return await answer.json(content_type=None), told

    async def get(self, tenant: str, path: str) -> Any:
        async with self.http.get(path, headers=bearer(self.keys[tenant])) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json(content_type=None)

    def batches(self, tenant: str) -> Batches:
        session = aiohttp.ClientSession(self.stack.http, headers=bearer(self.keys[tenant]))
        self.sessions.append(session)
        return Batches(session)


@asynccontextmanager
async def screening_lab(folder: Path) -> AsyncIterator[ScreeningLab]:
    async with simulated(MODEL) as models, content_safety() as safety:
        deployments, tenants = folder / "deployments.yaml", folder / "tenants.yaml"
        deployments.write_text(DEPLOYMENTS.format(url=f"{models.base_url}/{MODEL}"))
        tenants.write_text(TENANTS.format(url=safety.url, key=KEY))
        options = Options(parts=PARTS, deployments=deployments, tenants=tenants)
        async with running_stack(options) as stack, _clients(stack) as (blobs, http):
            keys = {name: await _key(blobs, name) for name in (STRICT, MILD, SAFE, OPEN, FREE)}
            lab = ScreeningLab(stack, models, safety, http, keys)
            try:
                yield lab
            finally:
                for session in lab.sessions:
                    await session.close()


async def _key(blobs: Any, tenant: str) -> str:
    made = new_key()
    stored = StoredKey(
        id=made.id,
        tenant=tenant,
        roles=frozenset(Role),
        digest=made.digest,
        created_at=datetime.now(UTC),
        created_by="test",
    )
    await KeyStore(Container(lambda: blobs, "sluice-keys")).add(stored)
    return made.text


@asynccontextmanager
async def _clients(stack: Stack) -> AsyncIterator[tuple[Any, aiohttp.ClientSession]]:
    timeout = aiohttp.ClientTimeout(total=300)
    async with (
        StorageAccount(connection_string=stack.blob).open() as blobs,
        aiohttp.ClientSession(stack.http, timeout=timeout) as http,
    ):
        yield blobs, http
