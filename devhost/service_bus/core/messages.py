"""A message as a queue keeps it in memory: what decisions need. Its bytes stay in the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple
from uuid import UUID

from devhost.service_bus.wire.sections import Envelope, Stamp
from devhost.service_bus.wire.values import Value

type Millis = int
"""Milliseconds since the Unix epoch, or a span of them."""


class State(IntEnum):
    """The values of the annotation x-opt-message-state."""

    ACTIVE = 0
    DEFERRED = 1
    SCHEDULED = 2


@dataclass(slots=True)
class Message:
    id: int
    """Of its row in the store."""
    queue: str
    """The path of the queue that holds it, sub-queues included."""
    sequence: int
    state: State
    enqueued_at: Millis
    due_at: Millis | None
    """When a scheduled message becomes active."""
    expires_at: Millis | None
    ttl: Millis
    delivery_count: int
    lock: UUID | None
    locked_until: Millis | None
    """None while `lock` is set: the lock of the session holds the message."""
    session_id: str | None
    message_id: str | None
    size: int
    enqueued_sequence: int | None
    """The sequence number where it was first accepted, once forwarded or copied from a topic."""
    dead_letter_source: str | None

    @property
    def available(self) -> bool:
        return self.state is State.ACTIVE and self.lock is None


class Arrival(NamedTuple):
    """A message on its way into a queue, with what it brings from where it was before."""

    envelope: Envelope
    enqueued_sequence: int | None = None
    dead_letter_source: str | None = None
    hops: int = 0
    """How often it was forwarded on its way here."""


class Delivery(NamedTuple):
    """A message handed out. `lock` is None when it was deleted by receiving it."""

    lock: UUID | None
    envelope: Envelope
    stamp: Stamp


def delivery_of(message: Message, envelope: Envelope, until: Millis | None) -> Delivery:
    """The message as a receiver gets it, locked until then."""
    stamp = Stamp(
        delivery_count=message.delivery_count,
        sequence=message.sequence,
        enqueued_at=message.enqueued_at,
        state=message.state,
        ttl=message.ttl,
        locked_until=until,
        enqueued_sequence=message.enqueued_sequence,
        dead_letter_source=message.dead_letter_source,
    )
    return Delivery(message.lock, envelope, stamp)


class Outcome(IntEnum):
    COMPLETE = 0
    ABANDON = 1
    RELEASE = 2
    """Given back as if it had never been delivered: the delivery count stays."""
    DEFER = 3
    DEAD_LETTER = 4


@dataclass(frozen=True, slots=True)
class Settlement:
    outcome: Outcome
    properties: Mapping[str, Value] = field(default_factory=dict)
    """Application properties to set on a message that stays: the reason of a dead letter."""


def reason(name: str, description: str) -> dict[str, Value]:
    """The two properties by which Service Bus explains a dead letter."""
    return {"DeadLetterReason": name, "DeadLetterErrorDescription": description}
