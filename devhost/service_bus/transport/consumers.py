"""A client's receiver: messages go out as it grants credit, and come back settled or not."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID, uuid4

from proton import Delivery, Link, symbol

from devhost.service_bus.core.errors import Refused, SessionLockLost
from devhost.service_bus.core.messages import Millis, Outcome, Settlement
from devhost.service_bus.core.queues import Queue
from devhost.service_bus.core.session_queues import SessionQueue
from devhost.service_bus.core.sessions import SessionHold
from devhost.service_bus.transport.links import refuse, reject
from devhost.service_bus.wire.sections import compose
from devhost.service_bus.wire.values import Value

if TYPE_CHECKING:
    from devhost.service_bus.transport.peer import Peer

SESSION_FILTER = "com.microsoft:session-filter"
_LOCKED_UNTIL = "com.microsoft:locked-until-utc"
_DOTNET_EPOCH = 621_355_968_000_000_000
_TICKS_PER_MILLISECOND = 10_000
_REASONS = ("DeadLetterReason", "DeadLetterErrorDescription")


class Consumer:
    def __init__(
        self,
        peer: Peer,
        link: Link,
        queue: Queue,
        session: tuple[SessionHold, Millis] | None = None,
    ) -> None:
        self.peer = peer
        self.queue = queue
        self.hold = session[0] if session else None
        self._link = link
        self._deletes = link.remote_snd_settle_mode == Link.SND_SETTLED
        self._locks: dict[Delivery, UUID] = {}
        if session:
            self._show_session(*session)
        link.open()
        peer.server.add_consumer(self)

    @property
    def wants(self) -> bool:
        """Whether a message could be sent to the client now."""
        return self._link.credit > 0 and not self.peer.paused

    def send_next(self) -> bool:
        """Sends the next message of the queue; False when none waits."""
        try:
            message = self.queue.receive(lock=not self._deletes, hold=self.hold)
        except SessionLockLost:
            return False  # it ran out just now: the server is about to end this link
        if message is None:
            return False
        tag = message.lock or uuid4()
        delivery = self._link.delivery(tag.bytes_le)
        self._link.stream(compose(message.envelope, message.stamp))
        self._link.advance()
        if message.lock is None:
            delivery.settle()
        else:
            self._locks[delivery] = message.lock
        return True

    def drained(self) -> None:
        """Returns the credit of a client that asked for it, once nothing waits."""
        if self._link.drain_mode:
            self._link.drained()

    def lose_session(self) -> None:
        """Ends the link: the lock of its session ran out."""
        assert self.hold is not None
        refuse(self._link, SessionLockLost(self.hold.session_id))
        self.peer.closed(self._link)

    def on_delivery(self, delivery: Delivery) -> None:
        if not delivery.updated:
            return
        settlement = _settlement(delivery)
        if settlement is None and not delivery.settled:
            return
        lock = self._locks.pop(delivery, None)
        try:
            if lock is not None and settlement is not None:
                self.queue.settle([lock], settlement)
        except Refused as refused:
            reject(delivery, self._as_session_loss(refused))
        else:
            _confirm(delivery)

    def on_flow(self) -> None:
        self.peer.server.look_at(self.queue)

    def on_closed(self) -> None:
        self.peer.server.remove_consumer(self)
        if self.hold is not None and isinstance(self.queue, SessionQueue):
            try:
                self.queue.release_session(self.hold)
            except SessionLockLost:
                return  # it ran out before

    def _show_session(self, hold: SessionHold, until: Millis) -> None:
        ticks = _DOTNET_EPOCH + until * _TICKS_PER_MILLISECOND
        self._link.properties = {symbol(_LOCKED_UNTIL): ticks}
        self._link.source.filter.put_object({symbol(SESSION_FILTER): hold.session_id})

    def _as_session_loss(self, refused: Refused) -> Refused:
        return SessionLockLost(self.hold.session_id) if self.hold else refused


def _settlement(delivery: Delivery) -> Settlement | None:
    """What the client wants done with the message; None when it did not say."""
    remote = delivery.remote
    match delivery.remote_state:
        case Delivery.ACCEPTED:
            return Settlement(Outcome.COMPLETE)
        case Delivery.RELEASED:
            return Settlement(Outcome.RELEASE)
        case Delivery.REJECTED:
            return Settlement(Outcome.DEAD_LETTER, _properties(remote.condition))
        case Delivery.MODIFIED if remote.undeliverable:
            return Settlement(Outcome.DEFER)
        case Delivery.MODIFIED:
            return Settlement(Outcome.ABANDON if remote.failed else Outcome.RELEASE)
    return None


def _properties(condition: object) -> dict[str, Value]:
    """Why it was dead-lettered, as the client put it into the error's info map."""
    info = getattr(condition, "info", None)
    if not isinstance(info, dict):
        return {}
    return {name: str(info[name]) for name in _REASONS if isinstance(info.get(name), str)}


def _confirm(delivery: Delivery) -> None:
    """Settles with the client's own outcome, which is what it waits to see."""
    if delivery.remote_state == Delivery.MODIFIED:
        delivery.local.failed = delivery.remote.failed
        delivery.local.undeliverable = delivery.remote.undeliverable
    if not delivery.settled and delivery.remote_state:
        delivery.update(delivery.remote_state)
    delivery.settle()
