"""What an operator asks about a deployment, as far as this process saw it."""

from __future__ import annotations

from array import array
from collections import Counter

from contracts.calls import AttemptOutcome

RECENT = 256
WEIGHT = 0.05


class Statistics:
    __slots__ = (
        "_latencies",
        "_next",
        "answered_at",
        "last_reason",
        "last_reason_at",
        "outcomes",
        "slowest",
        "typical",
    )

    def __init__(self) -> None:
        self.outcomes: Counter[AttemptOutcome] = Counter()
        self.last_reason: str | None = None
        self.last_reason_at: float | None = None
        self.typical = 0.0
        """Seconds of an answered call, averaged."""
        self.slowest = 0.0
        """Seconds of the slowest answered call, forgotten slowly."""
        self.answered_at: float | None = None
        self._latencies = array("d")
        self._next = 0

    def answered(self, seconds: float, now: float) -> None:
        self.outcomes["answered"] += 1
        self.answered_at = now
        self.typical += (seconds - self.typical) * (WEIGHT if self._latencies else 1)
        self.slowest = max(seconds, self.slowest * 0.999)
        if len(self._latencies) < RECENT:
            self._latencies.append(seconds)
        else:
            self._latencies[self._next] = seconds
            self._next = (self._next + 1) % RECENT

    def ended(self, outcome: AttemptOutcome, reason: str | None, now: float) -> None:
        """A call that was not answered."""
        self.outcomes[outcome] += 1
        self.last_reason = reason
        self.last_reason_at = now

    def latest(self, calls: int) -> list[float]:
        """Seconds of so many of the last answered calls, or of as many as are remembered."""
        kept = len(self._latencies)
        ages = range(1, min(calls, kept) + 1)
        return [self._latencies[(self._next - age) % kept] for age in ages]

    def percentiles(self, *percents: int) -> tuple[float, ...]:
        """Seconds of the last answered calls; zeros while there are none."""
        ordered = sorted(self._latencies)
        if not ordered:
            return tuple(0.0 for _ in percents)
        last = len(ordered) - 1
        return tuple(ordered[min(last, len(ordered) * percent // 100)] for percent in percents)
