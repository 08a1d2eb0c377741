"""What this worker tells the others of one model, and what it takes from them.

A call looks at what is known here and nowhere else: `wiring.exchange` carries reports and what
came of them, beside the calls.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from contracts.sharing import Fact, SharedDeployment, SharedModel, WorkerReport
from endpoints.clocks import Clocks
from endpoints.lease import Demand, Lease
from endpoints.model import Model
from endpoints.shared_deployment import SharedMember

USED_SECONDS = 60.0
"""A model that was used in so many seconds is kept up to date."""
TRIAL_SPACING = 2.0
"""Seconds between the workers' trials of a deployment that failed: as long as it takes until all
know how the one before ended."""
MOST_PLACES = 5


class Due(Enum):
    """When this worker and the others should hear of each other."""

    IDLE = "idle"
    """Not while nobody uses the model."""
    SOON = "soon"
    AT_ONCE = "at once"


class Sharing:
    """Of one model."""

    shared = SharedModel

    def __init__(self, model: Model, clocks: Clocks, worker: str) -> None:
        self._model = model
        self._clocks = clocks
        self._worker = worker
        self._members: Mapping[str, SharedMember] = {
            each.name: SharedMember(each, clocks, worker) for each in model.deployments
        }
        self.workers = 1
        """That use the model, as far as is known."""
        self._lease = Lease(self._members.values(), clocks)
        now = clocks.monotonic()
        self._used_at = now - USED_SECONDS
        self._demand = Demand(now)
        self._calls = 0
        self._news = False
        self._lease.go_alone()

    def greet(self) -> None:
        """An exchange begins. A share is asked for before anyone needs it, and waited for."""
        if any(member.limited for member in self._members.values()):
            self._used_at = self._clocks.monotonic()
            self._lease.hold_back()

    def look(self) -> Due:
        """Note what has happened since the last look; often."""
        now = self._clocks.monotonic()
        self._lease.expire(now)
        calls = self._turned_to()
        if calls != self._calls or self._busy():
            self._calls = calls
            self._used_at = now
        used = now - self._used_at < USED_SECONDS
        self._lease.wait_to_be_heard(now, used=used)
        self._notice()
        if self._news:
            return Due.AT_ONCE
        return Due.SOON if used else Due.IDLE

    def report(self) -> WorkerReport:
        """To be made when it can be sent; `arrived` when it was."""
        now = self._clocks.monotonic()
        number = self._lease.reported(now)
        self._notice()
        self._news = False
        rate = self._demand.a_second(self._turned_to(), now)
        waiting = self._model.pool.waiting
        return WorkerReport(
            worker=self._worker,
            number=number,
            seen=self._lease.seen,
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

    def _notice(self) -> None:
        for member in self._members.values():
            self._news |= member.notice()

    def _keep_to_grants(self, shared: SharedModel) -> None:
        mine = shared.workers.get(self._worker)
        if mine is None or not self._lease.renewed_by(mine.number):
            return
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
