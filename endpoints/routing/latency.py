"""How long calls take, told from so many of them that a comparison means something."""

from __future__ import annotations

from math import log

FEWEST = 100
"""Calls in a batch. Where answers differ in length as those of chat models do (sigma 1), the
averages of two batches then differ by chance by a fifth."""
SHORTEST = 1e-6
"""Seconds."""


class Batch:
    """The average of the logarithms: one answer of ten times the length must not decide."""

    __slots__ = ("_missing", "_size", "_skip", "_sum")

    def __init__(self, level: int, *, skip: int = 0) -> None:
        """`level`: calls at once. `skip`: the first to come back after a change are the quick
        ones, and would make any level look fast."""
        self._size = max(FEWEST, level)
        self._missing = self._size
        self._skip = skip
        self._sum = 0.0

    def add(self, seconds: float) -> bool:
        """Returns whether the batch is complete."""
        if self._skip > 0:
            self._skip -= 1
            return False
        self._sum += log(max(seconds, SHORTEST))
        self._missing -= 1
        return self._missing <= 0

    @property
    def average(self) -> float:
        """Of a complete batch: the logarithm of seconds."""
        return self._sum / self._size
