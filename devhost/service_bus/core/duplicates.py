"""Duplicate detection: a message id that was seen within the window is taken and dropped.

The window is fixed: it starts when an id is first seen and a repeat does not extend it.
"""

from __future__ import annotations

from devhost.service_bus.core.messages import Millis
from devhost.service_bus.core.store import Store


class Duplicates:
    def __init__(self, store: Store, entity: str, window: Millis) -> None:
        self._store = store
        self._entity = entity
        self._window = window
        self._seen: dict[str, Millis] = {}  # oldest first

    def restore(self, message_id: str, at: Millis) -> None:
        self._seen[message_id] = at

    def shift(self, jump: Millis) -> None:
        """The clock jumped: the window stays as long as it was."""
        self._seen = {message_id: at + jump for message_id, at in self._seen.items()}
        for message_id, at in self._seen.items():
            self._store.remember(self._entity, message_id, at)

    def is_repeat(self, message_id: str, now: Millis) -> bool:
        """Whether the id was seen within the window; remembers it when not."""
        self._forget_until(now - self._window)
        if message_id in self._seen:
            return True
        self._seen[message_id] = now
        self._store.remember(self._entity, message_id, now)
        return False

    def _forget_until(self, horizon: Millis) -> None:
        expired: list[str] = []
        for message_id, at in self._seen.items():
            if at > horizon:
                break
            expired.append(message_id)
        for message_id in expired:
            del self._seen[message_id]
        if expired:
            self._store.forget(self._entity, expired)
