"""Workers, and what is out with them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from devhost.task_hub.durable.proto import pb
from devhost.task_hub.durable.ready import Key, Kind, WorkFilter

AHEAD_SECONDS = 0.02
"""A worker is given ahead what it would do in this time, so that it never waits for the next.

With long activities that is nothing: they stay where another worker may take them.
"""

AHEAD_LIMITS = 2
"""And at most this many times its limit."""

_WEIGHT = 0.1
"""Of the latest measurement in the moving average of how long work takes."""

_UNLIMITED = 2**31


def _no_leases() -> dict[Kind, set[str]]:
    return {kind: set() for kind in Kind}


@dataclass(eq=False, slots=True)
class Worker:
    """One GetWorkItems stream: what it takes, what it holds, and what is to be sent to it."""

    filter: WorkFilter
    limits: dict[Kind, int]
    streams_history: bool
    wake: Callable[[], None]
    """Called when something was put into the outbox."""
    outbox: deque[bytes] = field(default_factory=deque)
    held: dict[Kind, set[str]] = field(default_factory=_no_leases)
    suspect: bool = False
    """Whether it holds work that is given out alone."""
    seconds: float = 1.0
    """How long an activity is out with it, on average."""

    @classmethod
    def of(cls, request: pb.GetWorkItemsRequest, wake: Callable[[], None]) -> Worker:
        """As its GetWorkItems call describes it. A limit that it does not name is none."""
        return cls(
            filter=WorkFilter(request),
            limits={
                Kind.TURN: request.maxConcurrentOrchestrationWorkItems or _UNLIMITED,
                Kind.ACTIVITY: request.maxConcurrentActivityWorkItems or _UNLIMITED,
                Kind.ENTITY: request.maxConcurrentEntityWorkItems or _UNLIMITED,
            },
            streams_history=pb.WORKER_CAPABILITY_HISTORY_STREAMING in request.capabilities,
            wake=wake,
        )

    def has_room(self, kind: Kind) -> bool:
        """Whether it may be given more work of this kind now."""
        held, limit = len(self.held[kind]), self.limits[kind]
        if kind is Kind.ACTIVITY:
            limit += min(int(held * AHEAD_SECONDS / self.seconds), limit * (AHEAD_LIMITS - 1))
        return held < limit

    def took(self, kind: Kind, seconds: float) -> None:
        """Work of this kind came back after so long."""
        if kind is Kind.ACTIVITY:
            seconds = max(seconds, AHEAD_SECONDS / 100)
            self.seconds += (seconds - self.seconds) * _WEIGHT


@dataclass(slots=True)
class Lease:
    """Work that is out with a worker."""

    token: str
    kind: Kind
    key: Key
    worker: Worker
    since: float
    suspect: bool
