"""HTTP triggers as an ASGI application, without a socket."""

from __future__ import annotations

import asyncio

import azure.functions as func
import httpx
import pytest
from starlette.requests import Request

from devhost.functions_host.app_loader import AppError
from devhost.functions_host.host_json import HttpConfig
from devhost.functions_host.http_endpoints import http_endpoints
from devhost.functions_host.http_trigger import HttpTriggers
from devhost.functions_host.http_whole import WholeMessages
from tests.unit.functions_host_fakes import function, invoker


def client_of(*functions, config=None, limit=1000):
    config = config or HttpConfig()
    endpoints = http_endpoints(functions, config.route_prefix)
    triggers = HttpTriggers(endpoints, WholeMessages(invoker(), limit), None, config)

    async def app(scope, receive, send):
        await triggers(Request(scope, receive), send)

    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://host")


async def ask(result, method="GET", **options):
    """The response to a request whose function returns `result`."""

    async def answer(req):
        return result

    async with client_of(function(answer)) as client:
        return await client.request(method, "/api/answer", **options)


async def test_the_route_of_a_function_without_one_is_its_name():
    assert (await ask("hello")).text == "hello"


@pytest.mark.parametrize(
    ("result", "status", "content_type", "body"),
    [
        ("text", 200, "text/plain; charset=utf-8", b"text"),
        (None, 204, None, b""),
        (func.HttpResponse(b"\x00\xff", mimetype="image/png"), 200, "image/png", b"\x00\xff"),
        (func.HttpResponse("ü", status_code=201), 201, "text/plain; charset=utf-8", b"\xc3\xbc"),
        (func.HttpResponse("gone", status_code=204), 204, "text/plain; charset=utf-8", b""),
        (
            func.HttpResponse("{}", headers={"Content-Type": "application/problem+json"}),
            200,
            "application/problem+json",
            b"{}",
        ),
    ],
)
async def test_what_a_function_returns_is_the_response(result, status, content_type, body):
    response = await ask(result)
    assert response.status_code == status
    assert response.headers.get("content-type") == content_type
    assert response.content == body


async def test_a_length_that_a_function_states_itself_is_not_believed():
    response = await ask(func.HttpResponse("four", headers={"Content-Length": "99"}))
    assert response.headers.get_list("content-length") == ["4"]


async def test_a_result_that_is_no_response_is_the_functions_failure(caplog):
    response = await ask({"not": "a response"})
    assert response.status_code == 500
    assert "dict" not in response.text
    assert "must return HttpResponse, str or None, not dict" in caplog.text


async def test_the_function_sees_the_request_as_the_worker_makes_it():
    seen: list[func.HttpRequest] = []

    async def look(req):
        seen.append(req)

    async with client_of(function(look, route="look/{id?}", methods=["post"])) as client:
        headers = [("X-One", "1"), ("x-one", "2"), ("cookie", "a=1"), ("cookie", "b=2")]
        await client.post("/api/look/7?q=1&q=2", headers=headers, json={"a": "ü"})
        await client.post("/api/look")
    first, second = seen
    assert (first.method, first.url) == ("POST", "http://host/api/look/7?q=1&q=2")
    assert dict(first.params) == {"q": "1,2"}
    assert dict(first.route_params) == {"id": "7"}
    assert (first.headers["X-ONE"], first.headers["cookie"]) == ("1,2", "a=1; b=2")
    assert first.get_json() == {"a": "ü"}
    assert dict(second.route_params) == {}
    assert second.get_body() == b""


async def test_functions_can_share_a_route_by_method():
    async def read(req):
        return "read"

    async def write(req):
        return "written"

    both = (
        function(read, route="note", methods=["GET"]),
        function(write, route="note", methods=["PUT"]),
    )
    async with client_of(*both) as client:
        assert (await client.get("/api/note")).text == "read"
        assert (await client.put("/api/note")).text == "written"
        refused = await client.delete("/api/note")
    assert refused.status_code == 405
    assert refused.headers["allow"] == "GET, HEAD, OPTIONS, PUT"


async def test_the_route_prefix_may_be_empty():
    async def root(req):
        return "root"

    async with client_of(function(root, route="v1"), config=HttpConfig(route_prefix="")) as client:
        assert (await client.get("/v1")).text == "root"


async def test_outstanding_requests_are_limited_and_concurrent_ones_wait():
    running = most = 0
    release = asyncio.Event()

    async def work(req):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await release.wait()
        running -= 1
        return "done"

    config = HttpConfig(max_concurrent=2, max_outstanding=3)
    async with client_of(function(work), config=config) as client:
        requests = [asyncio.create_task(client.get("/api/work")) for _ in range(5)]
        async with asyncio.timeout(60):
            while running < 2 or sum(task.done() for task in requests) < 2:
                await asyncio.sleep(0.01)
        refused = [task for task in requests if task.done()]
        assert [task.result().status_code for task in refused] == [429, 429]
        release.set()
        answered = await asyncio.gather(*(task for task in requests if task not in refused))
        assert [response.status_code for response in answered] == [200, 200, 200]
        assert most == 2
        assert (await client.get("/api/work")).status_code == 200


@pytest.mark.parametrize(("size", "status"), [(1000, 200), (1001, 413)])
async def test_the_size_of_a_body_is_limited(size, status):
    async def take(req):
        return str(len(req.get_body()))

    async def pieces():
        yield b"x" * (size - 1)
        yield b"x"

    async with client_of(function(take)) as client:
        for content in (b"x" * size, pieces()):
            assert (await client.post("/api/take", content=content)).status_code == status


@pytest.mark.parametrize(
    "properties", [{"route": "x/{a:nope}"}, {"authLevel": "KING"}, {"route": "{*a}/b"}]
)
def test_a_trigger_that_cannot_be_served_names_its_function(properties):
    async def odd(req): ...

    with pytest.raises(AppError, match="function odd: "):
        http_endpoints([function(odd, **properties)], "api")
