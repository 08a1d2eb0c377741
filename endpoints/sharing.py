"""What this worker tells the others of one model, and what it takes from them.

A call looks at what is known here and nowhere else: `wiring.exchange` carries reports and what
came of them, beside the calls.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from contracts.sharing import (
    LEASE_SECONDS,
    Fact,
    SharedDeployment,
    SharedModel,
    WorkerReport,
)
from endpoints.clocks import Clocks
from endpoints.model import Model
from endpoints.shared_deployment import SharedMember

USED_SECONDS = 60.0
"""A model that was used in so many seconds is kept up to date."""
UNHEARD_SECONDS = 2.0
"""How long limited deployments take no call before a worker goes on alone."""
TRIAL_SPACING = 2.0
"""Seconds between the workers' trials of a deployment that failed: as long as it takes until all
know how the one before ended."""
MOST_PLACES = 5
SMOOTHING = 0.5
"""Of the latest second in the rate of calls."""
MOST_UNREAD = 32


class Due(Enum):
    """When this worker and the others should hear of each other."""

    IDLE = "idle"
    """Not while nobody uses the model."""
    SOON = "soon"
    AT_ONCE = "at once"


class Sharing:
    """Of one model."""

    def __init__(self, model: Model, clocks: Clocks, worker: str) -> None:
        self._model = model
        self._clocks = clocks
        self._worker = worker
        self._members: Mapping[str, SharedMember] = {
            each.name: SharedMember(each, clocks, worker) for each in model.deployments
        }
        self.workers = 1
        """That use the model, as far as is known."""
        self._number = 0
        self._seen = 0
        self._unread: dict[int, float] = {}
        """When the reports were made whose grants have not been read."""
        self._lease_until: float | None = None
        self._unheard_since: float | None = None
        """Since when it has been used, or is to be, without a share that the others know of."""
        self._alone = True
        now = clocks.monotonic()
        self._used_at = now - USED_SECONDS
        self._demand = _Demand(now)
        self._calls = 0
        self._news = False
        for member in self._members.values():
            member.go_alone()

    def greet(self) -> None:
        """An exchange begins. A share is asked for before anyone needs it, and waited for."""
        if any(member.limited for member in self._members.values()):
            self._used_at = self._clocks.monotonic()
            self._hold_back()

    def look(self) -> Due:
        """Note what has happened since the last look; often."""
        now = self._clocks.monotonic()
        if self._lease_until is not None and now >= self._lease_until:
            self._hold_back()
        calls = self._turned_to()
        if calls != self._calls or self._busy():
            self._calls = calls
            self._used_at = now
        self._wait_to_be_heard(now)
        self._notice()
        if self._news:
            return Due.AT_ONCE
        return Due.SOON if now - self._used_at < USED_SECONDS else Due.IDLE

    def report(self) -> WorkerReport:
        """To be made when it can be sent; `arrived` when it was."""
        now = self._clocks.monotonic()
        self._number += 1
        self._unread[self._number] = now
        self._notice()
        self._news = False
        if len(self._unread) > MOST_UNREAD:
            del self._unread[next(iter(self._unread))]
        rate = self._demand.a_second(self._turned_to(), now)
        waiting = self._model.pool.waiting
        return WorkerReport(
            worker=self._worker,
            number=self._number,
            seen=self._seen,
            at=self._clocks.now(),
            deployments={
                name: member.report(round(member.in_flight + waiting + rate, 2))
                for name, member in self._members.items()
            },
        )

    def arrived(self) -> None:
        """The last report has been sent."""
        for member in self._members.values():
            member.arrived()

    def apply(self, shared: SharedModel) -> None:
        """Take what all workers know, and what this one was granted."""
        self._notice()
        self.workers = max(1, len(shared.workers))
        self._keep_to_grants(shared)
        for name, member in self._members.items():
            known = shared.deployments.get(name, SharedDeployment())
            member.take(known, self._trial_delay(known.breaker, shared))
            member.released()

    def _hold_back(self) -> None:
        self._lease_until = None
        self._unheard_since = None
        self._alone = False
        for member in self._members.values():
            member.hold_back()

    def _wait_to_be_heard(self, now: float) -> None:
        """Not for long: who cannot be heard has to do without the others."""
        if self._alone or self._lease_until is not None or now - self._used_at >= USED_SECONDS:
            return
        if self._unheard_since is None:
            self._unheard_since = now
        elif now - self._unheard_since >= UNHEARD_SECONDS:
            self._alone = True
            for member in self._members.values():
                member.go_alone()
                member.released()

    def _notice(self) -> None:
        for member in self._members.values():
            self._news |= member.notice()

    def _keep_to_grants(self, shared: SharedModel) -> None:
        mine = shared.workers.get(self._worker)
        if mine is None or (made := self._unread.get(mine.number)) is None:
            return  # nothing new, or too old to be told from it
        if self._clocks.monotonic() >= made + LEASE_SECONDS:
            return
        self._seen = mine.number
        self._lease_until = made + LEASE_SECONDS
        self._unheard_since = None
        self._alone = False
        self._unread = {number: at for number, at in self._unread.items() if number > mine.number}
        for name, member in self._members.items():
            member.keep_to(mine.holdings.get(name, {}))

    def _trial_delay(self, breaker: Fact | None, shared: SharedModel) -> float:
        """The worker that found it failing makes the next trial; the others stand in line."""
        if breaker is None or breaker.by == self._worker:
            return 0.0
        before = sorted(name for name in shared.workers if name != breaker.by)
        place = before.index(self._worker) if self._worker in before else len(before)
        return TRIAL_SPACING * min(place + 1, MOST_PLACES)

    def _turned_to(self) -> int:
        """Calls that came to an end here, or found no room, since the start."""
        ended = sum(member.ended for member in self._members.values())
        return ended + self._model.pool.turned_away

    def _busy(self) -> bool:
        if self._model.pool.waiting:
            return True
        return any(member.in_flight for member in self._members.values())


class _Demand:
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
