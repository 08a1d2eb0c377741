"""HTTP as streams, over real sockets: the local host does what the vendor's worker does.

Each test runs on both. The sample uses the vendor's web extension, this app its own.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import openai
import psutil
import pytest

from tests.integration.endpoints_server import ModelServer, answers, model_server, sends
from tests.integration.functions_host_harness import (
    KEY,
    ROOT,
    Child,
    child,
    functions_host,
    task_hub,
)

SAMPLE = ROOT / "tests" / "apps" / "streams"
PIECES, PIECE = 200, 2**20
MOST_GROWTH_BYTES = 60 * 2**20

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
DONE = b"data: [DONE]\n\n"
CHAT = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
STREAMED = CHAT | {"stream": True}
DEPLOYMENTS = """
models:
  m:
    deployments:
      - {{name: m-1, protocol: openai, url: "http://127.0.0.1:{port}/v1", model: gpt,
         max_concurrency: 1}}
"""
STORAGE = (
    "DefaultEndpointsProtocol=http;AccountName=nobody;AccountKey=bm9uZQ==;"
    "BlobEndpoint=http://127.0.0.1:1/nobody;"
)


@contextmanager
def served(kind: str, app: Path, folder: Path, **environ: str) -> Iterator[Child]:
    if kind == "vendor":
        name = "tests.integration.vendor_worker"
        with child(folder, name, "--app", str(app), **environ) as worker:
            worker.address = worker.wait_for("Host ready: ")
            yield worker
        return
    with (
        task_hub(folder) as hub,
        functions_host(folder, hub.address, app=app, **environ) as host,
    ):
        yield host


def session(host: Child) -> aiohttp.ClientSession:
    timeout = aiohttp.ClientTimeout(total=300)
    return aiohttp.ClientSession(host.address, headers={"x-functions-key": KEY}, timeout=timeout)


async def json_of(api: aiohttp.ClientSession, method: str, path: str, **options: object) -> dict:
    async with api.request(method, path, **options) as response:
        return await response.json()


@pytest.fixture(scope="module", params=["local", "vendor"])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


# Any app of streams.


@pytest.fixture(scope="module")
def sample(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Child]:
    limit = str(PIECES * PIECE)
    folder = tmp_path_factory.mktemp("sample")
    with served(kind, SAMPLE, folder, FUNCTIONS_REQUEST_BODY_SIZE_LIMIT=limit) as running:
        yield running


@pytest.fixture
async def api(sample: Child) -> AsyncIterator[aiohttp.ClientSession]:
    async with session(sample) as made:
        yield made


async def until_running(api: aiohttp.ClientSession, **wanted: int) -> None:
    async with asyncio.timeout(120):
        while not wanted.items() <= (await json_of(api, "GET", "/api/running")).items():
            await asyncio.sleep(0.05)


async def test_a_function_sees_the_request_and_its_response_arrives(api, sample):
    async with api.post(
        "/api/Echo/Ann/a/b%2Fc?q=1&q=2", data="text", headers=[("x-tag", "red"), ("x-tag", "blue")]
    ) as response:
        assert response.status == 201
        assert response.headers.getall("set-cookie") == [
            "a=1; Path=/; SameSite=lax",
            "b=2; Path=/; SameSite=lax",
        ]
        assert await response.json() == {
            "method": "POST",
            "url": f"{sample.address}/api/Echo/Ann/a/b/c?q=1&q=2",
            "values": {"name": "Ann", "rest": "a/b/c"},
            "query": [["q", "1"], ["q", "2"]],
            "tags": ["red", "blue"],
            "invocation": True,
            "body": "text",
        }


async def test_200_mb_flow_in_without_sitting_in_memory(api, sample):
    piece = os.urandom(PIECE)
    found = hashlib.sha256()

    async def body() -> AsyncIterator[bytes]:
        for _ in range(PIECES):
            found.update(piece)
            yield piece

    process = psutil.Process(sample.process.pid)
    before = process.memory_info().rss
    came = await json_of(api, "POST", "/api/digest", data=body())
    grown = process.memory_info().rss - before
    print(f"grew by {grown / 2**20:.1f} MB; {came['pieces']} pieces, {came['largest']:,} bytes")
    assert came["sha256"] == found.hexdigest()
    assert grown < MOST_GROWTH_BYTES


async def test_a_response_is_heard_while_it_is_made(api):
    async with api.get("/api/words") as response:
        assert await response.content.readexactly(4) == b"one "
        await json_of(api, "POST", "/api/go-on")
        assert await response.content.read() == b"two"
    await until_running(api, streams=0)


async def test_a_caller_who_leaves_ends_the_stream(api):
    async with api.get("/api/words") as response:
        await response.content.readexactly(4)
        await until_running(api, streams=1)
        response.close()
    await until_running(api, streams=0)


async def test_a_function_is_not_told_of_a_caller_who_leaves(api):
    asking = asyncio.create_task(api.get("/api/wait"))
    await until_running(api, waits=1)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    await asyncio.sleep(0.3)
    assert (await json_of(api, "GET", "/api/running"))["waits"] == 1
    await json_of(api, "POST", "/api/go-on")
    await until_running(api, waits=0)


@pytest.mark.parametrize("path", ["/api/broken", "/api/nothing"])
async def test_a_function_that_fails_answers_500(api, path):
    async with api.get(path) as response:
        assert response.status == 500
        assert await response.text() == "Internal Server Error"


async def test_a_response_that_fails_on_the_way_breaks_off(api):
    async with api.get("/api/broken-off") as response:
        assert response.status == 200
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()


async def test_what_is_no_response_is_the_extensions_to_make_one_of(api):
    assert await json_of(api, "GET", "/api/plain/tea") == {"kind": "tea"}


# This app.


@pytest.fixture(scope="module")
async def model() -> AsyncIterator[ModelServer]:
    async with model_server() as server:
        yield server


@pytest.fixture(scope="module")
def app(kind: str, model: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Child]:
    folder = tmp_path_factory.mktemp("app")
    deployments = folder / "deployments.yaml"
    deployments.write_text(DEPLOYMENTS.format(port=model.port))
    environ = {
        "SLUICE_DEPLOYMENTS": str(deployments),
        "SLUICE_MAX_REQUEST_BYTES": "1000",
        "SLUICE_SHARING": "false",
        "AzureWebJobsStorage": STORAGE,
        "AzureWebJobsServiceBus": "",
    }
    with served(kind, ROOT, folder, **environ) as running:
        yield running


@pytest.fixture
async def sluice(app: Child) -> AsyncIterator[aiohttp.ClientSession]:
    async with session(app) as made:
        yield made


def word(text: str) -> bytes:
    chunk = {"choices": [{"index": 0, "delta": {"content": text}}]}
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


class Held:
    """A model that says a word and then nothing until it may, or until nobody listens."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = pieces
        self.more = asyncio.Event()
        self.left = asyncio.Event()

    async def play(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for piece in self.pieces:
            writer.write(piece)
        await writer.drain()
        leaving = asyncio.create_task(reader.read())
        going_on = asyncio.create_task(self.more.wait())
        await asyncio.wait({leaving, going_on}, return_when=asyncio.FIRST_COMPLETED)
        going_on.cancel()
        if leaving.done():
            self.left.set()
        else:
            writer.write(word("two") + DONE)
        leaving.cancel()
        writer.close()


async def test_the_first_event_arrives_while_the_model_still_writes(sluice, model):
    held = Held(HEAD, word("one"))
    model.plays(held.play)
    async with sluice.post("/v1/chat/completions", json=STREAMED) as response:
        assert response.status == 200
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert response.headers["x-sluice-deployment"] == "m-1"
        assert await response.content.readuntil(b"\n\n") == word("one")
        held.more.set()  # the model was held until the first event was seen
        assert await response.content.read() == word("two") + DONE


@pytest.mark.parametrize(
    ("request_body", "said"),
    [(STREAMED, (HEAD, word("one"))), (STREAMED, ()), (CHAT, ())],
    ids=["amid a stream", "before a stream", "before an answer"],
)
async def test_a_caller_who_leaves_ends_the_call_and_frees_its_slot(
    sluice, model, request_body, said
):
    held = Held(*said)
    model.plays(held.play, sends(HEAD + DONE, close=True))
    before = len(model.received)
    leaving = asyncio.create_task(sluice.post("/v1/chat/completions", json=request_body))
    if said:
        response = await leaving
        await response.content.readuntil(b"\n\n")
    async with asyncio.timeout(120):
        while len(model.received) == before:
            await asyncio.sleep(0.01)
    # The deployment takes one call: the next one waits for the first.
    waiting = asyncio.create_task(sluice.post("/v1/chat/completions", json=STREAMED))
    await asyncio.sleep(0.3)
    assert len(model.received) == before + 1
    if said:
        response.close()
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    async with asyncio.timeout(120):
        await held.left.wait()
        async with await waiting as answer:
            assert await answer.read() == DONE


async def test_an_error_before_the_first_event_has_its_own_status(sluice, model):
    model.plays(answers(400))
    async with sluice.post("/v1/chat/completions", json=STREAMED) as response:
        assert response.status == 422
        assert (await response.json())["error"]["code"] == "model_rejected_request"


async def test_the_openai_client_reads_a_stream_and_an_error_in_it(app, model):
    broken = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    piece = word("one")
    model.plays(
        sends(HEAD + piece + DONE, close=True),
        sends(broken + f"{len(piece):x}\r\n".encode() + piece + b"\r\n", close=True),
    )
    client = openai.AsyncOpenAI(
        base_url=f"{app.address}/v1",
        api_key="unused",
        max_retries=0,
        default_headers={"x-functions-key": KEY},
    )
    async with client:
        stream = await client.chat.completions.create(**STREAMED)
        assert [chunk.choices[0].delta.content async for chunk in stream] == ["one"]
        stream = await client.chat.completions.create(**STREAMED)
        events = aiter(stream)
        assert (await anext(events)).choices[0].delta.content == "one"
        with pytest.raises(openai.APIError, match="broke off"):
            await anext(events)
        with pytest.raises(openai.NotFoundError):
            await client.chat.completions.create(**STREAMED | {"model": "nope"})


async def test_doors_answer_as_they_are(sluice):
    health = await json_of(sluice, "GET", "/healthz")
    assert (health["status"], health["models"]) == ("ok", 1)
    one = await json_of(sluice, "GET", "/v1/models/m")
    assert one["id"] == "m"
    async with sluice.get("/v1/models/nope") as response:
        assert response.status == 404

    async def pieces() -> AsyncIterator[bytes]:
        yield b"x" * 1000
        yield b"x"

    for body in (b"x" * 1001, pieces()):
        async with sluice.post("/v1/jobs", data=body) as response:
            assert response.status == 413
            assert response.headers["content-type"] == "application/problem+json"
