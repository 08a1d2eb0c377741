"""The ways to one model that bench_endpoints.py compares inside its own process.

All send the same chat request and decode the answer; each yields one call.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import httpx

from contracts.calls import CallScope, ModelAnswer, ModelCall, Task, UsageRecord
from contracts.flows import FlowRun
from devhost.stack.running import Stack
from endpoints import Endpoints
from endpoints.context import Context
from endpoints.settings import Settings
from flows.adapters.semantic_kernel import FILE, load
from flows.adapters.shared import Shared
from tests.bench.peers.calls import ANSWER_TOKENS, MODEL, PAYLOAD, TEXT, Call

PATIENCE_SECONDS = 60
JSON = {"content-type": "application/json"}
PROMPT = f"""
template_format: jinja2
template: '<message role="user">{{{{ text }}}}</message>'
input_variables: [{{name: text}}]
execution_settings: {{{MODEL}: {{max_tokens: {PAYLOAD["max_tokens"]}}}}}
output: text
"""


@asynccontextmanager
async def bare_aiohttp(url: str, headers: dict[str, str] | None = None) -> AsyncIterator[Call]:
    """`url`: an OpenAI base URL. The least that a client can do: the limit."""
    sent = headers or {"authorization": "Bearer key"}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def call() -> None:
            async with session.post(
                f"{url}/chat/completions", data=_body(), headers=JSON | sent
            ) as response:
                check(json.loads(await response.read()))

        yield call


@asynccontextmanager
async def bare_httpx(url: str) -> AsyncIterator[Call]:
    headers = JSON | {"authorization": "Bearer key"}
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(limits=limits, timeout=60, trust_env=False) as client:

        async def call() -> None:
            response = await client.post(
                f"{url}/chat/completions", content=_body(), headers=headers
            )
            check(json.loads(response.content))

        yield call


@asynccontextmanager
async def our_endpoints(url: str) -> AsyncIterator[Call]:
    """The router as jobs use it: breaker, limiter and meter are on."""
    async with _router(url) as (models, metered):
        request = ModelCall(MODEL, Task.CHAT, PAYLOAD)
        made = 0

        async def call() -> None:
            nonlocal made
            check((await models.invoke(request, scope())).body)
            made += 1

        yield call
        assert metered[0] == made * ANSWER_TOKENS


@asynccontextmanager
async def semantic_kernel(url: str) -> AsyncIterator[Call]:
    """A Semantic Kernel flow of one prompt, over the router."""
    async with _router(url) as (models, _):

        async def invoke(call: ModelCall) -> ModelAnswer:
            return await models.invoke(call, scope())

        with tempfile.TemporaryDirectory() as name:
            (Path(name) / FILE).write_text(PROMPT)
            flow = load(Path(name), Shared())

            async def call() -> None:
                result = await flow.run({"text": TEXT}, FlowRun(invoke))
                assert isinstance(result, dict)
                assert result["text"]

            yield call


@asynccontextmanager
async def our_door(running: Stack) -> AsyncIterator[Call]:
    """POST /v1/chat/completions of a stack that runs."""
    key = {"x-functions-key": running.api_key}
    async with bare_aiohttp(f"{running.http}/v1", key) as call:
        yield call


@asynccontextmanager
async def _router(url: str) -> AsyncIterator[tuple[Endpoints, list[int]]]:
    """And what was metered so far: output tokens."""
    metered = [0]

    def meter(record: UsageRecord) -> None:
        metered[0] += record.attempt.usage.output_tokens

    deployment = {
        "name": "d",
        "protocol": "openai",
        "url": url,
        "model": MODEL,
        "auth": {"key": "key"},
    }
    settings = Settings.model_validate({"models": {MODEL: {"deployments": [deployment]}}})
    models = Endpoints(settings, context=Context(meter=meter))
    try:
        yield models, metered
    finally:
        await models.aclose()


def scope() -> CallScope:
    return CallScope("job", "tenant", patience=PATIENCE_SECONDS)


def _body() -> bytes:
    return json.dumps({**PAYLOAD, "model": MODEL}).encode()


def check(answer: object) -> None:
    assert isinstance(answer, dict)
    assert answer["usage"]["completion_tokens"] == ANSWER_TOKENS, answer
