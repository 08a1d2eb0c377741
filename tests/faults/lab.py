"""The stack of most fault tests: everything but the model servers, and a model that counts."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from devhost.stack.plan import Options
from devhost.stack.running import Stack
from tests.faults.clients import Doors, Job, doors
from tests.faults.leftovers import clean_stack

PARTS = frozenset({"azurite", "hub", "service_bus", "host"})
FLOWS = Path(__file__).parent / "flows"

_DEPLOYMENTS = """
models:
  asked:
    description: Counts how often it is asked each text.
    deployments:
      - {{name: asked-1, protocol: aml_online, url: "{url}/asked", auth: {{key: secret}}}}
  busy:
    description: The same, but at times it has no capacity.
    deployments:
      - {{name: busy-1, protocol: aml_online, url: "{url}/busy", auth: {{key: secret}}}}
"""


@dataclass
class Model:
    """An Azure ML endpoint that counts its calls by text, and answers each after `seconds`."""

    url: str = ""
    seconds: float = 0.0
    busy_for: int = 0
    """While above 0, the deployment `busy` says to come again in so many seconds."""
    calls: Counter[str] = field(default_factory=Counter)
    in_flight: int = 0

    async def score(self, request: web.Request) -> web.Response:
        text = (await request.json())["text"]
        self.calls[text] += 1
        if self.busy_for and request.path == "/busy":
            return web.json_response({}, status=429, headers={"Retry-After": str(self.busy_for)})
        self.in_flight += 1
        try:
            await asyncio.sleep(self.seconds)
        finally:
            self.in_flight -= 1
        return web.json_response({"text": text})


@asynccontextmanager
async def model_of_the_app(folder: Path) -> AsyncIterator[Model]:
    """The model, and the app settings for it, for every stack that is started in the block."""
    model = Model()
    app = web.Application()
    app.router.add_post("/asked", model.score)
    app.router.add_post("/busy", model.score)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        model.url = "http://{}:{}".format(*runner.addresses[0][:2])
        deployments = folder / "deployments.yaml"
        deployments.write_text(_DEPLOYMENTS.format(url=model.url))
        with pytest.MonkeyPatch.context() as settings:
            settings.setenv("SLUICE_FLOWS", str(FLOWS))
            settings.setenv("SLUICE_DEPLOYMENTS", str(deployments))
            yield model
    finally:
        await runner.cleanup()


@dataclass(frozen=True, slots=True)
class Lab:
    stack: Stack
    model: Model
    doors: Doors


@asynccontextmanager
async def lab(timeout_seconds: float = 20, **stack_options: Any) -> AsyncIterator[Lab]:
    """The stack with its model and clients; asserts at the end that nothing of it is left."""
    with tempfile.TemporaryDirectory(prefix="sluice-lab-") as folder:
        async with (
            model_of_the_app(Path(folder)) as model,
            clean_stack(
                Options(parts=PARTS), **{"longest_delay_seconds": 1.0, **stack_options}
            ) as running,
            doors(running.http, running.api_key, running.service_bus, timeout_seconds) as clients,
        ):
            yield Lab(running, model, clients)


def ask(text: object, **fields: str) -> Job:
    """A job that asks the model this text, once."""
    return {"flow": "ask", "input": {"text": str(text)}} | fields
