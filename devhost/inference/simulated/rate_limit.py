"""So many a minute, evenly: a bucket that fills at the rate and holds a burst of it."""

from __future__ import annotations

_ROUNDING = 1e-6
"""So much may be missing, that who waited as told is not sent away by the last digit."""


class RateLimit:
    """Begins full. `now` is in seconds of any clock that does not go back."""

    def __init__(self, per_minute: float, burst_seconds: float, now: float) -> None:
        self._per_second = per_minute / 60
        self.burst = max(1.0, self._per_second * burst_seconds)
        self._level = self.burst
        self._at = now

    def wait(self, cost: float, now: float) -> float:
        """Seconds until so much is there, 0 when it is.

        What costs more than the bucket holds is let in when the bucket is full, and the rest is
        paid back before the next is.
        """
        self._level = min(self.burst, self._level + (now - self._at) * self._per_second)
        self._at = now
        missing = min(cost, self.burst) - self._level
        return missing / self._per_second if missing > _ROUNDING else 0.0

    def take(self, cost: float) -> None:
        """Use so much, once `wait` has said 0."""
        self._level -= cost
