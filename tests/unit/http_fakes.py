"""A caller without a socket: what the Functions worker gives a door, and what comes back."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request as WorkerRequest
from starlette.responses import Response


@dataclass
class Caller:
    """Sends a body in pieces, then listens until it leaves."""

    pieces: list[bytes] = field(default_factory=list)
    heard: list[dict[str, Any]] = field(default_factory=list)
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    async def receive(self) -> dict[str, Any]:
        if self.pieces:
            piece = self.pieces.pop(0)
            return {"type": "http.request", "body": piece, "more_body": bool(self.pieces)}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: dict[str, Any]) -> None:
        self.heard.append(message)

    async def hear(self, response: Response) -> bytes:
        """The response's whole body."""
        await response({"type": "http", "method": "GET"}, self.receive, self.send)
        return self.body

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.heard)


def asked(
    method: str = "GET",
    path: str = "/v1/things",
    body: bytes | Iterable[bytes] = b"",
    *,
    query: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    route_params: Mapping[str, str] | None = None,
    caller: Caller | None = None,
) -> WorkerRequest:
    """A request as the worker gives it."""
    caller = caller or Caller()
    caller.pieces = [body] if isinstance(body, bytes) else list(body)
    raw = [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()]
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": urlencode(query or {}).encode(),
        "headers": raw,
        "path_params": dict(route_params or {}),
    }
    return WorkerRequest(scope, caller.receive)
