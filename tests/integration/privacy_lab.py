"""A stack whose model says back what it was told, and remembers it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from contracts.identity import Role
from contracts.keys import new_key
from devhost.stack.plan import Options
from devhost.stack.running import Stack
from devhost.stack.running import stack as running_stack
from stores.blobs import Container, StorageAccount
from stores.keys import KeyStore, StoredKey

PARTS = frozenset({"azurite", "hub", "service_bus", "host"})
PIECE = 3
"""Characters of a streamed event."""
FAIL, REFUSE, BREAK_OFF, HOLD = "please-fail", "please-refuse", "please-break-off", "please-hold"
"""What a prompt may hold for the model to do so."""


@dataclass
class EchoModel:
    """OpenAI's chat completions, at /v1."""

    url: str = ""
    answer: str = "You said: "
    heard: list[str] = field(default_factory=list)
    """Bodies of requests."""
    release: asyncio.Event = field(default_factory=asyncio.Event)
    """Until it is set, held calls are not answered."""

    async def chat(self, request: web.Request) -> web.StreamResponse:
        text = await request.text()
        self.heard.append(text)
        body = json.loads(text)
        said = " ".join(str(message["content"]) for message in body["messages"])
        if HOLD in said:
            await self.release.wait()
        for word, status in ((FAIL, 500), (REFUSE, 400)):
            if word in said:
                error = {"message": f"I cannot take: {said}", "code": "bad_prompt"}
                return web.json_response({"error": error}, status=status)
        if body.get("stream"):
            return await self._stream(request, said)
        choice = {"index": 0, "message": {"role": "assistant", "content": self.answer + said}}
        usage = {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10}
        return web.json_response(
            {"id": "c", "object": "chat.completion", "choices": [choice], "usage": usage}
        )

    async def _stream(self, request: web.Request, said: str) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        answer = self.answer + said
        for start in range(0, len(answer), PIECE):
            choice = {"index": 0, "delta": {"content": answer[start : start + PIECE]}}
            await response.write(_event({"id": "c", "choices": [choice]}))
            if BREAK_OFF in said and start > len(answer) // 2:
                assert request.transport is not None
                request.transport.close()
                return response
        choice = {"index": 0, "delta": {}, "finish_reason": "stop"}
        await response.write(_event({"id": "c", "choices": [choice]}) + b"data: [DONE]\n\n")
        return response


def _event(data: Any) -> bytes:
    return b"data: " + json.dumps(data).encode() + b"\n\n"


@asynccontextmanager
async def echo_model() -> AsyncIterator[EchoModel]:
    model = EchoModel()
    app = web.Application()
    app.router.add_post("/v1/chat/completions", model.chat)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    model.url = f"http://{host}:{port}/v1"
    try:
        yield model
    finally:
        model.release.set()
        await runner.cleanup()


@dataclass(frozen=True, slots=True)
class PrivacyLab:
    stack: Stack
    model: EchoModel
    keys: KeyStore
    blobs: Any
    """A client of the whole storage account."""
    http: aiohttp.ClientSession
    """Without an identity of its own."""

    async def key(self, tenant: str) -> str:
        """A new API key of a tenant."""
        made = new_key()
        await self.keys.add(
            StoredKey(
                id=made.id,
                tenant=tenant,
                roles=frozenset(Role),
                digest=made.digest,
                created_at=datetime.now(UTC),
                created_by="test",
            )
        )
        return made.text

    @asynccontextmanager
    async def caller(self, secret: str) -> AsyncIterator[aiohttp.ClientSession]:
        """A session of whoever has this key or token."""
        headers = {"Authorization": f"Bearer {secret}"}
        timeout = aiohttp.ClientTimeout(total=300)
        async with aiohttp.ClientSession(
            self.stack.http, headers=headers, timeout=timeout
        ) as session:
            yield session

    async def names(self, container: str) -> list[str]:
        """Of all its blobs."""
        client = self.blobs.get_container_client(container)
        if not await client.exists():
            return []
        return [blob.name async for blob in client.list_blobs()]


@asynccontextmanager
async def privacy_lab(
    folder: Path, deployments: str, tenants: str, **settings: str
) -> AsyncIterator[PrivacyLab]:
    """`{url}` in the deployments is the model's."""
    async with echo_model() as model:
        models, known = folder / "deployments.yaml", folder / "tenants.yaml"
        models.write_text(deployments.format(url=model.url))
        known.write_text(tenants)
        with pytest.MonkeyPatch.context() as environment:
            for name, value in settings.items():
                environment.setenv(name, value)
            options = Options(parts=PARTS, deployments=models, tenants=known)
            async with (
                running_stack(options) as stack,
                StorageAccount(connection_string=stack.blob).open() as blobs,
                aiohttp.ClientSession(stack.http) as http,
            ):
                keys = KeyStore(Container(lambda: blobs, "sluice-keys"))
                yield PrivacyLab(stack, model, keys, blobs, http)
