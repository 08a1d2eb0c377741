"""What was written lately, in memory: for blobs that never change once they are written."""

from __future__ import annotations

from collections import OrderedDict


class Recent:
    """At most so many bytes; the oldest go first."""

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._size = 0
        self._kept: OrderedDict[str, bytes] = OrderedDict()

    def add(self, name: str, content: bytes) -> None:
        self._size += len(content) - len(self._kept.pop(name, b""))
        self._kept[name] = content
        while self._size > self._most:
            _, dropped = self._kept.popitem(last=False)
            self._size -= len(dropped)

    def drop(self, name: str) -> None:
        self._size -= len(self._kept.pop(name, b""))

    def get(self, name: str) -> bytes | None:
        """None when it is not, or no longer, here."""
        return self._kept.get(name)
