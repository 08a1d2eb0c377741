"""Deployments as they are in the world, each with callers that never tire, in simulated time.

What a `ConcurrencyLimit` is told depends on what it allowed before, so that only a simulation of
both shows where it settles.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from random import Random

from endpoints.routing.concurrency import ConcurrencyLimit

type Seconds = Callable[[Random], float]

REFUSAL_SECONDS = 0.002


def constant(seconds: float) -> Seconds:
    return lambda random: seconds


def lognormal(mean: float, sigma: float = 1.0) -> Seconds:
    """With sigma 1, as the answers of a chat model: a few are ten times as long as most."""
    return lambda random: mean * math.exp(random.gauss(0, sigma) - sigma * sigma / 2)


@dataclass(eq=False)
class Call:
    level: int
    began: float


@dataclass
class World:
    """Callers of one deployment, which wait for their turn, are answered, and come again."""

    deployment: Workers | Capacity | Batching
    callers: int
    limit: ConcurrencyLimit = field(default_factory=ConcurrencyLimit)
    seed: int = 0
    now: float = 0.0
    answered: int = 0
    refused: int = 0

    def __post_init__(self) -> None:
        self.random = Random(self.seed)
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()
        self._idle = self.callers
        self._cooling_until = 0.0
        self.deployment.world = self

    def at(self, moment: float, happens: Callable[[], None]) -> None:
        heapq.heappush(self._events, (moment, next(self._numbers), happens))

    def end(self, call: Call) -> None:
        self.answered += 1
        self._idle += 1
        self.limit.answered(call.level, self.now - call.began, self.now)

    def refuse(self, call: Call, wait: float) -> None:
        self.refused += 1
        self._idle += 1
        self._cooling_until = max(self._cooling_until, self.now + wait)
        self.limit.throttled(call.level, self.now, wait)

    def pass_time(self, seconds: float) -> None:
        until = self.now + seconds
        self._turn()
        while self._events and self._events[0][0] <= until:
            self.now, _, happens = heapq.heappop(self._events)
            happens()
            self._turn()
        self.now = until

    def limits(self, seconds: int) -> Iterator[int]:
        """The limit, once a second."""
        for _ in range(seconds):
            self.pass_time(1)
            yield self.limit.limit

    def throughput(self, seconds: float) -> float:
        """Answers a second, while so much time passes."""
        before = self.answered
        self.pass_time(seconds)
        return (self.answered - before) / seconds

    def _turn(self) -> None:
        if self.now < self._cooling_until:
            if self._idle:
                self.at(self._cooling_until, lambda: None)
            return
        while self._idle and self.limit.admits():
            self._idle -= 1
            self.deployment.arrive(Call(self.limit.begin(), self.now))
            assert 0 < self.limit.in_flight <= self.limit.limit


class Workers:
    """So many are served at a time, the others wait in line."""

    world: World

    def __init__(self, workers: int, seconds: Seconds) -> None:
        self.workers = workers
        self.seconds = seconds
        self._line: deque[Call] = deque()
        self._busy = 0

    def arrive(self, call: Call) -> None:
        self._line.append(call)
        self._serve()

    def _serve(self) -> None:
        while self._line and self._busy < self.workers:
            self._busy += 1
            call = self._line.popleft()
            after = self.world.now + self.seconds(self.world.random)
            self.world.at(after, lambda call=call: self._done(call))

    def _done(self, call: Call) -> None:
        self._busy -= 1
        self.world.end(call)
        self._serve()


class Capacity:
    """So many are inside at once, the others get a 429."""

    world: World

    def __init__(self, capacity: int, seconds: Seconds, wait: float) -> None:
        self.capacity = capacity
        self.seconds = seconds
        self.wait = wait
        self._inside = 0

    def arrive(self, call: Call) -> None:
        world = self.world
        if self._inside >= self.capacity:
            world.at(world.now + REFUSAL_SECONDS, lambda: world.refuse(call, self.wait))
            return
        self._inside += 1
        world.at(world.now + self.seconds(world.random), lambda: self._done(call))

    def _done(self, call: Call) -> None:
        self._inside -= 1
        self.world.end(call)


class Batching:
    """All that is inside is computed together: `alone`, and a little longer for each other."""

    world: World

    def __init__(self, alone: float, each: float, spread: Seconds) -> None:
        self.alone = alone
        self.each = each
        self.spread = spread
        self._inside = 0

    def arrive(self, call: Call) -> None:
        self._inside += 1
        seconds = (self.alone + self.each * self._inside) * self.spread(self.world.random)
        self.world.at(self.world.now + seconds, lambda: self._done(call))

    def _done(self, call: Call) -> None:
        self._inside -= 1
        self.world.end(call)
