"""What all entities of one broker share: the store, the time, and what happened meanwhile."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from devhost.service_bus.core.messages import Millis
from devhost.service_bus.core.store import Store
from devhost.service_bus.core.timers import Timers

if TYPE_CHECKING:
    from devhost.service_bus.core.queues import Queue
    from devhost.service_bus.core.sessions import SessionHold

type Clock = Callable[[], Millis]


class Shared:
    def __init__(self, store: Store, clock: Clock, first_id: int) -> None:
        self.store = store
        self.timers = Timers()
        self.ids = itertools.count(first_id)
        self.ready: set[Queue] = set()
        """Queues where a message or a session became available since the owner last looked."""
        self.lost_sessions: deque[SessionHold] = deque()
        """Session locks that ran out since the owner last looked."""
        self.clock = clock

    def now(self) -> Millis:
        """The time, once everything that was due by it has happened."""
        now = self.clock()
        self.timers.run(now)
        return now
