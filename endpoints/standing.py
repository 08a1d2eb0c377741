"""What this process remembers of a deployment between calls."""

from __future__ import annotations

from datetime import datetime, timedelta

UNUSABLE_FOR = timedelta(seconds=60)
"""How long an unusable deployment is passed over before it is asked again: an operator's repair
shows within a minute, and until then no call pays for the detour."""


class Standing:
    """Whether a deployment takes a call now. Times are aware."""

    def __init__(self) -> None:
        self._cooling_until: datetime | None = None
        self._unusable_until: datetime | None = None

    def ready(self, now: datetime) -> bool:
        return self.cooling_until(now) is None and not self.unusable(now)

    def cooling_until(self, now: datetime) -> datetime | None:
        """Until when it asked to be left alone; None when that is over."""
        until = self._cooling_until
        return until if until is not None and until > now else None

    def unusable(self, now: datetime) -> bool:
        return self._unusable_until is not None and self._unusable_until > now

    def cool(self, until: datetime) -> None:
        """Leave it alone until then. Of several wishes the longest holds."""
        if self._cooling_until is None or until > self._cooling_until:
            self._cooling_until = until

    def found_unusable(self, now: datetime) -> bool:
        """Returns whether that is news, and an operator is to be told."""
        news = self._unusable_until is None
        self._unusable_until = now + UNUSABLE_FOR
        return news

    def found_usable(self) -> bool:
        """Returns whether that is news."""
        news = self._unusable_until is not None
        self._unusable_until = None
        return news
