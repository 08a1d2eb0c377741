"""Far more requests than is usual for the one who asks."""

from __future__ import annotations

from dataclasses import dataclass

from policies.identity.bounded import Bounded
from policies.screening.digests import digest
from policies.screening.sender import Sender
from policies.screening.settings import RateSettings

MOST_KEPT = 10_000
"""Tenants and keys."""
_REMEMBERED_MINUTES = 30
_KEEP = 1 - 1 / _REMEMBERED_MINUTES
"""Of what was usual, with each minute that goes by."""


@dataclass(slots=True)
class _Pace:
    minute: int
    count: int = 0
    usual: float = 0.0
    """Requests a minute."""

    def add(self, minute: int) -> None:
        if minute > self.minute:
            self.usual = self.usual * _KEEP + self.count * (1 - _KEEP)
            self.usual *= _KEEP ** min(minute - self.minute - 1, 10 * _REMEMBERED_MINUTES)
            self.minute, self.count = minute, 0
        self.count += 1


class Rates:
    """Of all who ask this worker."""

    def __init__(self) -> None:
        self._paces: Bounded[bytes, _Pace] = Bounded(MOST_KEPT)

    def burst(self, sender: Sender, settings: RateSettings, now: float) -> str | None:
        """Count a request; `now` in seconds of a clock that never jumps.

        Returns whose burst it is a part of, if any.
        """
        minute = int(now // 60)
        by_key = self._is_burst(digest("key", sender.tenant, sender.key), minute, settings)
        by_tenant = self._is_burst(digest("tenant", sender.tenant), minute, settings)
        return "key_burst" if by_key else "tenant_burst" if by_tenant else None

    def _is_burst(self, who: bytes, minute: int, settings: RateSettings) -> bool:
        pace = self._paces.get(who)
        if pace is None:
            pace = _Pace(minute)
            self._paces.put(who, pace)
        pace.add(minute)
        return pace.count > max(settings.least_per_minute, settings.times_usual * pace.usual)
