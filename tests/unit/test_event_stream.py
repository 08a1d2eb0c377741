"""Events that pass through: to the end, to an error, or until the caller leaves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.unit.http_fakes import Caller
from triggers import event_stream
from triggers.event_stream import Events, EventStream

SCOPE = {"type": "http", "method": "POST"}


class Source:
    """Gives pieces; an exception among them is raised, an event waited for."""

    def __init__(self, *script: bytes | Exception | asyncio.Event) -> None:
        self.script = list(script)
        self.closed = 0

    async def rest(self) -> AsyncIterator[bytes]:
        for each in self.script:
            if isinstance(each, Exception):
                raise each
            if isinstance(each, asyncio.Event):
                await each.wait()
            else:
                yield each

    async def close(self) -> None:
        self.closed += 1

    def stream(self, first: bytes = b"first ") -> EventStream:
        def tell(error: Exception) -> bytes:
            return f"told: {error}".encode()

        return EventStream(Events(first, self.rest(), self.close, tell), {"x-one": "1"})


async def test_events_pass_through_one_by_one():
    caller, source = Caller(), Source(b"second ", b"third")
    assert await caller.hear(source.stream()) == b"first second third"
    start, *pieces = caller.heard
    assert start["status"] == 200
    assert dict(start["headers"]) == {
        b"content-type": b"text/event-stream; charset=utf-8",
        b"cache-control": b"no-cache",
        b"x-one": b"1",
    }
    assert [piece["body"] for piece in pieces] == [b"first ", b"second ", b"third", b""]
    assert [piece["more_body"] for piece in pieces] == [True, True, True, False]
    assert source.closed == 1


async def test_an_error_is_told_in_a_last_event():
    caller, source = Caller(), Source(b"second ", ValueError("no more"))
    assert await caller.hear(source.stream()) == b"first second told: no more"
    assert caller.heard[-1]["more_body"] is False
    assert source.closed == 1


async def test_an_answer_without_events_is_empty():
    caller, source = Caller(), Source()
    assert await caller.hear(source.stream(b"")) == b""
    assert source.closed == 1


async def test_a_caller_who_leaves_ends_it_and_closes_the_source():
    caller, source = Caller(), Source(b"second", asyncio.Event())
    passing = asyncio.create_task(source.stream()(SCOPE, caller.receive, caller.send))
    while caller.body != b"first second":
        await asyncio.sleep(0)
    assert not source.closed
    caller.gone.set()
    await passing
    assert source.closed == 1
    assert caller.heard[-1]["more_body"] is True


async def test_a_caller_who_left_before_it_began_closes_the_source_too():
    caller, source = Caller(), Source(asyncio.Event())
    caller.gone.set()
    await source.stream()(SCOPE, caller.receive, caller.send)
    assert source.closed == 1


async def test_the_end_of_the_server_closes_the_source():
    caller, source = Caller(), Source(asyncio.Event())
    passing = asyncio.create_task(source.stream()(SCOPE, caller.receive, caller.send))
    while not caller.body:
        await asyncio.sleep(0)
    passing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await passing
    assert source.closed == 1


async def test_a_caller_who_takes_nothing_is_left_alone(monkeypatch):
    monkeypatch.setattr(event_stream, "SLOWEST_READER_SECONDS", 0.01)
    caller, source = Caller(), Source(b"second")

    async def stuck(message: dict) -> None:
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    await source.stream()(SCOPE, caller.receive, stuck)
    assert source.closed == 1


async def test_a_connection_that_breaks_closes_the_source():
    caller, source = Caller(), Source(b"second")

    async def broken(message: dict) -> None:
        raise ConnectionResetError

    await source.stream()(SCOPE, caller.receive, broken)
    assert source.closed == 1


async def test_a_fault_in_telling_is_the_servers_to_log():
    caller, source = Caller(), Source(ValueError("x"))

    def tell(error: Exception) -> bytes:
        raise AssertionError("cannot tell")

    stream = EventStream(Events(b"first", source.rest(), source.close, tell), {})
    with pytest.raises(AssertionError, match="cannot tell"):
        await stream(SCOPE, caller.receive, caller.send)
    assert source.closed == 1
