"""A stack with tenants, priced deployments and a past: what the console is looked at with."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp

from contracts.identity import Role
from contracts.keys import new_key
from devhost.inference.simulated import (
    Behaviour,
    Lognormal,
    RetryAfter,
    SimulatedClient,
    Status,
    simulated_process,
)
from devhost.stack.plan import Options
from devhost.stack.running import Stack
from devhost.stack.running import stack as running_stack
from stores.blobs import Container, StorageAccount
from stores.keys import KeyStore, StoredKey

PARTS = frozenset({"azurite", "hub", "service_bus", "host"})
BEHAVIOURS = {
    "sweden": Behaviour(latency=Lognormal(p50_ms=120, p95_ms=420), completion_tokens=40),
    "france": Behaviour(
        latency=Lognormal(p50_ms=180, p95_ms=600),
        completion_tokens=40,
        failures=(Status(503, probability=0.1),),
    ),
    "canary": Behaviour(latency=Lognormal(p50_ms=90, p95_ms=300), completion_tokens=40),
    "embedding": Behaviour(latency=Lognormal(p50_ms=15, p95_ms=40)),
    "full": Behaviour(capacity=0, retry_after=RetryAfter(seconds=3600)),
    "patchy": Behaviour(failures=(Status(400, probability=0.2),), completion_tokens=20),
}
DEPLOYMENTS = """
models:
  chat:
    deployments:
      - name: chat-sweden
        protocol: openai
        url: {url}/sweden/v1
        model: simulated
        region: swedencentral
        weight: 6
        max_concurrency: 16
        price: {{input_per_million_tokens: 2.50, output_per_million_tokens: 10.00, currency: EUR}}
      - name: chat-france
        protocol: openai
        url: {url}/france/v1
        model: simulated
        region: francecentral
        weight: 2
        max_concurrency: 12
        price: {{input_per_million_tokens: 2.50, output_per_million_tokens: 10.00, currency: EUR}}
      - name: chat-canary
        protocol: openai
        url: {url}/canary/v1
        model: simulated
        version: "2"
        region: swedencentral
        weight: 0
        max_concurrency: 8
        price: {{input_per_million_tokens: 1.20, output_per_million_tokens: 4.80, currency: EUR}}
  embed:
    deployments:
      - name: embed-sweden
        protocol: openai
        url: {url}/embedding/v1
        model: simulated
        region: swedencentral
        max_concurrency: 32
        price: {{per_request: 0.0004, currency: EUR}}
  classifier:
    deployments:
      - {{name: classifier-1, protocol: aml_online, url: "{url}/embedding/score"}}
  crowded:
    deployments:
      - {{name: crowded-1, protocol: openai, url: "{url}/full/v1", model: simulated}}
  drafts:
    deployments:
      - name: drafts-1
        protocol: openai
        url: {url}/patchy/v1
        model: simulated
        price: {{output_per_million_tokens: 15.00, currency: EUR}}
"""
TENANTS = """
service_bus: {unsigned_tenant: research}
tenants: {research: {}, sales: {}}
"""


@dataclass(frozen=True, slots=True)
class ConsoleLab:
    stack: Stack
    operator: str
    """A key of research's with every role."""
    caller: str
    """A key of sales' that may send and read alone."""
    steering: SimulatedClient
    api: aiohttp.ClientSession
    """The operator's."""

    async def call(self, method: str, path: str, **options: Any) -> Any:
        async with self.api.request(method, path, **options) as answer:
            assert answer.status < 300, await answer.text()
            return await answer.json(content_type=None)

    async def job(self, flow: str, wait: int = 60, **input: Any) -> dict[str, Any]:
        """A job that has ended, or waits for capacity."""
        body = {"flow": flow, "input": input}
        headers = {"Prefer": f"wait={wait}"} if wait else {}
        record: dict[str, Any] = await self.call("POST", "/v1/jobs", json=body, headers=headers)
        return record

    async def batch(self, lines: bytes, name: str, wait: int = 120) -> dict[str, Any]:
        """A batch that has ended."""
        form = aiohttp.FormData({"purpose": "batch"})
        form.add_field("file", lines, filename=name)
        file = await self.call("POST", "/v1/files", data=form)
        body = {
            "input_file_id": file["id"],
            "endpoint": json.loads(lines.partition(b"\n")[0])["url"],
            "completion_window": "24h",
            "metadata": {"filename": name},
        }
        batch = await self.call("POST", "/v1/batches", json=body)
        path, headers = f"/v1/batches/{batch['id']}", {"Prefer": f"wait={wait}"}
        ended: dict[str, Any] = await self.call("GET", path, headers=headers)
        return ended

    async def live(self) -> None:
        """Some minutes of a day: jobs, batches, and a job that waits for capacity."""
        crowded = {"flow": "summarize", "model": "crowded", "input": {"text": TEXTS[3]}}
        await asyncio.gather(
            self.call("POST", "/v1/jobs", json=crowded),
            *(self.job("summarize", text=text) for text in TEXTS),
            *(self.job("embed", text=text) for text in TEXTS),
            self.job("answer", question="When is it open?", documents=TEXTS),
            self.job("classify", 0, text=TEXTS[0], labels=["travel", "sport"]),
            self.batch(chat_lines(120, "chat"), "letters.jsonl"),
            self.batch(chat_lines(60, "drafts"), "drafts.jsonl"),
            self.batch(embedding_lines(60), "catalogue.jsonl"),
        )


TEXTS = [
    "The museum is closed on Mondays. Entry costs nine euros. It is near the station.",
    "The bridge is closed. It opens again on Monday, when the frost is over.",
    "The ferry leaves twice a day in summer, and once a day when the lake is calm in winter.",
    "The striker scored twice, and the keeper saved a penalty in the last minute.",
]


def chat_lines(count: int, model: str) -> bytes:
    """A batch's file."""
    bodies = [
        {"model": model, "messages": [{"role": "user", "content": text}]} for text in _texts(count)
    ]
    return _lines("/v1/chat/completions", bodies)


def embedding_lines(count: int) -> bytes:
    """As `chat_lines`."""
    return _lines("/v1/embeddings", [{"model": "embed", "input": text} for text in _texts(count)])


def _texts(count: int) -> list[str]:
    return [TEXTS[number % len(TEXTS)] for number in range(count)]


def _lines(url: str, bodies: list[dict[str, Any]]) -> bytes:
    lines = (
        {"custom_id": f"letter-{number:05}", "method": "POST", "url": url, "body": body}
        for number, body in enumerate(bodies, 1)
    )
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


@asynccontextmanager
async def console_lab(folder: Path) -> AsyncIterator[ConsoleLab]:
    with simulated_process(*BEHAVIOURS, seed=11) as url:
        deployments, tenants = folder / "deployments.yaml", folder / "tenants.yaml"
        deployments.write_text(DEPLOYMENTS.format(url=url))
        tenants.write_text(TENANTS)
        options = Options(parts=PARTS, deployments=deployments, tenants=tenants)
        async with running_stack(options) as stack:
            operator = await _key(stack, "research", frozenset(Role), "The console")
            caller = await _key(stack, "sales", frozenset({Role.SUBMIT, Role.READ}), "Orders")
            async with (
                aiohttp.ClientSession() as session,
                aiohttp.ClientSession(
                    stack.http, headers={"Authorization": f"Bearer {operator}"}
                ) as api,
            ):
                steering = SimulatedClient(session, url)
                for name, behaviour in BEHAVIOURS.items():
                    await steering.set(name, behaviour)
                yield ConsoleLab(stack, operator, caller, steering, api)


async def _key(stack: Stack, tenant: str, roles: frozenset[Role], note: str) -> str:
    made = new_key()
    async with StorageAccount(connection_string=stack.blob).open() as blobs:
        await KeyStore(Container(lambda: blobs, "sluice-keys")).add(
            StoredKey(
                id=made.id,
                tenant=tenant,
                roles=roles,
                digest=made.digest,
                created_at=datetime.now(UTC),
                created_by="storage-account",
                note=note,
            )
        )
    return made.text
