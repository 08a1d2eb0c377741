"""A deployment's limits, as far as this worker may use them."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from contracts.sharing import LimitName, LimitUse
from endpoints.routing.concurrency import ConcurrencyLimit
from endpoints.routing.rates import RateLimit
from endpoints.routing.standing import Standing

ALONE = 10
"""While the others cannot be heard, one part in so many of each limit is used."""
ASK_AGAIN_SECONDS = 1.0
"""In how long to ask again, while the others cannot be heard."""
SHARE_SECONDS = 15.0
"""And where the others have the rest: they may leave some, or the call may come to one of them next
time. Sooner would be hard on storage when thousands of jobs wait."""


@dataclass(slots=True)
class SharedLimit:
    """One limit of a deployment, of which this worker uses a share."""

    whole: int
    amount: int
    """The share."""
    limit: ConcurrencyLimit | RateLimit

    def keep_to(self, amount: int) -> None:
        """What was granted."""
        self._share(amount, SHARE_SECONDS if amount < self.whole else None)

    def hold_back(self) -> None:
        """Use nothing: the others will be heard in a moment."""
        self._share(0, ASK_AGAIN_SECONDS)

    def go_alone(self) -> None:
        """Use a small part, without having heard what the others use."""
        self._share(max(1, self.whole // ALONE), ASK_AGAIN_SECONDS)

    def use(self, now: float) -> LimitUse:
        """To be told to the others."""
        limit = self.limit
        used = limit.used(now) if isinstance(limit, RateLimit) else limit.in_flight
        return LimitUse(whole=self.whole, in_use=max(self.amount, ceil(used)))

    def _share(self, amount: int, waits_most: float | None) -> None:
        self.amount = amount
        if isinstance(self.limit, RateLimit):
            self.limit.share(amount, waits_most=waits_most)
        else:
            self.limit.share(amount)


def shared_limits(standing: Standing) -> dict[LimitName, SharedLimit]:
    """Those that a deployment is configured with: what is found out, each worker finds out."""
    limits: dict[LimitName, SharedLimit] = {}
    calls = standing.calls_at_once
    if calls.cap is not None:
        limits["slots"] = SharedLimit(calls.cap, calls.cap, calls)
    rates: tuple[tuple[LimitName, RateLimit | None], ...] = (
        ("requests", standing.requests),
        ("tokens", standing.tokens),
    )
    for name, rate in rates:
        if rate is not None:
            whole = int(rate.per_minute)
            limits[name] = SharedLimit(whole, whole, rate)
    return limits
