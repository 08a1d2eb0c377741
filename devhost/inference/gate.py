"""How many requests are inside at once, how many more may wait, and when the next is refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Full(Exception):
    """As many requests as may be inside are inside."""


class Gate:
    """Admits twice `concurrency` requests and lets `concurrency` of them run at a time.

    Azure ML's rule: 2 x max_concurrent_requests_per_instance x instances in all, the rest is 429.
    """

    def __init__(self, concurrency: int) -> None:
        self._running = asyncio.Semaphore(concurrency)
        self._admitted = 2 * concurrency
        self.inside = 0

    @asynccontextmanager
    async def passing(self) -> AsyncIterator[None]:
        """Wait for a turn. Raises Full at once when no more may wait."""
        if self.inside >= self._admitted:
            raise Full
        self.inside += 1
        try:
            async with self._running:
                yield
        finally:
            self.inside -= 1
