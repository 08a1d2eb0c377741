"""How many calls may be made a second time, so that retries cannot amplify an outage.

Each call earns a share of a retry; a retry or a hedge spends one. A call that was throttled,
refused or never connected is not a retry: the deployment did no work for it.
"""

from __future__ import annotations

SHARE = 0.2
MOST = 1000.0
"""All that were under way at a deployment that breaks down move on at the same moment."""
START = 10.0
A_SECOND = 1.0
"""Earned without calls, so that a quiet model has retries too."""


class RetryBudget:
    __slots__ = ("_at", "_left", "_share")

    def __init__(self, share: float = SHARE) -> None:
        self._share = share
        self._left = START
        self._at: float | None = None

    def earn(self) -> None:
        """A call was made."""
        self._left = min(self._left + self._share, MOST)

    def spend(self, now: float) -> bool:
        """Take one retry; False when none is left."""
        if self._at is not None and self._left < START:
            self._left = min(self._left + (now - self._at) * A_SECOND, START)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True

    def give_back(self) -> None:
        """What was taken was not needed."""
        self._left += 1
