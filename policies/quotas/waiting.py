"""A call that may not be made at once: it waits, or is told from when it may.

Who waits for a connection's sake is told at once that a rate is reached, and so are jobs, which
wait on durable timers. Lines of batches wait here, in line, as long as they are patient; they leave
what there is to real-time calls that were refused. All wait a moment where the worker has yet to
hear what it may use.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from contracts.calls import CallScope
from contracts.errors import BudgetSpent, QuotaReached
from contracts.quotas import NANOS
from contracts.states import Priority
from policies.quotas.budget import Budget
from policies.quotas.rates import Rate
from policies.quotas.tenant import Asked, TenantQuotas

HEARD_SECONDS = 4.0
"""Until the others know of this worker, or it goes on alone; rarely more than half a second."""
SETTLED_SECONDS = 4.0
"""From then on, until the others have left this worker its part of what they held."""
GRANTED_SECONDS = 3.0
"""For what is left of a budget, when others have been granted that, or it is set aside."""
SOON_SECONDS = 2.0
"""When to come back for it."""
LOOK_SECONDS = 0.5
"""Between two looks."""
SHORTEST_SECONDS = 0.01


async def wait(tenant: TenantQuotas, asked: Asked, scope: CallScope, model: str) -> None:
    """Returns when there is no obstacle. Raises QuotaReached and BudgetSpent."""
    clocks = tenant.clocks
    patience = scope.patience
    if scope.deadline is not None:
        patience = min(patience, (scope.deadline - clocks.now()).total_seconds())
    now = clocks.monotonic()
    waiting = _Wait(tenant, asked, model, now, now + patience, scope.priority is Priority.BATCH)
    tenant.waiting += 1
    scope.waiting = True
    try:
        await waiting.over()
    finally:
        scope.waiting = False
        tenant.waiting -= 1


@dataclass(slots=True)
class _Wait:
    tenant: TenantQuotas
    asked: Asked
    model: str
    began: float
    until: float
    batch: bool

    async def over(self) -> None:
        if not self.batch:
            return await self._pass()
        line = self.tenant.line
        try:
            async with asyncio.timeout(max(self.until - self._now(), SHORTEST_SECONDS)):
                await line.acquire()
        except TimeoutError:
            raise self._refused(self.tenant.obstacle(self.asked)) from None
        try:
            return await self._pass()
        finally:
            line.release()

    async def _pass(self) -> None:
        while True:
            obstacle = self.tenant.obstacle(self.asked)
            if obstacle is None and not (self.batch and self.tenant.stands_back()):
                return
            seconds = min(self.until, self._worth_until(obstacle)) - self._now()
            if seconds <= 0:
                raise self._refused(obstacle)
            with suppress(TimeoutError):
                async with asyncio.timeout(max(min(seconds, LOOK_SECONDS), SHORTEST_SECONDS)):
                    await self.tenant.changed.wait()
            self.tenant.roll()

    def _worth_until(self, obstacle: Rate | Budget | None) -> float:
        """How long it is worth to wait for the obstacle to go. Raises BudgetSpent."""
        if obstacle is None:
            return self.until
        if not self.tenant.heard:
            return self.began + HEARD_SECONDS
        settled_at = self.tenant.heard_at + SETTLED_SECONDS
        if isinstance(obstacle, Rate):
            if self._now() < settled_at:
                self.tenant.short = True
                return settled_at
            ready = self._ready(obstacle)
            return ready if self.batch and ready <= self.until else self._now()
        if not obstacle.granted:
            return self.began + HEARD_SECONDS
        amount = next(amount for budget, amount in self.asked.amounts if budget is obstacle)
        if obstacle.may_be_left < amount:
            raise self._spent(obstacle, amount)
        self.tenant.short = True
        return self.until if self.batch else self.began + GRANTED_SECONDS

    def _ready(self, rate: Rate) -> float:
        return rate.limit.admits_from(self.asked.tokens if rate.counts_tokens else 1, self._now())

    def _refused(self, obstacle: Rate | Budget | None) -> QuotaReached:
        """`None`: of those that wait, others come first."""
        tenant, now = self.tenant, self._now()
        seconds = SOON_SECONDS
        if isinstance(obstacle, Rate):
            seconds = max(self._ready(obstacle) - now, SHORTEST_SECONDS)
            if not self.batch:
                tenant.expected_until = now + seconds + SOON_SECONDS
            why = self._short_of(obstacle)
        elif obstacle is not None:
            why = f"has nearly used up its {obstacle.name} of {_told(obstacle, obstacle.whole)}"
        else:
            why = "has other calls waiting for its limits"
        return QuotaReached(
            f"Tenant {tenant.name} {why}: try again in {max(round(seconds), 1)} s.",
            tenant.clocks.now() + timedelta(seconds=seconds),
            "rates" if obstacle is None else obstacle.name,
            tenant.standing(self.model),
        )

    def _short_of(self, rate: Rate) -> str:
        left = rate.standing(self._now()).remaining
        if not rate.counts_tokens or left == 0:
            return f"has reached its {rate.name} of {rate.whole:,}"
        return (
            f"has {left:,} left of its {rate.name} of {rate.whole:,}, and the call may take"
            f" {self.asked.tokens:,}"
        )

    def _spent(self, budget: Budget, amount: int) -> BudgetSpent:
        whole, ends_at = _told(budget, budget.whole), budget.period.ends_at
        why = f"has used up its {budget.name} of {whole}"
        if budget.left > 0:
            why = (
                f"has {_told(budget, budget.left)} left of its {budget.name} of {whole}, and the"
                f" call may take {_told(budget, amount)}"
            )
        return BudgetSpent(
            f"Tenant {self.tenant.name} {why}: it is new from {ends_at:%Y-%m-%dT%H:%M:%SZ}."
        )

    def _now(self) -> float:
        return self.tenant.clocks.monotonic()


def _told(budget: Budget, amount: int) -> str:
    if budget.counts_tokens:
        return f"{amount:,}"
    money = f"{Decimal(amount) / NANOS:,f}"
    return money.rstrip("0").rstrip(".") if "." in money else money
