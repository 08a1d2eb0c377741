"""HTTP/1.1 on one connection: one request after the other, and none held that need not be."""

from __future__ import annotations

import asyncio
from collections import deque
from functools import partial
from typing import NamedTuple, cast

import httptools

from devhost.inference.simulated.app import App
from devhost.inference.simulated.delivery import deliver
from devhost.inference.simulated.deployment import Course
from devhost.inference.simulated.reply import error

MAX_REQUEST_BYTES = 4 * 1024 * 1024
"""Of head and body together; larger ones are answered 413."""


class _Request(NamedTuple):
    method: bytes
    target: bytes
    body: bytes
    keep_alive: bool


class Connection(asyncio.Protocol):
    """Parses, asks the app, writes. What can be answered at once is, without a task.

    A request that comes before the answer to the one before it waits, and reading stops: a
    connection holds one request, one answer and what had already been read.
    """

    def __init__(self, app: App, open_connections: set[Connection]) -> None:
        self._app = app
        self._open = open_connections
        self._parser = httptools.HttpRequestParser(self)
        self._size = 0
        self._target = b""
        self._body = bytearray()
        self._waiting: deque[_Request] = deque()
        self._task: asyncio.Task[None] | None = None
        self._writable = True
        self._given_up = False

    def abort(self) -> None:
        self._transport.abort()

    # Called by the loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass of it
        self._open.add(self)

    def connection_lost(self, _: Exception | None) -> None:
        self._open.discard(self)
        self._waiting.clear()
        if self._task is not None:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        if self._given_up:
            return
        self._size += len(data)
        if self._size > MAX_REQUEST_BYTES:
            self._refuse(413, f"More than {MAX_REQUEST_BYTES} bytes.")
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError:
            raise  # a mistake in here, not the client's
        except httptools.HttpParserError:
            self._refuse(400, "Not HTTP/1.1.")

    def pause_writing(self) -> None:
        self._writable = False

    def resume_writing(self) -> None:
        self._writable = True
        self._go_on()

    # Called by the parser.

    def on_message_begin(self) -> None:
        self._target = b""
        self._body = bytearray()

    def on_url(self, part: bytes) -> None:
        self._target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"expect" and value.lower() == b"100-continue" and not self._busy:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, part: bytes) -> None:
        self._body += part

    def on_message_complete(self) -> None:
        self._size = 0
        request = _Request(
            self._parser.get_method(),
            self._target,
            bytes(self._body),
            self._parser.should_keep_alive(),
        )
        if self._busy:
            self._waiting.append(request)
            self._transport.pause_reading()
        else:
            self._begin(request)

    # Answering.

    @property
    def _busy(self) -> bool:
        return self._task is not None or not self._writable

    def _begin(self, request: _Request) -> None:
        if self._transport.is_closing():
            return
        taken = self._app.take(request.method, request.target, request.body)
        if isinstance(taken, Course) and not taken.at_once:
            self._task = asyncio.create_task(deliver(taken, self._transport))
            self._task.add_done_callback(partial(self._ended, taken, request.keep_alive))
            return
        if isinstance(taken, Course):
            taken.end(answered=True)
            taken = taken.reply
        self._transport.write(taken.encode())
        if not request.keep_alive:
            self._transport.close()

    def _ended(self, course: Course, keep_alive: bool, task: asyncio.Task[None]) -> None:
        self._task = None
        course.end(answered=not task.cancelled())
        if task.cancelled():
            return
        task.result()  # a mistake in here is raised, and told by the loop
        if not keep_alive:
            self._transport.close()
        self._go_on()

    def _go_on(self) -> None:
        """Turn to what waited, then read again."""
        while self._waiting and not self._busy:
            self._begin(self._waiting.popleft())
        if not self._waiting and not self._transport.is_closing():
            self._transport.resume_reading()

    def _refuse(self, status: int, message: str) -> None:
        """What follows on this connection cannot be read: the last answer.

        Not closed until the client has: closing before it has sent all that it sends would reset
        the connection, and this answer with it.
        """
        self._given_up = True
        self._waiting.clear()
        if self._task is not None:
            self._task.cancel()
        self._transport.write(error(status, message, (("connection", "close"),)).encode())
        self._transport.write_eof()
