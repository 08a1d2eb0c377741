"""HTTP as the doors see it: a request whose body arrives, and a caller who may leave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Mapping
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.requests import Request as WorkerRequest

from contracts.errors import PayloadTooLarge
from contracts.identity import Identity


class CallerLeft(Exception):
    """The connection has ended: nobody waits for the answer any more."""


class Request:
    """One request: its head is there, its body is read as it arrives."""

    __slots__ = ("_given", "identity")

    identity: Identity
    """Who asks; set before the handler is called, at doors that are not open to all."""

    def __init__(self, given: WorkerRequest) -> None:
        self._given = given

    @property
    def method(self) -> str:
        return self._given.method

    @property
    def path(self) -> str:
        path: str = self._given.scope["path"]
        return path

    @property
    def headers(self) -> Mapping[str, str]:
        """Looked up without regard to case."""
        return self._given.headers

    @property
    def query(self) -> Mapping[str, str]:
        """Of a parameter that is repeated, the last."""
        return self._given.query_params

    @property
    def route_params(self) -> Mapping[str, str]:
        return self._given.path_params

    async def stream(self) -> AsyncIterator[bytes]:
        """The body's pieces as they arrive. Raises CallerLeft."""
        try:
            async for piece in self._given.stream():
                if piece:
                    yield piece
        except ClientDisconnect:
            raise CallerLeft from None

    async def body(self, most_bytes: int) -> bytes:
        """The whole body. Raises PayloadTooLarge as soon as it is known to be larger."""
        announced = self.headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > most_bytes:
            raise _too_large(most_bytes)
        pieces: list[bytes] = []
        size = 0
        async for piece in self.stream():
            size += len(piece)
            if size > most_bytes:
                raise _too_large(most_bytes)
            pieces.append(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def left(self) -> None:
        """Returns when the caller has left. To be asked once the body was read."""
        while (await self._given.receive())["type"] != "http.disconnect":
            pass


def _too_large(most_bytes: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"The body is too large: at most {most_bytes:,} bytes are taken.")


async def unless_left[T](req: Request, work: Coroutine[Any, Any, T]) -> T:
    """What the work comes to. Raises CallerLeft, the work cancelled, when the caller leaves first.

    The worker tells a function nothing of a caller who leaves: it would work on for nobody.
    """
    working, leaving = asyncio.create_task(work), asyncio.create_task(req.left())
    # Half of what asyncio.wait and gather cost, with each call of a model.
    leaving.add_done_callback(lambda _: working.cancel())
    try:
        return await working
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if leaving.done() and not (task and task.cancelling()):
            raise CallerLeft from None
        raise
    finally:
        leaving.cancel()
