"""What all entities of one broker share: the store, the time, and what happened meanwhile.

Locks, lives of messages and windows of duplicate detection are spans: when the clock jumps, their
ends are moved along, so that a lock lasts as long as was promised. Only a scheduled message keeps
its time, as that is one of the day.
"""

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

JUMP: Millis = 1000
"""Apart by so much since the last look, the clock was set, or the machine slept."""


class Shared:
    def __init__(self, store: Store, clock: Clock, first_id: int, steady: Clock) -> None:
        """`clock` tells the time of day, which may jump; `steady` only how time goes on."""
        self.store = store
        self.timers = Timers()
        self.ids = itertools.count(first_id)
        self.ready: set[Queue] = set()
        """Queues where a message or a session became available since the owner last looked."""
        self.lost_sessions: deque[SessionHold] = deque()
        """Session locks that ran out since the owner last looked."""
        self.clock = clock
        self.on_jump: Callable[[Millis], None] = lambda _: None
        """Takes by how much the clock jumped, before anything is judged by its new time."""
        self._steady = steady
        self._apart = clock() - steady()

    def now(self) -> Millis:
        """The time, once everything that was due by it has happened."""
        now = self.clock()
        apart = now - self._steady()
        jump, self._apart = apart - self._apart, apart
        if abs(jump) >= JUMP:
            self.on_jump(jump)
        self.timers.run(now)
        return now
