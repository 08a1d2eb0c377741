"""An Azure ML endpoint that answers the n-th call of a script with the script's n-th status."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

RETRY_AFTER_SECONDS = 2

DEPLOYMENT = """
  scripted:
    description: Answers as told.
    deployments:
      - {{name: scripted-1, protocol: aml_online, url: "{url}", auth: {{key: secret}}}}
"""


@dataclass
class ScriptedEndpoint:
    url: str = ""
    calls: Counter[str] = field(default_factory=Counter)

    async def score(self, request: web.Request) -> web.Response:
        body = await request.json()
        script, answers = body["script"], body["answers"]
        status = answers[min(self.calls[script], len(answers) - 1)]
        self.calls[script] += 1
        headers = {"Retry-After": str(RETRY_AFTER_SECONDS)} if status == 429 else {}
        if status == 424:
            headers = {"ms-azureml-model-error-statuscode": "400"}
        return web.json_response({"calls": self.calls[script]}, status=status, headers=headers)


@asynccontextmanager
async def scripted_endpoint() -> AsyncIterator[ScriptedEndpoint]:
    endpoint = ScriptedEndpoint()
    app = web.Application()
    app.router.add_post("/score", endpoint.score)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    endpoint.url = f"http://{host}:{port}/score"
    try:
        yield endpoint
    finally:
        await runner.cleanup()
