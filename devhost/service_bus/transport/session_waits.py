"""A client that waits for a session: its attach is answered once there is one, or in time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from proton import Delivery, Link

from devhost.service_bus.core.errors import OperationTimedOut
from devhost.service_bus.core.session_queues import SessionQueue
from devhost.service_bus.transport.consumers import Consumer
from devhost.service_bus.transport.links import refuse

if TYPE_CHECKING:
    from devhost.service_bus.transport.peer import Peer

TIMEOUT_PROPERTY = "com.microsoft:timeout"
DEFAULT_TIMEOUT = 60_000
"""Milliseconds that the service waits when the client names no time."""


class SessionWait:
    def __init__(self, peer: Peer, link: Link, queue: SessionQueue, timeout: int) -> None:
        self.queue = queue
        self.peer = peer
        self._link = link
        peer.server.add_session_wait(self)
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(timeout / 1000, self._give_up, timeout)

    def try_lock(self) -> bool:
        """Opens the link on the next free session; False when there is none."""
        session = self.queue.lock_session(None)
        if session is None:
            return False
        self.on_closed()
        self.peer.set_role(self._link, Consumer(self.peer, self._link, self.queue, session))
        return True

    def on_delivery(self, delivery: Delivery) -> None:
        pass

    def on_flow(self) -> None:
        pass

    def on_closed(self) -> None:
        self._timer.cancel()
        self.peer.server.remove_session_wait(self)

    def _give_up(self, timeout: int) -> None:
        refuse(self._link, OperationTimedOut(f"No session became free within {timeout} ms."))
        self.peer.closed(self._link)
        self.peer.server.touch(self.peer)
