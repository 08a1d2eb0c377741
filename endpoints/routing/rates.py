"""Requests and tokens a minute, kept so that no minute holds more than is allowed."""

from __future__ import annotations

SECONDS = 61
"""Each is counted by itself. A minute that begins within a second ends in the sixty-first."""


class RateLimit:
    """At most `per_minute` of something in any 60 seconds, wherever they begin."""

    __slots__ = ("_counts", "_per_minute", "_second", "_total", "_waits_most")

    def __init__(self, per_minute: float) -> None:
        self._per_minute = per_minute
        self._counts = [0.0] * SECONDS
        self._total = 0.0
        self._second = 0
        self._waits_most: float | None = None

    @property
    def per_minute(self) -> float:
        return self._per_minute

    def share(self, per_minute: float, *, waits_most: float | None = None) -> None:
        """Of a limit that holds across workers, what this one may use.

        `waits_most`: in how many seconds it is worth to ask again, since it may be more then.
        """
        self._per_minute = per_minute
        self._waits_most = waits_most

    def used(self, now: float) -> float:
        """In the last minute."""
        self._move(now)
        return self._total

    def admits(self, amount: float, now: float) -> bool:
        """What alone is more than a whole minute's worth may go when nothing else has gone."""
        self._move(now)
        return self._total + amount <= self._per_minute or (
            self._total <= 0 and self._per_minute > 0
        )

    def take(self, amount: float, now: float) -> None:
        """Count an admitted amount."""
        self._move(now)
        self._counts[self._second % SECONDS] += amount
        self._total += amount

    def correct(self, amount: float, taken_at: float, now: float) -> None:
        """More, or less, was used than was taken then. It counts as of then: counted as of now,
        what was given back would make room twice."""
        self._move(now)
        second = int(taken_at)
        if self._second - second < SECONDS:
            self._counts[second % SECONDS] += amount
            self._total += amount

    def admits_from(self, amount: float, now: float) -> float:
        """The earliest time at which the amount would be admitted."""
        if self.admits(amount, now):
            return now
        until = self._room_from(amount)
        return until if self._waits_most is None else min(until, now + self._waits_most)

    def _room_from(self, amount: float) -> float:
        left = self._total
        for age in range(SECONDS - 1, -1, -1):
            left -= self._counts[(self._second - age) % SECONDS]
            if left + amount <= self._per_minute or left <= 0:
                return float(self._second - age + SECONDS)
        return float(self._second + SECONDS)

    def _move(self, now: float) -> None:
        second = int(now)
        passed = second - self._second
        if passed <= 0:
            return
        for step in range(1, min(passed, SECONDS) + 1):
            place = (self._second + step) % SECONDS
            self._total -= self._counts[place]
            self._counts[place] = 0.0
        if passed >= SECONDS:
            self._total = 0.0  # and no rounding is carried along
        self._second = second
