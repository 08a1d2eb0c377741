"""One client's connection: bytes to events by proton, events to the roles of its links.

Nothing that proton wants to send leaves before the server has committed: output is collected
here and written by `write_out`, which the server calls after the commit.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from proton import (
    Collector,
    Condition,
    Connection,
    Delivery,
    Endpoint,
    Event,
    Link,
    ProtonException,
    Session,
    Transport,
)

from devhost.service_bus.core.errors import Refused, SessionLockLost
from devhost.service_bus.core.queues import Queue
from devhost.service_bus.core.sessions import SessionHold
from devhost.service_bus.transport.attach import role_for
from devhost.service_bus.transport.consumers import Consumer
from devhost.service_bus.transport.links import Role, refuse
from devhost.service_bus.wire.frames import MAX_FRAME_BYTES, Frames

if TYPE_CHECKING:
    from devhost.service_bus.transport.server import Server

logger = logging.getLogger("sluice.service_bus")

_CONTAINER_ID = "devhost.service_bus"


class Peer(asyncio.Protocol):
    def __init__(self, server: Server) -> None:
        self.server = server
        self.frames = Frames()
        self.paused = False
        """The client reads slower than it is written to: no more deliveries for now."""
        self.responders: dict[tuple[Session, str], Link] = {}
        """By session and node: where the answers to requests go."""
        self._roles: dict[Link, Role] = {}
        self._socket: asyncio.Transport | None = None
        self._idle_timer: asyncio.TimerHandle | None = None
        self._collector = Collector()
        self._connection = Connection()
        self._connection.collect(self._collector)
        self._transport = Transport(Transport.SERVER)
        self._transport.max_frame_size = MAX_FRAME_BYTES
        self._transport.bind(self._connection)
        self._handlers: dict[object, Callable[[Event], None]] = {
            Event.CONNECTION_REMOTE_OPEN: self._on_connection_open,
            Event.CONNECTION_REMOTE_CLOSE: lambda event: event.connection.close(),
            Event.SESSION_REMOTE_OPEN: lambda event: event.session.open(),
            Event.SESSION_REMOTE_CLOSE: self._on_session_close,
            Event.LINK_REMOTE_OPEN: self._on_link_open,
            Event.LINK_REMOTE_CLOSE: self._on_link_close,
            Event.LINK_REMOTE_DETACH: self._on_link_close,
            Event.LINK_FLOW: self._on_flow,
            Event.DELIVERY: self._on_delivery,
        }

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._socket = transport
        self.server.add_peer(self)

    def data_received(self, data: bytes) -> None:
        self.server.touch(self)
        try:
            self._push(self.frames.feed(data))
        except sqlite3.Error as error:
            self.server.recover(error)
        except Exception as error:  # noqa: BLE001 - whatever a client sends ends its connection only
            self.fail(error)

    def eof_received(self) -> bool:
        with suppress(ProtonException):  # of a conversation that ended in its middle
            self._transport.close_tail()
        self.server.touch(self)
        return True  # stay open: answers may still be on their way out

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        for role in self._roles.values():
            role.on_flow()
        self.server.touch(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._socket = None
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        self.server.remove_peer(self)
        try:
            for link in list(self._roles):
                self.closed(link)
        except sqlite3.Error as error:
            self.server.recover(error)
        self.responders.clear()
        self._handlers.clear()
        self._collector.release()
        self._transport.unbind()
        self._connection.free()
        self.server.touch()

    # What the server and the roles call

    def write_out(self) -> None:
        """Sends what proton has ready. Only after a commit."""
        if self._socket is None or self._socket.is_closing():
            return
        try:
            self._dispatch()
            while (pending := self._transport.pending()) > 0:
                output = self._transport.peek(pending)
                self._socket.write(output)
                self._transport.pop(len(output))
                self._dispatch()
            self._mind_idle_time()
        except Exception as error:  # noqa: BLE001 - as above
            self.fail(error)
            return
        if pending < 0:
            self._socket.close()

    def shut_down(self, reason: str) -> None:
        """Asks the client to go; it may reconnect later."""
        self._connection.condition = Condition("amqp:connection:forced", reason)
        self._connection.close()

    def fail(self, error: Exception) -> None:
        """Drops the connection for something that its client sent."""
        logger.warning("A connection was dropped: %s: %s", type(error).__name__, error)
        self.abort()

    def abort(self) -> None:
        """Drops the connection without another byte."""
        if self._socket is not None:
            self._socket.abort()

    def drop(self) -> None:
        """As `abort`, and ends the roles at once."""
        for link in list(self._roles):
            with suppress(sqlite3.Error):  # what they write is about to be rolled back
                self.closed(link)
        self.abort()

    def set_role(self, link: Link, role: Role) -> None:
        self._roles[link] = role

    def closed(self, link: Link) -> None:
        """The link is gone: its role ends."""
        role = self._roles.pop(link, None)
        if role is not None:
            role.on_closed()

    def hold_of(self, queue: Queue, session_id: str) -> SessionHold:
        """The session that this client holds; raises SessionLockLost."""
        for role in self._roles.values():
            hold = role.hold if isinstance(role, Consumer) and role.queue is queue else None
            if hold is not None and hold.session_id == session_id:
                return hold
        raise SessionLockLost(session_id)

    # Events

    def _push(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            capacity = self._transport.capacity()
            if capacity <= 0:  # the transport takes no more: closed, or broken by bad input
                return
            self._transport.push(bytes(view[:capacity]))
            view = view[capacity:]
            self._dispatch()

    def _dispatch(self) -> None:
        while (event := self._collector.peek()) is not None:
            handler = self._handlers.get(event.type)
            if handler is not None:
                handler(event)
            self._collector.pop()

    def _on_connection_open(self, event: Event) -> None:
        connection = event.connection
        connection.container = _CONTAINER_ID
        connection.open()

    def _on_session_close(self, event: Event) -> None:
        for link in [link for link in self._roles if link.session == event.session]:
            self.closed(link)
        self.responders = {k: v for k, v in self.responders.items() if k[0] != event.session}
        event.session.close()

    def _on_link_open(self, event: Event) -> None:
        link = event.link
        link.source.copy(link.remote_source)
        link.target.copy(link.remote_target)
        link.snd_settle_mode = link.remote_snd_settle_mode
        link.rcv_settle_mode = link.remote_rcv_settle_mode
        try:
            role = role_for(self, link)
        except Refused as refused:
            refuse(link, refused)
            return
        if role is not None:
            self._roles[link] = role

    def _on_link_close(self, event: Event) -> None:
        link = event.link
        self.closed(link)
        for key in [key for key, responder in self.responders.items() if responder == link]:
            del self.responders[key]
        if link.state & Endpoint.LOCAL_ACTIVE:
            link.close()
        link.free()

    def _on_flow(self, event: Event) -> None:
        role = self._roles.get(event.link)
        if role is not None:
            role.on_flow()

    def _on_delivery(self, event: Event) -> None:
        delivery: Delivery = event.delivery
        role = self._roles.get(event.link)
        if role is not None:
            role.on_delivery(delivery)

    def _mind_idle_time(self) -> None:
        """Keeps the promise of the client's idle time: an empty frame when nothing else goes."""
        loop = asyncio.get_running_loop()
        deadline = self._transport.tick(loop.time())
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        self._idle_timer = loop.call_at(deadline, self.server.touch, self) if deadline else None
