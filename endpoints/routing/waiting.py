"""Who waits for a slot at a model's deployments: real time before batch, neither for ever."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

BATCH_EVERY = 8
"""While both wait, one slot of so many goes to batch."""


class Waiter[D, T]:
    """One call that waits: for one of `wanted`, to be granted as a T, or None when it gives up."""

    __slots__ = ("batch", "granted", "tokens", "wanted")

    def __init__(self, wanted: Sequence[D], tokens: int, *, batch: bool) -> None:
        self.wanted = wanted
        self.tokens = tokens
        self.batch = batch
        self.granted: asyncio.Future[T | None] = asyncio.get_running_loop().create_future()


class Waiters[D, T]:
    """First come, first served within a class."""

    def __init__(self) -> None:
        self._realtime: deque[Waiter[D, T]] = deque()
        self._batch: deque[Waiter[D, T]] = deque()
        self._since_batch = 0

    def __len__(self) -> int:
        return len(self._realtime) + len(self._batch)

    def add(self, waiter: Waiter[D, T]) -> None:
        (self._batch if waiter.batch else self._realtime).append(waiter)

    def remove(self, waiter: Waiter[D, T]) -> None:
        """It no longer waits."""
        (self._batch if waiter.batch else self._realtime).remove(waiter)

    def goes_before(self, deployment: D, *, batch: bool) -> bool:
        """Whether someone waits for the deployment who goes before a call that has just come."""
        return _first(self._realtime, deployment) is not None or (
            batch and _first(self._batch, deployment) is not None
        )

    def hand_on(self, deployment: D, grant: Callable[[Waiter[D, T]], bool]) -> None:
        """A deployment has room: to those who wait for it, until there is no more to `grant`."""
        while (waiter := self._next(deployment)) is not None and grant(waiter):
            self.remove(waiter)
            self._since_batch = 0 if waiter.batch else self._since_batch + bool(self._batch)

    def _next(self, deployment: D) -> Waiter[D, T] | None:
        batch_first = bool(self._batch) and self._since_batch >= BATCH_EVERY - 1
        queues = (self._realtime, self._batch)
        for queue in reversed(queues) if batch_first else queues:
            if (waiter := _first(queue, deployment)) is not None:
                return waiter
        return None


def _first[D, T](queue: deque[Waiter[D, T]], deployment: D) -> Waiter[D, T] | None:
    for waiter in queue:
        if deployment in waiter.wanted and not waiter.granted.done():
            return waiter
    return None
