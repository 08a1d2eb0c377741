"""How many HTTP requests the functions take at the same time, as host.json says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from devhost.functions_host.host_json import HttpConfig


class TooManyRequestsError(Exception):
    """More requests are outstanding than host.json allows."""


class RequestLimits:
    """host.json's maxConcurrentRequests (more wait) and maxOutstandingRequests (more fail)."""

    def __init__(self, config: HttpConfig) -> None:
        self._outstanding = 0
        self._most = config.max_outstanding
        self._running = (
            asyncio.Semaphore(config.max_concurrent) if config.max_concurrent > 0 else None
        )

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Hold a place for one request. Raises TooManyRequestsError."""
        if 0 < self._most <= self._outstanding:
            raise TooManyRequestsError
        self._outstanding += 1
        try:
            if self._running is None:
                yield
            else:
                async with self._running:
                    yield
        finally:
            self._outstanding -= 1
