"""Who waits for a slot at a model's deployments: real time before batch, neither for ever."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

BATCH_EVERY = 8
"""While both wait, one slot of so many goes to batch."""

MOST_REMEMBERED = 1000
"""Tenants that have had slots and do not wait now."""


class Turn(NamedTuple):
    """Whose turn a batch call takes: a tenant's, and among that tenant's that of one batch or
    job."""

    tenant: str
    batch: str
    weight: float = 1.0
    """Of the tenant: with twice the weight of another it has two turns to the other's one."""


NOBODYS = Turn("", "")


class Waiter[D, T]:
    """One call that waits: for one of `wanted`, to be granted as a T, or None when it gives up.

    `again`: it has had its turn at a deployment that did not answer.
    """

    __slots__ = ("again", "batch", "granted", "tokens", "turn", "wanted")

    def __init__(
        self,
        wanted: Sequence[D],
        tokens: int,
        *,
        batch: bool,
        turn: Turn = NOBODYS,
        again: bool = False,
    ) -> None:
        self.wanted = wanted
        self.tokens = tokens
        self.batch = batch
        self.turn = turn
        self.again = again
        self.granted: asyncio.Future[T | None] = asyncio.get_running_loop().create_future()


class Waiters[D, T]:
    """Real-time calls are served first come, first served; batch calls in turn. Who waits again
    goes before others of its kind."""

    def __init__(self) -> None:
        self._realtime: deque[Waiter[D, T]] = deque()
        self._batch: InTurn[D, T] = InTurn()
        self._since_batch = 0

    def __len__(self) -> int:
        return len(self._realtime) + len(self._batch)

    def add(self, waiter: Waiter[D, T]) -> None:
        if waiter.batch:
            self._batch.add(waiter)
        else:
            _line_up(self._realtime, waiter)

    def remove(self, waiter: Waiter[D, T]) -> None:
        """It no longer waits."""
        if waiter.batch:
            self._batch.remove(waiter)
        else:
            self._realtime.remove(waiter)

    def goes_before(self, deployment: D, *, batch: bool, again: bool = False) -> bool:
        """Whether someone waits for the deployment who goes before a call that has just come."""
        if (batch or not again) and _first(self._realtime, deployment) is not None:
            return True
        return batch and not again and self._batch.first(deployment) is not None

    def hand_on(self, deployment: D, grant: Callable[[Waiter[D, T]], bool]) -> None:
        """A deployment has room: to those who wait for it, until there is no more to `grant`."""
        while (waiter := self._granted(deployment, grant)) is not None:
            self.remove(waiter)
            if waiter.batch:
                self._batch.had(waiter.turn)
                self._since_batch = 0
            else:
                self._since_batch += bool(self._batch)

    def _granted(self, deployment: D, grant: Callable[[Waiter[D, T]], bool]) -> Waiter[D, T] | None:
        """Who was served. A slot that batch may not have is real time's, whoever's turn it is."""
        first = self._next(deployment)
        if first is None or grant(first):
            return first
        second = _first(self._realtime, deployment) if first.batch else None
        return second if second is not None and grant(second) else None

    def _next(self, deployment: D) -> Waiter[D, T] | None:
        if self._batch and self._since_batch >= BATCH_EVERY - 1:
            return self._batch.first(deployment) or _first(self._realtime, deployment)
        return _first(self._realtime, deployment) or self._batch.first(deployment)


class InTurn[D, T]:
    """Tenants take turns by their weights, and in a tenant's turn its batches do; of one batch,
    first come first.

    Each tenant has a place on a line, and the one that is furthest behind goes next. A slot moves
    it on by 1/weight; who comes begins where the others are, or where it was if that is further
    on: so nothing is saved up by staying away, and nothing gained by coming back at once
    (start-time fair queueing: P. Goyal et al., SIGCOMM 1996).
    """

    def __init__(self) -> None:
        self._tenants: OrderedDict[str, OrderedDict[str, deque[Waiter[D, T]]]] = OrderedDict()
        """Of two in the same place the first is served first. None is empty."""
        self._places: dict[str, float] = {}
        """Of those that wait, and of those that were served lately."""
        self._reached = 0.0
        """The place of the last that was served, before it was."""
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, waiter: Waiter[D, T]) -> None:
        tenant, batch, _ = waiter.turn
        if tenant not in self._tenants:
            self._tenants[tenant] = OrderedDict()
            self._places[tenant] = max(self._places.get(tenant, 0.0), self._reached)
        batches = self._tenants[tenant]
        _line_up(batches.setdefault(batch, deque()), waiter)
        self._count += 1

    def remove(self, waiter: Waiter[D, T]) -> None:
        tenant, batch, _ = waiter.turn
        batches = self._tenants[tenant]
        batches[batch].remove(waiter)
        self._count -= 1
        if not batches[batch]:
            del batches[batch]
        if not batches:
            del self._tenants[tenant]

    def had(self, turn: Turn) -> None:
        """It was served, and may have left."""
        tenant, batch, weight = turn
        place = self._places[tenant]
        self._reached = max(self._reached, place)
        self._places[tenant] = place + 1 / weight
        if (batches := self._tenants.get(tenant)) is not None:
            self._tenants.move_to_end(tenant)
            if batch in batches:
                batches.move_to_end(batch)
        if len(self._places) > len(self._tenants) + MOST_REMEMBERED:
            self._forget()

    def first(self, deployment: D) -> Waiter[D, T] | None:
        """The next of those who want the deployment."""
        for tenant in self._in_order():
            for waiting in self._tenants[tenant].values():
                if (waiter := _first(waiting, deployment)) is not None:
                    return waiter
        return None

    def _in_order(self) -> Iterable[str]:
        if len(self._tenants) == 1:
            return self._tenants
        return sorted(self._tenants, key=self._places.__getitem__)

    def _forget(self) -> None:
        """Where those are that the others have reached: they would begin where the others are."""
        self._places = {
            tenant: place
            for tenant, place in self._places.items()
            if tenant in self._tenants or place > self._reached
        }


def _line_up[D, T](queue: deque[Waiter[D, T]], waiter: Waiter[D, T]) -> None:
    if waiter.again:
        queue.appendleft(waiter)
    else:
        queue.append(waiter)


def _first[D, T](queue: deque[Waiter[D, T]], deployment: D) -> Waiter[D, T] | None:
    for waiter in queue:
        if deployment in waiter.wanted and not waiter.granted.done():
            return waiter
    return None
