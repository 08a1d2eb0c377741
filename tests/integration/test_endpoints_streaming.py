"""Answers that come as server-sent events, through the router and over real sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from contracts.calls import CallScope, ModelCall, Task, UsageRecord
from contracts.errors import CallRejected, InvalidRequest, NoCapacity, OutcomeUnknown
from endpoints import Endpoints
from endpoints.context import Context
from endpoints.settings import Settings
from tests.integration.endpoints_server import ModelServer, answers, model_server, sends

CHAT = ModelCall("m", Task.CHAT, {"messages": [{"role": "user", "content": "Hi"}]})


def chunk(**fields: object) -> bytes:
    return b"data: " + json.dumps(fields).encode() + b"\n\n"


def word(text: str) -> bytes:
    return chunk(choices=[{"index": 0, "delta": {"content": text}}])


USAGE = chunk(choices=[], usage={"prompt_tokens": 7, "completion_tokens": 2})
DONE = b"data: [DONE]\n\n"
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"


@pytest.fixture
async def a() -> AsyncIterator[ModelServer]:
    async with model_server() as server:
        yield server


@pytest.fixture
async def b() -> AsyncIterator[ModelServer]:
    async with model_server() as server:
        yield server


@pytest.fixture
def used() -> list[UsageRecord]:
    return []


@pytest.fixture
async def models(
    a: ModelServer, b: ModelServer, used: list[UsageRecord]
) -> AsyncIterator[Endpoints]:
    deployments = [
        {
            "name": name,
            "protocol": "openai",
            "url": f"http://127.0.0.1:{server.port}/v1",
            "model": "gpt",
            "priority": place,
        }
        for place, (name, server) in enumerate({"a": a, "b": b}.items(), 1)
    ]
    settings = Settings.model_validate({"models": {"m": {"deployments": deployments}}})
    endpoints = Endpoints(settings, context=Context(meter=used.append))
    yield endpoints
    await endpoints.aclose()


def scope() -> CallScope:
    return CallScope("job-1", "tenant-1")


async def test_events_arrive_one_by_one_while_the_model_still_writes(a, models):
    more = asyncio.Event()

    async def play(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + word("Good"))
        await writer.drain()
        await more.wait()  # the model is held until the first word was seen
        writer.write(word("day") + USAGE + DONE)
        writer.close()

    a.plays(play)
    stream = await models.stream(CHAT, scope())
    events = aiter(stream)
    assert await anext(events) == word("Good")
    more.set()
    assert b"".join([piece async for piece in events]) == word("day") + DONE


async def test_usage_is_metered_and_shown_to_who_asked_for_it(a, models, used):
    a.plays(*[sends(HEAD + word("Hi") + USAGE + DONE, close=True)] * 2)
    hidden = b"".join([piece async for piece in await models.stream(CHAT, scope())])
    assert USAGE not in hidden
    options = {"stream_options": {"include_usage": True}}
    asking = ModelCall("m", Task.CHAT, {**CHAT.payload, **options})
    shown = b"".join([piece async for piece in await models.stream(asking, scope())])
    assert USAGE in shown
    assert [
        (each.attempt.usage.input_tokens, each.attempt.usage.output_tokens) for each in used
    ] == [(7, 2)] * 2
    sent = json.loads(a.received[0].body)
    assert sent["stream"] is True
    assert sent["stream_options"] == {"include_usage": True}


async def test_an_event_cut_into_pieces_passes_whole(a, models):
    text = word("Hi") + DONE
    a.plays(sends(HEAD + text[:9], text[9:20], text[20:], pause=0.02, close=True))
    pieces = [piece async for piece in await models.stream(CHAT, scope())]
    assert b"".join(pieces) == text
    assert all(piece.endswith(b"\n\n") for piece in pieces)


async def test_a_refusal_before_the_first_event_moves_on(a, b, models):
    a.plays(answers(429, retry_after="3"))
    b.plays(sends(HEAD + word("b") + DONE, close=True))
    mine = scope()
    assert b"".join([piece async for piece in await models.stream(CHAT, mine)]) == word("b") + DONE
    assert [attempt.outcome for attempt in mine.attempts] == ["throttled", "answered"]


async def test_when_all_refuse_it_ends_as_any_call(a, b, models):
    a.plays(answers(429, retry_after="3"))
    b.plays(answers(429, retry_after="5"))
    with pytest.raises(NoCapacity):
        await models.stream(CHAT, scope())
    a.plays(answers(400))
    with pytest.raises(NoCapacity):  # both cool
        await models.stream(CHAT, scope())


async def test_what_the_caller_is_at_fault_for_is_told_at_once(a, models):
    a.plays(answers(400))
    with pytest.raises(CallRejected):
        await models.stream(CHAT, scope())


async def test_an_answer_that_breaks_off_is_told_where_it_is_read(a, models, used):
    broken = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    piece = word("Hi")
    a.plays(sends(broken + f"{len(piece):x}\r\n".encode() + piece + b"\r\n", close=True))
    stream = await models.stream(CHAT, scope())
    events = aiter(stream)
    assert await anext(events) == piece
    with pytest.raises(OutcomeUnknown, match="broke off"):
        await anext(events)
    assert [each.attempt.outcome for each in used] == ["unknown"]


async def test_a_caller_that_leaves_frees_the_slot_and_is_on_record(a, models, used):
    a.plays(sends(HEAD + word("Hi"), pause=30))
    stream = await models.stream(CHAT, scope())
    assert await anext(aiter(stream)) == word("Hi")
    assert models.statuses()[0].in_flight == 1
    await stream.aclose()
    assert models.statuses()[0].in_flight == 0
    assert [each.attempt.outcome for each in used] == ["cancelled"]


async def test_embeddings_do_not_stream(models):
    with pytest.raises(InvalidRequest, match="embeddings are given whole"):
        await models.stream(ModelCall("m", Task.EMBEDDINGS, {"input": "x"}), scope())


async def test_calls_are_numbered_as_they_were_made_whichever_ends_first(a, models, used):
    a.plays(*[sends(HEAD + word("Hi") + DONE, close=True)] * 2)
    mine = scope()
    first, second = await models.stream(CHAT, mine), await models.stream(CHAT, mine)
    for stream in (second, first):
        async for _ in stream:
            pass
    assert [record.number for record in used] == [2, 1]
