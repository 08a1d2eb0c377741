"""A line to a port of this machine on which everything takes its time one way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

_CHUNK = 65536

type _Said = asyncio.Queue[tuple[float, bytes]]


class SlowLine:
    """Hands on what clients say `seconds` after they said it; answers come back at once.

    So each request of an HTTP client takes so much longer, however many go at the same time.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self.target: int | None = None
        """The port at the other end; clients are hung up on as long as there is none."""
        self.port = 0
        self._open: set[asyncio.Task[None]] = set()

    async def connected(self, near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        """Serve one client until either end hangs up."""
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            with suppress(OSError, asyncio.CancelledError):
                await self._relay(near, back)
        finally:
            back.close()
            self._open.discard(task)

    async def hang_up(self) -> None:
        for task in list(self._open):
            task.cancel()
        await asyncio.gather(*self._open)

    async def _relay(self, near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        if self.target is None:
            return
        far, forth = await asyncio.open_connection("127.0.0.1", self.target)
        said: _Said = asyncio.Queue()
        ways = [
            asyncio.create_task(self._hear(near, said)),
            asyncio.create_task(_hand_on(said, forth)),
            asyncio.create_task(_answer(far, back)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            forth.close()

    async def _hear(self, near: asyncio.StreamReader, said: _Said) -> None:
        loop = asyncio.get_running_loop()
        while data := await near.read(_CHUNK):
            said.put_nowait((loop.time() + self.seconds, data))


async def _hand_on(said: _Said, forth: asyncio.StreamWriter) -> None:
    loop = asyncio.get_running_loop()
    while True:
        due, data = await said.get()
        await asyncio.sleep(due - loop.time())
        forth.write(data)
        await forth.drain()


async def _answer(far: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
    while data := await far.read(_CHUNK):
        back.write(data)
        await back.drain()


@asynccontextmanager
async def slow_line() -> AsyncIterator[SlowLine]:
    """A line that clients can connect to, at its `port`."""
    line = SlowLine()
    server = await asyncio.start_server(line.connected, "127.0.0.1", 0)
    line.port = server.sockets[0].getsockname()[1]
    try:
        yield line
    finally:
        server.close()
        await line.hang_up()
        await server.wait_closed()
