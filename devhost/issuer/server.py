"""Serves an issuer on loopback."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from devhost.issuer.issuer import Issuer
from devhost.issuer.signing_key import Algorithm

HOST = "127.0.0.1"


class IssuerServer:
    """`GET /keys` and `POST /token`."""

    def __init__(self, issuer: Issuer, port: int) -> None:
        self.issuer = issuer
        self.port = port
        self.down = False
        """Whether it answers everything with 503."""
        self.keys_read = 0
        """How often its keys were asked for."""

    @property
    def keys_url(self) -> str:
        return f"http://{HOST}:{self.port}/keys"

    async def keys(self, _: web.Request) -> web.Response:
        self.keys_read += 1
        if self.down:
            return web.Response(status=503)
        return web.json_response(self.issuer.published)

    async def token(self, request: web.Request) -> web.Response:
        try:
            claims = json.loads(await request.text() or "{}")
        except ValueError:
            claims = None
        if not isinstance(claims, dict):
            return web.Response(status=400, text="The body is to be a JSON object of claims.\n")
        return web.Response(text=self.issuer.token(claims))


@asynccontextmanager
async def serving(
    name: str | None = None,
    audience: str = "sluice",
    port: int = 0,
    algorithm: Algorithm = "RS256",
) -> AsyncIterator[IssuerServer]:
    """A served issuer. Without a name it is called as its address; port 0 is any that is free."""
    app = web.Application()
    runner = web.AppRunner(app, access_log=None)
    server = IssuerServer(Issuer(name or "", audience, algorithm), port)
    app.add_routes([web.get("/keys", server.keys), web.post("/token", server.token)])
    await runner.setup()
    try:
        site = web.TCPSite(runner, HOST, port)
        await site.start()
        server.port = runner.addresses[0][1]
        server.issuer.name = name or f"http://{HOST}:{server.port}"
        yield server
    finally:
        await runner.cleanup()
