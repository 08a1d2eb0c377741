"""The broker on a port: one event loop that hears clients, moves messages and commits.

Each turn of the loop: whatever clients sent is applied to the queues; what became available goes
out to receivers; one commit makes all of it durable; only then are answers written. So a client
is never told what a crash could undo, and one disk flush serves all clients heard in a turn.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from uuid import UUID

from proton import ProtonException

from devhost.service_bus.core.broker import Broker
from devhost.service_bus.core.queues import Queue
from devhost.service_bus.core.settings import NamespaceSettings
from devhost.service_bus.core.shared import Clock
from devhost.service_bus.core.store import Store
from devhost.service_bus.transport.consumers import Consumer
from devhost.service_bus.transport.peer import Peer
from devhost.service_bus.transport.session_waits import SessionWait

logger = logging.getLogger("sluice.service_bus")

_BURST = 100
"""Messages that one queue gives out in a turn, so that others and the disk get theirs."""
_LONGEST_SLEEP = 1.0
"""Seconds between two looks at the clock: a clock that jumps is noticed within this time."""
_NEXT_TRY = 1.0
"""Seconds until timers run again after the disk refused a write."""
_GOODBYE = 1.0
"""Seconds that clients have to take their last bytes when the broker stops."""


def wall_clock() -> int:
    """Milliseconds since the Unix epoch."""
    return time.time_ns() // 1_000_000


def steady_clock() -> int:
    """Milliseconds since some moment."""
    return time.monotonic_ns() // 1_000_000


class Server:
    def __init__(
        self,
        settings: NamespaceSettings,
        store: Store,
        clock: Clock = wall_clock,
        steady: Clock = steady_clock,
    ) -> None:
        self._settings = settings
        self._store = store
        self._clock = clock
        self._steady = steady
        self.broker = Broker(settings, store, clock, steady)
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the server is to stop; with an exception when it cannot go on."""
        self._peers: set[Peer] = set()
        self._alone = asyncio.Event()
        self._consumers: dict[str, deque[Consumer]] = {}
        self._holders: dict[UUID, Consumer] = {}
        self._waits: dict[str, deque[SessionWait]] = {}
        self._look_at: set[Queue] = set()
        self._touched: set[Peer] = set()
        self._turn_planned = False
        self._stopped = False
        self._timer: asyncio.TimerHandle | None = None
        self._listener: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> int:
        """Listens; returns the port, which is a free one for 0. Raises OSError."""
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(lambda: Peer(self), host, port)
        self.touch()
        number: int = self._listener.sockets[0].getsockname()[1]
        return number

    def end(self) -> None:
        """Asks whoever runs the server to stop it."""
        if not self.ended.done():
            self.ended.set_result(None)

    async def stop(self) -> None:
        """Says goodbye to the clients, then closes. Everything accepted is durable already."""
        if self._listener is not None:
            self._listener.close()
        for peer in self._peers:
            peer.shut_down("The broker is stopping.")
            self.touch(peer)
        if self._peers:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._alone.wait(), _GOODBYE)
        for peer in list(self._peers):
            peer.drop()
        if self._timer is not None:
            self._timer.cancel()
        self._stopped = True
        with suppress(sqlite3.Error):  # nobody was told of it: sessions that were given back
            self.broker.commit()

    # What peers and roles call

    def touch(self, peer: Peer | None = None) -> None:
        """Something happened, at this peer or elsewhere: another turn is due."""
        if peer is not None:
            self._touched.add(peer)
        if not self._turn_planned:
            self._turn_planned = True
            # Soon, not now: whatever other clients sent by this moment shares the commit.
            asyncio.get_running_loop().call_soon(self._turn)

    def add_peer(self, peer: Peer) -> None:
        self._peers.add(peer)
        self._alone.clear()

    def remove_peer(self, peer: Peer) -> None:
        self._peers.discard(peer)
        if not self._peers:
            self._alone.set()

    def look_at(self, queue: Queue) -> None:
        """Someone may want a message of this queue."""
        self._look_at.add(queue)

    def add_consumer(self, consumer: Consumer) -> None:
        self._consumers.setdefault(consumer.queue.path, deque()).append(consumer)
        if consumer.hold is not None:
            self._holders[consumer.hold.token] = consumer
        self.look_at(consumer.queue)

    def remove_consumer(self, consumer: Consumer) -> None:
        with suppress(ValueError):
            self._consumers[consumer.queue.path].remove(consumer)
        if consumer.hold is not None:
            self._holders.pop(consumer.hold.token, None)

    def add_session_wait(self, wait: SessionWait) -> None:
        self._waits.setdefault(wait.queue.path, deque()).append(wait)

    def remove_session_wait(self, wait: SessionWait) -> None:
        with suppress(ValueError):
            self._waits[wait.queue.path].remove(wait)

    def recover(self, error: sqlite3.Error) -> None:
        """The disk refused: back to the last commit, with every client cut off.

        None of them was told of anything since; each finds out by sending again.
        """
        logger.error("The state could not be written, every client is cut off: %s", error)
        for peer in list(self._peers):
            peer.drop()
        self._look_at.clear()
        self._touched.clear()
        asyncio.get_running_loop().call_later(_NEXT_TRY, self.touch)
        try:
            self._store.rollback()
            self.broker = Broker(self._settings, self._store, self._clock, self._steady)
        except sqlite3.Error as unreadable:
            if not self.ended.done():
                self.ended.set_exception(unreadable)

    # A turn

    def _turn(self) -> None:
        self._turn_planned = False
        if self._stopped:  # whoever owns the store may have closed it by now
            return
        try:
            self.broker.advance()
            self._give_out()
            self._end_lost_sessions()
            self.broker.commit()
        except sqlite3.Error as error:
            self.recover(error)
            return
        touched, self._touched = self._touched, set()
        for peer in touched:
            peer.write_out()
        self._plan_next_turn()

    def _end_lost_sessions(self) -> None:
        for hold in self.broker.take_lost_sessions():
            consumer = self._holders.get(hold.token)
            if consumer is not None:
                self._touched.add(consumer.peer)
                consumer.lose_session()

    def _give_out(self) -> None:
        queues, self._look_at = self._look_at | self.broker.take_ready(), set()
        for queue in queues:
            self._lock_sessions(self._waits.get(queue.path, ()))
            self._serve(queue, self._consumers.get(queue.path))

    def _lock_sessions(self, waits: Iterable[SessionWait]) -> None:
        for wait in list(waits):
            if not wait.try_lock():
                return
            self._touched.add(wait.peer)

    def _serve(self, queue: Queue, consumers: deque[Consumer] | None) -> None:
        """One message to each receiver in turn, until none wants or none waits."""
        if not consumers:
            return
        left = _BURST
        wanting = [consumer for consumer in consumers if consumer.wants]
        while wanting and left > 0:
            served = []
            for consumer in wanting:
                try:
                    sent = consumer.send_next()
                except ProtonException as error:  # its link broke: the lock will run out
                    consumer.peer.fail(error)
                    continue
                if sent:
                    left -= 1
                    self._touched.add(consumer.peer)
                    served.append(consumer)
            wanting = [consumer for consumer in served if consumer.wants]
        if wanting:
            self.look_at(queue)
            self.touch()
            return
        for consumer in consumers:
            consumer.drained()
        consumers.rotate(-1)

    def _plan_next_turn(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self.broker.next_due()
        if due is not None:
            delay = max(0.0, (due - self._clock()) / 1000)
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(min(delay, _LONGEST_SLEEP), self.touch)
