"""Calls through real sockets to model servers that answer, refuse, throttle, break and hang."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from pydantic import JsonValue

from contracts.calls import CallScope, ModelCall, Task
from contracts.errors import (
    CallFailed,
    CallRejected,
    DeadlineExceeded,
    EndpointUnusable,
    NoCapacity,
    OutcomeUnknown,
    SluiceError,
)
from contracts.states import Execution
from devhost.stack.network import free_port
from endpoints import Endpoints
from endpoints.settings import Settings
from tests.integration.endpoints_server import (
    ModelServer,
    Play,
    answers,
    hangs_up,
    head,
    model_error,
    model_server,
    sends,
    stays_silent,
)

CALL = ModelCall("m", Task.SCORE, {"text": "a confidential prompt"})
ANSWER: JsonValue = {"label": "b"}


@pytest.fixture
async def a() -> AsyncIterator[ModelServer]:
    async with model_server() as server:
        yield server


@pytest.fixture
async def b() -> AsyncIterator[ModelServer]:
    async with model_server() as server:
        server.otherwise = answers(200, {"from": "b"})
        yield server


@pytest.fixture
async def open_endpoints() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


class Opened:
    """Opens model `m` on servers, and closes it after the test."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack

    def __call__(self, *servers: ModelServer | str, **fields: object) -> Endpoints:
        deployments = [
            {
                "name": "abc"[index],
                "protocol": "aml_online",
                "url": server if isinstance(server, str) else server.url,
                "priority": index + 1,
                **fields,
            }
            for index, server in enumerate(servers)
        ]
        settings = Settings.model_validate({"models": {"m": {"deployments": deployments}}})
        models = Endpoints(settings)
        self._stack.push_async_callback(models.aclose)
        return models


@pytest.fixture
def opened(open_endpoints: AsyncExitStack) -> Opened:
    return Opened(open_endpoints)


def scope(execution: Execution = Execution.AT_LEAST_ONCE, **fields: object) -> CallScope:
    return CallScope("job-1", "tenant-1", execution, **fields)  # type: ignore[arg-type]


async def ending(models: Endpoints, of: CallScope | None = None) -> SluiceError:
    with pytest.raises(SluiceError) as raised:
        await models.invoke(CALL, of or scope())
    assert "confidential" not in raised.value.detail
    return raised.value


def seconds_for(play: Play) -> float:
    """A time limit: short only where there is nothing but the limit to be seen."""
    return 1.0 if play in (stays_silent, never_ends) else 60.0


never_ends = sends(head(200, 50), *[b" "] * 50, pause=0.1)


# What goes over the wire.


async def test_an_azure_ml_call(a: ModelServer, opened: Opened) -> None:
    a.plays(answers(200, ANSWER))
    models = opened(a, auth={"key": "hunter2"}, deployment="blue")
    answer = await models.invoke(CALL, scope())
    assert answer.body == ANSWER
    assert answer.attempt.status == 200
    assert 0 < answer.attempt.seconds < 60
    (received,) = a.received
    assert received.path == "/score"
    assert json.loads(received.body) == CALL.payload
    assert received.headers["authorization"] == "Bearer hunter2"
    assert received.headers["azureml-model-deployment"] == "blue"
    assert received.headers["content-type"] == "application/json"
    assert received.headers["x-ms-client-request-id"] == answer.attempt.request_id
    assert received.headers["x-request-id"] == answer.attempt.request_id


async def test_an_azure_openai_call(a: ModelServer, open_endpoints: AsyncExitStack) -> None:
    body: JsonValue = {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3}}
    a.plays(answers(200, body))
    deployment = {
        "name": "a", "protocol": "openai", "url": f"http://127.0.0.1:{a.port}", "model": "gpt",
        "api_version": "2024-10-21", "auth": {"key": "hunter2"},
    }  # fmt: skip
    models = Endpoints(Settings.model_validate({"models": {"m": {"deployments": [deployment]}}}))
    open_endpoints.push_async_callback(models.aclose)
    messages: JsonValue = [{"role": "user", "content": "é \ud83d"}]
    answer = await models.invoke(ModelCall("m", Task.CHAT, {"messages": messages}), scope())
    assert answer.body == body
    assert (answer.attempt.usage.input_tokens, answer.attempt.usage.output_tokens) == (7, 3)
    (received,) = a.received
    assert received.path == "/openai/deployments/gpt/chat/completions?api-version=2024-10-21"
    assert received.headers["api-key"] == "hunter2"
    assert "authorization" not in received.headers
    assert json.loads(received.body) == {"messages": messages, "model": "gpt"}


async def test_a_large_request_and_a_large_answer(a: ModelServer, opened: Opened) -> None:
    large = "x" * 5_000_000
    a.plays(answers(200, large))
    answer = await opened(a).invoke(ModelCall("m", Task.SCORE, large), scope())
    assert answer.body == large
    assert json.loads(a.received[0].body) == large


async def test_compressed_and_chunked_answers_are_read(a: ModelServer, opened: Opened) -> None:
    packed = gzip.compress(json.dumps(ANSWER).encode())
    chunked = (
        b'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\n{"a"\r\n3\r\n:1}\r\n0\r\n\r\n'
    )
    a.plays(sends(head(200, len(packed), {"content-encoding": "gzip"}) + packed), sends(chunked))
    models = opened(a)
    assert (await models.invoke(CALL, scope())).body == ANSWER
    assert (await models.invoke(CALL, scope())).body == {"a": 1}


# Every row of the status table, alone and with another deployment at hand.

ROWS = [
    (answers(301, location="http://127.0.0.1:1/"), 301, "unusable", EndpointUnusable),
    (answers(307, location="http://127.0.0.1:1/"), 307, "unusable", EndpointUnusable),
    (answers(400), 400, "rejected", CallRejected),
    (answers(401), 401, "unusable", EndpointUnusable),
    (answers(403), 403, "unusable", EndpointUnusable),
    (answers(404), 404, "unusable", EndpointUnusable),
    (answers(408), 408, "unknown", OutcomeUnknown),
    (answers(413), 413, "rejected", CallRejected),
    (answers(422), 422, "rejected", CallRejected),
    (answers(424), 424, "failed", CallFailed),
    (model_error(400), 424, "rejected", CallRejected),
    (model_error(404), 424, "unusable", EndpointUnusable),
    (model_error(408), 424, "unknown", OutcomeUnknown),
    (model_error(422), 424, "rejected", CallRejected),
    (model_error(429), 424, "throttled", NoCapacity),
    (model_error(500), 424, "failed", CallFailed),
    (model_error(502), 424, "failed", CallFailed),
    (model_error(503), 424, "failed", CallFailed),
    (model_error(504), 424, "failed", CallFailed),
    (answers(429), 429, "throttled", NoCapacity),
    (answers(500), 500, "failed", CallFailed),
    (answers(502), 502, "failed", CallFailed),
    (answers(503), 503, "failed", CallFailed),
    (answers(504), 504, "failed", CallFailed),
]


@pytest.mark.parametrize(("play", "status", "outcome", "error"), ROWS)
async def test_a_status_alone(
    a: ModelServer,
    opened: Opened,
    play: Play,
    status: int,
    outcome: str,
    error: type[SluiceError],
) -> None:
    a.plays(play)
    of = scope()
    assert type(await ending(opened(a), of)) is error
    assert [(each.status, each.outcome) for each in of.attempts] == [(status, outcome)]
    assert len(a.received) == 1


@pytest.mark.parametrize(("play", "status", "outcome", "error"), ROWS)
async def test_a_status_with_another_deployment_at_hand(
    a: ModelServer,
    b: ModelServer,
    opened: Opened,
    play: Play,
    status: int,
    outcome: str,
    error: type[SluiceError],
) -> None:
    a.plays(play)
    of = scope()
    models = opened(a, b)
    if error is CallRejected:
        assert type(await ending(models, of)) is CallRejected
        assert b.received == []
    else:
        assert (await models.invoke(CALL, of)).body == {"from": "b"}
        assert [each.outcome for each in of.attempts] == [outcome, "answered"]


@pytest.mark.parametrize(
    "play",
    [answers(408), answers(500), answers(502), answers(503), answers(504), answers(424),
     model_error(500), model_error(408), hangs_up, sends(b"not HTTP at all\r\n\r\n", close=True),
     sends(head(200, 100), b'{"half', close=True), sends(head(200, 4) + b"<ht>"), stays_silent],
)  # fmt: skip
async def test_at_most_once_is_never_repeated_when_the_model_may_have_run(
    a: ModelServer, b: ModelServer, opened: Opened, play: Play
) -> None:
    a.plays(play)
    of = scope(Execution.AT_MOST_ONCE)
    error = await ending(opened(a, b, timeout_seconds=seconds_for(play)), of)
    assert isinstance(error, OutcomeUnknown)
    assert len(of.attempts) == len(a.received) == 1
    assert b.received == []


@pytest.mark.parametrize("play", [answers(401), answers(403), answers(404), answers(429)])
async def test_at_most_once_moves_on_when_the_model_cannot_have_run(
    a: ModelServer, b: ModelServer, opened: Opened, play: Play
) -> None:
    a.plays(play)
    answer = await opened(a, b).invoke(CALL, scope(Execution.AT_MOST_ONCE))
    assert answer.body == {"from": "b"}


# Connections: never made, lost, silent.


async def test_a_connection_that_was_never_made_is_safe_to_replace(
    b: ModelServer, opened: Opened
) -> None:
    of = scope(Execution.AT_MOST_ONCE)
    nobody = f"http://127.0.0.1:{free_port()}/score"
    answer = await opened(nobody, b).invoke(CALL, of)
    assert answer.body == {"from": "b"}
    assert (of.attempts[0].outcome, of.attempts[0].reason) == (
        "not_connected",
        "connection refused",
    )


async def test_a_handshake_that_never_completes(
    a: ModelServer, b: ModelServer, opened: Opened
) -> None:
    of = scope(Execution.AT_MOST_ONCE)
    silent = a.url.replace("http:", "https:")  # it waits for an HTTP request and says nothing
    models = opened(silent, b, connect_timeout_seconds=0.3, timeout_seconds=60)
    assert (await models.invoke(CALL, of)).body == {"from": "b"}
    assert of.attempts[0].seconds < 30
    assert (of.attempts[0].outcome, of.attempts[0].reason) == (
        "not_connected",
        "timed out connecting",
    )


async def test_a_handshake_that_fails(b: ModelServer, opened: Opened) -> None:
    async def not_tls(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 this is not TLS\r\n\r\n")
        writer.close()

    of = scope(Execution.AT_MOST_ONCE)
    async with await asyncio.start_server(not_tls, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        models = opened(f"https://127.0.0.1:{port}/score", b)
        assert (await models.invoke(CALL, of)).body == {"from": "b"}
    assert of.attempts[0].outcome == "not_connected"


async def test_a_refusal_is_heard_before_a_large_request_is_out(opened: Opened) -> None:
    async def refuses(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head(429, 0, {"retry-after": "7", "connection": "close"}))
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(refuses, "127.0.0.1", 0) as listening:
        models = opened(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/score")
        with pytest.raises(NoCapacity):
            await models.invoke(ModelCall("m", Task.SCORE, "x" * 8_000_000), scope())


@pytest.mark.parametrize(
    ("play", "reason"),
    [
        (hangs_up, "connection lost after the request was sent"),
        (sends(b"HTTP/1.1 200", close=True), "connection lost after the request was sent"),
        (sends(b"not HTTP at all\r\n\r\n", close=True), "the answer is not HTTP"),
        (sends(head(200, 9), b"{}", close=True), "connection lost after the request was sent"),
        (stays_silent, "timed out waiting for the answer"),
        (never_ends, "timed out waiting for the answer"),
    ],
)
async def test_a_request_without_a_whole_answer_has_an_unknown_outcome(
    a: ModelServer, b: ModelServer, opened: Opened, play: Play, reason: str
) -> None:
    a.plays(play, play)
    of = scope()
    seconds = seconds_for(play)
    models = opened(a, b, timeout_seconds=seconds)
    assert (await models.invoke(CALL, of)).body == {"from": "b"}
    assert (of.attempts[0].outcome, of.attempts[0].reason) == ("unknown", reason)
    assert isinstance(await ending(opened(a, timeout_seconds=seconds)), OutcomeUnknown)


async def test_a_broken_body_does_not_hide_a_refusal(a: ModelServer, opened: Opened) -> None:
    a.plays(sends(head(429, 1000, {"retry-after": "7"}), b"half", close=True))
    assert isinstance(await ending(opened(a)), NoCapacity)


async def test_a_connection_closed_in_the_meantime_is_not_used_again(
    a: ModelServer, opened: Opened
) -> None:
    a.otherwise = sends(head(200, 2) + b"{}", close=True)  # without saying `connection: close`
    models = opened(a)
    for _ in range(3):
        await models.invoke(CALL, scope(Execution.AT_MOST_ONCE))
        await asyncio.sleep(0.3)
    assert a.connections == 3


# Answers of no use.


@pytest.mark.parametrize("body", [b"", b"<html></html>", b'{"half', b'{"x": NaN}', b"\xff\xfe"])
async def test_an_answer_that_is_not_json(
    a: ModelServer, b: ModelServer, opened: Opened, body: bytes
) -> None:
    a.plays(sends(head(200, len(body)) + body))
    of = scope()
    assert (await opened(a, b).invoke(CALL, of)).body == {"from": "b"}
    assert (of.attempts[0].outcome, of.attempts[0].status) == ("failed", 200)
    assert of.attempts[0].reason == "HTTP 200, answer is not JSON"


BOMB = gzip.compress(b" " * 20_000_000)


@pytest.mark.parametrize(
    "play",
    [
        sends(head(200, 10_000_000)),  # announced: not a byte of it is waited for
        sends(
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
            *[b"ffff\r\n" + b" " * 0xFFFF + b"\r\n"] * 40,
        ),
        sends(head(200, len(BOMB), {"content-encoding": "gzip"}), BOMB),
    ],
    ids=["announced", "chunked", "compressed"],
)
async def test_an_answer_over_the_cap_is_not_read(
    a: ModelServer, opened: Opened, play: Play
) -> None:
    a.plays(play)
    of = scope()
    models = opened(a, max_response_bytes=1_000_000, timeout_seconds=30)
    assert isinstance(await ending(models, of), CallFailed)
    assert of.attempts[0].reason == "HTTP 200, answer over max_response_bytes"
    assert (await models.invoke(CALL, scope())).body == {"ok": True}  # and the client goes on


# Throttling.


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry_after": "7"}, 7),
        ({"retry_after_ms": "7000", "retry_after": "60"}, 7),
        ({"x_ms_retry_after_ms": "7000", "retry_after": "60"}, 7),
        ({"retry_after": "DATE+7"}, 7),
        ({"retry_after": "never"}, 2),
        ({}, 2),
    ],
)
async def test_when_all_throttle_the_time_of_the_earliest_is_told(
    a: ModelServer, b: ModelServer, opened: Opened, headers: dict[str, str], seconds: int
) -> None:
    before = datetime.now(UTC)
    date = format_datetime(before + timedelta(seconds=7), usegmt=True)
    spelled = {name: value.replace("DATE+7", date) for name, value in headers.items()}
    a.plays(answers(429, **spelled))
    b.plays(answers(429, retry_after="300"))
    models = opened(a, b)
    error = await ending(models)
    assert isinstance(error, NoCapacity)
    # An HTTP date has whole seconds; the machine may take its time.
    assert before + timedelta(seconds=seconds - 1) <= error.retry_at
    assert error.retry_at <= datetime.now(UTC) + timedelta(seconds=seconds)
    # Until then neither is asked again.
    again = await ending(models)
    assert isinstance(again, NoCapacity)
    assert again.retry_at == pytest.approx(error.retry_at, abs=timedelta(seconds=1))
    assert (len(a.received), len(b.received)) == (1, 1)


async def test_a_cooldown_ends_by_itself(a: ModelServer, opened: Opened) -> None:
    a.plays(answers(429, retry_after_ms="100"), answers(200, ANSWER))
    models = opened(a)
    error = await ending(models)
    assert isinstance(error, NoCapacity)
    while datetime.now(UTC) <= error.retry_at:
        await asyncio.sleep(0.02)
    assert (await models.invoke(CALL, scope())).body == ANSWER


# Deadlines, sharing, safety.


async def test_a_deadline_ends_the_wait_for_an_answer(a: ModelServer, opened: Opened) -> None:
    a.plays(stays_silent)
    of = scope(deadline=datetime.now(UTC) + timedelta(seconds=1))
    assert isinstance(await ending(opened(a), of), DeadlineExceeded)
    assert [each.outcome for each in of.attempts] == ["unknown"]
    assert of.attempts[0].seconds < 30  # the deployment's own timeout is 190 s


async def test_two_hundred_calls_share_one_session(a: ModelServer, opened: Opened) -> None:
    models = opened(a)
    scopes = [scope(patience=60) for _ in range(200)]
    for _ in range(2):
        await asyncio.gather(*(models.invoke(CALL, each) for each in scopes))
    assert len(a.received) == 400
    assert a.connections <= 200
    assert max(a.by_connection().values()) > 1  # the second round reuses the first's connections
    ids = {attempt.request_id for each in scopes for attempt in each.attempts}
    assert len(ids) == 400


async def test_a_redirect_is_not_followed(a: ModelServer, b: ModelServer, opened: Opened) -> None:
    a.plays(*[answers(status, location=b.url) for status in (301, 302, 303, 307, 308)])
    for _ in range(5):
        assert isinstance(await ending(opened(a)), EndpointUnusable)
    assert b.received == []


async def test_a_cookie_is_not_kept(a: ModelServer, opened: Opened) -> None:
    a.plays(answers(200, ANSWER, set_cookie="session=1"))
    models = opened(a)
    await models.invoke(CALL, scope())
    await models.invoke(CALL, scope())
    assert "cookie" not in a.received[1].headers


async def test_a_proxy_of_the_environment_is_not_used(
    a: ModelServer, b: ModelServer, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{b.port}")
    await opened(a).invoke(CALL, scope())
    assert b.received == []


async def test_a_call_that_is_given_up_leaves_the_client_working(
    a: ModelServer, opened: Opened
) -> None:
    a.plays(stays_silent)
    models = opened(a)
    calling = asyncio.create_task(models.invoke(CALL, scope()))
    async with asyncio.timeout(60):
        while not a.received:
            await asyncio.sleep(0.01)
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    assert (await models.invoke(CALL, scope())).body == {"ok": True}


async def test_closed_endpoints_open_again(a: ModelServer, opened: Opened) -> None:
    models = opened(a)
    await models.invoke(CALL, scope())
    await models.aclose()
    await models.invoke(CALL, scope())
    assert a.connections == 2


async def test_endpoints_stay_in_one_event_loop(a: ModelServer, opened: Opened) -> None:
    models = opened(a)
    await models.invoke(CALL, scope())
    elsewhere = asyncio.to_thread(lambda: asyncio.run(models.invoke(CALL, scope())))
    with pytest.raises(RuntimeError, match="event loop of their first call"):
        await elsewhere
