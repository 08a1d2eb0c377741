"""The local stack with two tenants, research and sales: callers must say who they are."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp

from contracts.identity import Role
from contracts.keys import NewKey, new_key
from devhost.inference.simulated import simulated
from devhost.issuer.server import IssuerServer, serving
from devhost.issuer.signing_key import SigningKey
from devhost.stack.plan import Options
from devhost.stack.running import Stack
from devhost.stack.running import stack as running_stack
from stores.blobs import Container, StorageAccount
from stores.keys import KeyStore, StoredKey

RESEARCH, SALES = "research", "sales"
AUDIENCE = "api://sluice"
PRODUCER = "https://orders.example.com"
PARTS = frozenset({"azurite", "hub", "service_bus", "host"})
MODEL = "sim"

DEPLOYMENTS = """
models:
  chat:
    deployments:
      - {{name: chat-1, protocol: openai, url: "{url}/v1", model: simulated}}
  embed:
    deployments:
      - {{name: embed-1, protocol: openai, url: "{url}/v1", model: simulated}}
  classifier:
    deployments:
      - {{name: classifier-1, protocol: aml_online, url: "{url}/score"}}
"""
TENANTS = """
identity:
  platform: true
  issuers:
    - {{issuer: "{issuer.name}", audience: "{issuer.audience}", jwks_url: "{url}"}}
    - issuer: {producer}
      audience: {issuer.audience}
      keys: [{key}]
      signs_messages: true
tenants:
  research:
    members:
      - {{issuer: "{issuer.name}", claim: groups, value: research}}
      - {{issuer: {producer}, claim: sub, value: orders}}
  sales:
    members:
      - {{issuer: "{issuer.name}", claim: groups, value: sales}}
"""


@dataclass(frozen=True, slots=True)
class TenantsLab:
    stack: Stack
    issuer: IssuerServer
    producer_key: SigningKey
    """Of the issuer PRODUCER, whose tokens are for one message each."""
    keys: KeyStore
    blobs: Any
    """A client of the whole storage account."""
    http: aiohttp.ClientSession
    """Without an identity of its own."""

    def token(self, tenant: str = RESEARCH, roles: Iterable[Role] = Role, **claims: Any) -> str:
        told = {"groups": [tenant], "roles": [f"sluice.{role}" for role in roles]}
        return self.issuer.issuer.token(told | claims)

    async def key(
        self, tenant: str = RESEARCH, roles: Iterable[Role] = Role, **rest: Any
    ) -> NewKey:
        """A key that storage knows."""
        made = new_key()
        stored = StoredKey(
            id=made.id,
            tenant=tenant,
            roles=frozenset(roles),
            digest=made.digest,
            created_at=datetime.now(UTC),
            created_by="test",
            **rest,
        )
        await self.keys.add(stored)
        return made

    async def call(
        self, method: str, path: str, who: str | None, status: int = 200, **options: Any
    ) -> Any:
        """The JSON that a caller with this key or token is answered with."""
        headers = ({} if who is None else bearer(who)) | options.pop("headers", {})
        async with self.http.request(method, path, headers=headers, **options) as answer:
            assert answer.status == status, await answer.text()
            return await answer.json(content_type=None)


def bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


@asynccontextmanager
async def tenants_lab(folder: Path, parts: frozenset[str] = PARTS) -> AsyncIterator[TenantsLab]:
    producer_key = SigningKey.make("EdDSA")
    async with (
        simulated(MODEL) as model,
        serving(audience=AUDIENCE) as issuer,
    ):
        deployments, tenants = folder / "deployments.yaml", folder / "tenants.yaml"
        deployments.write_text(DEPLOYMENTS.format(url=f"{model.base_url}/{MODEL}"))
        tenants.write_text(
            TENANTS.format(
                issuer=issuer.issuer,
                url=issuer.keys_url,
                producer=PRODUCER,
                key=producer_key.published,
            )
        )
        options = Options(parts=parts, deployments=deployments, tenants=tenants)
        async with running_stack(options) as stack, _clients(stack) as (blobs, http):
            keys = KeyStore(Container(lambda: blobs, "sluice-keys"))
            yield TenantsLab(stack, issuer, producer_key, keys, blobs, http)


@asynccontextmanager
async def _clients(stack: Stack) -> AsyncIterator[tuple[Any, aiohttp.ClientSession]]:
    timeout = aiohttp.ClientTimeout(total=300)
    async with (
        StorageAccount(connection_string=stack.blob).open() as blobs,
        aiohttp.ClientSession(stack.http, timeout=timeout) as http,
    ):
        yield blobs, http
