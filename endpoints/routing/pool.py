"""The deployments of one model: a call takes a slot at one, or waits a moment for one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from endpoints.routing.budget import RetryBudget
from endpoints.routing.selection import Selectable
from endpoints.routing.standing import Refusal, Slot, Standing
from endpoints.routing.waiting import NOBODYS, Turn, Waiter, Waiters

_COULD_BE_ASKED = frozenset({Refusal.STALLED, Refusal.UNUSABLE})
_TIME_HELPS = frozenset({Refusal.COOLING, Refusal.OPEN, Refusal.RATE, Refusal.RESERVED})

SHORTEST_SECONDS = 0.001
"""A timer may be early by a little; it must not spin."""


class Member(Selectable, Protocol):
    """A deployment, as far as routing knows it."""

    @property
    def standing(self) -> Standing: ...


@dataclass(slots=True)
class Visit[D: Member]:
    """One call on its way through the pool."""

    wanted: list[D]
    """Those that may be asked, first choice first. Each is asked once at most."""
    tokens: int = 0
    batch: bool = False
    turn: Turn = NOBODYS
    patient_until: float = 0.0
    asked: bool = False
    retry_at: float | None = None
    """The earliest time at which one that was not asked may take a call."""


@dataclass(slots=True)
class Taken[D: Member]:
    """A deployment with a slot, which whoever holds this must give back."""

    deployment: D
    slot: Slot


@dataclass
class Pool[D: Member]:
    deployments: Sequence[D]
    clock: Callable[[], float]
    budget: RetryBudget = field(default_factory=RetryBudget)

    def __post_init__(self) -> None:
        self._waiters: Waiters[D, Taken[D]] = Waiters()
        self._timers: dict[str, tuple[float, asyncio.TimerHandle]] = {}
        self.turned_away = 0
        """Calls for which no deployment had room, since the start."""
        for deployment in self.deployments:
            deployment.standing.released = partial(self.hand_on, deployment)

    @property
    def waiting(self) -> int:
        """Calls that wait for a slot."""
        return len(self._waiters)

    async def take(self, visit: Visit[D]) -> Taken[D] | None:
        """A slot at the best deployment that has room, waiting as long as the visit is patient.

        None when there is none: then `visit.retry_at` tells from when, if anyone knows.
        """
        while True:
            now = self.clock()
            refusals: list[Refusal] = []
            if (best := self._best(visit, now, refusals)) is not None:
                return self._taken(visit, best, now)
            if not refusals:
                return None
            if (last := self._last_resort(visit, refusals)) is not None:
                return self._taken(visit, last, now)
            if not self._worth_waiting(visit, refusals, now):
                self._tell_from_when(visit, now)
                return None
            granted = await self._wait(visit, visit.patient_until - now)
            if granted is not None:
                return granted

    def take_now(self, visit: Visit[D]) -> Taken[D] | None:
        """A slot at the best deployment that has room now."""
        now = self.clock()
        best = self._best(visit, now, [])
        return None if best is None else self._taken(visit, best, now)

    def hand_on(self, deployment: D) -> None:
        """The deployment may have room for those who wait."""
        if self._waiters:
            self._waiters.hand_on(deployment, partial(self._grant, deployment))

    def _best(self, visit: Visit[D], now: float, refusals: list[Refusal]) -> D | None:
        """The first that takes the call, but a suspect only if no other of its priority does. The
        refusals of those before it, of all when there is none, are added to `refusals`."""
        suspect: D | None = None
        for deployment in visit.wanted:
            if suspect is not None and deployment.priority != suspect.priority:
                break
            refusal = self._refusal(visit, deployment, now)
            if refusal is not None:
                refusals.append(refusal)
            elif not deployment.standing.breaker.suspect(now):
                return deployment
            else:
                suspect = suspect or deployment
        return suspect

    def _refusal(self, visit: Visit[D], deployment: D, now: float) -> Refusal | None:
        standing = deployment.standing
        refusal = standing.refusal(now, visit.tokens, batch=visit.batch)
        if (
            refusal is None
            and self._waiters
            and self._waiters.goes_before(deployment, batch=visit.batch, again=visit.asked)
        ):
            self.hand_on(deployment)
            refusal = standing.refusal(now, visit.tokens, batch=visit.batch)
        return refusal

    def _taken(self, visit: Visit[D], deployment: D, now: float) -> Taken[D]:
        visit.wanted.remove(deployment)
        visit.asked = True
        slot = deployment.standing.begin(now, visit.tokens, batch=visit.batch)
        return Taken(deployment, slot)

    def _last_resort(self, visit: Visit[D], refusals: list[Refusal]) -> D | None:
        """One that is passed over for its own sake is asked all the same when there is no other:
        what ends a call for good should be true now, and a long silence may be a long answer."""
        if not _COULD_BE_ASKED.issuperset(refusals):
            return None
        if Refusal.STALLED in refusals:
            return visit.wanted[refusals.index(Refusal.STALLED)]
        return None if visit.asked else visit.wanted[0]

    # Waiting.

    def _worth_waiting(self, visit: Visit[D], refusals: list[Refusal], now: float) -> bool:
        """Whether a slot may be had in time."""
        if now >= visit.patient_until:
            return False
        worth = False
        for deployment, refusal in zip(visit.wanted, refusals, strict=True):
            if refusal in _TIME_HELPS:
                ready_at = deployment.standing.admits_from(now, visit.tokens, batch=visit.batch)
                if ready_at <= visit.patient_until:
                    self._hand_on_at(ready_at, deployment, now)
                    worth = True
            elif refusal is not Refusal.UNUSABLE:
                worth = True
        return worth

    def _tell_from_when(self, visit: Visit[D], now: float) -> None:
        self.turned_away += 1
        hopeful = [each for each in visit.wanted if not each.standing.unusable(now)]
        if not hopeful and not visit.asked:
            hopeful = visit.wanted
        times = [
            each.standing.admits_from(now, visit.tokens, batch=visit.batch) for each in hopeful
        ]
        visit.retry_at = min(times, default=None)

    async def _wait(self, visit: Visit[D], seconds: float) -> Taken[D] | None:
        waiter: Waiter[D, Taken[D]] = Waiter(
            visit.wanted, visit.tokens, batch=visit.batch, turn=visit.turn, again=visit.asked
        )
        self._waiters.add(waiter)
        timer = asyncio.get_running_loop().call_later(seconds, self._give_up, waiter)
        try:
            taken = await waiter.granted
        except asyncio.CancelledError:
            if waiter.granted.cancelled():
                self._waiters.remove(waiter)
            elif (granted := waiter.granted.result()) is not None:  # at the very same moment
                granted.deployment.standing.let_go(granted.slot, self.clock(), used=False)
            raise
        finally:
            timer.cancel()
            for deployment in visit.wanted:  # whoever stood behind may need less than this one
                self.hand_on(deployment)
        if taken is not None:  # and has left the queue
            visit.wanted.remove(taken.deployment)
            visit.asked = True
        return taken

    def _give_up(self, waiter: Waiter[D, Taken[D]]) -> None:
        if not waiter.granted.done():
            self._waiters.remove(waiter)
            waiter.granted.set_result(None)

    def _grant(self, deployment: D, waiter: Waiter[D, Taken[D]]) -> bool:
        now, standing = self.clock(), deployment.standing
        refusal = standing.refusal(now, waiter.tokens, batch=waiter.batch)
        if refusal is not None:
            if refusal in _TIME_HELPS:  # nobody's end of a call will bring them here again
                ready_at = standing.admits_from(now, waiter.tokens, batch=waiter.batch)
                self._hand_on_at(ready_at, deployment, now)
            return False
        slot = standing.begin(now, waiter.tokens, batch=waiter.batch)
        waiter.granted.set_result(Taken(deployment, slot))
        return True

    def _hand_on_at(self, moment: float, deployment: D, now: float) -> None:
        loop = asyncio.get_running_loop()
        at = loop.time() + max(moment - now, SHORTEST_SECONDS)
        due, timer = self._timers.get(deployment.name, (0.0, None))
        if timer is not None:
            if loop.time() < due <= at:
                return
            timer.cancel()
        self._timers[deployment.name] = at, loop.call_at(at, self.hand_on, deployment)
