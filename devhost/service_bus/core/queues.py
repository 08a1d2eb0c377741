"""A queue: peek-lock, settlement, expiry, dead letters. Subscriptions and sub-queues are queues.

A message is in one of four places: waiting in the backlog, out under a lock, deferred, or
scheduled. Every move is written to the store before the method returns.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from operator import attrgetter
from uuid import UUID, uuid4

from devhost.service_bus.core.backlog import Backlog
from devhost.service_bus.core.entities import Entity
from devhost.service_bus.core.errors import (
    MessageLockLost,
    MessageNotFound,
    Refused,
    SessionLockLost,
    TooManyForwards,
)
from devhost.service_bus.core.messages import (
    Arrival,
    Delivery,
    Message,
    Millis,
    Outcome,
    Settlement,
    State,
    delivery_of,
    reason,
)
from devhost.service_bus.core.sessions import SessionHold
from devhost.service_bus.core.settings import QueueSettings
from devhost.service_bus.core.shared import Shared
from devhost.service_bus.core.timers import Due, Key
from devhost.service_bus.wire.sections import Envelope, with_properties
from devhost.service_bus.wire.values import Value

MAX_FORWARDS = 4
"""Of one message, as in the service."""


class Queue(Entity):
    """Public methods raise Refused and then have changed nothing."""

    def __init__(self, shared: Shared, name: str, settings: QueueSettings) -> None:
        super().__init__(
            shared,
            name,
            time_to_live=settings.time_to_live,
            duplicate_window=settings.duplicate_window,
            max_size=settings.max_size,
        )
        self.settings = settings
        self.dead_letters: Queue | None = None
        """None when this is a dead-letter queue itself."""
        self.transfer_dead_letters: Queue | None = None
        """Where a message goes that could not be forwarded."""
        self.forward_to: Entity | None = None
        self.forward_dead_letters_to: Entity | None = None
        self._backlog = Backlog()
        self._locks: dict[UUID, Message] = {}
        self._used = 0

    # Receiving

    def receive(self, *, lock: bool, hold: SessionHold | None = None) -> Delivery | None:
        """The next message, locked or deleted; None when none waits.

        `hold` is of the session to receive from, where the queue requires sessions.
        """
        now = self._shared.now()
        message = self._waiting(hold).pop(self.messages)
        return self._hand_out(message, now, lock=lock) if message else None

    def receive_deferred(
        self, sequences: Sequence[int], *, lock: bool, hold: SessionHold | None = None
    ) -> list[Delivery]:
        """Deferred messages by sequence number, all of them or MessageNotFound."""
        now = self._shared.now()
        self._waiting(hold)
        found: list[Message] = []
        for sequence in dict.fromkeys(sequences):
            message = self.messages.get(sequence)
            if (
                message is None
                or message.state is not State.DEFERRED
                or message.lock is not None
                or (hold is not None and message.session_id != hold.session_id)
            ):
                raise MessageNotFound(f"No deferred message has the sequence number {sequence}.")
            found.append(message)
        return [self._hand_out(message, now, lock=lock) for message in found]

    def peek(self, start: int, count: int, session_id: str | None = None) -> Iterator[Delivery]:
        """Up to `count` messages from a sequence number on, whatever their state."""
        self._shared.now()
        matching = (
            message
            for message in self.messages.values()
            if message.sequence >= start and session_id in (None, message.session_id)
        )
        chosen = heapq.nsmallest(count, matching, key=attrgetter("sequence"))
        return (delivery_of(m, self._store.envelope(m), None) for m in chosen)

    # Holding

    def settle(self, locks: Sequence[UUID], settlement: Settlement) -> None:
        """Ends locks. Raises MessageLockLost when one ran out."""
        self._shared.now()
        for message in [self._locked(lock) for lock in dict.fromkeys(locks)]:
            self._settle(message, settlement)

    def renew(self, locks: Sequence[UUID]) -> list[Millis]:
        """Prolongs message locks by the lock duration; returns until when each is held."""
        now = self._shared.now()
        messages = [self._locked(lock) for lock in locks]
        until = now + self.settings.lock_duration
        for message in messages:
            message.locked_until = until
            self._store.update(message)
        return [until] * len(messages)

    # As an entity

    def used(self) -> int:
        return self._used + (self.dead_letters.used() if self.dead_letters else 0)

    def admit(self, arrival: Arrival, now: Millis) -> int:
        if self.forward_to is not None:
            sequence = self.next_sequence()
            first = arrival.enqueued_sequence or sequence
            self._forward(arrival._replace(enqueued_sequence=first), self.forward_to, now)
            return sequence
        message = self._new_message(arrival, now)
        if self.dead_letters is not None:  # nothing expires among the dead letters
            message.expires_at = now + message.ttl
        self._keep(message, arrival.envelope)
        self._watch_expiry(message)
        self._offer(message)
        return message.sequence

    def restore(self, message: Message) -> None:
        super().restore(message)
        self._used += message.size
        if message.expires_at is not None:
            message.expires_at = self._at_most(message.expires_at, message.ttl)
        if message.locked_until is not None:
            message.locked_until = self._at_most(message.locked_until, self.settings.lock_duration)
        self._watch_expiry(message)
        if message.lock is not None and self._resume(message, message.lock):
            self._locks[message.lock] = message
            return
        message.lock = message.locked_until = None
        if message.state is State.ACTIVE:
            self._offer(message)

    def shift(self, jump: Millis) -> None:
        super().shift(jump)
        for message in self.messages.values():
            if message.locked_until is not None:
                message.locked_until += jump
            if message.expires_at is not None:
                message.expires_at += jump
            self._store.update(message)

    # Timers

    def on_due(self, due: Due, key: Key) -> Millis | None:
        now = self._shared.clock()
        match key:
            case UUID() if due is Due.LOCK and (message := self._locks.get(key)):
                if message.locked_until is not None and message.locked_until > now:
                    return message.locked_until
                self._unlock(message)
                self._give_back(message, counted=True)
            case int() if due is Due.EXPIRY and (message := self.messages.get(key)):
                if message.available:  # a locked one is looked at when its lock ends
                    self._expire(message)
            case _:
                return super().on_due(due, key)
        return None

    def is_pending(self, due: Due, key: Key) -> bool:
        return key in self._locks if isinstance(key, UUID) else super().is_pending(due, key)

    # Moves

    def _hand_out(self, message: Message, now: Millis, *, lock: bool) -> Delivery:
        envelope = self._store.envelope(message)
        if not lock:
            delivery = delivery_of(message, envelope, None)
            self._remove(message)
            return delivery
        message.lock = uuid4()
        self._locks[message.lock] = message
        until = self._hold(message, message.lock, now)
        self._store.update(message)
        return delivery_of(message, envelope, until)

    def _resume(self, message: Message, lock: UUID) -> bool:
        """Takes up a lock that the store kept; False when nothing would ever end it."""
        if message.locked_until is None:  # of a session, which this queue no longer requires
            return False
        self._shared.timers.add(message.locked_until, self, Due.LOCK, lock)
        return True

    def _hold(self, message: Message, lock: UUID, now: Millis) -> Millis:
        """Ties the message to its new lock; returns until when."""
        message.locked_until = until = now + self.settings.lock_duration
        self._shared.timers.add(until, self, Due.LOCK, lock)
        return until

    def _settle(self, message: Message, settlement: Settlement) -> None:
        self._unlock(message)
        match settlement.outcome:
            case Outcome.COMPLETE:
                self._remove(message)
            case Outcome.DEAD_LETTER if self.dead_letters is not None:
                self._dead_letter(message, settlement.properties)
            case Outcome.DEFER:
                message.state = State.DEFERRED
                self._edit(message, settlement.properties)
                self._store.update(message)
            case outcome:
                self._edit(message, settlement.properties)
                self._give_back(message, counted=outcome is Outcome.ABANDON)

    def _give_back(self, message: Message, *, counted: bool) -> None:
        """An unlocked message waits again, unless this was its last chance."""
        if counted:
            message.delivery_count += 1
        limit = self.settings.max_delivery_count
        if counted and self.dead_letters is not None and message.delivery_count >= limit:
            text = f"Message could not be consumed after {limit} delivery attempts."
            self._dead_letter(message, reason("MaxDeliveryCountExceeded", text))
        elif message.state is State.ACTIVE and self._expired(message):
            self._expire(message)
        else:
            self._store.update(message)
            if message.state is State.ACTIVE:
                self._offer(message)

    def _offer(self, message: Message) -> None:
        self._backlog.push(message.sequence)
        self._shared.ready.add(self)

    def _watch_expiry(self, message: Message) -> None:
        if message.expires_at is not None:
            self._shared.timers.add(message.expires_at, self, Due.EXPIRY, message.sequence)

    def _expired(self, message: Message) -> bool:
        return message.expires_at is not None and message.expires_at <= self._shared.clock()

    def _expire(self, message: Message) -> None:
        if self.settings.dead_letter_on_expiration and self.dead_letters is not None:
            text = "The message expired and was dead lettered."
            self._dead_letter(message, reason("TTLExpiredException", text))
        else:
            self._remove(message)

    def _dead_letter(
        self, message: Message, properties: Mapping[str, Value], *, forward: bool = True
    ) -> None:
        assert self.dead_letters is not None
        self._edit(message, properties)
        if forward and self.forward_dead_letters_to is not None:
            envelope = replace(self._store.envelope(message), ttl=None, scheduled_at=None)
            first = message.enqueued_sequence or message.sequence
            self._remove(message)
            arrival = Arrival(envelope, first, self.name)
            self._forward(arrival, self.forward_dead_letters_to, self._shared.clock())
            return
        self._forget(message)
        message.queue = self.dead_letters.path
        message.state, message.expires_at = State.ACTIVE, None
        self._store.update(message)
        self.dead_letters.adopt(message)

    def adopt(self, message: Message) -> None:
        """Takes a message over from the queue whose dead letters these are, number and all."""
        self.messages[message.sequence] = message
        self._used += message.size
        self._offer(message)

    def _forward(self, arrival: Arrival, target: Entity, now: Millis) -> None:
        try:
            if arrival.hops == MAX_FORWARDS:
                raise TooManyForwards(f"The message was forwarded {MAX_FORWARDS} times already.")
            target.accept_forwarded(arrival._replace(hops=arrival.hops + 1), now)
        except Refused as refused:
            assert self.transfer_dead_letters is not None
            why = reason(type(refused).__name__, refused.detail)
            bare = with_properties(arrival.envelope.bare, why)
            refused_one = arrival._replace(envelope=replace(arrival.envelope, bare=bare))
            self.transfer_dead_letters.admit(refused_one, now)

    def _unlock(self, message: Message) -> None:
        if message.lock is not None:
            del self._locks[message.lock]
        message.lock = message.locked_until = None

    def _edit(self, message: Message, properties: Mapping[str, Value]) -> None:
        if properties:
            bare = with_properties(self._store.envelope(message).bare, properties)
            self._store.replace_bare(message, bare)

    def _keep(self, message: Message, envelope: Envelope) -> None:
        super()._keep(message, envelope)
        self._used += message.size

    def _remove(self, message: Message) -> None:
        self._forget(message)
        self._store.delete(message)

    def _forget(self, message: Message) -> None:
        del self.messages[message.sequence]
        self._used -= message.size

    # Look-ups

    def _at_most(self, end: Millis, span: Millis) -> Millis:
        """The end of a span; no later than it could be, as the clock may have been set back."""
        return min(end, self._shared.clock() + span)

    def _waiting(self, hold: SessionHold | None) -> Backlog:
        """Where the messages wait that a receiver may have."""
        if hold is not None:
            raise SessionLockLost(hold.session_id)
        return self._backlog

    def _locked(self, lock: UUID) -> Message:
        message = self._locks.get(lock)
        if message is None:
            raise MessageLockLost
        return message
