"""Server-sent events that are passed on as they arrive."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

SLOWEST_READER_SECONDS = 60.0
"""A caller who takes nothing for so long has left: what it keeps waiting keeps a model waiting."""


@dataclass(frozen=True, slots=True)
class Events:
    """Where events come from."""

    first: bytes
    """What has come already."""
    rest: AsyncIterator[bytes]
    close: Callable[[], Awaitable[None]]
    """Called in the end, whichever way it comes."""
    tell: Callable[[Exception], bytes]
    """The last event, when `rest` raises."""


class EventStream(Response):
    """A response that lasts until its events end or its caller leaves."""

    media_type = "text/event-stream"

    def __init__(self, events: Events, headers: Mapping[str, str]) -> None:
        # Not by way of Response.__init__, which makes a body and states its length.
        self.status_code = 200
        self.background = None
        self.init_headers({"cache-control": "no-cache", **headers})
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        passing = asyncio.create_task(self._pass_on(send))
        leaving = asyncio.create_task(_left(receive))
        try:
            await asyncio.wait({passing, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if passing.done():
                passing.result()
        finally:
            passing.cancel()
            leaving.cancel()
            await asyncio.gather(passing, leaving, return_exceptions=True)
            await self._events.close()

    async def _pass_on(self, send: Send) -> None:
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        try:
            await send(start)
            async for piece in self._pieces():
                async with asyncio.timeout(SLOWEST_READER_SECONDS):
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except (TimeoutError, OSError):
            return  # of `send`: the caller takes no more

    async def _pieces(self) -> AsyncIterator[bytes]:
        if self._events.first:
            yield self._events.first
        try:
            async for piece in self._events.rest:
                yield piece
        except Exception as error:  # noqa: BLE001 - told to the caller, logged by `tell`
            yield self._events.tell(error)


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
