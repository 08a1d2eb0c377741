"""Lines begin one by one, so that whatever else the worker does comes in between.

Calls that begin together end together. If all lines whose places come free at once began their next
calls in one turn of the event loop, a real-time call that arrives just then would wait for all of
them: dozens of milliseconds. Begun one a turn, they soon are under way at different times.
"""

from __future__ import annotations

import asyncio
from collections import deque


class Pace:
    """Of all slices that one event loop carries."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._going = False

    async def turn(self) -> None:
        """Returns when it is the caller's turn: first come, first served, one in a turn of the
        event loop."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:  # what waited in one that is over waits no longer
            self._loop, self._going = loop, False
            self._waiting.clear()
        mine = loop.create_future()
        self._waiting.append(mine)
        if not self._going:
            self._going = True
            loop.call_soon(self._let_one, loop)
        await mine

    def _let_one(self, loop: asyncio.AbstractEventLoop) -> None:
        while self._waiting:
            mine = self._waiting.popleft()
            if not mine.done():  # nor cancelled
                mine.set_result(None)
                break
        self._going = bool(self._waiting)
        if self._going:
            loop.call_soon(self._let_one, loop)
