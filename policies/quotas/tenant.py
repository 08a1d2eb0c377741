"""One tenant's quotas at this worker: what a call takes of each, and what it gives back."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from math import inf

from contracts.calls import Usage
from contracts.quotas import EVERY_MODEL, RateStanding
from endpoints.clocks import Clocks
from policies.quotas.budget import Budget, budgets
from policies.quotas.expected import Expected
from policies.quotas.rates import Rate, Scope
from policies.quotas.settings import QuotaSettings

LONGEST_BACK_SECONDS = 30.0
"""Without any batch call, while real-time calls are refused."""


@dataclass(slots=True)
class Asked:
    """What one call is going to use: a Reservation, once it is taken."""

    tenant: TenantQuotas
    scopes: tuple[Scope, ...]
    tokens: int
    """As its body tells."""
    amounts: tuple[tuple[Budget, int], ...] = ()
    """To be set aside of budgets."""
    taken_at: float | None = None
    periods: tuple[str, ...] = ()
    """Of the budgets, then."""

    def settle(self, usage: Usage) -> None:
        """What a call uses of budgets is told by the meter, of each of its requests: so all that
        was set aside goes."""
        used = usage.input_tokens + usage.output_tokens
        self._end(requests=0, tokens=used - self.tokens if used else 0)

    def release(self) -> None:
        self._end(requests=-1, tokens=-self.tokens)

    def _end(self, *, requests: int, tokens: int) -> None:
        if self.taken_at is None:
            return
        if requests or tokens:
            now = self.tenant.clocks.monotonic()
            for scope in self.scopes:
                for rate in scope.rates:
                    more = tokens if rate.counts_tokens else requests
                    rate.limit.correct(more, self.taken_at, now)
        for budget, amount in self._set_aside():
            budget.give_back(amount)
        self.taken_at = None
        self.tenant.touched += 1
        self.tenant.released()

    def _set_aside(self) -> Iterator[tuple[Budget, int]]:
        """Of a period that is over there is nothing to give back."""
        for (budget, amount), period in zip(self.amounts, self.periods, strict=True):
            if budget.period.name == period:
                yield budget, amount

    def __del__(self) -> None:
        """Nobody will hear of the call: what was set aside is used."""
        if self.taken_at is not None and self.amounts:
            for budget, amount in self._set_aside():
                budget.keep(amount)


class TenantQuotas:
    """Of a tenant that has rates or budgets."""

    def __init__(self, name: str, settings: QuotaSettings, clocks: Clocks) -> None:
        now = clocks.monotonic()
        self.name = name
        self.clocks = clocks
        self._everything = (Scope(EVERY_MODEL, settings, now),)
        self._models = {
            model: (*self._everything, Scope(model, rates, now))
            for model, rates in settings.per_model.items()
        }
        self.budgets = tuple(budgets(settings, clocks.now()))
        rates = [rate for scope in self.scopes for rate in scope.rates]
        self.limited = bool(rates or self.budgets)
        self.counts_tokens = bool(self.budgets) or any(rate.counts_tokens for rate in rates)
        self.counts_money = any(not budget.counts_tokens for budget in self.budgets)
        self.heard = True
        """Whether what may be used here is known, or has been given up to be known."""
        self.heard_at = -inf
        """When it was last begun to be known."""
        self.short = False
        """Whether calls wait for what other workers have been granted."""
        self.waiting = 0
        self.expected_until = -inf
        """Until when a real-time call that was refused is likely to be back."""
        self._batch_at = -inf
        self.touched = 0
        """Grows with all that happens."""
        self.line = asyncio.Lock()
        """Batch calls that wait stand in it."""
        self.changed = asyncio.Event()
        """Set when there may be more than there was; then another takes its place."""

    @property
    def scopes(self) -> list[Scope]:
        return [*self._everything, *(own for _, own in self._models.values())]

    def standing(self, model: str) -> list[RateStanding]:
        """Of each kind of rate the one that is closest to be reached."""
        now = self.clocks.monotonic()
        closest: dict[str, RateStanding] = {}
        for scope in self._scopes_of(model):
            for rate in scope.rates:
                told = rate.standing(now)
                known = closest.get(rate.kind)
                if known is None or told.remaining < known.remaining:
                    closest[rate.kind] = told
        return list(closest.values())

    def asked(self, model: str, tokens: int, expected: Expected) -> Asked:
        """What a call of the model would use; noted as demand."""
        self.touched += 1
        asked = Asked(self, self._scopes_of(model), tokens)
        for scope in asked.scopes:
            scope.asked += 1
        if self.budgets:
            self.roll()
            likely = expected.tokens_of(tokens)
            nanos = expected.nanos_of(likely)
            asked.amounts = tuple(
                (budget, likely if budget.counts_tokens else nanos) for budget in self.budgets
            )
            for budget, amount in asked.amounts:
                budget.asks(amount)
        return asked

    def stands_back(self) -> bool:
        """Whether batch calls leave what there is to real-time calls; not for ever."""
        now = self.clocks.monotonic()
        return now < self.expected_until and now < self._batch_at + LONGEST_BACK_SECONDS

    def obstacle(self, asked: Asked) -> Rate | Budget | None:
        """What does not admit the call now."""
        now = self.clocks.monotonic()
        for scope in asked.scopes:
            for rate in scope.rates:
                if not rate.limit.admits(asked.tokens if rate.counts_tokens else 1, now):
                    return rate
        for budget, amount in asked.amounts:
            if not budget.admits(amount):
                return budget
        return None

    def take(self, asked: Asked, *, batch: bool = False) -> None:
        """To be called in the turn of the loop in which there was no obstacle."""
        now = asked.taken_at = self.clocks.monotonic()
        if batch:
            self._batch_at = now
        for scope in asked.scopes:
            for rate in scope.rates:
                rate.take(asked.tokens if rate.counts_tokens else 1, now)
        if asked.amounts:
            for budget, amount in asked.amounts:
                budget.set_aside(amount)
            asked.periods = tuple([budget.period.name for budget in self.budgets])

    def used(self, tokens: int, nanos: int) -> None:
        """A request has used so much, of budgets."""
        if self.budgets:
            self.touched += 1
            self.roll()
            for budget in self.budgets:
                budget.spent += tokens if budget.counts_tokens else nanos

    def roll(self) -> None:
        """Begin the periods that have begun."""
        now = self.clocks.now()
        for budget in self.budgets:
            budget.roll(now)

    def hear(self) -> None:
        """What may be used here is known from now on, if it was not."""
        if not self.heard:
            self.heard = True
            self.heard_at = self.clocks.monotonic()

    def released(self) -> None:
        """There may be more for calls that wait."""
        if self.waiting:
            self.changed.set()
            self.changed = asyncio.Event()

    def _scopes_of(self, model: str) -> tuple[Scope, ...]:
        return self._models.get(model, self._everything)
