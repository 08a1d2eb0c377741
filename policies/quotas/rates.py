"""Requests and tokens a minute of a tenant, as far as this worker may use them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from contracts.quotas import EVERY_MODEL, RateStanding
from contracts.sharing import LimitsReport
from endpoints.lease import Demand
from endpoints.routing.rates import SECONDS, RateLimit
from endpoints.shared_limits import SharedLimit
from policies.quotas.settings import RateSettings

type Kind = Literal["requests", "tokens"]


class Rate:
    """One of them."""

    __slots__ = ("counts_tokens", "kind", "limit", "name", "share", "taken_at", "whole")

    def __init__(self, kind: Kind, model: str, whole: int) -> None:
        self.kind: Kind = kind
        self.counts_tokens = kind == "tokens"
        self.name = f"{kind}_per_minute"
        if model != EVERY_MODEL:
            self.name = f"per_model.{model}.{self.name}"
        self.whole = whole
        self.limit = RateLimit(whole)
        self.share = SharedLimit(whole, whole, self.limit)
        self.taken_at = 0.0
        """When something was last taken."""

    def take(self, amount: int, now: float) -> None:
        self.limit.take(amount, now)
        self.taken_at = now

    def standing(self, now: float) -> RateStanding:
        used = self.limit.used(now)
        return RateStanding(
            kind=self.kind,
            limit=self.whole,
            remaining=max(0, int(self.limit.per_minute - used)),
            reset_seconds=max(0.0, int(self.taken_at) + SECONDS - now) if used else 0.0,
        )


class Scope:
    """The rates that hold for one model, or for all together, and how much is asked for."""

    def __init__(self, model: str, settings: RateSettings, now: float) -> None:
        self.model = model
        self.rates = tuple(_rates(model, settings))
        self.asked = 0
        """Calls, since the start; those that were refused too."""
        self._demand = Demand(now)

    def report(self, now: float, waiting: int) -> LimitsReport:
        """Demand is by the minute: beside it what an idle worker is thought to want is little."""
        return LimitsReport(
            demand=round(60 * self._demand.a_second(self.asked, now) + waiting, 2),
            limits={rate.kind: rate.share.use(now) for rate in self.rates},
        )


def _rates(model: str, settings: RateSettings) -> Iterator[Rate]:
    if settings.requests_per_minute is not None:
        yield Rate("requests", model, settings.requests_per_minute)
    if settings.tokens_per_minute is not None:
        yield Rate("tokens", model, settings.tokens_per_minute)
