"""What a queue and a topic have in common: taking messages in, at once or at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace

from devhost.service_bus.core.duplicates import Duplicates
from devhost.service_bus.core.errors import MessageNotFound, QuotaExceeded
from devhost.service_bus.core.messages import Arrival, Message, Millis, State
from devhost.service_bus.core.shared import Shared
from devhost.service_bus.core.timers import Due, Key
from devhost.service_bus.wire.sections import Envelope


class Entity(ABC):
    """Public methods raise Refused and then have changed nothing."""

    def __init__(
        self,
        shared: Shared,
        name: str,
        *,
        time_to_live: Millis,
        duplicate_window: Millis | None,
        max_size: int | None,
    ) -> None:
        self.name = name
        """As declared; `path` is the same without case."""
        self.path = name.lower()
        self.messages: dict[int, Message] = {}
        """By sequence number."""
        self.last_sequence = 0
        self.duplicates = (
            Duplicates(shared.store, self.path, duplicate_window) if duplicate_window else None
        )
        self._shared = shared
        self._store = shared.store
        self._time_to_live = time_to_live
        self._max_size = max_size

    def send(self, envelopes: Sequence[Envelope]) -> list[int]:
        """Takes all of them or, when one is refused, none. Returns their sequence numbers."""
        now = self._shared.now()
        self.check(envelopes)
        return [self._take(Arrival(envelope), now) for envelope in envelopes]

    def accept_forwarded(self, arrival: Arrival, now: Millis) -> None:
        """Takes a message that another entity passes on."""
        self.check([arrival.envelope])
        self._take(arrival, now)

    def cancel(self, sequences: Sequence[int]) -> None:
        """Drops scheduled messages; raises MessageNotFound when one is not scheduled any more."""
        self._shared.now()
        wanted = set(sequences)
        found = [m for s in wanted if (m := self.messages.get(s)) and m.state is State.SCHEDULED]
        if len(found) < len(wanted):
            raise MessageNotFound("No scheduled message has one of these sequence numbers.")
        for message in found:
            self._remove(message)

    def check(self, envelopes: Sequence[Envelope]) -> None:
        """Raises Refused when one of these may not come in."""
        if self._max_size is not None:
            wanted = sum(envelope.size for envelope in envelopes)
            if self.used() + wanted > self._max_size:
                raise QuotaExceeded(
                    f"'{self.name}' has reached its maximum size of {self._max_size} bytes."
                )

    @abstractmethod
    def used(self) -> int:
        """Bytes of all messages that wait here."""

    @abstractmethod
    def admit(self, arrival: Arrival, now: Millis) -> int:
        """Lets a message in that is active now. Returns its sequence number."""

    def next_sequence(self) -> int:
        self.last_sequence += 1
        self._store.set_sequence(self.path, self.last_sequence)
        return self.last_sequence

    def restore(self, message: Message) -> None:
        """Puts a message back that the store kept."""
        self.messages[message.sequence] = message
        if message.due_at is not None:
            self._shared.timers.add(message.due_at, self, Due.SCHEDULE, message.sequence)

    def shift(self, jump: Millis) -> None:
        """The clock jumped by so much: moves the ends of all spans along."""
        if self.duplicates is not None:
            self.duplicates.shift(jump)

    # Timers

    def on_due(self, due: Due, key: Key) -> Millis | None:
        message = self.messages.get(key) if due is Due.SCHEDULE and isinstance(key, int) else None
        if message is not None and message.state is State.SCHEDULED:
            self._activate(message, self._shared.clock())
        return None

    def is_pending(self, due: Due, key: Key) -> bool:
        return key in self.messages

    # Taking in

    def _take(self, arrival: Arrival, now: Millis) -> int:
        envelope = arrival.envelope
        if (
            self.duplicates is not None
            and envelope.message_id is not None
            and self.duplicates.is_repeat(envelope.message_id, now)
        ):
            return self.next_sequence()  # a number that stands for nothing
        if envelope.scheduled_at is not None and envelope.scheduled_at > now:
            return self._schedule(arrival, envelope.scheduled_at, now)
        return self.admit(arrival, now)

    def _schedule(self, arrival: Arrival, due_at: Millis, now: Millis) -> int:
        message = self._new_message(arrival, now)
        message.state = State.SCHEDULED
        message.due_at = due_at
        self._keep(message, arrival.envelope)
        self._shared.timers.add(due_at, self, Due.SCHEDULE, message.sequence)
        return message.sequence

    def _activate(self, message: Message, now: Millis) -> None:
        """A scheduled message comes in as if it were sent now, with a new sequence number."""
        envelope = replace(self._store.envelope(message), scheduled_at=None)
        self._remove(message)
        arrival = Arrival(envelope, message.enqueued_sequence, message.dead_letter_source)
        self.admit(arrival, now)

    def _new_message(self, arrival: Arrival, now: Millis) -> Message:
        envelope = arrival.envelope
        ttl = self._time_to_live
        return Message(
            id=next(self._shared.ids),
            queue=self.path,
            sequence=self.next_sequence(),
            state=State.ACTIVE,
            enqueued_at=now,
            due_at=None,
            expires_at=None,
            ttl=ttl if envelope.ttl is None else min(ttl, envelope.ttl),
            delivery_count=0,
            lock=None,
            locked_until=None,
            session_id=envelope.session_id,
            message_id=envelope.message_id,
            size=envelope.size,
            enqueued_sequence=arrival.enqueued_sequence,
            dead_letter_source=arrival.dead_letter_source,
        )

    def _keep(self, message: Message, envelope: Envelope) -> None:
        self.messages[message.sequence] = message
        self._store.insert(message, envelope)

    def _remove(self, message: Message) -> None:
        del self.messages[message.sequence]
        self._store.delete(message)
