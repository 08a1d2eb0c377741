"""A namespace with a clock that is set by hand, and messages as a sender would encode them."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any

from devhost.service_bus.core.broker import Broker
from devhost.service_bus.core.messages import Delivery, Outcome, Settlement, reason
from devhost.service_bus.core.queues import Queue
from devhost.service_bus.core.session_queues import SessionQueue
from devhost.service_bus.core.settings import NamespaceSettings, QueueSettings
from devhost.service_bus.core.store import Store
from devhost.service_bus.wire.decoding import decode
from devhost.service_bus.wire.encoding import encode
from devhost.service_bus.wire.sections import (
    ANNOTATIONS,
    APPLICATION_PROPERTIES,
    DATA,
    HEADER,
    PROPERTIES,
    PROPERTY_FIELDS,
    SCHEDULED_TIME,
    Envelope,
    parse,
    readable,
    section,
    sections,
)
from devhost.service_bus.wire.values import Symbol, Timestamp, Value

START = 1_700_000_000_000
SECOND = 1000


class World:
    """One broker; `restart` puts a new one on what the old one committed."""

    def __init__(self, settings: NamespaceSettings | None = None, path: Path | None = None) -> None:
        self.now = START
        self.elapsed = 0
        self.settings = settings or NamespaceSettings(queues={"orders": QueueSettings()})
        self.store = Store(path)
        weakref.finalize(self, self.store.close)
        self.broker = self._broker()

    @property
    def queue(self) -> Queue:
        return self.broker.queue("orders")

    @property
    def sessions(self) -> SessionQueue:
        return self.broker.session_queue("orders")

    @property
    def dead_letters(self) -> Queue:
        return self.broker.queue("orders/$deadletterqueue")

    def sleep(self, seconds: float) -> None:
        self.now += int(seconds * SECOND)
        self.elapsed += int(seconds * SECOND)
        self.broker.advance()

    def jump(self, seconds: float) -> None:
        """The clock is set, while time goes on as ever."""
        self.now += int(seconds * SECOND)
        self.broker.advance()

    def restart(self) -> None:
        """As after a crash: what was not committed is lost."""
        self.store.rollback()
        self.broker = self._broker()

    def commit_and_restart(self) -> None:
        self.broker.commit()
        self.restart()

    def _broker(self) -> Broker:
        return Broker(self.settings, self.store, lambda: self.now, lambda: self.elapsed)


def encoded(
    body: str = "",
    *,
    ttl: float | None = None,
    scheduled_at: int | None = None,
    user: dict[str, Value] | None = None,
    **properties: Value,
) -> bytes:
    """A message as the SDK encodes it. `ttl` in seconds, `scheduled_at` in milliseconds."""
    raw = b""
    if ttl is not None:
        uint = b"\x70" + int(ttl * SECOND).to_bytes(4)
        fields = b"\x40\x40" + uint
        raw += section(HEADER, b"\xc0" + bytes((len(fields) + 1, 3)) + fields)
    if scheduled_at is not None:
        due: dict[Value, Value] = {Symbol(SCHEDULED_TIME): Timestamp(scheduled_at)}
        raw += section(ANNOTATIONS, encode(due))
    raw += section(PROPERTIES, encode([properties.pop(name, None) for name in PROPERTY_FIELDS]))
    assert not properties, f"no such properties: {properties}"
    if user is not None:
        raw += section(APPLICATION_PROPERTIES, encode(dict(user.items())))
    return raw + section(DATA, encode(body.encode()))


def message(body: str = "", **fields: Any) -> Envelope:
    return parse(encoded(body, **fields))


def body_of(delivery: Delivery | None) -> str | None:
    """The text in the message's data section; None for no delivery."""
    if delivery is None:
        return None
    bare = delivery.envelope.bare
    data = next(value for code, _, value, _ in sections(bare) if code == DATA)
    content = decode(bare, data)[0]
    assert isinstance(content, bytes)
    return content.decode()


def reasons(delivery: Delivery | None) -> tuple[Value, Value]:
    """Why a message was dead-lettered, and the description."""
    assert delivery is not None
    user = readable(delivery.envelope.bare).user
    return user.get("DeadLetterReason"), user.get("DeadLetterErrorDescription")


def receive(queue: Queue, hold: Any = None) -> Delivery | None:
    return queue.receive(lock=True, hold=hold)


def drain(queue: Queue) -> list[str | None]:
    """The bodies of all messages that wait, which are deleted."""
    bodies = []
    while (delivery := queue.receive(lock=False)) is not None:
        bodies.append(body_of(delivery))
    return bodies


def settle(queue: Queue, delivery: Delivery | None, outcome: Outcome, *why: str) -> None:
    assert delivery is not None
    assert delivery.lock is not None
    queue.settle([delivery.lock], Settlement(outcome, reason(*why) if why else {}))


def complete(queue: Queue, delivery: Delivery | None) -> None:
    settle(queue, delivery, Outcome.COMPLETE)


def abandon(queue: Queue, delivery: Delivery | None) -> None:
    settle(queue, delivery, Outcome.ABANDON)
