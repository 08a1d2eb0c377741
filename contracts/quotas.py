"""What workers tell each other of a tenant's quotas, through one entity a tenant.

Rates are shared as the limits of deployments are, see `contracts.sharing`. A budget is a limit
whose use does not pass with time, but with its day or month: so what was used is kept, though the
worker that used it is gone. Amounts are whole: of tokens, or of NANOS of the currency.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from pydantic import Field

from contracts.sharing import Holding, LimitsReport, LimitUse, Report, Shared, SharedWorker

NANOS = 10**9
"""In which money is shared, of its unit: fine enough for the price of one token."""
EVERY_MODEL = "*"
"""In the place of a model's name: what holds for all models together."""

BudgetName = Literal["tokens_per_day", "tokens_per_month", "money_per_day", "money_per_month"]


class BudgetUse(LimitUse):
    """A budget, at one worker. `in_use` is the most that the worker may come to in this life."""

    period: str
    """2026-11-26, or 2026-11."""
    spent: int
    """In this period and this life of the worker, with what is set aside for calls under way."""
    aside: int = 0
    """What is: some of it may come back."""
    grain: int = 1
    """The most that one call asked for lately: less than that is of no use to the worker."""


class QuotaReport(Report):
    """What one worker tells of one tenant."""

    life: int
    """A worker that has been silent for long begins a new one, and counts from what the entity
    has not heard of."""
    scopes: dict[str, LimitsReport]
    """By model, and of EVERY_MODEL."""
    budgets: dict[BudgetName, BudgetUse] = Field(default_factory=dict)
    leaves: bool = False
    """The worker uses nothing any more, and is not to be granted anything."""

    @property
    def demand(self) -> float:
        return max((scope.demand for scope in self.scopes.values()), default=0.0)


class BudgetHolding(Holding):
    """What a worker may come to in one of its lives."""

    life: int
    aside: int = 0
    """As the worker said."""


class Life(Shared):
    """What a worker used while it was heard of without a break."""

    spent: int
    at: datetime
    number: int
    """Of the report that told of it."""


class SharedBudget(Shared):
    """A budget of one period, across workers."""

    period: str
    settled: int = 0
    """Of lives that are over, summed."""
    lives: dict[str, Life] = Field(default_factory=dict)
    """By worker and life."""
    holdings: dict[str, BudgetHolding] = Field(default_factory=dict)
    """By worker."""

    @property
    def spent(self) -> int:
        return self.settled + sum(life.spent for life in self.lives.values())


class SharedTenant(Shared):
    """The entity's state."""

    at: datetime | None = None
    """The latest time that any report told."""
    workers: dict[str, SharedWorker] = Field(default_factory=dict)
    budgets: dict[BudgetName, SharedBudget] = Field(default_factory=dict)


def life_key(worker: str, life: int) -> str:
    return f"{worker}.{life}"


@dataclass(frozen=True, slots=True)
class RateStanding:
    """How far a tenant is from a rate that holds for a call, as one worker knows it."""

    kind: Literal["requests", "tokens"]
    limit: int
    """A minute, across all workers."""
    remaining: int
    """What this worker may still let pass now."""
    reset_seconds: float
    """Until nothing is counted any more that has passed here, if nothing more does."""
