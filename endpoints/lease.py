"""How long what a worker was granted holds, and what it does while it has been granted nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from contracts.sharing import LEASE_SECONDS
from endpoints.clocks import Clocks

UNHEARD_SECONDS = 2.0
"""How long what is limited takes no call before a worker goes on alone."""
SMOOTHING = 0.5
"""Of the latest second in the rate of calls."""
MOST_UNREAD = 32


class Leased(Protocol):
    """What is used in a share."""

    def hold_back(self) -> None:
        """Use nothing: the others will be heard in a moment."""

    def go_alone(self) -> None:
        """Use a small part, without having heard what the others use."""

    def released(self) -> None:
        """There may be room now for calls that wait."""


class Lease:
    """Of everything that this worker and others share by the same reports."""

    def __init__(self, leased: Iterable[Leased], clocks: Clocks) -> None:
        self._leased = tuple(leased)
        self._clocks = clocks
        self._number = 0
        self.seen = 0
        """The last report whose grants have been read."""
        self._unread: dict[int, float] = {}
        """When the reports were made whose grants have not been read."""
        self._until: float | None = None
        self._unheard_since: float | None = None
        """Since when it has been used, or is to be, without a share that the others know of."""
        self.alone = True

    @property
    def held(self) -> bool:
        """Whether the others know what this worker may use."""
        return self._until is not None

    def hold_back(self) -> None:
        self._until = None
        self._unheard_since = None
        self.alone = False
        for each in self._leased:
            each.hold_back()

    def go_alone(self) -> None:
        self.alone = True
        for each in self._leased:
            each.go_alone()

    def expire(self, now: float) -> None:
        """Give up what nobody has confirmed for too long."""
        if self._until is not None and now >= self._until:
            self.hold_back()

    def wait_to_be_heard(self, now: float, *, used: bool) -> None:
        """Not for long: who cannot be heard has to do without the others."""
        if self.alone or self._until is not None or not used:
            return
        if self._unheard_since is None:
            self._unheard_since = now
        elif now - self._unheard_since >= UNHEARD_SECONDS:
            self.go_alone()
            for each in self._leased:
                each.released()

    def reported(self, now: float) -> int:
        """A report is made: its number."""
        self._number += 1
        self._unread[self._number] = now
        if len(self._unread) > MOST_UNREAD:
            del self._unread[next(iter(self._unread))]
        return self._number

    def renewed_by(self, number: int | None) -> bool:
        """Whether what the report of this number was granted is to be kept to from now on."""
        if number is None or (made := self._unread.get(number)) is None:
            return False  # nothing new, or too old to be told from it
        if self._clocks.monotonic() >= made + LEASE_SECONDS:
            return False
        self.seen = number
        self._until = made + LEASE_SECONDS
        self._unheard_since = None
        self.alone = False
        self._unread = {each: at for each, at in self._unread.items() if each > number}
        return True


class Demand:
    """How many calls come in a second: calls under way say little of those that take no time."""

    def __init__(self, now: float) -> None:
        self._at = now
        self._calls = 0
        self._rate = 0.0

    def a_second(self, calls: int, now: float) -> float:
        """`calls`: since the start."""
        seconds = max(now - self._at, 1.0)
        self._rate += ((calls - self._calls) / seconds - self._rate) * SMOOTHING
        self._at, self._calls = now, calls
        return self._rate
