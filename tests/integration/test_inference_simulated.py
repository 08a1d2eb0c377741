"""Simulated deployments over real sockets: each behaviour as a client meets it.

Every test runs twice: served on the test's own loop, and by the process that benches start.
"""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

import aiohttp
import openai
import pytest

from devhost.inference.simulated import (
    Behaviour,
    Constant,
    Drop,
    Garbage,
    Hang,
    RetryAfter,
    SimulatedClient,
    SlowBody,
    State,
    Status,
    Uniform,
    simulated,
    simulated_process,
)
from devhost.inference.simulated.client import Refused
from devhost.inference.simulated.connection import MAX_REQUEST_BYTES
from devhost.inference.simulated.process import READY

CHAT = {"model": "any", "messages": [{"role": "user", "content": "Hello."}]}
POSTED = {
    "v1/chat/completions": CHAT,
    "v1/embeddings": {"model": "any", "input": ["one", "two"]},
    "v1/responses": {"model": "any", "input": "Hello."},
    "score": {"text": "Hello."},
}
LONG_MS = 3_000_000
"""Longer than any test: what waits so long is still waiting."""


@contextmanager
def process(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "devhost.inference.simulated", *arguments]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as child:
        try:
            yield child
        finally:
            child.kill()


@asynccontextmanager
async def served(where: str) -> AsyncIterator[str]:
    """The base URL of the deployments a and b."""
    if where == "here":
        async with simulated("a", "b", seed=1) as serving:
            yield serving.base_url
        return
    with simulated_process("a", "b", seed=1) as url:
        yield url


@dataclass
class Deployments:
    base_url: str
    session: aiohttp.ClientSession
    control: SimulatedClient

    async def set(self, **behaviour) -> None:
        await self.control.set("a", Behaviour(**behaviour))

    def post(self, path: str = "v1/chat/completions", body=None, name: str = "a"):
        """Of deployment a, to be used in `async with` or awaited."""
        return self.session.post(f"{self.base_url}/{name}/{path}", json=body or POSTED[path])

    async def chat(self, **more):
        """Status, headers and decoded body."""
        async with self.post(body=CHAT | more) as response:
            return response.status, response.headers, json.loads(await response.read())

    async def until(self, **fields: int) -> State:
        """The state, once it says so."""
        async with asyncio.timeout(120):
            while True:
                state = await self.control.state("a")
                if all(getattr(state, name) == value for name, value in fields.items()):
                    return state
                await asyncio.sleep(0.005)

    async def raw(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", int(self.base_url.rpartition(":")[2]))


@pytest.fixture(scope="module", params=["here", "process"])
async def base_url(request) -> AsyncIterator[str]:
    async with served(request.param) as url:
        yield url


@pytest.fixture
async def them(base_url) -> AsyncIterator[Deployments]:
    """Both deployments as they are at first."""
    timeout = aiohttp.ClientTimeout(total=180)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        control = SimulatedClient(session, base_url)
        for name in ("a", "b"):
            await control.set(name, Behaviour())
            await control.reset_counts(name)
        yield Deployments(base_url, session, control)
        await control.set("a", Behaviour())


def request(body: bytes = b'{"messages": []}', path: str = "v1/chat/completions", *headers: str):
    lines = [f"POST /a/{path} HTTP/1.1", "host: x", f"content-length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def read_answer(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Status line and body of one answer with a content-length."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.partition(b"content-length: ")[2].split(b"\r\n")[0])
    return head.split(b"\r\n")[0], await reader.readexactly(length)


# Nothing is wrong.


@pytest.mark.parametrize("path", POSTED)
@pytest.mark.parametrize("name", ["a", "b"])
async def test_every_route_says_who_answered_and_what_it_cost(them, path, name):
    async with them.post(path, name=name) as response:
        body = await response.json()
        assert response.status == 200
        assert response.headers["x-deployment"] == name
    assert body.get("model", body.get("deployment")) == name
    usage = body["usage"]
    assert usage["total_tokens"] == sum(usage.values()) - usage["total_tokens"] > 0
    state = await them.control.state(name)
    assert (state.counts.arrived, state.counts.answered, state.in_flight) == (1, 1, 0)


async def test_score_gives_back_what_it_was_sent(them):
    async with them.post("score", {"text": "ö", "n": [1, None]}) as response:
        assert (await response.json())["echo"] == {"text": "ö", "n": [1, None]}


async def test_a_real_client_of_the_openai_api_can_use_it(them):
    async with openai.AsyncOpenAI(
        base_url=f"{them.base_url}/a/v1", api_key="any", max_retries=0
    ) as client:
        await them.set(completion_tokens=7)
        whole = await client.chat.completions.create(**CHAT)
        stream = await client.chat.completions.create(
            **CHAT, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
        embeddings = await client.embeddings.create(model="any", input=["one", "two"])
        response = await client.responses.create(model="any", input="Hello.")
    text = "What a fine day it is. What"
    assert whole.choices[0].message.content == text
    deltas = [choice.delta.content or "" for chunk in chunks for choice in chunk.choices]
    assert "".join(deltas) == text
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens == 7
    assert [each.index for each in embeddings.data] == [0, 1]
    assert response.output_text == text


async def test_what_cannot_be_answered_is_not_counted(them):
    async with them.session.post(f"{them.base_url}/a/score", data=b"{") as response:
        assert response.status == 400
    async with them.session.get(f"{them.base_url}/a/score") as response:
        assert response.status == 405
    for path in ("a/v2", "c/score", "", "a/score/"):
        async with them.session.post(f"{them.base_url}/{path}", json={}) as response:
            assert response.status == 404
    assert (await them.control.state("a")).counts.arrived == 0


async def test_a_query_is_no_part_of_the_path(them):
    async with them.session.post(f"{them.base_url}/a/score?api-version=1", json={}) as response:
        assert response.status == 200


# Slow and full.


async def test_latency(them):
    await them.set(latency=Uniform(50, 60))
    began = asyncio.get_running_loop().time()
    status, _, _ = await them.chat()
    assert status == 200
    assert asyncio.get_running_loop().time() - began > 0.045


async def test_one_worker_serves_one_after_the_other(them):
    await them.set(latency=Constant(40), workers=1)
    began = asyncio.get_running_loop().time()
    answers = await asyncio.gather(*(them.chat() for _ in range(4)))
    assert [status for status, _, _ in answers] == [200] * 4
    assert asyncio.get_running_loop().time() - began > 4 * 0.035
    assert (await them.control.state("a")).counts.answered == 4


@pytest.mark.parametrize(
    ("retry_after", "said"),
    [
        (None, {}),
        (RetryAfter(7), {"retry-after": "7"}),
        (RetryAfter(0.25, "retry-after-ms"), {"retry-after-ms": "250"}),
    ],
)
async def test_429_beyond_the_capacity(them, retry_after, said):
    await them.set(capacity=2, retry_after=retry_after, latency=Constant(LONG_MS))
    within = [asyncio.create_task(them.chat()) for _ in range(2)]
    await them.until(in_flight=2)
    status, headers, body = await them.chat()

    assert (status, headers["x-deployment"]) == (429, "a")
    assert body["error"]["code"] == "too_many_requests"
    assert {name.lower(): headers[name] for name in headers if "etry" in name} == said
    for task in within:
        task.cancel()
    state = await them.until(in_flight=0)
    assert (state.most_in_flight, state.counts.refused, state.counts.abandoned) == (2, 1, 2)


@pytest.mark.parametrize("limit", ["requests_per_minute", "tokens_per_minute"])
async def test_429_beyond_a_rate(them, limit):
    await them.set(**{limit: 1}, burst_seconds=1)
    assert (await them.chat())[0] == 200
    status, headers, _ = await them.chat()
    assert status == 429
    assert int(headers["retry-after"]) > 1
    assert (await them.control.state("a")).counts.refused == 1


# Broken.


@pytest.mark.parametrize("status", [401, 404, 408, 424, 429, 500, 502, 503, 504])
async def test_any_status(them, status):
    await them.set(failures=(Status(status),))
    answered, headers, body = await them.chat()
    assert (answered, headers["x-deployment"]) == (status, "a")
    assert body["error"]["message"]
    assert "retry-after" not in headers
    counts = (await them.control.state("a")).counts
    assert (counts.failed, counts.answered) == ({str(status): 1}, 0)
    assert (await them.chat())[0] == status


async def test_a_status_with_all_its_headers(them):
    wait = RetryAfter(3)
    failure = Status(424, retry_after=wait, model_status=429, model_reason="too many requests")
    await them.set(failures=(failure,))
    _, headers, _ = await them.chat()
    assert headers["ms-azureml-model-error-statuscode"] == "429"
    assert headers["ms-azureml-model-error-reason"] == "too many requests"
    assert headers["retry-after"] == "3"


async def test_hang_until_it_is_changed(them):
    await them.set(failures=(Hang(),))
    hung = asyncio.create_task(them.chat())
    state = await them.until(in_flight=1)
    assert state.counts.failed == {}
    await them.set()
    assert (await hung)[0] == 200
    state = await them.until(in_flight=0)
    assert (state.counts.failed, state.counts.answered) == ({"hang": 1}, 0)


async def test_hang_until_it_heals(them):
    await them.set(failures=(Hang(seconds=0.05),))
    assert (await them.chat())[0] == 200
    assert (await them.chat())[0] == 200
    state = await them.until(in_flight=0)
    assert state.behaviour.failures == ()
    # The first may have come after it had healed, the second must have.
    assert state.counts.failed.get("hang", 0) + state.counts.answered == 2
    assert state.counts.answered >= 1


async def test_hang_until_the_client_goes(them):
    await them.set(failures=(Hang(),))
    hung = asyncio.create_task(them.chat())
    await them.until(in_flight=1)
    hung.cancel()
    state = await them.until(in_flight=0)
    assert state.counts.failed == {"hang": 1}


async def test_drop_before_the_answer(them):
    await them.set(failures=(Drop(),))
    with pytest.raises(aiohttp.ClientConnectionError):
        await them.chat()
    reader, writer = await them.raw()
    writer.write(request())
    with pytest.raises(ConnectionResetError):
        await reader.read()
    writer.close()
    assert (await them.until(in_flight=0)).counts.failed == {"drop": 2}


@pytest.mark.parametrize("stream", [False, True])
async def test_drop_in_the_middle_of_the_answer(them, stream):
    await them.set(failures=(Drop("during"),))
    got = b""
    with pytest.raises(aiohttp.ClientError):
        async with them.post(body=CHAT | {"stream": stream}) as response:
            assert response.status == 200
            async for part in response.content.iter_any():
                got += part
    assert b"[DONE]" not in got
    assert b"usage" not in got
    assert (await them.until(in_flight=0)).counts.failed == {"drop": 1}


async def test_a_drop_is_a_reset_after_half_of_the_answer(them):
    whole_reader, whole = await them.raw()
    whole.write(request())
    _, body = await read_answer(whole_reader)
    whole.close()
    await them.set(failures=(Drop("during"),))
    reader, writer = await them.raw()
    writer.write(request())
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert len(await reader.readexactly(len(body) // 2)) == len(body) // 2
    with pytest.raises(ConnectionResetError):
        await reader.readexactly(1)
    writer.close()


@pytest.mark.parametrize("content", ["truncated", "not_json", "wrong_json"])
@pytest.mark.parametrize("stream", [False, True])
async def test_garbage_is_whole_as_http_and_useless(them, content, stream):
    await them.set(failures=(Garbage(content),))
    async with them.post(body=CHAT | {"stream": stream}) as response:
        assert response.status == 200
        got = await response.read()
    assert got
    assert b"DONE" not in got
    assert b"usage" not in got
    if content == "wrong_json":
        assert json.loads(got)
    else:
        with pytest.raises(ValueError):
            json.loads(got)
    assert (await them.until(in_flight=0)).counts.failed == {"garbage": 1}


@pytest.mark.parametrize("stream", [False, True])
async def test_a_slow_body_is_right_in_the_end(them, stream):
    await them.set(failures=(SlowBody(400, 1),))
    async with them.post(body=CHAT | {"stream": stream}) as response:
        got = await response.read()
    assert b"DONE" in got if stream else json.loads(got)["model"] == "a"
    assert (await them.until(in_flight=0)).counts.failed == {"slow_body": 1}


async def test_a_slow_body_comes_after_its_head(them):
    await them.set(failures=(SlowBody(pause_ms=LONG_MS),))
    async with them.post() as response:
        assert response.status == 200
        assert (await them.control.state("a")).in_flight == 1
    assert (await them.until(in_flight=0)).counts.failed == {"slow_body": 1}


async def test_a_failure_strikes_its_share_and_heals(them):
    failures = (Status(503, probability=0.5),)
    await them.set(failures=failures)
    statuses = {(await them.chat())[0] for _ in range(100)}
    assert statuses == {200, 503}
    counts = (await them.control.state("a")).counts
    assert counts.failed["503"] + counts.answered == counts.arrived == 100

    await them.set(failures=(Status(503, seconds=0.05),))
    async with asyncio.timeout(120):
        while (await them.chat())[0] == 503:
            await asyncio.sleep(0.01)
    assert (await them.control.state("a")).behaviour == Behaviour()


async def test_one_fails_and_the_other_does_not(them):
    await them.set(failures=(Status(500),))
    async with them.post(name="b") as response:
        assert response.status == 200
    assert (await them.chat())[0] == 500


async def test_health_goes_by_the_failures_and_is_not_counted(them):
    async def health() -> int:
        async with them.session.get(f"{them.base_url}/a/health") as response:
            assert response.headers["x-deployment"] == "a"
            return response.status

    assert await health() == 200
    await them.set(failures=(Hang(),))
    assert await health() == 503
    assert (await them.control.state("a")).counts.arrived == 0


# The control door.


async def test_state_over_http(them):
    async with them.session.get(f"{them.base_url}/_control") as response:
        assert await response.json() == {"deployments": ["a", "b"]}
    wanted = {"capacity": 3, "failures": [{"kind": "hang", "probability": 0}]}
    async with them.session.put(f"{them.base_url}/_control/a", json=wanted) as response:
        assert response.status == 200
    await them.chat()
    async with them.session.get(f"{them.base_url}/_control/a") as response:
        state = await response.json()
    assert state["behaviour"]["capacity"] == 3
    assert state["behaviour"]["failures"][0]["kind"] == "hang"
    assert state["counts"] == {
        "arrived": 1,
        "answered": 1,
        "refused": 0,
        "abandoned": 0,
        "failed": {},
    }
    assert (state["in_flight"], state["most_in_flight"]) == (0, 1)
    assert state["arrived_since_change"] == 1


async def test_counts_begin_again(them):
    await them.chat()
    await them.control.reset_counts("a")
    state = await them.control.state("a")
    assert (state.counts.arrived, state.most_in_flight) == (0, 0)
    assert state.arrived_since_change == 1


async def test_a_behaviour_that_makes_no_sense_changes_nothing(them):
    await them.set(capacity=3)
    with pytest.raises(Refused, match=r"(?s)422.*capacity"):
        await them.set(capacity=-1)
    with pytest.raises(Refused, match=r"404.*a, b"):
        await them.control.state("c")
    async with them.session.delete(f"{them.base_url}/_control/a") as response:
        assert response.status == 405
    assert (await them.control.state("a")).behaviour == Behaviour(capacity=3)


# HTTP.


async def test_requests_on_one_connection_are_answered_in_turn(them):
    await them.set(latency=Constant(5))
    reader, writer = await them.raw()
    writer.write(b"".join(request(b'{"n": %d}' % n, "score") for n in range(50)))
    for n in range(50):
        status, body = await read_answer(reader)
        assert status == b"http/1.1 200 ok"
        assert json.loads(body)["echo"] == {"n": n}
    writer.close()
    assert (await them.control.state("a")).most_in_flight == 1


async def test_a_request_in_many_parts_and_one_in_chunks(them):
    reader, writer = await them.raw()
    for byte in request(b'{"n": 1}', "score"):
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0)
    _, body = await read_answer(reader)
    assert json.loads(body)["echo"] == {"n": 1}
    writer.write(b"POST /a/score HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
    writer.write(b'3\r\n{"n\r\n5\r\n": 2}\r\n0\r\n\r\n')
    _, body = await read_answer(reader)
    assert json.loads(body)["echo"] == {"n": 2}
    writer.close()


@pytest.mark.parametrize("behaviour", [{}, {"latency": Constant(1)}])
async def test_the_connection_ends_when_the_client_asks_for_it(them, behaviour):
    await them.set(**behaviour)
    reader, writer = await them.raw()
    writer.write(request(b'{"messages": []}', "score", "connection: close"))
    assert (await read_answer(reader))[0] == b"http/1.1 200 ok"
    assert await reader.read() == b""
    writer.close()


async def test_100_continue(them):
    reader, writer = await them.raw()
    head, _, body = request(b"{}", "score", "expect: 100-continue").partition(b"\r\n\r\n")
    writer.write(head + b"\r\n\r\n")
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(body)
    assert (await read_answer(reader))[0] == b"http/1.1 200 ok"
    writer.close()


async def test_a_body_as_large_as_is_taken_and_one_that_is_larger(them):
    reader, writer = await them.raw()
    large = json.dumps(["x" * (MAX_REQUEST_BYTES - 1_000)]).encode()
    writer.write(request(large, "score"))
    assert (await read_answer(reader))[0] == b"http/1.1 200 ok"
    writer.write(request(b"x" * (MAX_REQUEST_BYTES + 1), "score"))
    assert (await read_answer(reader))[0].startswith(b"http/1.1 413 ")
    assert await reader.read() == b""
    writer.close()
    assert (await them.chat())[0] == 200


async def test_what_is_not_http_is_answered_and_ends(them):
    reader, writer = await them.raw()
    writer.write(b"\x16\x03\x01 hello\r\n\r\n")
    assert (await read_answer(reader))[0].startswith(b"http/1.1 400 ")
    assert await reader.read() == b""
    writer.close()


async def test_nonsense_behind_a_request_ends_that_one_too(them):
    await them.set(latency=Constant(LONG_MS))
    reader, writer = await them.raw()
    writer.write(request() + b"nonsense\r\n\r\n")
    assert (await read_answer(reader))[0].startswith(b"http/1.1 400 ")
    assert (await them.until(in_flight=0)).counts.abandoned == 1
    writer.close()


# The ways in.


async def test_in_a_test_a_deployment_is_set_without_http():
    async with simulated("a", "b") as serving, aiohttp.ClientSession() as session:
        serving["a"].set(Behaviour(failures=(Status(500),)))
        async with session.post(serving.url("a", "score"), json={}) as response:
            assert response.status == 500
        async with session.post(f"{serving.url('b')}/embeddings", json={}) as response:
            assert response.status == 200
        assert serving["a"].state().counts.failed == {"500": 1}
        with pytest.raises(KeyError):
            serving.url("c")


async def test_at_its_end_the_block_lets_go_of_everything():
    async with aiohttp.ClientSession() as session:
        async with simulated("a") as serving:
            serving["a"].set(Behaviour(failures=(Hang(seconds=1_000),)))
            url = serving.url("a", "score")
            hung = asyncio.create_task(session.post(url, json={}).__aenter__())
            async with asyncio.timeout(120):
                while serving["a"].in_flight == 0:
                    await asyncio.sleep(0.005)
        with pytest.raises(aiohttp.ClientConnectionError):
            await hung
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.post(url, json={})
        async with asyncio.timeout(120):
            while serving["a"].in_flight:
                await asyncio.sleep(0.005)


async def test_a_name_that_cannot_be_in_a_path_is_refused():
    with pytest.raises(ValueError, match="a/b"):
        async with simulated("a/b"):
            pass


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM to catch")
def test_the_process_ends_when_it_is_told():
    with process("--deployments", "a") as child:
        assert child.stdout is not None and child.stderr is not None
        assert child.stdout.readline().startswith(READY)
        child.send_signal(signal.SIGTERM)
        assert child.wait(60) == 0
        assert child.stderr.read() == ""


def test_a_process_that_cannot_start_says_why():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for arguments in (["--deployments", "a", "--port", port], ["--deployments", "a,_b"]):
            with process(*arguments) as child:
                assert child.stderr is not None
                assert child.wait(120) == 1
                assert child.stderr.read().startswith("The simulated deployments cannot start: ")
    with pytest.raises(RuntimeError, match="did not start"), simulated_process("_b"):
        pass
