"""What falls due, and when: one heap for the whole broker.

An entry is a hint, not the truth: the lock may have been renewed or the message settled since.
Its owner looks again when it comes up. Hints that outlived their cause are swept once they are
the greater part, so that a day of settled messages does not stay in memory until each expires.
"""

from __future__ import annotations

import heapq
from enum import IntEnum
from typing import NamedTuple, Protocol
from uuid import UUID

from devhost.service_bus.core.messages import Millis

_SWEEP_FROM = 1024


class Due(IntEnum):
    LOCK = 0
    """A message lock runs out; the key is its token."""
    EXPIRY = 1
    """A message's time to live runs out; the key is its sequence number."""
    SCHEDULE = 2
    """A scheduled message becomes active; the key is its sequence number."""
    SESSION = 3
    """A session lock runs out; the key is its token."""


type Key = UUID | int


class Owner(Protocol):
    def on_due(self, due: Due, key: Key) -> Millis | None:
        """Act on it; or the later time at which it falls due instead."""

    def is_pending(self, due: Due, key: Key) -> bool:
        """Whether the entry still has a cause."""


class _Entry(NamedTuple):
    at: Millis
    order: int
    owner: Owner
    due: Due
    key: Key


class Timers:
    def __init__(self) -> None:
        self._heap: list[_Entry] = []
        self._order = 0
        self._sweep_at = _SWEEP_FROM

    def add(self, at: Millis, owner: Owner, due: Due, key: Key) -> None:
        self._order += 1
        heapq.heappush(self._heap, _Entry(at, self._order, owner, due, key))
        if len(self._heap) > self._sweep_at:
            self._sweep()

    def next_at(self) -> Millis | None:
        """When to call `run` next."""
        return self._heap[0].at if self._heap else None

    def run(self, now: Millis) -> None:
        """Lets everything that is due by `now` happen, in the order of time."""
        while self._heap and self._heap[0].at <= now:
            entry = heapq.heappop(self._heap)
            later = entry.owner.on_due(entry.due, entry.key)
            if later is not None:
                self.add(max(later, now + 1), entry.owner, entry.due, entry.key)

    def shift(self, jump: Millis) -> None:
        """The clock jumped: what ends a span falls due when the span is over all the same."""
        self._heap = [
            entry if entry.due is Due.SCHEDULE else entry._replace(at=entry.at + jump)
            for entry in self._heap
        ]
        heapq.heapify(self._heap)

    def _sweep(self) -> None:
        self._heap = [e for e in self._heap if e.owner.is_pending(e.due, e.key)]
        heapq.heapify(self._heap)
        self._sweep_at = max(_SWEEP_FROM, 2 * len(self._heap))
