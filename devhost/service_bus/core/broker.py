"""A namespace: its entities, built from settings and from what the store kept."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

from devhost.service_bus.core.entities import Entity
from devhost.service_bus.core.errors import EntityNotFound, OperationNotAllowed
from devhost.service_bus.core.messages import Message, Millis, State
from devhost.service_bus.core.queues import Queue
from devhost.service_bus.core.session_queues import SessionQueue
from devhost.service_bus.core.sessions import SessionHold
from devhost.service_bus.core.settings import (
    DEAD_LETTER,
    TRANSFER_DEAD_LETTER,
    NamespaceSettings,
    QueueSettings,
    TopicSettings,
    subscription_path,
)
from devhost.service_bus.core.shared import Clock, Shared
from devhost.service_bus.core.store import Store
from devhost.service_bus.core.topics import Subscription, Topic

logger = logging.getLogger("sluice.service_bus")


@dataclass(frozen=True, slots=True)
class Counts:
    """Messages of a queue by state, as Service Bus counts them: locked ones are active."""

    active: int
    deferred: int
    scheduled: int
    dead_lettered: int


class Broker:
    """All queues and topics of one namespace. Not thread-safe."""

    def __init__(
        self, settings: NamespaceSettings, store: Store, clock: Clock, steady: Clock
    ) -> None:
        """Takes up what the store kept.

        `clock` tells milliseconds since the Unix epoch, UTC; it may jump. `steady` never does, and
        counts from anywhere.
        """
        kept = list(store.messages())
        self._store = store
        first_id = 1 + max((message.id for message in kept), default=0)
        self._shared = Shared(store, clock, first_id, steady)
        self._queues: dict[str, Queue] = {}
        self._topics: dict[str, Topic] = {}
        self._receive_only: set[str] = set()
        for name, queue in settings.queues.items():
            self._add_queue(name, queue)
        for name, topic in settings.topics.items():
            self._add_topic(name, topic)
        self._link_forwards()
        self._restore_entities()
        self._restore_messages(kept)
        self._shared.on_jump = self._shift

    # Entities by their path, in any case

    def queue(self, path: str) -> Queue:
        """The queue, subscription or sub-queue of this path."""
        key = path.lower()
        if (queue := self._queues.get(key)) is not None:
            return queue
        if key in self._topics:
            raise OperationNotAllowed(f"'{path}' is a topic: receive from a subscription of it.")
        raise _not_found(path)

    def managed(self, path: str) -> Entity:
        """The entity of any kind that has this path."""
        entity: Entity | None = self._queues.get(path.lower()) or self._topics.get(path.lower())
        if entity is None:
            raise _not_found(path)
        return entity

    def plain_queue(self, path: str) -> Queue:
        """The queue, subscription or sub-queue to receive from without a session."""
        queue = self._receivable(path)
        if isinstance(queue, SessionQueue):
            raise OperationNotAllowed(f"'{path}' requires sessions: use a session receiver.")
        return queue

    def session_queue(self, path: str) -> SessionQueue:
        """The queue or subscription to receive sessions from."""
        queue = self._receivable(path)
        if not isinstance(queue, SessionQueue):
            raise OperationNotAllowed(f"'{path}' does not require sessions: use a plain receiver.")
        return queue

    def target(self, path: str) -> Entity:
        """The queue or topic to send to."""
        key = path.lower()
        entity = self.managed(path)
        if key in self._receive_only:
            raise OperationNotAllowed(f"Messages cannot be sent to '{path}'.")
        return entity

    def queues(self) -> list[Queue]:
        """Every queue and subscription, sub-queues left out."""
        return [queue for queue in self._queues.values() if queue.dead_letters is not None]

    def counts(self, path: str) -> Counts:
        self._shared.now()
        queue = self.queue(path)
        states = [message.state for message in queue.messages.values()]
        dead = queue.dead_letters
        return Counts(
            active=states.count(State.ACTIVE),
            deferred=states.count(State.DEFERRED),
            scheduled=states.count(State.SCHEDULED),
            dead_lettered=len(dead.messages) if dead else 0,
        )

    def _receivable(self, path: str) -> Queue:
        queue = self.queue(path)
        if queue.forward_to is not None:
            raise OperationNotAllowed(f"'{path}' forwards every message: receive from its target.")
        return queue

    # What the owner does between the requests

    def advance(self) -> Millis:
        """Lets everything happen that is due; returns the time."""
        return self._shared.now()

    def next_due(self) -> Millis | None:
        """When to call `advance` next, should nothing else happen."""
        return self._shared.timers.next_at()

    def take_ready(self) -> set[Queue]:
        """The queues where something became available since the last call."""
        ready, self._shared.ready = self._shared.ready, set()
        return ready

    def take_lost_sessions(self) -> list[SessionHold]:
        """The session locks that ran out since the last call."""
        lost = list(self._shared.lost_sessions)
        self._shared.lost_sessions.clear()
        return lost

    def commit(self) -> None:
        """Makes it durable. Nothing may be told to a client before this returns."""
        self._store.commit()

    def _shift(self, jump: Millis) -> None:
        logger.warning("The clock jumped by %.1f s: locks last as long as before", jump / 1000)
        self._shared.timers.shift(jump)
        for entity in (*self._queues.values(), *self._topics.values()):
            entity.shift(jump)

    # Building

    def _add_queue(self, name: str, settings: QueueSettings) -> Queue:
        kind = SessionQueue if settings.requires_session else Queue
        queue = kind(self._shared, name, settings)
        sub_settings = replace(
            settings, requires_session=False, duplicate_window=None, max_size=None
        )
        queue.dead_letters = Queue(self._shared, f"{name}/{DEAD_LETTER}", sub_settings)
        queue.transfer_dead_letters = Queue(
            self._shared, f"{name}/{TRANSFER_DEAD_LETTER}", sub_settings
        )
        for sub_queue in (queue.dead_letters, queue.transfer_dead_letters):
            self._queues[sub_queue.path] = sub_queue
            self._receive_only.add(sub_queue.path)
        self._queues[queue.path] = queue
        return queue

    def _add_topic(self, name: str, settings: TopicSettings) -> None:
        topic = self._topics[name.lower()] = Topic(self._shared, name, settings)
        for each in settings.subscriptions:
            queue = self._add_queue(subscription_path(name, each.name), each.queue)
            self._receive_only.add(queue.path)
            topic.subscriptions.append(Subscription(queue, each.filters))

    def _link_forwards(self) -> None:
        for queue in self.queues():
            settings = queue.settings
            if settings.forward_to:
                queue.forward_to = self.target(settings.forward_to)
            if settings.forward_dead_letters_to:
                queue.forward_dead_letters_to = self.target(settings.forward_dead_letters_to)

    def _restore_entities(self) -> None:
        entities: dict[str, Entity] = {**self._queues, **self._topics}
        for path, last in self._store.sequences().items():
            if path in entities:
                entities[path].last_sequence = last
        for path, message_id, at in self._store.seen():
            if path in entities and (duplicates := entities[path].duplicates) is not None:
                duplicates.restore(message_id, min(at, self._shared.clock()))
        for row in self._store.sessions():
            if isinstance(queue := self._queues.get(row.queue), SessionQueue):
                queue.restore_session(row)

    def _restore_messages(self, kept: list[Message]) -> None:
        undeclared: dict[str, int] = {}
        for message in kept:
            entity = self._queues.get(message.queue) or self._topics.get(message.queue)
            if entity is not None:
                entity.restore(message)
            else:
                undeclared[message.queue] = undeclared.get(message.queue, 0) + 1
        for path, count in undeclared.items():
            logger.warning(
                "%d messages of '%s' are kept, but the configuration no longer declares it.",
                count,
                path,
            )


def _not_found(path: str) -> EntityNotFound:
    return EntityNotFound(f"The messaging entity '{path}' could not be found.")
