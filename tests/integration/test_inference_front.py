"""The front plays each status that Azure ML documents, before a container scripted by the test."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import pytest
import uvicorn
from aiohttp import web

from devhost.inference.front import front
from devhost.inference.settings import Deployment, Endpoint, FrontSettings, scoring_routes
from devhost.stack.network import free_port

KEY = "the-key"


@dataclass
class Container:
    """What stands behind the endpoint; answers with `answer`, and keeps what it was asked."""

    port: int
    answer: Callable[[], Awaitable[web.StreamResponse]] | None = None
    requests: list[tuple[dict[str, str], object]] = field(default_factory=list)

    async def score(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((dict(request.headers), await request.json()))
        if self.answer is not None:
            return await self.answer()
        return web.json_response({"from": self.port})


@dataclass
class Front:
    """The front's address, and the container of its first deployment."""

    url: str
    container: Container
    session: aiohttp.ClientSession

    async def post(self, path: str = "score", key: str | None = KEY, **headers: str):
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        url = f"{self.url}/model/{path}"
        async with self.session.post(url, json={"a": 1}, headers=headers) as response:
            return response.status, response.headers, json.loads(await response.text() or "null")


@asynccontextmanager
async def serving(concurrency: int = 2, timeout: float = 30) -> AsyncIterator[Front]:
    """A front with one endpoint `model`: deployment `blue`, and `gone` where nothing listens."""
    container = Container(free_port())
    app = web.Application()
    app.router.add_post("/score", container.score)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", container.port).start()
    deployments = [
        Deployment(
            name=name,
            upstream=f"http://127.0.0.1:{port}",
            routes=scoring_routes(),
            concurrency=concurrency,
            timeout_seconds=timeout,
        )
        for name, port in (("blue", container.port), ("gone", free_port()))
    ]
    endpoint = Endpoint(name="model", key=KEY, deployments=deployments)
    config = uvicorn.Config(
        front(FrontSettings(endpoints=[endpoint])), port=free_port(), log_level="warning"
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    async with aiohttp.ClientSession() as session:
        yield Front(f"http://127.0.0.1:{config.port}", container, session)
    server.should_exit = True
    await task
    await runner.cleanup()


@pytest.fixture
async def served() -> AsyncIterator[Front]:
    async with serving() as one:
        yield one


async def test_an_answer_comes_through_as_it_is(served):
    ids = {"x-ms-client-request-id": "mine"}
    status, headers, body = await served.post(**ids)

    assert (status, body) == (200, {"from": served.container.port})
    assert headers["azureml-model-deployment"] == "blue"
    assert headers["x-ms-client-request-id"] == "mine"
    assert headers["x-ms-request-id"]
    [(asked, sent)] = served.container.requests
    assert sent == {"a": 1}
    assert asked["x-ms-client-request-id"] == "mine"
    assert "Authorization" not in asked


@pytest.mark.parametrize(
    "key", [None, "", "wrong", KEY + "x", "schlüssel".encode().decode("latin-1")]
)
async def test_401_without_the_key(served, key):
    status, _, _ = await served.post(key=key)
    assert status == 401
    assert not served.container.requests


async def test_an_api_key_header_is_taken_too(served):
    status, _, _ = await served.post(key=None, **{"api-key": KEY})
    assert status == 200


async def test_404_for_a_deployment_or_a_path_that_is_not_there(served):
    status, _, _ = await served.post(**{"azureml-model-deployment": "green"})
    assert status == 404
    status, _, _ = await served.post("v2/nothing")
    assert status == 404
    async with served.session.post(f"{served.url}/nothing/score") as response:
        assert response.status == 404


async def test_408_when_the_model_is_too_slow():
    async with serving(timeout=0.2) as served:
        served.container.answer = lambda: asyncio.sleep(1, web.Response())
        status, _, _ = await served.post()
    assert status == 408


@pytest.mark.parametrize("inner", [400, 429, 500, 503])
async def test_424_wraps_what_the_container_refused(served, inner):
    async def refuse() -> web.StreamResponse:
        headers = {"Retry-After": "7"} if inner == 429 else {}
        return web.json_response({"error": "no"}, status=inner, headers=headers)

    served.container.answer = refuse
    status, headers, body = await served.post()

    assert (status, body) == (424, {"error": "no"})
    assert headers["ms-azureml-model-error-statuscode"] == str(inner)
    assert headers["ms-azureml-model-error-reason"]
    assert headers.get("Retry-After") == ("7" if inner == 429 else None)


async def test_on_openais_route_the_status_is_the_models_own(served):
    async def refuse() -> web.StreamResponse:
        return web.json_response({"error": {"message": "no"}}, status=400)

    served.container.answer = refuse
    status, headers, body = await served.post("v1/chat/completions")

    assert (status, body) == (400, {"error": {"message": "no"}})
    assert "ms-azureml-model-error-statuscode" not in headers


async def test_429_past_twice_the_concurrency_and_the_rest_is_served(served):
    go_on = asyncio.Event()

    async def held() -> web.StreamResponse:
        await go_on.wait()
        return web.json_response({})

    served.container.answer = held
    # Two run and two wait; each further one is refused at once.
    asked = [asyncio.create_task(served.post()) for _ in range(6)]
    async with asyncio.timeout(60):
        while len(served.container.requests) < 2 or sum(task.done() for task in asked) < 2:
            await asyncio.sleep(0.01)
    refused = [task.result() for task in asked if task.done()]
    assert [(status, headers["Retry-After"]) for status, headers, _ in refused] == [(429, "1")] * 2
    assert len(served.container.requests) == 2

    go_on.set()
    statuses = [status for status, _, _ in await asyncio.gather(*asked)]
    assert sorted(statuses) == [200] * 4 + [429] * 2


async def test_502_when_the_container_breaks_the_connection(served):
    async def die() -> web.StreamResponse:
        raise asyncio.CancelledError

    served.container.answer = die
    status, _, _ = await served.post()
    assert status == 502


async def test_503_when_nothing_listens(served):
    status, headers, _ = await served.post(**{"azureml-model-deployment": "gone"})
    assert status == 503
    assert headers["azureml-model-deployment"] == "gone"
