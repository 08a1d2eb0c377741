"""What is declared of a namespace: queues, topics, subscriptions and their rules.

Durations in milliseconds. The defaults are those of the official emulator's Config-schema.json,
so that a file that leaves a setting out means the same to both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from devhost.service_bus.wire.sections import Readable

MINUTE = 60_000
HOUR = 60 * MINUTE
DEAD_LETTER = "$deadletterqueue"
TRANSFER_DEAD_LETTER = "$transfer/$deadletterqueue"

type Filter = Callable[[Readable], bool]
"""Whether a subscription takes a message."""


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """A queue, or what of a subscription is like a queue."""

    lock_duration: int = MINUTE
    max_delivery_count: int = 3
    time_to_live: int = HOUR
    dead_letter_on_expiration: bool = False
    requires_session: bool = False
    duplicate_window: int | None = None
    """How long a message id is remembered; None when duplicates are not looked for."""
    forward_to: str | None = None
    """The name of the queue or topic that gets every message at once instead of keeping it."""
    forward_dead_letters_to: str | None = None
    max_size: int | None = None
    """Bytes that may wait, dead letters included; None for no bound."""


@dataclass(frozen=True, slots=True)
class SubscriptionSettings:
    name: str
    queue: QueueSettings = field(default_factory=QueueSettings)
    filters: tuple[Filter, ...] = ()
    """A message that passes one of these is copied here; with none, every message is."""


@dataclass(frozen=True, slots=True)
class TopicSettings:
    time_to_live: int = HOUR
    duplicate_window: int | None = None
    max_size: int | None = None
    subscriptions: tuple[SubscriptionSettings, ...] = ()


@dataclass(frozen=True, slots=True)
class NamespaceSettings:
    """Every entity by its name as declared; names are compared without case."""

    queues: dict[str, QueueSettings] = field(default_factory=dict)
    topics: dict[str, TopicSettings] = field(default_factory=dict)


def subscription_path(topic: str, subscription: str) -> str:
    return f"{topic}/subscriptions/{subscription}"
