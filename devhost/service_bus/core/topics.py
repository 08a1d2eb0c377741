"""A topic: every message is copied to the subscriptions whose filters it passes."""

from __future__ import annotations

from dataclasses import dataclass, replace

from devhost.service_bus.core.entities import Entity
from devhost.service_bus.core.messages import Arrival, Millis
from devhost.service_bus.core.queues import Queue
from devhost.service_bus.core.settings import Filter, TopicSettings
from devhost.service_bus.core.shared import Shared
from devhost.service_bus.wire.sections import Readable, readable


@dataclass(frozen=True, slots=True)
class Subscription:
    queue: Queue
    filters: tuple[Filter, ...]

    def takes(self, message: Readable) -> bool:
        """One copy however many filters pass; a subscription without filters takes all."""
        return not self.filters or any(passes(message) for passes in self.filters)


class Topic(Entity):
    """Holds nothing itself but messages scheduled for later."""

    def __init__(self, shared: Shared, name: str, settings: TopicSettings) -> None:
        super().__init__(
            shared,
            name,
            time_to_live=settings.time_to_live,
            duplicate_window=settings.duplicate_window,
            max_size=settings.max_size,
        )
        self.subscriptions: list[Subscription] = []

    def used(self) -> int:
        scheduled = sum(message.size for message in self.messages.values())
        return scheduled + sum(s.queue.used() for s in self.subscriptions)

    def admit(self, arrival: Arrival, now: Millis) -> int:
        sequence = self.next_sequence()
        envelope = arrival.envelope
        ttl = self._time_to_live if envelope.ttl is None else min(self._time_to_live, envelope.ttl)
        copy = arrival._replace(
            envelope=replace(envelope, ttl=ttl),
            enqueued_sequence=arrival.enqueued_sequence or sequence,
        )
        message = readable(envelope.bare)
        for subscription in self.subscriptions:
            if subscription.takes(message):
                subscription.queue.admit(copy, now)
        return sequence
