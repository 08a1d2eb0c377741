"""Values that are made once, when first asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any


class Once[T]:
    """A value that whoever asks first has made; one that could not be made is tried again."""

    def __init__(self, make: Callable[[], Coroutine[Any, Any, T]]) -> None:
        self._make = make
        self._making: asyncio.Task[T] | None = None

    async def get(self) -> T:
        """The value. Raises what making it raised."""
        if self._making is None or _failed(self._making):
            self._making = asyncio.create_task(self._make())
        # Whoever gives up waiting leaves the making to the others.
        return await asyncio.shield(self._making)


def _failed[T](task: asyncio.Task[T]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)
