"""Histories of running orchestrations: in memory while there is room, else read when needed."""

from __future__ import annotations

from collections import OrderedDict

from devhost.task_hub.durable.core import Core
from devhost.task_hub.durable.model import Instance


class Histories:
    """Appends to histories and keeps the lately used ones within a number of bytes."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._sizes: OrderedDict[int, int] = OrderedDict()
        """Bytes in memory, by instance, the one used last at the end."""
        self._total = 0

    def of(self, instance: Instance) -> list[bytes]:
        """The committed history, ready to be sent. Called between turns only."""
        if instance.history is None:
            instance.history = self._core.queries.history(instance.num)
        self._used(instance, instance.history)
        return instance.history

    def append(self, instance: Instance, events: bytes) -> None:
        """Add what one turn brought, a result of `past_events`."""
        self._core.rows.append_history(instance.num, events)
        if instance.history is not None:
            instance.history.append(events)
            self._used(instance, instance.history)

    def replace(self, instance: Instance, events: bytes) -> None:
        """Write a history anew."""
        self._core.rows.clear_history(instance.num)
        instance.history = []
        self.append(instance, events)

    def clear(self, instance: Instance) -> None:
        """Begin with no history; the rows are deleted elsewhere."""
        instance.history = []
        self._used(instance, instance.history)

    def forget(self, instance: Instance) -> None:
        """The instance ended; its history is only in the database."""
        self._total -= self._sizes.pop(instance.num, 0)
        instance.history = None

    def _used(self, instance: Instance, history: list[bytes]) -> None:
        size = sum(map(len, history))
        self._total += size - self._sizes.pop(instance.num, 0)
        self._sizes[instance.num] = size
        while self._total > self._core.settings.history_cache_bytes and len(self._sizes) > 1:
            num, freed = self._sizes.popitem(last=False)
            self._total -= freed
            evicted = self._core.state.instances.get(num)
            if evicted is not None:
                evicted.history = None
