"""Simulated deployments on a port of this machine's own address."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from devhost.inference.simulated.app import App
from devhost.inference.simulated.connection import Connection
from devhost.inference.simulated.deployment import Deployment

HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Simulated:
    """Deployments that are being served; `["a"]` is one, to be set and asked for its state."""

    base_url: str
    _app: App

    def __getitem__(self, name: str) -> Deployment:
        return self._app.deployments[name]

    def url(self, name: str, path: str = "v1") -> str:
        """`http://127.0.0.1:PORT/NAME/v1`, or with another path of the deployment: `score`."""
        return f"{self.base_url}/{self[name].name}/{path}"


@asynccontextmanager
async def simulated(
    *names: str, port: int = 0, seed: int | None = None
) -> AsyncIterator[Simulated]:
    """Serve deployments of these names for the length of a block, on the loop that runs.

    With a seed, what is drawn for the n-th request of a deployment is always the same.

    Raises ValueError for a name that cannot be in a path, OSError when the port is taken.
    """
    app = App(names, seed)
    connections: set[Connection] = set()
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(app, connections), HOST, port
    )
    port = server.sockets[0].getsockname()[1]
    try:
        yield Simulated(f"http://{HOST}:{port}", app)
    finally:
        server.close()
        for deployment in app.deployments.values():
            deployment.close()
        for connection in list(connections):
            connection.abort()
        await server.wait_closed()
