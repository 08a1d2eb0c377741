"""Slots of a deployment that batch calls leave free, for real-time calls that are about to come.

Batch calls would take every slot, and a real-time call would have to wait for one of them to end:
up to a whole call's time, since calls that begin together end together. So as many slots are kept
as real time has lately had under way, and a deviation and a half: calls that come independently of
each other have the square root of their number as deviation (Poisson). Then eight real-time calls
in nine find a slot at once, the others wait for one as before, and at a fifth of 64 slots batch is
left without a tenth of what it could have had. A quarter less: five in six, and a twelfth.
"""

from __future__ import annotations

from math import exp, sqrt

MEMORY_SECONDS = 5.0
"""Of the average: long against a call, short against a pause."""
DEVIATIONS = 1.5


class Reserve:
    """Of one deployment. Times are a monotonic clock's, in seconds."""

    __slots__ = ("_average", "_seen_at", "under_way")

    def __init__(self) -> None:
        self.under_way = 0
        """Real-time calls."""
        self._average = 0.0
        self._seen_at = 0.0

    def begin(self, now: float) -> None:
        """A real-time call is sent."""
        self._look(now)
        self.under_way += 1

    def end(self, now: float) -> None:
        """A real-time call has ended."""
        self._look(now)
        self.under_way -= 1

    def unused(self, limit: int, now: float) -> int:
        """Of `limit` slots, those that batch leaves free beside the real-time calls under way.

        Never more than half of all: batch goes on, however much real time there was."""
        if not self.under_way and self._average < 0.01:  # most batches run alone
            return 0
        self._look(now)
        kept = int(self._average + DEVIATIONS * sqrt(self._average))
        return max(0, min(kept, limit // 2) - self.under_way)

    def _look(self, now: float) -> None:
        """Since the last look as many have been under way as now."""
        if now > self._seen_at:
            faded = exp((self._seen_at - now) / MEMORY_SECONDS)
            self._average = self.under_way + (self._average - self.under_way) * faded
            self._seen_at = now
