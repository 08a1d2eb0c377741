"""A connection that is fed faster than it can answer holds no more than it must."""

from __future__ import annotations

import asyncio

import pytest

from devhost.inference.simulated import Behaviour, Constant
from devhost.inference.simulated.app import App
from devhost.inference.simulated.connection import MAX_REQUEST_BYTES, Connection

REQUEST = b"POST /a/score HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}"


class Wire:
    """The transport, with what was written to it and whether it is read from."""

    def __init__(self) -> None:
        self.written = b""
        self.reading = True
        self.closing = False
        self.ended = False

    def write(self, data: bytes) -> None:
        assert not self.ended
        self.written += data

    def write_eof(self) -> None:
        self.ended = True

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def close(self) -> None:
        self.closing = True

    abort = close

    def is_closing(self) -> bool:
        return self.closing

    @property
    def answers(self) -> int:
        return self.written.count(b"HTTP/1.1 200 OK")


@pytest.fixture
async def app() -> App:
    return App(["a"], 1)


def connect(app: App) -> tuple[Connection, Wire]:
    connection, wire = Connection(app, set()), Wire()
    connection.connection_made(wire)
    return connection, wire


async def test_who_does_not_read_is_not_answered_nor_read_from(app):
    connection, wire = connect(app)
    connection.pause_writing()
    connection.data_received(REQUEST * 5)
    assert (wire.answers, wire.reading) == (0, False)
    connection.resume_writing()
    assert (wire.answers, wire.reading) == (5, True)


async def test_while_one_request_is_served_reading_stops_at_the_next(app):
    app.deployments["a"].set(Behaviour(latency=Constant(1)))
    connection, wire = connect(app)
    connection.data_received(REQUEST)
    assert wire.reading  # else it would not be seen that the client goes
    connection.data_received(REQUEST * 2)
    assert not wire.reading
    async with asyncio.timeout(20):
        while wire.answers < 3:
            await asyncio.sleep(0.001)
    assert wire.reading
    assert app.deployments["a"].state().most_in_flight == 1


async def test_a_request_without_end_is_refused(app):
    connection, wire = connect(app)
    connection.data_received(b"POST /a/score HTTP/1.1\r\nx: ")
    for _ in range(MAX_REQUEST_BYTES // 65_536):
        assert not wire.written
        connection.data_received(b"y" * 65_536)
    assert wire.written.startswith(b"HTTP/1.1 413 ")
    assert wire.ended
    connection.data_received(REQUEST)
    assert wire.answers == 0


async def test_who_goes_before_its_request_has_begun_to_be_served_is_counted(app):
    app.deployments["a"].set(Behaviour(latency=Constant(1)))
    connection, _ = connect(app)
    connection.data_received(REQUEST)
    connection.connection_lost(None)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    state = app.deployments["a"].state()
    assert (state.in_flight, state.counts.abandoned) == (0, 1)


async def test_each_request_may_be_large(app):
    connection, wire = connect(app)
    body = b'"%b"' % (b"x" * (MAX_REQUEST_BYTES // 2))
    for _ in range(3):
        head = b"POST /a/score HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % len(body)
        connection.data_received(head + body)
    assert wire.answers == 3
