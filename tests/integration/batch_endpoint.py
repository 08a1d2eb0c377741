"""A batch endpoint and Resource Manager on a loopback port, scripted by the inputs of its jobs.

`script` names the job's maker, the n-th job of a script ends with the n-th word of `ends`, after
`looks` looks. The word `lost` instead: the job is taken, its reply lost, and it completes.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web
from pydantic import JsonValue

from endpoints.wire import NoReply, Request
from tests.unit.batch_fakes import LOST, BatchEndpoint, always

WORKSPACE = (
    "/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/w"
)
DEPLOYMENT = """
  remote:
    deployments:
      - name: remote-1
        protocol: aml_batch
        url: {origin}/jobs
        check_seconds: 1
        workspace: {workspace}
        management_url: {origin}
"""


@dataclass
class ScriptedBatch:
    origin: str = ""
    endpoint: BatchEndpoint = field(default_factory=BatchEndpoint)
    made: dict[str, list[str]] = field(default_factory=dict)
    """Names of jobs, by script."""
    looks: Counter[str] = field(default_factory=Counter)
    hold: asyncio.Event | None = None
    """Until it is set, what was taken is not replied to."""
    _ends: dict[str, tuple[str, int]] = field(default_factory=dict)

    @property
    def deployment(self) -> str:
        return DEPLOYMENT.format(origin=self.origin, workspace=WORKSPACE)

    def cancelled(self, script: str) -> list[str]:
        return [name for name in self.made[script] if name in self.endpoint.cancelled]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        asked = Request(request.url, {}, body, method=request.method)
        name = request.url.name
        if name in self._ends:
            self._look(name)
        reply = await self.endpoint.exchange(asked)
        if request.path == "/jobs" and request.method == "POST" and reply.status == 201:
            self._script(self.endpoint.submitted[-1])
            if self.hold is not None:
                await self.hold.wait()
            if self.endpoint.after:
                reply = self.endpoint.after.pop()(asked) or reply
        if isinstance(reply, NoReply):
            assert request.transport is not None
            request.transport.close()
            return web.Response()
        return web.Response(status=reply.status, body=reply.body, content_type="application/json")

    def _look(self, name: str) -> None:
        self.looks[name] += 1
        ends, looks = self._ends[name]
        if self.looks[name] >= looks and ends != "never":
            self.endpoint.jobs[name] = ends

    def _script(self, properties: dict[str, JsonValue]) -> None:
        values = {key: given["Value"] for key, given in properties["InputData"].items()}
        names = self.made.setdefault(values["script"], [])
        ends = str(values["ends"]).split()
        end = ends[min(len(names), len(ends) - 1)]
        if end == "lost":
            self.endpoint.after.append(always(LOST))
            end = "Completed"
        names.append(str(properties["name"]))
        self._ends[names[-1]] = (end, int(values["looks"]))


@asynccontextmanager
async def scripted_batch() -> AsyncIterator[ScriptedBatch]:
    batch = ScriptedBatch()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", batch.handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    batch.origin = f"http://{host}:{port}"
    try:
        yield batch
    finally:
        await runner.cleanup()
