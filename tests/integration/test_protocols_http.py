"""The further protocols over real sockets, to servers that speak as the real ones were seen to."""

from __future__ import annotations

import json
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count

import pytest
from aiohttp import web
from pydantic import JsonValue

from contracts.calls import CallScope, ModelCall, Task
from contracts.errors import NoCapacity, PayloadTooLarge
from endpoints import Endpoints
from endpoints.client import HttpClient
from endpoints.credentials import Token
from endpoints.protocols import SETTINGS, speak
from endpoints.settings import Settings
from endpoints.wire import Limits, NoReply

LIMITS = Limits(seconds=30, connect_seconds=5, answer_bytes=1_000_000)


@asynccontextmanager
async def served(*routes: web.RouteDef) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_routes(routes)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    try:
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def opened(**fields: JsonValue) -> AsyncIterator[Endpoints]:
    """Model `m`, with one deployment. Each token is another than the one before."""
    numbers = count(1)

    async def fetch_token(_: str) -> Token:
        return Token(f"token-{next(numbers)}", expires_on=4e9)

    models = {"m": {"deployments": [{"name": "d", **fields}]}}
    endpoints = Endpoints(Settings.model_validate({"models": models}), fetch_token=fetch_token)
    try:
        yield endpoints
    finally:
        await endpoints.aclose()


def scope() -> CallScope:
    return CallScope("job-1", "tenant-1")


# Triton.


async def infer(request: web.Request) -> web.Response:
    """Doubles FP32 inputs, in the form and the compression in which Triton answers."""
    body = await request.read()
    size = int(request.headers["Inference-Header-Content-Length"])
    head = json.loads(body[:size])
    assert head["parameters"] == {"binary_data_output": True}
    (tensor,) = head["inputs"]
    length = tensor["parameters"]["binary_data_size"]
    assert len(body) == size + length
    doubled = [2 * value for value in struct.unpack(f"<{length // 4}f", body[size:])]
    output = {"name": "y", "datatype": "FP32", "shape": tensor["shape"]}
    output["parameters"] = {"binary_data_size": length}
    answer = json.dumps({"model_name": "m", "outputs": [output]}).encode()
    response = web.Response(
        body=answer + struct.pack(f"<{len(doubled)}f", *doubled),
        content_type="application/octet-stream",
        headers={"Inference-Header-Content-Length": str(len(answer))},
    )
    response.enable_compression(web.ContentCoding.gzip)
    return response


async def test_binary_tensors_there_and_back() -> None:
    route = web.post("/v2/models/m/infer", infer)
    async with (
        served(route) as url,
        opened(
            protocol="triton", url=url, model="m", binary=True, datatypes={"x": "FP32"}
        ) as models,
    ):
        rows: JsonValue = [[float(row), row + 0.5] for row in range(20_000)]
        answer = await models.invoke(ModelCall("m", Task.SCORE, {"x": rows}), scope())
    assert isinstance(answer.body, dict)
    (output,) = answer.body["outputs"]
    assert output["data"] == [[2 * first, 2 * second] for first, second in rows]


async def test_a_full_queue_is_no_capacity() -> None:
    async def full(_: web.Request) -> web.Response:
        return web.json_response({"error": "Exceeds maximum queue size"}, status=503)

    async with (
        served(web.post("/v2/models/m/infer", full)) as url,
        opened(protocol="triton", url=url, model="m") as models,
    ):
        of = scope()
        with pytest.raises(NoCapacity):
            await models.invoke(ModelCall("m", Task.SCORE, {"x": [1]}), of)
    assert of.attempts[0].reason == "HTTP 503 (queue full)"


# Databricks.

SCOPE = "2ff814a6-3304-4ab8-85cb-cd0e6f879c1d/.default"


async def test_a_databricks_chat_whose_token_has_to_be_renewed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("endpoints.credentials.RENEW_AT_MOST_EVERY", 0.0)
    seen: list[str] = []
    bodies: list[JsonValue] = []

    async def invocations(request: web.Request) -> web.Response:
        seen.append(request.headers["authorization"])
        bodies.append(await request.json())
        if len(seen) == 1:
            error = {"error_code": "403", "message": "Invalid access token."}
            return web.json_response(error, status=403)
        usage = {"prompt_tokens": 3, "completion_tokens": 2}
        return web.json_response({"choices": [], "usage": usage})

    async with (
        served(web.post("/serving-endpoints/llama/invocations", invocations)) as url,
        opened(
            protocol="databricks", url=url, endpoint="llama", auth={"managed_identity": SCOPE}
        ) as models,
    ):
        body: JsonValue = {"messages": [{"role": "user", "content": "hi"}]}
        answer = await models.invoke(ModelCall("m", Task.CHAT, body), scope())
    assert seen == ["Bearer token-1", "Bearer token-2"]
    assert bodies == [body, body]
    assert (answer.attempt.usage.input_tokens, answer.attempt.usage.output_tokens) == (3, 2)


async def test_what_is_over_databricks_limit_is_not_sent() -> None:
    async with opened(protocol="databricks", url="http://127.0.0.1:1", endpoint="e") as models:
        with pytest.raises(PayloadTooLarge):
            await models.invoke(ModelCall("m", Task.SCORE, {"inputs": "x" * 16_000_000}), scope())


# The OpenAI API's responses.


async def test_a_response() -> None:
    async def responses(request: web.Request) -> web.Response:
        assert await request.json() == {"input": "hi", "model": "gpt"}
        usage = {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}
        return web.json_response({"object": "response", "output": [], "usage": usage})

    async with (
        served(web.post("/v1/responses", responses)) as url,
        opened(protocol="openai", url=f"{url}/v1", model="gpt") as models,
    ):
        answer = await models.invoke(ModelCall("m", Task.RESPONSES, {"input": "hi"}), scope())
    assert (answer.attempt.usage.input_tokens, answer.attempt.usage.output_tokens) == (3, 2)


# Whether they are ready.


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"protocol": "openai", "model": "gpt", "health_path": "/health"}, "/health"),
        ({"protocol": "triton", "model": "m", "model_version": 3}, "/v2/models/m/versions/3/ready"),
        ({"protocol": "mlflow"}, "/ping"),
    ],
)
@pytest.mark.parametrize("status", [200, 503])
async def test_probes_are_gets_without_a_body(
    fields: dict[str, object], path: str, status: int
) -> None:
    asked: list[tuple[str, str, bytes]] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append((request.method, request.path, await request.read()))
        return web.Response(status=status)

    async with served(web.route("*", "/{path:.*}", answer)) as url:
        settings = SETTINGS[str(fields["protocol"])].model_validate(
            {"name": "d", "url": url, **fields}
        )
        probe = speak(settings).health()
        assert probe is not None
        client = HttpClient()
        try:
            reply = await client.send(probe, {}, LIMITS)
        finally:
            await client.aclose()
    assert not isinstance(reply, NoReply)
    assert (reply.status, asked) == (status, [("GET", path, b"")])
