"""A local Content Safety that follows the documented contract, and can be made to fail.

It holds callers to API version 2024-09-01: paths, version, key, fields and lengths; anything else
is refused with the service's error codes. What it finds depends on words of the text: `[hate]` is
of severity 4, `[hate?]` of 2, `[attack]` an attack.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from aiohttp import web

KEY = "a-content-safety-key"
MOST_CHARACTERS = 10_000
MOST_DOCUMENTS = 5

_CATEGORIES = {"Hate": "hate", "SelfHarm": "self-harm", "Sexual": "sexual", "Violence": "violence"}


@dataclass
class ContentSafetyServer:
    url: str = ""
    fails: Literal["busy", "broken", "hangs"] | None = None
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    """Requests that were not as the contract says."""
    let_go: asyncio.Event = field(default_factory=asyncio.Event)

    async def analyze(self, request: web.Request) -> web.Response:
        body, refusal = await self._read(request, "text")
        if refusal is not None:
            return refusal
        text = body["text"]
        if body.get("outputType", "FourSeverityLevels") != "FourSeverityLevels":
            return self._refuse(400, "InvalidRequestBody", "outputType")
        wanted = body.get("categories") or list(_CATEGORIES)
        if not set(wanted) <= _CATEGORIES.keys():
            return self._refuse(400, "InvalidRequestBody", "categories")
        return web.json_response(
            {
                "blocklistsMatch": [],
                "categoriesAnalysis": [
                    {"category": name, "severity": _severity(text, _CATEGORIES[name])}
                    for name in wanted
                ],
            }
        )

    async def shield(self, request: web.Request) -> web.Response:
        body, refusal = await self._read(request, "userPrompt")
        if refusal is not None:
            return refusal
        documents = body.get("documents", [])
        if len(documents) > MOST_DOCUMENTS or sum(map(len, documents)) > MOST_CHARACTERS:
            return self._refuse(400, "InvalidRequestBody", "documents")
        return web.json_response(
            {
                "userPromptAnalysis": {"attackDetected": "[attack]" in body["userPrompt"]},
                "documentsAnalysis": [{"attackDetected": "[attack]" in each} for each in documents],
            }
        )

    async def _read(
        self, request: web.Request, text: str
    ) -> tuple[dict[str, Any], web.Response | None]:
        if request.headers.get("Ocp-Apim-Subscription-Key") != KEY:
            return {}, self._refuse(401, "Unauthorized", "key")
        if request.query.get("api-version") != "2024-09-01":
            return {}, self._refuse(404, "NotFound", "api-version")
        body = await request.json()
        if not isinstance(body.get(text), str) or len(body[text]) > MOST_CHARACTERS:
            return {}, self._refuse(400, "InvalidRequestBody", text)
        self.asked.append((request.path.rpartition("/")[2], body))
        return body, await self._failure()

    async def _failure(self) -> web.Response | None:
        if self.fails == "hangs":
            await self.let_go.wait()
        if self.fails == "busy":
            told = {"error": {"code": "TooManyRequests", "message": "busy"}}
            return web.json_response(told, status=429, headers={"Retry-After": "1"})
        if self.fails == "broken":
            told = {"error": {"code": "InternalError", "message": "broken"}}
            return web.json_response(told, status=500)
        return None

    def _refuse(self, status: int, code: str, what: str) -> web.Response:
        self.refused.append(what)
        return web.json_response({"error": {"code": code, "message": what}}, status=status)


def _severity(text: str, category: str) -> int:
    return 4 if f"[{category}]" in text else 2 if f"[{category}?]" in text else 0


@asynccontextmanager
async def content_safety() -> AsyncIterator[ContentSafetyServer]:
    server = ContentSafetyServer()
    app = web.Application()
    app.router.add_post("/contentsafety/text:analyze", server.analyze)
    app.router.add_post("/contentsafety/text:shieldPrompt", server.shield)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    server.url = f"http://{host}:{port}"
    try:
        yield server
    finally:
        server.let_go.set()
        await runner.cleanup()
