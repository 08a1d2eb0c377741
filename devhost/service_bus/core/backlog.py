"""The messages that wait to be received, lowest sequence number first."""

from __future__ import annotations

import heapq
from collections.abc import Mapping

from devhost.service_bus.core.messages import Message


class Backlog:
    """Sequence numbers in a heap. One whose message left or is out is dropped when met."""

    def __init__(self) -> None:
        self._heap: list[int] = []

    def push(self, sequence: int) -> None:
        heapq.heappush(self._heap, sequence)

    def first(self, messages: Mapping[int, Message]) -> Message | None:
        """The next message, which stays."""
        while self._heap:
            message = messages.get(self._heap[0])
            if message is not None and message.available:
                return message
            heapq.heappop(self._heap)
        return None

    def pop(self, messages: Mapping[int, Message]) -> Message | None:
        """The next message, which leaves the backlog."""
        message = self.first(messages)
        if message is not None:
            heapq.heappop(self._heap)
        return message
