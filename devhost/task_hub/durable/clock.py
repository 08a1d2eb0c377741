"""The time, and what is to happen at a time."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable
from typing import Protocol

SLACK = 64
"""Cancelled alarms that are not worth being cleared away."""


class Clock(Protocol):
    """Both clocks the hub needs; tests bring their own."""

    def wall(self) -> int:
        """Microseconds since the epoch. It may jump; durable timers follow it."""
        ...

    def steady(self) -> float:
        """Seconds that never jump; leases and pauses are measured with it."""
        ...


class SystemClock:
    """The machine's clocks."""

    def wall(self) -> int:
        return time.time_ns() // 1000

    def steady(self) -> float:
        return time.monotonic()


class Alarms[Moment: (int, float)]:
    """Calls to make at given moments of one clock."""

    def __init__(self) -> None:
        self._heap: list[tuple[Moment, int]] = []
        self._calls: dict[int, Callable[[], None]] = {}
        self._unnamed = 0
        self.on_earlier: Callable[[], None] = lambda: None
        """Called when an alarm was set that is earlier than all others."""

    def set(self, moment: Moment, call: Callable[[], None], name: int | None = None) -> None:
        """A `name`, which must be positive and used once, allows to cancel the alarm."""
        if name is None:
            self._unnamed -= 1
            name = self._unnamed
        self._calls[name] = call
        heapq.heappush(self._heap, (moment, name))
        if self._heap[0] == (moment, name):
            self.on_earlier()

    def cancel(self, name: int) -> None:
        """Do not make this call. One that is not set is let pass."""
        self._calls.pop(name, None)
        # A job's deadline is mostly days away when the job ends: such alarms must not pile up.
        if len(self._heap) > SLACK and len(self._heap) > 2 * len(self._calls):
            self._heap = [alarm for alarm in self._heap if alarm[1] in self._calls]
            heapq.heapify(self._heap)

    def next(self) -> Moment | None:
        """The moment of the earliest alarm."""
        while self._heap and self._heap[0][1] not in self._calls:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def ring(self, now: Moment) -> None:
        """Make every call that is due, the earliest first."""
        while (moment := self.next()) is not None and moment <= now:
            self._calls.pop(heapq.heappop(self._heap)[1])()
